//! `emit`: an event that follows.

use std::sync::Arc;

use nexus_core::{Catalogue, Event, EventType, NewEvent, ReactorError};
use nexus_expr::{JsonTemplate, Scope, Template, TemplateContext};

use super::{config::EmitConfig, context::Env, problem::Problems};

/// Emits one event.
pub(super) struct Emit {
    place: String,
    event_type: Arc<EventType>,
    payload: Option<JsonTemplate>,
    key: Option<Template>,
}

impl Emit {
    /// Compiles what stands at `place`.
    pub(super) fn compile(
        config: &EmitConfig,
        place: &str,
        follows_call: bool,
        catalogue: &Catalogue,
        env: &Env<'_>,
        problems: &mut Problems,
    ) -> Option<Self> {
        let look_up = |name: &str| env.get(name);
        let context = TemplateContext {
            env: &look_up,
            has_request: follows_call,
            has_response: follows_call,
        };
        let event_type = problems.event(&format!("{place}.topic"), &config.topic, catalogue);
        let payload = format!("{place}.payload");
        let payload = problems.json(&payload, config.payload.as_ref(), &context);
        let key = match &config.key {
            None => Some(None),
            Some(text) => {
                let place = format!("{place}.key");
                let key = Template::compile(text, &context)
                    .map_err(|error| problems.template(&place, error))
                    .ok();
                if let Some(key) = &key {
                    problems.unset(&place, key.unset());
                }
                key.map(Some)
            }
        };
        Some(Self {
            place: place.to_owned(),
            event_type: event_type?,
            payload: payload?,
            key: key?,
        })
    }

    /// What it emits.
    pub(super) fn topic(&self) -> &nexus_core::Topic {
        &self.event_type.topic
    }

    /// The event that follows.
    pub(super) fn event(&self, event: &Event, scope: &Scope<'_>) -> Result<NewEvent, ReactorError> {
        let failed = |error: nexus_expr::RenderError| ReactorError::final_(error.to_string());
        let payload = match &self.payload {
            Some(payload) => {
                let text = payload.render(scope).map_err(failed)?;
                if !text.trim_start().starts_with('{') {
                    let what = format!("{}.payload: this gives no object", self.place);
                    return Err(ReactorError::final_(what));
                }
                text.into()
            }
            None => event.payload.clone(),
        };
        let mut new = NewEvent::new(Arc::clone(&self.event_type), payload);
        new.key = match &self.key {
            Some(key) => {
                let text = key.render(scope).map_err(|error| {
                    ReactorError::final_(format!("{}.key: {error}", self.place))
                })?;
                Some(text.into())
            }
            // What follows from one order stays in one order.
            None => event.key.clone(),
        };
        Ok(new)
    }
}
