//! Sends alerts to a chat or to any webhook.

use std::time::Duration;

use ::http::{HeaderValue, Method, header::CONTENT_TYPE};
use bytes::Bytes;
use nexus_core::iso8601_ms;
use nexus_outbound::{Client, Outgoing, Trust};
use serde_json::json;
use tokio::sync::mpsc;
use url::Url;

use crate::Alert;

const TIMEOUT: Duration = Duration::from_secs(10);

/// How an alert is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertFormat {
    /// As Discord's webhooks expect it.
    Discord,
    /// As Slack's webhooks expect it.
    Slack,
    /// `{"cause","message","time"}`.
    Json,
}

impl AlertFormat {
    /// The body that tells of an alert.
    fn body(self, alert: &Alert) -> Bytes {
        /// Discord refuses a longer message.
        const DISCORD_CHARS_MAX: usize = 2_000;
        let body = match self {
            Self::Discord => {
                let text: String = alert.message.chars().take(DISCORD_CHARS_MAX).collect();
                // Nobody is called by a name that stands in an error.
                json!({ "content": text, "allowed_mentions": { "parse": [] } })
            }
            Self::Slack => json!({ "text": escape_slack(&alert.message) }),
            Self::Json => json!({
                "cause": alert.cause,
                "message": alert.message,
                "time": iso8601_ms(alert.time_us),
            }),
        };
        Bytes::from(body.to_string())
    }
}

/// Slack reads `<…>` as a link or a call.
fn escape_slack(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// Where alerts are sent.
#[derive(Clone)]
pub struct AlertWebhook {
    client: Client,
    url: Url,
    format: AlertFormat,
}

impl AlertWebhook {
    /// Sends to an address that the operator configured.
    #[must_use]
    pub fn new(client: Client, url: Url, format: AlertFormat) -> Self {
        Self {
            client,
            url,
            format,
        }
    }

    /// Sends what comes out of the receiver until its [`Alerts`](crate::Alerts) are gone. An alert that
    /// cannot be sent is in the log, and is not tried again: the next will say the same.
    pub async fn run(self, mut alerts: mpsc::Receiver<Alert>) {
        while let Some(alert) = alerts.recv().await {
            let mut call = Outgoing::new(Method::POST, self.url.clone(), Trust::Configured);
            call.timeout = TIMEOUT;
            call.headers
                .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            call.body = self.format.body(&alert);
            match self.client.send(call).await {
                Ok(answer) if answer.is_success() => {}
                Ok(answer) => {
                    tracing::warn!(
                        status = answer.status,
                        cause = alert.cause,
                        "an alert was not taken"
                    );
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, cause = alert.cause, "an alert could not be sent");
                }
            }
        }
    }
}

impl std::fmt::Debug for AlertWebhook {
    /// Leaves out the address: its path is the secret of such webhooks.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AlertWebhook")
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_format_is_what_its_receiver_expects() {
        let alert = Alert {
            cause: "dead-letter:mint".into(),
            message: "gave up: <@everyone> & \"co\"".into(),
            time_us: 0,
        };
        for (format, body) in [
            (
                AlertFormat::Discord,
                r#"{"allowed_mentions":{"parse":[]},"content":"gave up: <@everyone> & \"co\""}"#,
            ),
            (
                AlertFormat::Slack,
                r#"{"text":"gave up: &lt;@everyone&gt; &amp; \"co\""}"#,
            ),
            (
                AlertFormat::Json,
                r#"{"cause":"dead-letter:mint","message":"gave up: <@everyone> & \"co\"","time":"1970-01-01T00:00:00.000Z"}"#,
            ),
        ] {
            assert_eq!(format.body(&alert), body);
        }
    }
}
