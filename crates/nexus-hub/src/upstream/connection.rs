//! One connection: requests take turns, go out under a number, and wait until they are answered or given up.

use std::{
    collections::BTreeSet,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::value::RawValue;
use tokio::{
    sync::{Semaphore, SemaphorePermit, broadcast},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    About, CallError, Changed, Peer, Request, Upstream, Vitals, Waited,
    calls::{Caller, Calls, Ending, Outcome},
    patience::Patience,
};
use crate::{
    Id, Raw, UpstreamLimits,
    message::{
        self,
        meta::{text_member, token_of, with_token},
    },
};

/// The way that messages go to a server. What comes back goes to [`Calls::receive`].
pub(crate) trait Wire: Send + Sync + 'static {
    /// Sends a request. When it is done, the request has been handed over, or has its answer.
    fn carry(
        &self,
        id: i64,
        method: &str,
        frame: Bytes,
    ) -> impl Future<Output = Result<(), CallError>> + Send;

    /// Sends what has no answer.
    fn send(&self, frame: Bytes) -> impl Future<Output = Result<(), CallError>> + Send;

    /// Sends what has no answer as soon as that can be done, without waiting for it.
    fn post(&self, frame: Bytes);

    /// Adds what is known about its health.
    fn examine(&self, vitals: &mut Vitals);

    /// Begins to end the connection.
    fn hang_up(&self);

    /// Ends the connection, and waits until nothing is left of it.
    fn ended(&self) -> impl Future<Output = ()> + Send;
}

/// A server that is connected over some wire.
pub(crate) struct Connection<W: Wire> {
    wire: Arc<W>,
    calls: Arc<Calls>,
    about: Arc<ArcSwap<About>>,
    limits: UpstreamLimits,
    turns: Turns,
    subscriptions: Subscriptions,
    last_used: Mutex<Instant>,
}

/// The resources that were subscribed to over a connection.
pub(crate) type Subscriptions = Arc<Mutex<BTreeSet<String>>>;

impl<W: Wire> Connection<W> {
    pub(crate) fn new(
        wire: Arc<W>,
        calls: Arc<Calls>,
        about: Arc<ArcSwap<About>>,
        subscriptions: Subscriptions,
        limits: &UpstreamLimits,
    ) -> Self {
        Self {
            wire,
            calls,
            about,
            turns: Turns::new(limits),
            limits: limits.clone(),
            subscriptions,
            last_used: Mutex::new(Instant::now()),
        }
    }

    /// Since when nothing has been asked of the server; nothing while it works or is subscribed to.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        let is_used = self.calls.in_flight() > 0 || !self.subscriptions.lock().is_empty();
        (!is_used).then(|| *self.last_used.lock())
    }

    /// Counts as used now.
    pub(crate) fn touch(&self) {
        *self.last_used.lock() = Instant::now();
    }

    async fn make(&self, request: Request) -> Outcome {
        let _turn = self.turns.take(&request).await?;
        let subscription = Subscription::of(&request);
        let outcome = ask(&*self.wire, &self.calls, request, &self.limits).await;
        if let (Some(subscription), Ok(_)) = (subscription, &outcome) {
            subscription.enter(&mut self.subscriptions.lock());
        }
        self.touch();
        outcome
    }
}

impl<W: Wire> Upstream for Connection<W> {
    fn request(&self, request: Request) -> BoxFuture<'_, Outcome> {
        Box::pin(self.make(request))
    }

    fn notify<'a>(
        &'a self,
        method: &'a str,
        params: Option<Raw>,
    ) -> BoxFuture<'a, Result<(), CallError>> {
        let frame = message::notification(method, params.as_deref());
        let limit = self.limits.list;
        Box::pin(async move {
            let sent = tokio::time::timeout(limit, self.wire.send(frame.into())).await;
            let waited = Waited::Total;
            sent.unwrap_or(Err(CallError::Timeout { waited, limit }))
        })
    }

    fn roots_changed(&self, client: Arc<dyn Peer>) -> BoxFuture<'_, ()> {
        if !self.calls.roots.changed(client) {
            return Box::pin(async {});
        }
        Box::pin(async {
            if let Err(error) = self.notify("notifications/roots/list_changed", None).await {
                tracing::debug!(%error, "a server did not hear that roots are others");
            }
        })
    }

    fn about(&self) -> Arc<About> {
        self.about.load_full()
    }

    fn changes(&self) -> broadcast::Receiver<Changed> {
        self.calls.changes()
    }

    fn is_open(&self) -> bool {
        self.calls.is_open()
    }

    fn vitals(&self) -> Vitals {
        let mut vitals = Vitals {
            garbage: self.calls.garbage(),
            in_flight: self.calls.in_flight(),
            ..Vitals::default()
        };
        self.wire.examine(&mut vitals);
        vitals
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.calls.end(Ending::Closed);
            self.wire.hang_up();
            self.wire.ended().await;
        })
    }
}

