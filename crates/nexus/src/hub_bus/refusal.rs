//! Why a tool of the bus did not do what it was asked: told to the model that called it.

use nexus_core::{Coded, Kind, Principal, Scope};
use nexus_http::Problem;
use serde_json::{Value, json};

/// A refusal, in the words of the error behind it.
#[derive(Debug)]
pub(super) struct Refusal {
    code: &'static str,
    message: String,
    retry_after_s: Option<u32>,
    /// Members beside those.
    more: Option<Value>,
}

impl Refusal {
    /// The arguments are not as they have to be.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new("invalid-request", message)
    }

    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            retry_after_s: None,
            more: None,
        }
    }

    /// Adds what helps whoever is refused.
    pub(super) fn with(mut self, more: Value) -> Self {
        self.more = Some(more);
        self
    }

    pub(super) fn told(&self) -> Value {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let Some(seconds) = self.retry_after_s {
            error["retry_after"] = seconds.into();
        }
        if let (Some(Value::Object(more)), Value::Object(error)) = (&self.more, &mut error) {
            error.extend(more.clone());
        }
        json!({ "error": error })
    }

    /// An error, with the message of the one that it wraps where that says more.
    pub(super) fn of<E: Coded + 'static>(error: &E) -> Self {
        let (code, retry_after_s) = (error.code(), error.retry_after_s());
        let message = match error.kind() {
            Kind::Internal => {
                tracing::error!(error = crate::chain(error), "a tool of the bus failed");
                "the server failed".to_owned()
            }
            _ => crate::chain(error),
        };
        Self {
            retry_after_s,
            ..Self::new(code, message)
        }
    }
}

impl From<nexus_core::Error> for Refusal {
    fn from(error: nexus_core::Error) -> Self {
        let refusal = Self::of(&error);
        match error {
            nexus_core::Error::UnknownEvent { valid, .. } => {
                refusal.with(json!({ "valid_events": valid }))
            }
            nexus_core::Error::InvalidPayload { problems } => {
                let problems = problems
                    .iter()
                    .map(|problem| json!({ "pointer": problem.pointer, "detail": problem.detail }));
                refusal.with(json!({ "errors": problems.collect::<Vec<_>>() }))
            }
            _ => refusal,
        }
    }
}

impl From<nexus_agents::Error> for Refusal {
    fn from(error: nexus_agents::Error) -> Self {
        let refusal = Self::of(&error);
        match error {
            nexus_agents::Error::WorkHeld {
                claimed_by,
                lease_expires_us,
                ..
            } => refusal.with(json!({
                "claimed_by": claimed_by,
                "lease_expires_at": nexus_core::iso8601(lease_expires_us),
            })),
            nexus_agents::Error::WorkCompleted { completed_by, .. } => {
                refusal.with(json!({ "completed_by": completed_by }))
            }
            _ => refusal,
        }
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self {
            retry_after_s: problem.retry_after_s,
            ..Self::new(problem.code, problem.detail)
        }
    }
}

/// Refuses who has not the scope.
pub(super) fn require(caller: &Principal, scope: Scope) -> Result<(), Refusal> {
    if caller.scopes().has(scope) {
        return Ok(());
    }
    let message = format!("this needs the scope `{}`", scope.as_str());
    Err(Refusal::new("not-permitted", message))
}
