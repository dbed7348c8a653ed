//! The client of a session, as a server sees it that works on one of its requests: told of progress and of
//! what the server logs, and asked for what only the client has.

use std::{
    borrow::Cow,
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::json;
use tokio::time::timeout;

use super::{
    channel::{Channel, Message, Unsaid},
    session::{Follows, Level, Session},
};
use crate::{
    ClientCapabilities, Following, Id, METHOD_NOT_FOUND, Peer, Raw, RpcError,
    message::{
        self, INTERNAL_ERROR, INVALID_PARAMS,
        meta::{token_of, with_token},
    },
};

const LOGGED: &str = "notifications/message";

/// One request's way to its client.
pub(crate) struct SessionPeer {
    pub(crate) session: Arc<Session>,
    /// The stream of the request; nothing where the client reads no streams.
    pub(crate) channel: Option<Arc<Channel>>,
    pub(crate) question_timeout: Duration,
}

#[derive(Deserialize)]
struct Elicitation<'a> {
    #[serde(borrow, default)]
    mode: Option<Cow<'a, str>>,
}

impl SessionPeer {
    /// Whether the client wants a message of a server's log. One whose level nobody understands is shown.
    fn wants(&self, params: Option<&Raw>) -> bool {
        let level = Level::of(params.map(|params| &**params));
        level.is_none_or(|level| self.session.wants(level))
    }

    /// Whether the client said that it can be asked that.
    fn check(&self, method: &str, params: Option<&Raw>) -> Result<(), RpcError> {
        let can = &self.session.capabilities;
        let may_ask = match method {
            "roots/list" => can.has_roots(),
            "sampling/createMessage" => can.has_sampling(),
            "elicitation/create" => {
                let asked = params.map(|params| serde_json::from_str(params.get()));
                let asked: Elicitation<'_> = match asked {
                    Some(Ok(asked)) => asked,
                    _ => return Err(RpcError::new(INVALID_PARAMS, "the question has no form")),
                };
                match asked.mode.as_deref() {
                    Some("url") => can.has_url_elicitation(),
                    _ => can.has_form_elicitation(),
                }
            }
            "ping" => true,
            _ => false,
        };
        if may_ask {
            return Ok(());
        }
        let why = format!("the client cannot be asked for {method}");
        Err(RpcError::new(METHOD_NOT_FOUND, why))
    }

    async fn ask_client(
        &self,
        method: &str,
        mut params: Option<Raw>,
        following: Option<Following>,
    ) -> Result<Raw, RpcError> {
        self.check(method, params.as_ref())?;
        let Some(channel) = &self.channel else {
            let why = "the client cannot be asked anything: it reads no streams";
            return Err(RpcError::new(METHOD_NOT_FOUND, why));
        };
        let mut question = self.session.questions.ask()?;
        // Two servers may have chosen the same token: the client is given one that is the question's own.
        if let Some(token) = token_of(params.as_deref()) {
            (params, _) = with_token(params, question.id);
            if let Some(following) = following {
                question.follow(Follows::new(token, following));
            }
        }
        let text = message::request(&Id::Number(question.id), method, params.as_deref());
        match self.session.say(channel, text, Message::Question) {
            Ok(()) => {}
            Err(Unsaid::Ended) => {
                return Err(RpcError::new(INTERNAL_ERROR, "the client is gone"));
            }
            Err(Unsaid::NoRoom { .. }) => {
                let why = "the client does not take what it is sent, and cannot be asked more";
                return Err(RpcError::new(INTERNAL_ERROR, why));
            }
        }
        let mut open = Open {
            session: &self.session,
            channel,
            id: question.id,
            is_settled: false,
        };
        let session_ended = self.session.ended();
        let answered = tokio::select! {
            answered = timeout(self.question_timeout, &mut question.answered) => answered,
            () = session_ended.cancelled() => {
                return Err(RpcError::new(INTERNAL_ERROR, "the client is gone"));
            }
        };
        match answered {
            Ok(answered) => {
                open.is_settled = true;
                answered
                    .unwrap_or_else(|_| Err(RpcError::new(INTERNAL_ERROR, "the client is gone")))
            }
            Err(_) => {
                let seconds = self.question_timeout.as_secs();
                let why = format!("the client gave no answer for {seconds} s");
                Err(RpcError::new(INTERNAL_ERROR, why))
            }
        }
    }
}

