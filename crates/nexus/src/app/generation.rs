//! Which configuration runs, and what became of the last attempt to load another.

use std::sync::Arc;

use arc_swap::ArcSwap;
use serde_json::json;

use crate::config::{Config, ConfigProblem};

/// At most this many problems of a failed reload are told.
const PROBLEMS_MAX: usize = 20;
/// A problem is told up to this many characters.
const PROBLEM_CHARS_MAX: usize = 300;

/// The configuration that runs, as probes and operators are told of it. Cheap to clone; all clones see a
/// reload at once.
#[derive(Clone)]
pub(crate) struct Generation(Arc<ArcSwap<State>>);

/// What is told of it; no secrets.
#[derive(Debug, Clone)]
pub(crate) struct State {
    /// Which it is since the start, from 1.
    pub(crate) number: u64,
    /// What it is known by.
    pub(crate) fingerprint: String,
    /// Since when it runs, in microseconds since 1970.
    pub(crate) since_us: i64,
    /// What of it operators see.
    pub(crate) described: serde_json::Value,
    /// The last reload, if it failed.
    pub(crate) failed: Option<FailedReload>,
}

/// A reload that changed nothing.
#[derive(Debug, Clone)]
pub(crate) struct FailedReload {
    /// When, in microseconds since 1970.
    pub(crate) at_us: i64,
    /// Why; not more than people read.
    pub(crate) problems: Vec<String>,
}

impl Generation {
    /// The configuration of the start.
    pub(super) fn first(config: &Config, now_us: i64) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(State::new(
            1, config, now_us,
        ))))
    }

    pub(crate) fn get(&self) -> Arc<State> {
        self.0.load_full()
    }

    /// Another configuration runs now; which one it is.
    pub(super) fn next(&self, config: &Config, now_us: i64) -> u64 {
        let number = self.get().number + 1;
        self.0.store(Arc::new(State::new(number, config, now_us)));
        number
    }

    /// Another configuration was to run, and cannot.
    pub(super) fn failed(&self, problems: &[ConfigProblem], now_us: i64) {
        let told = problems.iter().take(PROBLEMS_MAX).map(shortened);
        let failed = FailedReload {
            at_us: now_us,
            problems: told.collect(),
        };
        let state = State::clone(&self.get());
        self.0.store(Arc::new(State {
            failed: Some(failed),
            ..state
        }));
    }
}

impl State {
    fn new(number: u64, config: &Config, now_us: i64) -> Self {
        Self {
            number,
            fingerprint: config.fingerprint.to_string(),
            since_us: now_us,
            described: described(config),
            failed: None,
        }
    }
}

/// What an operator is told of a configuration; no secrets.
fn described(config: &Config) -> serde_json::Value {
    json!({
        "environment": format!("{:?}", config.environment).to_lowercase(),
        "database": config.storage.database_path(),
        "nodes": config.nodes.iter().map(|node| &node.id).collect::<Vec<_>>(),
        "declaredEvents": config.events.declared.iter().map(|event| event.topic.as_str()).collect::<Vec<_>>(),
        "openEvents": config.events.open,
    })
}

fn shortened(problem: &ConfigProblem) -> String {
    problem
        .to_string()
        .chars()
        .take(PROBLEM_CHARS_MAX)
        .collect()
}
