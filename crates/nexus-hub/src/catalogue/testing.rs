//! What the tests of the catalogue share.

use std::collections::BTreeMap;

use crate::{
    ClientCapabilities, Isolation, ServerId, Transport, UpstreamConfig, UpstreamLimits,
    catalogue::server::{Alias, HubServer, Review},
};

/// A system server that takes what it is given.
pub(crate) fn server(id: &str, alias: &str) -> HubServer {
    HubServer {
        id: ServerId::new(id),
        alias: Alias::parse(alias).unwrap(),
        name: alias.into(),
        owner: None,
        enabled: true,
        calls_per_minute: 0,
        review: Review::Changes,
        overrides: BTreeMap::new(),
    }
}

/// A way to a server that is never used.
pub(crate) fn config(id: &str) -> UpstreamConfig {
    UpstreamConfig {
        id: ServerId::new(id),
        revision: 1,
        transport: Transport::Stdio {
            program: "true".to_owned(),
            args: Vec::new(),
            env: Vec::new(),
        },
        isolation: Isolation::Shared,
        capabilities: ClientCapabilities::none(),
        limits: UpstreamLimits::stdio(),
    }
}
