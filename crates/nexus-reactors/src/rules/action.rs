//! What a rule does outside, if anything: one thing, so that a failure never repeats another that succeeded.

use bytes::Bytes;
use nexus_core::{Attempt, ReactorError};
use nexus_expr::{Answered, Asked};

use super::{alert::AlertAction, http::HttpAction, webhook::WebhookAction};

/// What a rule does outside.
pub(super) enum Action {
    /// Nothing: it only emits.
    Nothing,
    Http(Box<HttpAction>),
    Webhook(Box<WebhookAction>),
    Alert(AlertAction),
}

/// What came of it.
pub(super) enum Done {
    /// There was nobody to call; what would have been asked.
    Skipped(Option<Asked>),
    /// The attempt calls nobody: what follows from the answer is not known.
    NotCalled,
    Answered(Asked, Answered),
}

impl Done {
    /// An answer to a call, with the address and the body as people may see them.
    pub(super) fn answered(
        method: &str,
        url: &str,
        sent: Bytes,
        status: u16,
        answer: &Bytes,
    ) -> Self {
        Self::Answered(Asked::new(method, url, sent), Answered::new(status, answer))
    }
}

impl Action {
    /// Does it for the event of an attempt.
    pub(super) async fn run(
        &self,
        attempt: &Attempt,
        rule: &super::Rule,
    ) -> Result<Done, ReactorError> {
        match self {
            Self::Nothing => Ok(Done::Skipped(None)),
            Self::Http(http) => http.run(attempt, &rule.catalogue).await,
            Self::Webhook(webhook) => webhook.run(attempt, &rule.catalogue).await,
            Self::Alert(alert) => alert.run(attempt, &rule.catalogue),
        }
    }

    /// Where it leads, for people.
    pub(super) fn target_url(&self) -> Option<String> {
        match self {
            Self::Http(http) => http.shown(),
            Self::Webhook(webhook) => webhook.shown(),
            Self::Nothing | Self::Alert(_) => None,
        }
    }
}
