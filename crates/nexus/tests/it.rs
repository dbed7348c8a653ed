//! The integration tests of this crate, as one binary.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    unreachable_pub,
    reason = "tests"
)]

#[path = "it/agents.rs"]
mod agents;
#[path = "it/agents_outside.rs"]
mod agents_outside;
#[path = "it/agents_socket.rs"]
mod agents_socket;
#[path = "it/config.rs"]
mod config;
#[path = "it/config_agents.rs"]
mod config_agents;
#[path = "it/config_reports.rs"]
mod config_reports;
#[path = "it/hub_bus.rs"]
mod hub_bus;
#[path = "it/hub_users.rs"]
mod hub_users;
#[path = "it/refusals.rs"]
mod refusals;
#[path = "it/running.rs"]
mod running;
#[path = "it/v1.rs"]
mod v1;
#[path = "it/v1_cloud_events.rs"]
mod v1_cloud_events;
#[path = "it/v1_cursors.rs"]
mod v1_cursors;
#[path = "it/v1_nodes.rs"]
mod v1_nodes;
#[path = "it/v1_once.rs"]
mod v1_once;
#[path = "it/v1_pages.rs"]
mod v1_pages;
#[path = "it/v1_publish.rs"]
mod v1_publish;
#[path = "it/v1_reactions.rs"]
mod v1_reactions;
#[path = "it/v1_read.rs"]
mod v1_read;
