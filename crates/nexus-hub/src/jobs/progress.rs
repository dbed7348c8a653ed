//! What a server says of a job while it works on it: kept in memory, for whoever looks.

use futures_util::future::BoxFuture;
use nexus_core::Json;
use parking_lot::Mutex;
use serde::Serialize;

use crate::{ClientCapabilities, METHOD_NOT_FOUND, Peer, Raw, RpcError};

/// What a server says of its progress has at most this many characters.
const MESSAGE_CHARS_MAX: usize = 500;
const PROGRESS: &str = "notifications/progress";

/// How far a server says it is. Nobody can be asked anything: whoever began the job is not waiting for it.
#[derive(Debug)]
pub struct Progress {
    last: Mutex<Option<ProgressView>>,
    capabilities: ClientCapabilities,
}

/// What a server said last.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProgressView {
    /// How far it is.
    pub progress: f64,
    /// How far it has to go, if it knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<f64>,
    /// What it does, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            last: Mutex::new(None),
            capabilities: ClientCapabilities::none(),
        }
    }
}

impl Progress {
    /// What was said last, if anything was.
    pub(super) fn last(&self) -> Option<ProgressView> {
        self.last.lock().clone()
    }

    fn note(&self, params: &Raw) {
        let Ok(said) = Json::parse(params.get().as_bytes()) else {
            return;
        };
        let number = |name| match said.get(name) {
            Some(Json::Number(number)) if number.is_finite() => Some(*number),
            _ => None,
        };
        let Some(progress) = number("progress") else {
            return;
        };
        let message = said.get("message").and_then(Json::as_str);
        *self.last.lock() = Some(ProgressView {
            progress,
            total: number("total"),
            message: message.map(|text| text.chars().take(MESSAGE_CHARS_MAX).collect()),
        });
    }
}

impl Peer for Progress {
    fn notify(&self, method: &str, params: Option<Raw>) {
        if let (PROGRESS, Some(params)) = (method, params) {
            self.note(&params);
        }
    }

    fn ask(&self, method: &str, _: Option<Raw>) -> BoxFuture<'_, Result<Raw, RpcError>> {
        let refusal = format!("nobody is there who could be asked: {method}");
        Box::pin(async move { Err(RpcError::new(METHOD_NOT_FOUND, refusal)) })
    }

    fn capabilities(&self) -> &ClientCapabilities {
        &self.capabilities
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    #[test]
    fn the_last_that_is_said_counts_and_nonsense_is_passed_over() {
        let progress = Progress::default();
        let say = |method: &str, params: &str| {
            let params = RawValue::from_string(params.to_owned()).unwrap();
            progress.notify(method, Some(params));
        };
        say(PROGRESS, r#"{"progress":1,"total":4,"message":"one"}"#);
        say("notifications/message", r#"{"progress":9}"#);
        say(PROGRESS, r#"{"progress":"x"}"#);
        say(PROGRESS, "7");
        let last = progress.last().unwrap();
        assert_eq!((last.progress, last.total), (1.0, Some(4.0)));
        let long = format!(r#"{{"progress":2,"message":"{}"}}"#, "x".repeat(900));
        say(PROGRESS, &long);
        assert_eq!(
            progress.last().unwrap().message.unwrap().len(),
            MESSAGE_CHARS_MAX
        );
    }

    #[tokio::test]
    async fn nobody_can_be_asked() {
        let progress = Progress::default();
        let refused = progress.ask("elicitation/create", None).await.unwrap_err();
        assert_eq!(refused.code, METHOD_NOT_FOUND);
        assert!(!progress.capabilities().has_form_elicitation());
    }
}
