//! Sends alerts to a chat or to any webhook.

use std::time::Duration;

use ::http::{HeaderValue, Method, header::CONTENT_TYPE};
use bytes::Bytes;
use nexus_core::{Clock, ReactorError, iso8601_ms};
use nexus_outbound::{Client, Outgoing, Trust};
use serde_json::json;
use tokio::sync::mpsc;
use url::Url;

use crate::{Alert, AlertState, outgoing};

const TIMEOUT: Duration = Duration::from_secs(10);
/// How often an alert is sent in all when that fails in a way that may pass.
const ATTEMPTS: u32 = 3;
/// The wait after the first failure; it doubles.
const WAIT: Duration = Duration::from_secs(1);
/// A receiver may ask for a longer wait, up to this: others wait behind it.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// A message is cut after this many characters, what escapes them not counted: Discord refuses more than
/// 2,000, and Slack wants at most 4,000.
const MESSAGE_CHARS_MAX: usize = 1_900;

/// How an alert is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertFormat {
    /// As Discord's webhooks expect it.
    Discord,
    /// As Slack's webhooks expect it.
    Slack,
    /// `{"cause","state","message","untold","time"}`; `state` is `raised` or `over`.
    Json,
}

impl AlertFormat {
    /// The body that tells of an alert.
    fn body(self, alert: &Alert) -> Bytes {
        let body = match self {
            // Nobody is called by a name that stands in an error.
            Self::Discord => {
                json!({ "content": for_people(alert), "allowed_mentions": { "parse": [] } })
            }
            Self::Slack => json!({ "text": escape_slack(&for_people(alert)) }),
            Self::Json => json!({
                "cause": alert.cause,
                "state": alert.state,
                "message": cut(&alert.message),
                "untold": alert.untold,
                "time": iso8601_ms(alert.time_us),
            }),
        };
        Bytes::from(body.to_string())
    }
}

/// A line for a chat.
fn for_people(alert: &Alert) -> String {
    let message = cut(&alert.message);
    let before = match alert.state {
        AlertState::Raised => "",
        AlertState::Over => "Over: ",
    };
    match alert.untold {
        0 => format!("{before}{message}"),
        untold => format!("{before}{message} ({untold} more since the last message)"),
    }
}

fn cut(message: &str) -> String {
    message.chars().take(MESSAGE_CHARS_MAX).collect()
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
    /// cannot be sent at a few attempts is in the log, and is left: what lasts will be told of again.
    pub async fn run(self, mut alerts: mpsc::Receiver<Alert>) {
        while let Some(alert) = alerts.recv().await {
            if let Err(error) = self.send(&alert).await {
                let (cause, state) = (&alert.cause, alert.state);
                tracing::warn!(%error, cause, ?state, "an alert could not be sent");
            }
        }
    }

    /// Sends one alert; a failure that may pass is tried again.
    async fn send(&self, alert: &Alert) -> Result<(), ReactorError> {
        let body = self.format.body(alert);
        let mut wait = WAIT;
        for attempt in 1.. {
            match self.send_once(body.clone()).await {
                Err(ReactorError::Retry { after, .. }) if attempt < ATTEMPTS => {
                    let asked = after.unwrap_or_default().min(WAIT_MAX);
                    tokio::time::sleep(wait.max(asked)).await;
                    wait *= 2;
                }
                ended => return ended,
            }
        }
        Ok(())
    }

    async fn send_once(&self, body: Bytes) -> Result<(), ReactorError> {
        let mut call = Outgoing::new(Method::POST, self.url.clone(), Trust::Configured);
        call.timeout = TIMEOUT;
        let json = HeaderValue::from_static("application/json");
        call.headers.insert(CONTENT_TYPE, json);
        call.body = body;
        let answer = self.client.send(call).await;
        let answer = answer.map_err(|error| outgoing::failed(&error))?;
        outgoing::judged(answer, Clock::System.now_us()).map(drop)
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

    fn alert(state: AlertState, untold: u32, message: &str) -> Alert {
        Alert {
            cause: "dead-letter:mint".into(),
            state,
            message: message.into(),
            untold,
            time_us: 0,
        }
    }

    #[test]
    fn each_format_is_what_its_receiver_expects() {
        let raised = alert(AlertState::Raised, 2, "gave up: <@everyone> & \"co\"");
        let over = alert(AlertState::Over, 0, "works again");
        for (format, alert, body) in [
            (
                AlertFormat::Discord,
                &raised,
                r#"{"allowed_mentions":{"parse":[]},"content":"gave up: <@everyone> & \"co\" (2 more since the last message)"}"#,
            ),
            (
                AlertFormat::Discord,
                &over,
                r#"{"allowed_mentions":{"parse":[]},"content":"Over: works again"}"#,
            ),
            (
                AlertFormat::Slack,
                &raised,
                r#"{"text":"gave up: &lt;@everyone&gt; &amp; \"co\" (2 more since the last message)"}"#,
            ),
            (AlertFormat::Slack, &over, r#"{"text":"Over: works again"}"#),
            (
                AlertFormat::Json,
                &raised,
                r#"{"cause":"dead-letter:mint","message":"gave up: <@everyone> & \"co\"","state":"raised","time":"1970-01-01T00:00:00.000Z","untold":2}"#,
            ),
            (
                AlertFormat::Json,
                &over,
                r#"{"cause":"dead-letter:mint","message":"works again","state":"over","time":"1970-01-01T00:00:00.000Z","untold":0}"#,
            ),
        ] {
            assert_eq!(format.body(alert), body);
        }
    }

    #[test]
    fn a_message_is_never_longer_than_its_receiver_takes() {
        let long = alert(AlertState::Over, u32::MAX, &"ü".repeat(10_000));
        let text = for_people(&long);
        assert!(text.chars().count() <= 2_000);
        assert!(text.ends_with("(4294967295 more since the last message)"));
        assert!(AlertFormat::Json.body(&long).len() < 8_000);
    }
}
