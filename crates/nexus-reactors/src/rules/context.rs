//! What a rule is compiled against.

use std::{cell::RefCell, fmt, sync::Arc};

use nexus_auth::Auth;
use nexus_core::{Catalogue, Clock};
use nexus_expr::TemplateContext;
use nexus_outbound::Client;

use crate::{Alerts, Nodes};

/// What a rule is compiled against, and what it uses while it runs.
#[derive(Clone)]
pub struct RuleContext<'c> {
    /// The events that there are.
    pub catalogue: Arc<Catalogue>,
    /// Makes its calls.
    pub client: Client,
    /// Knows where nodes are.
    pub nodes: Nodes,
    /// Signs what nodes are told.
    pub auth: Auth,
    /// Tells people.
    pub alerts: Alerts,
    /// The time.
    pub clock: Clock,
    /// The value of a variable of the environment. Asked for only those that a rule names, while it is
    /// compiled.
    pub env: &'c dyn Fn(&str) -> Option<String>,
}

impl fmt::Debug for RuleContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuleContext").finish_non_exhaustive()
    }
}

/// The variables that a rule names, as they are looked up. One that is empty counts as not set.
pub(super) struct Env<'c> {
    look_up: &'c dyn Fn(&str) -> Option<String>,
    values: RefCell<Vec<String>>,
}

impl<'c> Env<'c> {
    pub(super) fn new(look_up: &'c dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            look_up,
            values: RefCell::default(),
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<String> {
        let value = (self.look_up)(name).filter(|value| !value.is_empty())?;
        self.values.borrow_mut().push(value.clone());
        Some(value)
    }

    /// The values that were looked up since this was asked last.
    pub(super) fn take_values(&self) -> Vec<String> {
        self.values.take()
    }
}

/// What templates before a call may ask about.
pub(super) fn before<'t>(env: &'t dyn Fn(&str) -> Option<String>) -> TemplateContext<'t> {
    TemplateContext {
        env,
        ..TemplateContext::default()
    }
}
