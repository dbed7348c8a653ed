//! The daemon as its users meet it: real processes, real sockets, real clients.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on fails"
)]

#[path = "it/agents.rs"]
mod agents;
#[path = "it/backup.rs"]
mod backup;
#[path = "it/cli.rs"]
mod cli;
#[path = "it/cloud_events.rs"]
mod cloud_events;
#[path = "it/composed.rs"]
mod composed;
#[path = "it/crash.rs"]
mod crash;
#[path = "it/dev.rs"]
mod dev;
#[path = "it/disk.rs"]
mod disk;
#[path = "it/event_streams.rs"]
mod event_streams;
#[path = "it/flow.rs"]
mod flow;
#[path = "it/hub_clients.rs"]
mod hub_clients;
#[path = "it/hub_jobs.rs"]
mod hub_jobs;
#[path = "it/integration_docs.rs"]
mod integration_docs;
#[path = "it/mcp.rs"]
mod mcp;
#[path = "it/operations_docs.rs"]
mod operations_docs;
#[path = "it/reload.rs"]
mod reload;
#[path = "it/retention.rs"]
mod retention;
#[path = "it/streams.rs"]
mod streams;
#[path = "it/support.rs"]
mod support;
#[path = "it/vault.rs"]
mod vault;
#[path = "it/webhooks.rs"]
mod webhooks;
