//! A server at an address: each message is a POST, its answer is JSON or a stream of events.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use nexus_auth::Secret;
use nexus_outbound::{Client, Opened, Trust};
use parking_lot::Mutex;
use tokio::{sync::Semaphore, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::debug;
use url::Url;

use super::{
    About, CallError, Changed, ClientCapabilities, Redactor, Request, UpstreamConfig, Vitals,
    calls::Calls,
    connection::{Connection, Subscriptions, Wire, ask},
    handshake::{greet, initialized},
};
use crate::{Id, Incoming, PoolOptions, UpstreamLimits};

mod answer;
mod exchange;
mod listen;
mod old;
pub(crate) mod sse;

use answer::Judged;

/// So many messages that nobody waits for are on their way at once.
const POSTS_MAX: usize = 32;
/// So many answers to the server's questions are on their way at once.
const ANSWERS_MAX: usize = 16;
/// How long a message may take that nobody waits for.
const POST_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the end of a session may take.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(5);
const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The wire to an address. Clones are the same wire.
#[derive(Clone)]
pub(crate) struct Http(Arc<Inner>);

struct Inner {
    client: Client,
    url: Url,
    /// Where messages go, if the server is of the transport before this one.
    endpoint: Option<Url>,
    trust: Trust,
    /// What the configuration wants to be sent.
    headers: HeaderMap,
    capabilities: ClientCapabilities,
    limits: UpstreamLimits,
    listen_backoff: (Duration, Duration),
    calls: Arc<Calls>,
    redactor: Redactor,
    session: Mutex<Session>,
    about: Arc<ArcSwap<About>>,
    subscriptions: Subscriptions,
    /// Held while a session is begun.
    greeting: tokio::sync::Mutex<()>,
    /// Whether a 400 may mean that the session is unknown. Not once a new session did not help.
    may_forget_with_400: AtomicBool,
    posts: Arc<Semaphore>,
    answers: Semaphore,
    tasks: TaskTracker,
    closing: CancellationToken,
}

/// What each request says about the session.
#[derive(Clone, Default)]
struct Session {
    id: Option<HeaderValue>,
    version: Option<HeaderValue>,
    /// Counts the sessions of this connection.
    number: u64,
}

/// Where a server is.
pub(crate) struct Address<'a> {
    pub(crate) url: &'a Url,
    pub(crate) trust: Trust,
    pub(crate) headers: &'a [(HeaderName, Secret)],
}

/// Reaches a server and greets it.
pub(crate) async fn connect(
    config: &UpstreamConfig,
    address: &Address<'_>,
    client: &Client,
    options: &PoolOptions,
) -> Result<Connection<Http>, CallError> {
    let wire = Http::new(config, address, client, options, None)?;
    match wire.clone().greeted().await {
        // Servers of the transport before this one take no messages here.
        Err(
            refusal @ CallError::Status {
                status: 400 | 404 | 405,
                ..
            },
        ) => {
            let (stream, endpoint) = match wire.find_endpoint().await {
                Ok(found) => found,
                Err(error) => {
                    debug!(%error, "nor is it a server of the transport before this one");
                    return Err(refusal);
                }
            };
            let wire = Http::new(config, address, client, options, Some(endpoint))?;
            wire.0.tasks.spawn(wire.clone().read_everything(stream));
            wire.greeted().await
        }
        outcome => outcome,
    }
}

/// The headers of the configuration. Their values are never printed.
fn configured(headers: &[(HeaderName, Secret)]) -> Result<HeaderMap, CallError> {
    let mut map = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let mut value = HeaderValue::from_str(value.expose()).map_err(CallError::not_connected)?;
        value.set_sensitive(true);
        map.append(name, value);
    }
    Ok(map)
}