/// A question that the client may still answer: withdrawn if nobody waits for that any more.
struct Open<'a> {
    session: &'a Session,
    channel: &'a Channel,
    id: i64,
    is_settled: bool,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if !self.is_settled {
            let withdrawn = json!({
                "jsonrpc": "2.0",
                "method": "notifications/cancelled",
                "params": { "requestId": self.id, "reason": "nobody waits for the answer any more" },
            });
            let withdrawn = withdrawn.to_string().into_bytes();
            // Who does not read it answers a question that nobody waits for, and no harm is done.
            let _ = self
                .session
                .say(self.channel, withdrawn, Message::Notification);
        }
    }
}

impl Peer for SessionPeer {
    fn notify(&self, method: &str, params: Option<Raw>) {
        let Some(channel) = &self.channel else {
            return;
        };
        if method == LOGGED && !self.wants(params.as_ref()) {
            return;
        }
        let text = message::notification(method, params.as_deref());
        // Its client is told how much it missed.
        let _ = self.session.say(channel, text, Message::Notification);
    }

    fn ask(&self, method: &str, params: Option<Raw>) -> BoxFuture<'_, Result<Raw, RpcError>> {
        let method: Box<str> = method.into();
        Box::pin(async move { self.ask_client(&method, params, None).await })
    }

    fn ask_following(
        &self,
        method: &str,
        params: Option<Raw>,
        following: Following,
    ) -> BoxFuture<'_, Result<Raw, RpcError>> {
        let method: Box<str> = method.into();
        Box::pin(async move { self.ask_client(&method, params, Some(following)).await })
    }

    fn capabilities(&self) -> &ClientCapabilities {
        &self.session.capabilities
    }
}

/// The client of a session where no request of it runs: asked for its roots on the stream that belongs to no
/// request, as long as there is the session.
pub(crate) struct StandingPeer {
    session: Weak<Session>,
    capabilities: ClientCapabilities,
    question_timeout: Duration,
}

impl StandingPeer {
    pub(crate) fn new(session: &Arc<Session>, question_timeout: Duration) -> Self {
        Self {
            session: Arc::downgrade(session),
            capabilities: session.capabilities.clone(),
            question_timeout,
        }
    }

    async fn ask_client(&self, method: &str) -> Result<Raw, RpcError> {
        let session = self.session.upgrade();
        // Who does not listen would never know that it was asked.
        let session = session.filter(|session| session.standing.has_listener());
        let session =
            session.ok_or_else(|| RpcError::new(INTERNAL_ERROR, "the client does not listen"))?;
        let peer = SessionPeer {
            channel: Some(session.standing.clone()),
            session,
            question_timeout: self.question_timeout,
        };
        peer.ask_client(method, None, None).await
    }
}

impl Peer for StandingPeer {
    /// What belongs to no request reaches its client in another way.
    fn notify(&self, _: &str, _: Option<Raw>) {}

