//! A subscription: events in order, each once, over any number of connections.

mod feed;
mod follow;
mod sse;

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_util::Stream;
use nexus_core::Position;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    Error, Event, Item, State,
    buffer::{Arrival, Buffer},
    client::Shared,
    subscribe::Asked,
};

/// Follows the log: gives each event once and in order, and comes back by itself when the connection is
/// lost. It ends when it is drained, when the server says that it makes no sense to come back, or when it
/// is dropped.
///
/// Also a [`Stream`]. Cancel-safe: a call of [`Subscription::next`] that is dropped takes nothing.
#[derive(Debug)]
#[must_use = "it ends when it is dropped"]
pub struct Subscription {
    buffer: Arc<Buffer>,
    /// Taken from the buffer, not given yet.
    taken: VecDeque<Arrival>,
    position: Option<Position>,
    states: watch::Receiver<State>,
    acks: watch::Sender<Option<Position>>,
    progress: Arc<Progress>,
    durable: bool,
    /// It is being drained.
    stop: CancellationToken,
    /// Ends the task when the subscription is dropped.
    _dropped: DropGuard,
}

/// What the reader and the task tell each other beside the events.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// The last event that was given, of a durable subscription.
    given: Mutex<Option<Position>>,
    /// What the server has confirmed.
    confirmed: Mutex<Option<Position>>,
}

/// Starts the task that fills the buffer.
pub(crate) fn begin(shared: &Arc<Shared>, asked: Asked) -> Subscription {
    let options = &shared.options;
    let buffer = Buffer::new(options.buffer_events_max, options.buffer_bytes_max);
    let buffer = Arc::new(buffer);
    let (state, states) = watch::channel(State::Connecting);
    let (acks, acked) = watch::channel(None);
    let stop: CancellationToken = shared.draining.child_token();
    let durable = asked.durable.is_some();
    let progress = Arc::<Progress>::default();
    let follow = follow::Follow {
        asked,
        buffer: Arc::clone(&buffer),
        state,
        acks: acked,
        progress: Arc::clone(&progress),
        through: None,
        unreadable: follow::Unreadable::default(),
        stop: stop.clone(),
        shared: Arc::clone(shared),
    };
    shared.tasks.spawn(follow.run());
    Subscription {
        buffer,
        taken: VecDeque::new(),
        position: None,
        states,
        acks,
        progress,
        durable,
        _dropped: stop.clone().drop_guard(),
        stop,
    }
}

impl Subscription {
    /// The next event, or the word that some are missing; nothing when the subscription is over.
    ///
    /// An error is the last thing that it gives.
    pub async fn next(&mut self) -> Option<Result<Item, Error>> {
        poll_fn(|cx| self.poll_item(cx)).await
    }

    /// The next event.
    ///
    /// # Errors
    /// What ended the subscription; [`Error::Closed`] with 1000 when it was drained. A gap is an error
    /// here: [`Error::Unreadable`].
    pub async fn next_event(&mut self) -> Result<Event, Error> {
        match self.next().await {
            Some(Ok(Item::Event(event))) => Ok(event),
            Some(Ok(Item::Gap { reason, from })) => Err(Error::unreadable(format!(
                "events are missing ({reason:?}); the stream goes on behind {from}"
            ))),
            Some(Err(error)) => Err(error),
            None => Err(Error::Closed {
                code: 1000,
                reason: String::from("the subscription is over"),
            }),
        }
    }

    /// Where it is: behind what was given, and behind what was passed over because it does not match.
    /// Nothing until it is known where it began.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.position
    }

    /// How its connection is.
    #[must_use]
    pub fn state(&self) -> State {
        self.states.borrow().clone()
    }

    /// How its connection is, to be watched.
    #[must_use]
    pub fn states(&self) -> watch::Receiver<State> {
        self.states.clone()
    }

    /// Waits until it is subscribed, or over; what is over then is told by [`Subscription::next`].
    pub async fn live(&mut self) -> State {
        let reached = |state: &State| matches!(state, State::Live | State::Closed { .. });
        match self.states.wait_for(reached).await {
            Ok(state) => state.clone(),
            Err(_) => State::closed("the subscription is over"),
        }
    }

    /// Acknowledges everything up to here: a durable subscription that comes back goes on behind it. Sent
    /// in the background; of many only the newest.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the subscription is not durable.
    pub fn ack(&self, position: Position) -> Result<(), Error> {
        if !self.durable {
            let why = "only a durable one can acknowledge";
            return Err(Error::invalid("the subscription", why));
        }
        self.acks.send_replace(Some(position));
        Ok(())
    }

    /// The last position that the server has confirmed as acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> Option<Position> {
        *self.progress.confirmed.lock()
    }

    fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Item, Error>>> {
        // From the moment in which draining begins nothing more is given: it comes again to whoever goes
        // on.
        if self.stop.is_cancelled() {
            self.taken.clear();
            self.buffer.clear();
        }
        loop {
            let Some(arrival) = self.taken.pop_front() else {
                match ready!(self.buffer.poll_take(cx, &mut self.taken)) {
                    Some(Ok(())) => continue,
                    Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                    None => return Poll::Ready(None),
                }
            };
            match arrival {
                Arrival::Moved(position) => self.position = Some(position),
                Arrival::Item(item) => {
                    self.note(&item);
                    return Poll::Ready(Some(Ok(item)));
                }
            }
        }
    }

    fn note(&mut self, item: &Item) {
        match item {
            Item::Event(event) => {
                self.position = Some(event.position);
                if self.durable {
                    *self.progress.given.lock() = Some(event.position);
                }
            }
            Item::Gap { from, .. } => self.position = Some(*from),
        }
    }
}

impl Stream for Subscription {
    type Item = Result<Item, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_item(cx)
    }
}