impl Http {
    fn new(
        config: &UpstreamConfig,
        address: &Address<'_>,
        client: &Client,
        options: &PoolOptions,
        endpoint: Option<Url>,
    ) -> Result<Self, CallError> {
        let limits = &config.limits;
        Ok(Self(Arc::new(Inner {
            client: client.clone(),
            url: address.url.clone(),
            endpoint,
            trust: address.trust,
            headers: configured(address.headers)?,
            capabilities: config.capabilities.clone(),
            limits: limits.clone(),
            listen_backoff: options.listen_backoff,
            calls: Calls::new(config.isolation, limits.questions_max),
            redactor: Redactor::of_address(address.url, address.headers),
            session: Mutex::default(),
            about: Arc::new(ArcSwap::from_pointee(About::unknown())),
            subscriptions: Subscriptions::default(),
            greeting: tokio::sync::Mutex::new(()),
            may_forget_with_400: AtomicBool::new(true),
            posts: Arc::new(Semaphore::new(POSTS_MAX)),
            answers: Semaphore::new(ANSWERS_MAX),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
        })))
    }

    /// The connection, once the server was greeted.
    async fn greeted(self) -> Result<Connection<Self>, CallError> {
        let hang_up = self.0.closing.clone().drop_guard();
        self.begin_session().await?;
        hang_up.disarm();
        let (about, subscriptions) = (self.0.about.clone(), self.0.subscriptions.clone());
        let (calls, limits) = (self.0.calls.clone(), self.0.limits.clone());
        let wire = Arc::new(self);
        Ok(Connection::new(wire, calls, about, subscriptions, &limits))
    }

    fn session(&self) -> Session {
        self.0.session.lock().clone()
    }

    /// Begins a session: greets the server, and listens to what it says by itself.
    async fn begin_session(&self) -> Result<(), CallError> {
        let inner = &*self.0;
        let deadline = Instant::now() + inner.limits.connect;
        let about = greet(
            self,
            &inner.calls,
            &inner.capabilities,
            &inner.limits,
            deadline,
        )
        .await?;
        inner.session.lock().version = HeaderValue::from_str(&about.protocol_version).ok();
        inner.about.store(Arc::new(about));
        self.send(initialized().into()).await?;
        if inner.endpoint.is_none() {
            inner.tasks.spawn(self.clone().listen(self.session()));
        }
        Ok(())
    }

    /// Begins a new session in place of the one with this number, which the server does not know any more;
    /// once, however many requests notice it.
    ///
    /// Boxed, because beginning a session is a request too.
    fn renew_session(&self, number: u64) -> BoxFuture<'_, Result<Session, CallError>> {
        Box::pin(async move {
            let _greeting = self.0.greeting.lock().await;
            if self.session().number == number {
                debug!("the server has forgotten the session: a new one begins");
                self.begin_session().await?;
                self.subscribe_again();
                // What was said between the two sessions was said to nobody.
                for changed in [Changed::Tools, Changed::Resources, Changed::Prompts] {
                    self.0.calls.tell(changed);
                }
            }
            Ok(self.session())
        })
    }

    /// Subscribes to what the session before had subscribed to.
    fn subscribe_again(&self) {
        let wanted: Vec<_> = self.0.subscriptions.lock().iter().cloned().collect();
        if wanted.is_empty() {
            return;
        }
        let http = self.clone();
        self.0.tasks.spawn(async move {
            for uri in wanted {
                let params = serde_json::value::to_raw_value(&serde_json::json!({ "uri": uri }));
                let deadline = Instant::now() + POST_TIMEOUT;
                let request = Request::new("resources/subscribe", params.ok(), deadline);
                let outcome = ask(&http, &http.0.calls, request, &http.0.limits).await;
                if outcome.is_err() {
                    http.0.subscriptions.lock().remove(&uri);
                }
            }
        });
    }

    /// The session that an answer to the greeting began.
    fn keep_session(&self, opened: &Opened) {
        let mut session = self.0.session.lock();
        *session = Session {
            id: opened.headers.get(SESSION_ID).cloned(),
            version: None,
            number: session.number + 1,
        };
    }

    /// Takes one message. What the server asks is answered by a task of its own.
    fn take(&self, text: &[u8], during: Option<i64>) {
        let text = self.0.redactor.message(text);
        let limit_bytes = self.0.limits.message_bytes_max.max(text.len());
        let Ok(message) = Incoming::parse(&text, limit_bytes) else {
            self.0.calls.note_garbage();
            return;
        };
        let Some(asked) = self.0.calls.receive(message, during) else {
            return;
        };
        if let Some(refusal) = asked.refused() {
            self.post(refusal.into());
            return;
        }
        let http = self.clone();
        self.0.tasks.spawn(async move {
            let told = http.clone();
            let tell = move |frame: Vec<u8>| told.post(frame.into());
            let Some(frame) = asked.answer(tell).await else {
                return;
            };
            let _place = http.0.answers.acquire().await;
            // Its id is free before the server can know that.
            drop(asked);
            if let Err(error) = http.send(frame.into()).await {
                debug!(%error, "the server did not take an answer");
            }
        });
    }
}

