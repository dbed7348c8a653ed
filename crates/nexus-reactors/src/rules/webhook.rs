//! `webhook`: a node is told of the event, signed.

use std::time::Duration;

use nexus_core::{Attempt, Catalogue, Exchange, NameForm, ReactorError};
use nexus_expr::{JsonTemplate, Scope};

use super::{
    action::Done,
    config::{NamesConfig, WebhookConfig, WhenUnset},
    context::{Env, RuleContext, before},
    problem::Problems,
    secrets::Secrets,
};
use crate::notify::{Notifier, Told};

/// Tells one node.
pub(super) struct WebhookAction {
    notifier: Notifier,
    payload: Option<JsonTemplate>,
    when_unset: WhenUnset,
    secrets: Secrets,
}

impl WebhookAction {
    pub(super) fn compile(
        config: &WebhookConfig,
        context: &RuleContext<'_>,
        env: &Env<'_>,
        problems: &mut Problems,
    ) -> Option<Self> {
        let is_id = !config.node.is_empty()
            && config.node.len() <= 64
            && config
                .node
                .bytes()
                .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'));
        if !is_id {
            let what = "the id of a node is 1 to 64 of a-z, 0-9, - and _";
            problems.add("webhook.node", what);
        }
        let path = config.path.trim_start_matches('/');
        if path.contains(['?', '#', '\\']) || path.split('/').any(|part| part == "..") {
            problems.add("webhook.path", "this is no path below the node's address");
        }
        env.take_values();
        let look_up = |name: &str| env.get(name);
        let payload = config.payload.as_ref();
        let payload = problems.json("webhook.payload", payload, &before(&look_up));
        let notifier = Notifier {
            receiver: config.node.as_str().into(),
            path: path.to_owned(),
            names: config.names.map(|names| match names {
                NamesConfig::Name => NameForm::Name,
                NamesConfig::Qualified => NameForm::Qualified,
                NamesConfig::Topic => NameForm::Topic,
            }),
            timeout: Duration::from_millis(config.timeout_ms),
            client: context.client.clone(),
            nodes: context.nodes.clone(),
            auth: context.auth.clone(),
            catalogue: context.catalogue.clone(),
            clock: context.clock.clone(),
        };
        let mut secrets = Secrets::default();
        secrets.add(env.take_values());
        Some(Self {
            notifier,
            payload: payload?,
            when_unset: config.when_unset,
            secrets,
        })
    }

    pub(super) fn shown(&self) -> Option<String> {
        self.notifier.shown()
    }

    pub(super) async fn run(
        &self,
        attempt: &Attempt,
        catalogue: &Catalogue,
    ) -> Result<Done, ReactorError> {
        let payload = match &self.payload {
            Some(payload) => {
                let text = payload.render(&Scope::new(&attempt.event, catalogue));
                Some(text.map_err(|error| ReactorError::final_(error.to_string()))?)
            }
            None => None,
        };
        let receiver = &self.notifier.receiver;
        let hide = |exchange: &mut Exchange| self.secrets.hide_in(exchange);
        let telling = self.notifier.tell(attempt, payload.as_deref(), &hide);
        match telling.await? {
            Told::Answered { body, answer } => {
                let url = self.shown().unwrap_or_default();
                Ok(Done::answered(
                    "POST",
                    &url,
                    body,
                    answer.status,
                    &answer.body,
                ))
            }
            Told::NotCalled => Ok(Done::NotCalled),
            Told::Nowhere if self.when_unset == WhenUnset::Skip => {
                let seq = attempt.event.seq.get();
                tracing::warn!(seq, %receiver, "the receiver has no address: it is not told");
                Ok(Done::Skipped(None))
            }
            Told::Nowhere => Err(ReactorError::retry(format!(
                "nobody knows where {receiver} is"
            ))),
        }
    }
}
