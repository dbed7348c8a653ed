//! `alert`: people are told.

use bytes::Bytes;
use nexus_core::{Attempt, Catalogue, Exchange, ReactorError};
use nexus_expr::{Scope, Template};

use super::{
    action::Done,
    config::AlertConfig,
    context::{Env, before},
    problem::Problems,
};
use crate::Alerts;

/// Tells people.
pub(super) struct AlertAction {
    message: Template,
    cause: Template,
    alerts: Alerts,
}

impl AlertAction {
    pub(super) fn compile(
        config: &AlertConfig,
        rule: &str,
        env: &Env<'_>,
        alerts: &Alerts,
        problems: &mut Problems,
    ) -> Option<Self> {
        let look_up = |name: &str| env.get(name);
        let context = before(&look_up);
        let mut compile = |place: &str, text: &str| {
            let template = Template::compile(text, &context)
                .map_err(|error| problems.template(place, error))
                .ok()?;
            problems.unset(place, template.unset());
            Some(template)
        };
        let message = compile("alert.message", &config.message);
        let cause = match &config.cause {
            Some(cause) => compile("alert.cause", cause),
            // A name has no brackets in it.
            None => compile("name", &format!("rule:{rule}")),
        };
        Some(Self {
            message: message?,
            cause: cause?,
            alerts: alerts.clone(),
        })
    }

    pub(super) fn run(
        &self,
        attempt: &Attempt,
        catalogue: &Catalogue,
    ) -> Result<Done, ReactorError> {
        let scope = Scope::new(&attempt.event, catalogue);
        let render = |place: &str, template: &Template| {
            let text = template.render(&scope);
            text.map_err(|error| ReactorError::final_(format!("alert.{place}: {error}")))
        };
        let (cause, message) = (
            render("cause", &self.cause)?,
            render("message", &self.message)?,
        );
        attempt.exchange(Exchange {
            method: "ALERT".to_owned(),
            url: cause.clone(),
            body: Bytes::from(message.clone()),
            ..Exchange::default()
        });
        if attempt.mode.calls_out() {
            self.alerts.send(&cause, || message);
        }
        Ok(Done::Skipped(None))
    }
}
