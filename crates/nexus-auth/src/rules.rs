//! What requests are checked against.

mod builder;

use std::{collections::HashMap, sync::Arc};

use nexus_core::{Catalogue, Principal};

pub(crate) use builder::is_node_id;

use crate::{
    AuthOptions, Error, NodeInfo, jwt::Judge, nodes::Registered, secret::Keys, usage::Usage,
};

/// What the options came to. Requests share one by reference; a reload puts another in its place.
pub(crate) struct Rules {
    pub(crate) nodes: Vec<Node>,
    by_id: HashMap<Arc<str>, usize>,
    pub(crate) bearers: Vec<Bearer>,
    /// What JSON Web Tokens are judged by, if any counts.
    pub(crate) jwt: Option<Judge>,
    pub(crate) signed_get: bool,
    pub(crate) warnings: Vec<String>,
}

/// A node, ready to be checked against.
pub(crate) struct Node {
    pub(crate) info: NodeInfo,
    pub(crate) keys: Vec<LiveKeys>,
    pub(crate) signature_only: bool,
    /// Who a signed request comes from: may publish.
    pub(crate) publisher: Principal,
    /// Who a signed GET or the secret as a token comes from: may read.
    pub(crate) reader: Principal,
}

/// The keys of a secret and until when they count.
pub(crate) struct LiveKeys {
    pub(crate) keys: Keys,
    pub(crate) not_after_us: Option<i64>,
    /// What tells this secret from the others of its node.
    pub(crate) print: [u8; 32],
    /// Its last characters, if it is long enough to show them.
    pub(crate) hint: Option<Box<str>>,
    pub(crate) usage: Arc<Usage>,
}

/// Someone who is known by a token.
pub(crate) struct Bearer {
    pub(crate) digest: [u8; 32],
    pub(crate) principal: Principal,
    pub(crate) not_after_us: Option<i64>,
    /// Of a node's secret: where it is counted.
    pub(crate) usage: Option<Arc<Usage>>,
}

/// What rules are made of.
pub(crate) struct Sources<'a> {
    pub(crate) options: &'a AuthOptions,
    /// Nodes and secrets that were made through the API.
    pub(crate) registered: &'a [Registered],
    pub(crate) catalogue: &'a Catalogue,
    /// The one of those whose names have to be of events. In the others a name of none is passed over: events
    /// come and go with the configuration, and a node that lost one need not stop the rest.
    pub(crate) strict_about: Option<&'a str>,
    /// The rules before, whose counters go on.
    pub(crate) previous: Option<&'a Rules>,
}

impl Rules {
    pub(crate) fn new(sources: &Sources<'_>) -> Result<Self, Vec<Error>> {
        builder::build(sources)
    }

    pub(crate) fn node(&self, id: &str) -> Option<&Node> {
        self.by_id.get(id).and_then(|index| self.nodes.get(*index))
    }
}
