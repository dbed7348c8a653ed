//! The engine over a log in memory: what a reactor may rely on.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

#[path = "it/alerts.rs"]
mod alerts;
#[path = "it/bad_receiver.rs"]
mod bad_receiver;
#[path = "it/control.rs"]
mod control;
#[path = "it/crashes.rs"]
mod crashes;
#[path = "it/dead_letters.rs"]
mod dead_letters;
#[path = "it/dry_run_routes.rs"]
mod dry_run_routes;
#[path = "it/engine.rs"]
mod engine;
#[path = "it/explain.rs"]
mod explain;
#[path = "it/face.rs"]
mod face;
#[path = "it/kills.rs"]
mod kills;
#[path = "it/mappings.rs"]
mod mappings;
#[path = "it/misbehaving.rs"]
mod misbehaving;
#[path = "it/nodes.rs"]
mod nodes;
#[path = "it/order.rs"]
mod order;
#[path = "it/ordering.rs"]
mod ordering;
#[path = "it/poison.rs"]
mod poison;
#[path = "it/replay_routes.rs"]
mod replay_routes;
#[path = "it/replays.rs"]
mod replays;
#[path = "it/retention.rs"]
mod retention;
#[path = "it/routes.rs"]
mod routes;
#[path = "it/rule_actions.rs"]
mod rule_actions;
#[path = "it/rule_problems.rs"]
mod rule_problems;
#[path = "it/rules.rs"]
mod rules;
#[path = "it/rules_docs.rs"]
mod rules_docs;
#[path = "it/rules_support.rs"]
mod rules_support;
#[path = "it/shipped.rs"]
mod shipped;
#[path = "it/support.rs"]
mod support;