    fn ask(&self, method: &str, _: Option<Raw>) -> BoxFuture<'_, Result<Raw, RpcError>> {
        let method: Box<str> = method.into();
        Box::pin(async move { self.ask_client(&method).await })
    }

    fn capabilities(&self) -> &ClientCapabilities {
        &self.capabilities
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;
    use crate::mcp::{
        channel::Beginning,
        session::{Hello, for_test, with_hello_for_test},
        version::Version,
    };

    fn raw(text: &str) -> Raw {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    fn peer(capabilities: &str) -> (SessionPeer, Arc<Channel>) {
        let session = with_hello_for_test(Hello {
            version: Version::LATEST,
            capabilities: ClientCapabilities::new(raw(capabilities)),
        });
        let channel = session.streams.open();
        let peer = SessionPeer {
            session,
            channel: Some(channel.clone()),
            question_timeout: Duration::from_secs(60),
        };
        (peer, channel)
    }

    /// What is on the stream, once it ended.
    async fn said(channel: &Arc<Channel>) -> Vec<String> {
        channel.end();
        let mut reader = channel.read(None);
        let mut said = Vec::new();
        while let Some((_, message)) = std::future::poll_fn(|cx| reader.poll_next(cx)).await {
            said.push(String::from_utf8(message.to_vec()).unwrap());
        }
        said
    }

    #[tokio::test]
    async fn a_client_is_asked_only_what_it_said_it_can_do() {
        let (peer, channel) = peer(r#"{"elicitation":{"url":{}},"roots":{}}"#);
        let refused = [
            ("sampling/createMessage", "{}"),
            ("elicitation/create", r#"{"mode":"form"}"#),
            ("elicitation/create", "{}"),
            ("elicitation/create", "[]"),
            ("tools/call", "{}"),
        ];
        for (method, params) in refused {
            let answer = peer.ask(method, Some(raw(params))).await;
            assert!(answer.is_err(), "{method} {params}");
        }
        assert!(said(&channel).await.is_empty());
    }

    #[tokio::test]
    async fn an_answer_comes_back_as_the_client_wrote_it() {
        let (peer, channel) = peer(r#"{"elicitation":{}}"#);
        let session = peer.session.clone();
        let asking = peer.ask("elicitation/create", Some(raw(r#"{"message":"Who?"}"#)));
        let answering = async {
            assert_eq!(
                channel.begins(Duration::from_secs(5)).await,
                Beginning::Stream
            );
            let answer = raw(r#"{"action":"accept", "content":{"n":1.50}}"#);
            session.questions.answered(Some(&Id::Number(1)), Ok(answer));
        };
        let (answer, ()) = tokio::join!(asking, answering);
        assert_eq!(
            answer.unwrap().get(),
            r#"{"action":"accept", "content":{"n":1.50}}"#
        );
        let expected =
            r#"{"jsonrpc":"2.0","id":1,"method":"elicitation/create","params":{"message":"Who?"}}"#;
        assert_eq!(said(&channel).await, [expected]);
    }

    #[tokio::test]
    async fn a_question_that_nobody_waits_for_is_withdrawn() {
        let (mut peer, channel) = peer(r#"{"roots":{}}"#);
        peer.question_timeout = Duration::from_millis(1);
        // Its time runs out; then its asker goes away.
        assert!(peer.ask("roots/list", None).await.is_err());
        peer.question_timeout = Duration::from_secs(60);
        let asking = peer.ask("roots/list", None);
        assert!(timeout(Duration::from_millis(1), asking).await.is_err());
        let said = said(&channel).await;
        assert_eq!(said.len(), 4, "{said:?}");
        for (at, id) in [(1, "\"requestId\":1"), (3, "\"requestId\":2")] {
            assert!(said[at].contains("notifications/cancelled"), "{said:?}");
            assert!(said[at].contains(id), "{said:?}");
        }
    }

    #[tokio::test]
    async fn who_wants_warnings_is_spared_the_rest() {
        let session = for_test(Version::LATEST);
        session.set_level(Level::Warning);
        let channel = session.streams.open();
        let peer = SessionPeer {
            session,
            channel: Some(channel.clone()),
            question_timeout: Duration::from_secs(60),
        };
        for level in ["info", "warning", "nonsense"] {
            let params = format!(r#"{{"level":"{level}","data":"x"}}"#);
            peer.notify(LOGGED, Some(raw(&params)));
        }
        peer.notify("notifications/progress", Some(raw(r#"{"progress":1}"#)));
        let said = said(&channel).await;
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(said[0].contains("warning") && said[1].contains("nonsense"));
        assert!(said[2].contains("notifications/progress"));
    }
}
