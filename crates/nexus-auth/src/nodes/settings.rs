//! What a node may do, as the API writes it and the rules take it.

use serde::{Deserialize, Serialize};

use crate::{Error, LiveSecret, NodeOptions};

/// A node has at most so many names and patterns of what it may publish, and so many of what it may read.
pub const NODE_PATTERNS_MAX: usize = 128;
/// A name or pattern has at most so many bytes.
const PATTERN_BYTES_MAX: usize = 256;
/// Events a second of a node are at most so many.
const EVENTS_PER_SECOND_MAX: u32 = 10_000_000;

/// What a node may do.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeSettings {
    /// Names, qualified names, topics and patterns of what it may publish; nothing: what the permissions
    /// file says, else the topics that it owns.
    pub publish: Option<Vec<String>>,
    /// Names and patterns of what it may read; nothing: everything; an empty list: it may not read.
    pub read: Option<Vec<String>>,
    /// Whether it is found by its signature alone, where nothing names it.
    pub signature_only: bool,
    /// Events a second that it may send; 0 is any number; nothing: what holds for every node.
    pub events_per_second: Option<u32>,
}

impl NodeSettings {
    /// Whether this is within bounds; whether its names are of events is for the rules to say.
    pub(super) fn check(&self) -> Result<(), Error> {
        for names in [&self.publish, &self.read].into_iter().flatten() {
            if names.len() > NODE_PATTERNS_MAX {
                return Err(Error::TooMany {
                    what: "names and patterns in one list",
                    limit: NODE_PATTERNS_MAX,
                });
            }
            if names.iter().any(|name| name.len() > PATTERN_BYTES_MAX) {
                return Err(invalid("a name or pattern has at most 256 bytes"));
            }
        }
        if self.events_per_second > Some(EVENTS_PER_SECOND_MAX) {
            return Err(invalid("events a second are 0 to 10,000,000"));
        }
        Ok(())
    }

    pub(super) fn from_options(options: &NodeOptions) -> Self {
        Self {
            publish: options.publish.clone(),
            read: options.read.clone(),
            signature_only: options.signature_only,
            events_per_second: None,
        }
    }

    pub(crate) fn to_options(&self, id: &str, secrets: &[LiveSecret]) -> NodeOptions {
        NodeOptions {
            secrets: secrets.to_vec(),
            publish: self.publish.clone(),
            read: self.read.clone(),
            signature_only: self.signature_only,
            ..NodeOptions::new(id)
        }
    }
}

fn invalid(why: &'static str) -> Error {
    Error::NodeSettingsInvalid { why }
}

/// What was made through the API, as rules are made of it.
#[derive(Debug, Clone)]
pub(crate) struct Registered {
    pub(crate) id: String,
    /// Nothing of a node that is configured.
    pub(crate) settings: Option<NodeSettings>,
    pub(crate) secrets: Vec<LiveSecret>,
}