impl<W: Wire> Drop for Connection<W> {
    fn drop(&mut self) {
        self.calls.end(Ending::Closed);
        self.wire.hang_up();
    }
}

/// Makes one request and waits for its outcome.
pub(crate) async fn ask<W: Wire>(
    wire: &W,
    calls: &Arc<Calls>,
    request: Request,
    limits: &UpstreamLimits,
) -> Outcome {
    let Request {
        method,
        params,
        deadline,
        cancel,
        peer,
        principal,
    } = request;
    let id = calls.next_id();
    // A tool may work for long: with a token it can say that it still does, also if nobody else listens.
    let has_token = &*method == "tools/call" || token_of(params.as_deref()).is_some();
    let (params, token) = if has_token {
        with_token(params, id)
    } else {
        (params, None)
    };
    let deadline = deadline.min(Instant::now() + limits.total);
    let patience = Patience::new(deadline, limits.idle);
    let caller = Caller {
        peer,
        token: token.map(Arc::from),
        patience: patience.clone(),
        is_somebodys: principal.is_some(),
        ended: CancellationToken::new(),
    };
    let answered = calls.begin(id, caller)?;
    let _entry = Entry {
        calls,
        wire,
        id,
        // The greeting is not cancelled: the connection ends with it.
        can_be_cancelled: &*method != "initialize",
    };
    let frame = message::request(&Id::Number(id), &method, params.as_deref());
    let carried = wire.carry(id, &method, frame.into());
    tokio::pin!(answered, carried);
    let mut is_carried = false;
    loop {
        tokio::select! {
            biased;
            outcome = &mut answered => return outcome.unwrap_or(Err(CallError::Closed)),
            done = &mut carried, if !is_carried => {
                is_carried = true;
                if let Err(error) = done {
                    calls.forget(id);
                    return Err(error);
                }
            }
            () = cancel.cancelled() => return Err(CallError::Cancelled),
            error = patience.over() => return Err(error),
        }
    }
}

/// A request in the table. Leaves it when nobody waits any more, and then the server is told.
struct Entry<'a, W: Wire> {
    calls: &'a Calls,
    wire: &'a W,
    id: i64,
    can_be_cancelled: bool,
}

impl<W: Wire> Drop for Entry<'_, W> {
    fn drop(&mut self) {
        let was_waiting = self.calls.forget(self.id);
        if !was_waiting || !self.can_be_cancelled {
            return;
        }
        let params = format!(
            r#"{{"requestId":{},"reason":"the answer is not waited for any more"}}"#,
            self.id
        );
        if let Ok(params) = serde_json::from_str::<&RawValue>(&params) {
            let frame = message::notification("notifications/cancelled", Some(params));
            self.wire.post(frame.into());
        }
    }
}

/// How many requests may be with the server at once, and how many may wait for that.
struct Turns {
    places: Semaphore,
    waiting: AtomicUsize,
    waiting_max: usize,
}

/// Counts as waiting while it lives.
struct InLine<'a>(&'a AtomicUsize);

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Turns {
    fn new(limits: &UpstreamLimits) -> Self {
        Self {
            places: Semaphore::new(limits.in_flight_max.clamp(1, Semaphore::MAX_PERMITS)),
            waiting: AtomicUsize::new(0),
            waiting_max: limits.waiting_max,
        }
    }

    async fn take(&self, request: &Request) -> Result<SemaphorePermit<'_>, CallError> {
        if let Ok(place) = self.places.try_acquire() {
            return Ok(place);
        }
        let busy = CallError::Busy {
            limit: self.waiting_max,
            what: "requests wait for it",
        };
        let before = self.waiting.fetch_add(1, Ordering::SeqCst);
        let _in_line = InLine(&self.waiting);
        if before >= self.waiting_max {
            return Err(busy);
        }
        tokio::select! {
            biased;
            place = self.places.acquire() => place.map_err(|_| CallError::Closed),
            () = request.cancel.cancelled() => Err(CallError::Cancelled),
            () = tokio::time::sleep_until(request.deadline) => Err(busy),
        }
    }
}

/// What a request changes about what is subscribed to, once it succeeds.
struct Subscription {
    uri: String,
    is_wanted: bool,
}

impl Subscription {
    fn of(request: &Request) -> Option<Self> {
        let is_wanted = match &*request.method {
            "resources/subscribe" => true,
            "resources/unsubscribe" => false,
            _ => return None,
        };
        let uri = text_member(request.params.as_deref(), "uri")?;
        Some(Self { uri, is_wanted })
    }

    fn enter(self, subscriptions: &mut BTreeSet<String>) {
        if self.is_wanted {
            subscriptions.insert(self.uri);
        } else {
            subscriptions.remove(&self.uri);
        }
    }
}
