//! The hub against servers that behave well and badly.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

#[path = "it/bridge.rs"]
mod bridge;
#[path = "it/catalogue.rs"]
mod catalogue;
#[path = "it/conformance.rs"]
mod conformance;
#[path = "it/faces.rs"]
mod faces;
#[path = "it/fake.rs"]
mod fake;
#[path = "it/faults.rs"]
mod faults;
#[path = "it/fixture.rs"]
mod fixture;
#[path = "it/http_fixture.rs"]
mod http_fixture;
#[path = "it/listening.rs"]
mod listening;
#[path = "it/mcp.rs"]
mod mcp;
#[path = "it/quarantine.rs"]
mod quarantine;
#[path = "it/real_servers.rs"]
mod real_servers;
#[path = "it/router.rs"]
mod router;
#[path = "it/upstream_http.rs"]
mod upstream_http;
#[path = "it/upstream_http_old.rs"]
mod upstream_http_old;
#[path = "it/upstream_peers.rs"]
mod upstream_peers;
#[path = "it/upstream_pool.rs"]
mod upstream_pool;
#[path = "it/upstream_stdio.rs"]
mod upstream_stdio;
#[path = "it/views.rs"]
mod views;
#[path = "it/world.rs"]
mod world;
