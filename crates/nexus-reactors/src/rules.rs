//! Rules: reactors that are configured, not compiled. On these events, if that holds, call, tell, emit.
//!
//! A rule is read from the configuration or from JSON ([`RuleConfig`]), checked as a whole ([`Rule::compile`]
//! tells every mistake with its place), and is then a [`Reactor`](nexus_core::Reactor) like any other.
//! `docs/rules.md` describes it for those who write rules.

mod action;
mod alert;
mod compile;
mod config;
mod context;
mod emit;
mod http;
mod mapping;
mod options;
mod problem;
mod run;
mod secrets;
mod webhook;

use std::{fmt, sync::Arc};

use nexus_core::{Catalogue, ReactorOptions, SharedReactor};
use nexus_expr::Template;

pub use config::{
    AlertConfig, BeginConfig, BlockedConfig, BreakerConfig, EmitConfig, HttpConfig, NamesConfig,
    OneOrMany, OrderingConfig, RetryConfig, RuleConfig, WebhookConfig, WhenUnset,
};
pub use context::RuleContext;
pub use mapping::{Mapped, MappingConfig, MappingError, Mappings};
pub use problem::RuleProblem;

/// A rule, compiled.
pub struct Rule {
    options: ReactorOptions,
    catalogue: Arc<Catalogue>,
    once: Option<Template>,
    action: action::Action,
    emits: Vec<emit::Emit>,
    notes: Vec<RuleProblem>,
}

impl Rule {
    /// What is not wrong, and still something to know: a call that is left out because its variable is
    /// not set.
    #[must_use]
    pub fn notes(&self) -> &[RuleProblem] {
        &self.notes
    }

    /// For [`Engine::start`](crate::Engine::start) and [`Handle::add`](crate::Handle::add).
    #[must_use]
    pub fn shared(self) -> SharedReactor {
        Arc::new(self)
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
