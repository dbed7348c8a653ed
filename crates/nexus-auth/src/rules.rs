//! What requests are checked against.

mod builder;

use std::{collections::HashMap, sync::Arc};

use nexus_core::{Catalogue, Principal};

use crate::{AuthOptions, Error, NodeInfo, secret::Keys};

/// What the options came to. Requests share one by reference; a reload puts another in its place.
pub(crate) struct Rules {
    pub(crate) nodes: Vec<Node>,
    by_id: HashMap<Arc<str>, usize>,
    pub(crate) bearers: Vec<Bearer>,
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
}

/// Someone who is known by a token.
pub(crate) struct Bearer {
    pub(crate) digest: [u8; 32],
    pub(crate) principal: Principal,
    pub(crate) not_after_us: Option<i64>,
}

impl Rules {
    pub(crate) fn new(options: &AuthOptions, catalogue: &Catalogue) -> Result<Self, Vec<Error>> {
        builder::build(options, catalogue)
    }

    pub(crate) fn node(&self, id: &str) -> Option<&Node> {
        self.by_id.get(id).and_then(|index| self.nodes.get(*index))
    }
}
