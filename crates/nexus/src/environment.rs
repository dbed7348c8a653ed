//! The variables that Nexus reads: one documented constant each.

use std::collections::BTreeMap;

/// The environment of a process as a plain value: only the daemon reads the real one.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);
