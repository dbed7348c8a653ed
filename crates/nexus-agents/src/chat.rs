//! The chat that people read: events are told there, and what is said there is published.

use std::{borrow::Cow, collections::VecDeque, pin::pin, sync::Arc, time::Duration};

use nexus_client::TextSocket;
use nexus_core::{
    Causes, Coded, Cursor, Error as LogError, Event, Json, PatternSet, ProtocolEvent, iso8601,
    write_agent_event,
};
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{Dependency, Error, Handle, Pace, SessionId};

/// As whom the chat publishes.
const SESSION: &str = "unified-chat";
/// How soon it is connected again, and at most how late.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);
/// For so long it is still told what happened when everything ends.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Where the chat is, and what is told there.
#[derive(Debug, Clone)]
pub struct ChatOptions {
    /// A `ws` or `wss` address.
    pub url: Url,
    /// What is told there.
    pub topics: PatternSet,
    /// How soon it is connected again the first time; after each failure twice as late.
    pub retry: Duration,
}

impl ChatOptions {
    /// Tells these topics to the chat at an address.
    #[must_use]
    pub fn new(url: Url, topics: PatternSet) -> Self {
        Self {
            url,
            topics,
            retry: RETRY,
        }
    }
}

/// The link to the chat. The bus runs without.
pub struct Chat {
    agents: Handle,
    id: SessionId,
    cursor: Cursor,
    /// What was read and not told yet: it is told when the chat is there again.
    untold: VecDeque<Arc<Event>>,
    options: ChatOptions,
    pace: Pace,
    dependency: Dependency,
}

/// What the chat says.
#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    event_type: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
}

impl Chat {
    /// Begins with what happens from now on. The chat publishes as often as a session may.
    ///
    /// # Errors
    /// None; the name of the chat's session is fixed.
    pub fn new(
        agents: Handle,
        options: ChatOptions,
        pace: Pace,
        dependency: Dependency,
    ) -> Result<Self, Error> {
        Ok(Self {
            id: SessionId::parse(SESSION)?,
            cursor: agents.log().live_cursor(options.topics.clone()),
            untold: VecDeque::new(),
            agents,
            options,
            pace,
            dependency,
        })
    }

    /// Runs until it is stopped, or the log is closed.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut wait = self.options.retry;
        loop {
            let connecting = TextSocket::connect(&self.options.url);
            let Some(connected) = stop.run_until_cancelled(connecting).await else {
                return;
            };
            let lost = match connected {
                Ok(socket) => {
                    self.dependency.set_available(true);
                    tracing::info!("the chat is connected");
                    wait = self.options.retry;
                    self.talk(socket, &stop).await.err()
                }
                Err(error) => Some(outside(error)),
            };
            self.dependency.set_available(false);
            let Some(lost) = lost else {
                return;
            };
            tracing::warn!(
                error = &lost as &dyn std::error::Error,
                "the chat is not there; it is connected again"
            );
            stop.run_until_cancelled(tokio::time::sleep(wait)).await;
            wait = (wait * 2).min(RETRY_MAX);
        }
    }

    /// Tells and listens until the log is closed, or the chat is gone.
    async fn talk(
        &mut self,
        mut socket: TextSocket,
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        let mut over = pin!(async {
            stop.cancelled().await;
            tokio::time::sleep(LAST_WORDS).await;
        });
        loop {
            while let Some(event) = self.untold.front() {
                let frame = self.frame(event);
                tokio::select! {
                    sent = socket.send(frame) => sent.map_err(outside)?,
                    // A chat that takes nothing does not hold up the end.
                    () = &mut over => return Ok(()),
                }
                self.untold.pop_front();
            }
            tokio::select! {
                () = stop.cancelled() => {
                    socket.close().await;
                    return Ok(());
                }
                page = self.cursor.next() => match page {
                    Ok(page) => {
                        let events = page.events.into_iter();
                        let readable = events.filter(|event| self.is_told(event));
                        self.untold = readable.collect();
                    }
                    Err(LogError::Closed) => {
                        socket.close().await;
                        return Ok(());
                    }
                    Err(error) => return Err(error.into()),
                },
                text = socket.next() => {
                    let text = text.map_err(outside)?;
                    if let Err(error) = self.hear(&text).await {
                        socket.send(self.refusal(&error)).await.map_err(outside)?;
                    }
                }
            }
        }
    }

    /// Whether an event is for the chat: not what it said itself, and not what is between two others.
    fn is_told(&self, event: &Event) -> bool {
        let reader = self.agents.principal(&self.id);
        event.source != self.id.source() && reader.is_ok_and(|reader| reader.may_read(event))
    }

    fn frame(&self, event: &Event) -> String {
        let mut frame = Vec::new();
        write_agent_event(&mut frame, self.agents.log().head().epoch, event);
        String::from_utf8_lossy(&frame).into_owned()
    }

    /// Does what the chat says, as when a session does. What is no wish to publish is passed over: chats say much.
    async fn hear(&self, text: &str) -> Result<(), Error> {
        let Some((event_type, payload)) = self.wish(text)? else {
            return Ok(());
        };
        self.pace.take(&self.id, Instant::now())?;
        let causes = Causes::default();
        let said = self
            .agents
            .say(&self.id, &event_type, payload.into(), causes);
        said.await?;
        Ok(())
    }

    /// What the chat wants published: a name and a payload.
    fn wish(&self, text: &str) -> Result<Option<(String, String)>, Error> {
        // Also bounds how deep it is, and lets no member stand there twice.
        let Json::Object(_) = Json::parse(text.as_bytes())? else {
            return Ok(None);
        };
        let Ok(said) = serde_json::from_str::<Said<'_>>(text) else {
            return Ok(None);
        };
        if said.kind.as_deref() == Some("publish") {
            let event_type = said.event_type.ok_or(Error::Invalid {
                what: "event_type",
                why: "is required",
            })?;
            let payload = said.payload.map_or("{}", RawValue::get);
            return Ok(Some((event_type.into_owned(), payload.to_owned())));
        }
        let broadcast = ProtocolEvent::MessageBroadcast;
        let topic = self
            .agents
            .log()
            .catalogue()
            .known_type(broadcast)
            .topic
            .to_string();
        Ok(said
            .message
            .map(|message| (topic, format!(r#"{{"message":{}}}"#, message.get()))))
    }

    fn refusal(&self, error: &Error) -> String {
        let code = error.code();
        let message = match error {
            Error::Log(inner) => inner.to_string(),
            other => other.to_string(),
        };
        json!({
            "event_type": "system.error",
            "session_id": "nexus",
            "code": code,
            "message": message,
            "payload": { "code": code, "message": message },
            "timestamp": iso8601(self.agents.log().clock().now_us()),
        })
        .to_string()
    }
}

fn outside(error: nexus_client::Error) -> Error {
    Error::Outside {
        what: "the chat",
        source: error.into(),
    }
}