impl Wire for Http {
    async fn carry(&self, id: i64, method: &str, frame: Bytes) -> Result<(), CallError> {
        if self.0.endpoint.is_some() {
            // The answer comes on the one stream.
            return self.send(frame).await;
        }
        if method == "initialize" {
            let opened = self.open_post(frame, &Session::default()).await?;
            if opened.is_success() {
                self.keep_session(&opened);
            }
            return match self.judge(opened, id, false).await? {
                Judged::Answered => Ok(()),
                Judged::SessionLost => Err(CallError::not_connected(FORGETFUL)),
            };
        }
        let session = self.session();
        let opened = self.open_post(frame.clone(), &session).await?;
        let status = opened.status;
        match self.judge(opened, id, session.id.is_some()).await? {
            Judged::Answered => return Ok(()),
            Judged::SessionLost => {}
        }
        // The server did not work on it, so it can be sent again.
        let session = self.renew_session(session.number).await?;
        let opened = self.open_post(frame, &session).await?;
        if status == 400 && opened.status == 400 {
            self.0.may_forget_with_400.store(false, Ordering::Relaxed);
        }
        match self.judge(opened, id, session.id.is_some()).await? {
            Judged::Answered => Ok(()),
            Judged::SessionLost => Err(CallError::not_connected(FORGETFUL)),
        }
    }

    async fn send(&self, frame: Bytes) -> Result<(), CallError> {
        let session = self.session();
        let opened = tokio::time::timeout(POST_TIMEOUT, self.open_post(frame, &session));
        let opened = opened.await.unwrap_or(Err(CallError::Timeout {
            waited: super::Waited::Total,
            limit: POST_TIMEOUT,
        }))?;
        if opened.is_success() {
            Ok(())
        } else {
            Err(answer::refusal(&opened))
        }
    }

    fn post(&self, frame: Bytes) {
        // Without a runtime nothing can be sent any more: everything stops.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let Ok(place) = self.0.posts.clone().try_acquire_owned() else {
            debug!("too many messages are on their way: one is not sent");
            return;
        };
        let http = self.clone();
        let sending = async move {
            let _place = place;
            if let Err(error) = http.send(frame).await {
                debug!(%error, "the server did not take a message");
            }
        };
        self.0.tasks.spawn_on(sending, &runtime);
    }

    fn examine(&self, _vitals: &mut Vitals) {}

    fn hang_up(&self) {
        self.0.closing.cancel();
    }

    async fn ended(&self) {
        let id = self.0.session.lock().id.take();
        if let Some(id) = id {
            self.say_goodbye(id).await;
        }
        self.0.tasks.close();
        // What is on its way may be waiting for a server that does not answer.
        let _ = tokio::time::timeout(GOODBYE_TIMEOUT, self.0.tasks.wait()).await;
    }
}

/// Why there is no answer from a server that does not know the session that it has just begun.
const FORGETFUL: &str = "the server forgets its sessions at once";
