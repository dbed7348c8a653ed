//! The task of a subscription: connects, follows, comes back.

use std::{
    borrow::Cow,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use nexus_core::Position;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{Progress, feed::Feed, sse::Sse};
use crate::{
    Error, GapReason, Item, Start, State, Transport,
    buffer::{Arrival, Buffer},
    client::Shared,
    refusal::Lost,
    retry::Backoff,
    socket::Socket,
    subscribe::Asked,
    wire::{Frame, Say, Subscribe},
};

/// What the task knows.
pub(super) struct Follow {
    pub(super) shared: Arc<Shared>,
    pub(super) asked: Asked,
    pub(super) buffer: Arc<Buffer>,
    pub(super) state: watch::Sender<State>,
    pub(super) acks: watch::Receiver<Option<Position>>,
    pub(super) progress: Arc<Progress>,
    /// Everything up to here is in the buffer, or was, or does not match.
    pub(super) through: Option<Position>,
    /// How often what follows a position could not be read.
    pub(super) unreadable: Unreadable,
    /// The subscription is dropped or drained.
    pub(super) stop: CancellationToken,
}

/// What could not be read, one time after the other at one position.
#[derive(Debug, Default)]
pub(super) struct Unreadable {
    times: u32,
    at: Option<Position>,
}

/// So often what follows a position is asked for that cannot be read: if it was garbled on its way it comes right
/// the next time, and else it never will.
const UNREADABLE_MAX: u32 = 3;

/// One connection, and how far it has come.
struct Connection {
    feed: Feed,
    /// It has to be subscribed until then.
    subscribed_by: Instant,
    subscribed_at: Option<Instant>,
    /// The acknowledgement that is on its way.
    acking: Option<Position>,
}

/// What there is to do.
enum Turn {
    Heard(Vec<Frame>),
    /// The reader took something, so that the connection is listened to again.
    Room,
    /// The reader acknowledged something, or is gone.
    Acked,
    Stopped,
}

impl Follow {
    /// Runs until the subscription is over.
    pub(super) async fn run(mut self) {
        let (stop, shared) = (self.stop.clone(), Arc::clone(&self.shared));
        let too_late = async {
            stop.cancelled().await;
            sleep(shared.options.drain_timeout).await;
        };
        let error = tokio::select! {
            error = self.follow() => error,
            () = shared.ended.cancelled() => None,
            () = too_late => None,
        };
        if self.unconfirmed().is_some() {
            shared.unconfirmed.store(true, Ordering::SeqCst);
        }
        let why = error.as_ref().map(ToString::to_string);
        let why = why.unwrap_or_else(|| String::from("it was ended"));
        self.state.send_replace(State::closed(why));
        self.buffer.close(error);
    }

    /// Connects again and again; an error is final.
    async fn follow(&mut self) -> Option<Error> {
        let policy = self.shared.options.retry.clone();
        let mut backoff = Backoff::new(policy, self.shared.random.clone());
        loop {
            // While nobody takes what is there, a connection would only be closed again for being slow.
            tokio::select! {
                () = self.buffer.room() => {}
                () = self.stop.cancelled() => self.buffer.clear(),
            }
            if self.is_finished() {
                return None;
            }
            self.state.send_replace(State::Connecting);
            let mut stood = Duration::ZERO;
            let Err(lost) = self.stay_connected(&mut stood).await else {
                return None;
            };
            backoff.stood(stood);
            match lost {
                Lost::Over(error) => return Some(error),
                Lost::Back { why, after } => self.wait(&mut backoff, &why, after).await,
            }
        }
    }

    async fn wait(&mut self, backoff: &mut Backoff, why: &Error, after: Option<Duration>) {
        let attempt = backoff.attempt();
        let until = Instant::now() + backoff.wait(after);
        debug!(
            error = why as &dyn std::error::Error,
            attempt, "a stream is lost and comes back"
        );
        self.state.send_replace(State::Waiting { until, attempt });
        let already_stopped = self.stop.is_cancelled();
        tokio::select! {
            () = sleep_until(until) => {}
            () = self.stop.cancelled(), if !already_stopped => {}
        }
    }

    /// Follows one connection; good is its end only when the subscription has ended in order.
    async fn stay_connected(&mut self, stood: &mut Duration) -> Result<(), Lost> {
        let subscribed_by = Instant::now() + self.shared.options.connect_timeout;
        let mut connection = Connection {
            feed: self.connect().await?,
            subscribed_by,
            subscribed_at: None,
            acking: None,
        };
        let ended = self.turns(&mut connection).await;
        *stood = connection
            .subscribed_at
            .map_or(Duration::ZERO, |at| at.elapsed());
        if ended.is_ok() {
            connection.feed.close().await;
        }
        ended
    }

    async fn turns(&mut self, connection: &mut Connection) -> Result<(), Lost> {
        loop {
            if self.stop.is_cancelled() {
                self.buffer.clear();
                if self.is_finished() {
                    return Ok(());
                }
            }
            match self.turn(connection).await? {
                Turn::Heard(frames) => self.take(connection, frames)?,
                Turn::Room => connection.feed.forgive(),
                Turn::Acked | Turn::Stopped => {}
            }
            self.send_ack(connection).await?;
        }
    }

    async fn turn(&mut self, connection: &mut Connection) -> Result<Turn, Lost> {
        let has_room = self.buffer.has_room();
        let stopped = self.stop.is_cancelled();
        // Acknowledgements that come while one is on its way are sent when that is confirmed.
        let may_ack = connection.subscribed_at.is_some()
            && connection.acking.is_none()
            && self.acks.has_changed().is_ok();
        let waits = connection.subscribed_at.is_none();
        tokio::select! {
            frames = connection.feed.next(), if has_room => Ok(Turn::Heard(frames?)),
            () = self.buffer.room(), if !has_room => Ok(Turn::Room),
            _ = self.acks.changed(), if may_ack => Ok(Turn::Acked),
            () = self.stop.cancelled(), if !stopped => Ok(Turn::Stopped),
            () = sleep_until(connection.subscribed_by), if waits => {
                let after = self.shared.options.connect_timeout;
                Err(Lost::back(Error::TimedOut { after }))
            }
        }
    }

    /// Connects, and asks for what comes behind what is known.
    async fn connect(&self) -> Result<Feed, Lost> {
        let (shared, asked) = (&self.shared, &self.asked);
        if asked.transport == Transport::Sse {
            let sse = Sse::open(shared, asked, self.through).await?;
            return Ok(Feed::Sse(Box::new(sse)));
        }
        let mut socket = Socket::open(shared).await?;
        let subscribe = Say::Subscribe(Subscribe {
            id: Subscribe::ID,
            patterns: &asked.patterns,
            filter: asked.filter.as_deref(),
            from: self.from(),
            cursor: asked.durable.as_deref(),
            batch: asked.batch,
        });
        socket.send(subscribe.to_text()).await?;
        Ok(Feed::Socket(Box::new(socket)))
    }

    fn from(&self) -> Option<Cow<'static, str>> {
        let start = self.through.map(Start::After).or(self.asked.from);
        match start {
            Some(Start::After(position)) => Some(position.to_string().into()),
            Some(Start::Earliest) => Some("earliest".into()),
            // What the server does by itself.
            Some(Start::Latest) | None => None,
        }
    }

    /// Puts into the buffer what is new in the frames.
    fn take(&mut self, connection: &mut Connection, frames: Vec<Frame>) -> Result<(), Lost> {
        let mut arrivals = Vec::with_capacity(frames.len());
        let taken = frames
            .into_iter()
            .try_for_each(|frame| self.take_one(connection, frame, &mut arrivals));
        // Also what came before the frame that ended it.
        self.buffer.push(arrivals);
        taken
    }

    fn take_one(
        &mut self,
        connection: &mut Connection,
        frame: Frame,
        arrivals: &mut Vec<Arrival>,
    ) -> Result<(), Lost> {
        match frame {
            Frame::Subscribed { gap, position } => {
                if connection.subscribed_at.is_none() {
                    connection.subscribed_at = Some(Instant::now());
                    self.state.send_replace(State::Live);
                }
                match gap {
                    // A durable one begins where it was acknowledged, and what was removed behind that was
                    // here before.
                    Some(GapReason::Pruned)
                        if self
                            .through
                            .is_some_and(|through| is_behind(position, through)) => {}
                    Some(reason) => self.gap(reason, position, arrivals),
                    // Where it goes on is known; where a first one begins is not.
                    None if self.through.is_none() => self.moved(position, arrivals),
                    None => {}
                }
            }
            Frame::Event(event) => {
                match self.through {
                    // Sent again after it came: that is what resuming is.
                    Some(through) if is_behind(event.position, through) => return Ok(()),
                    Some(through) if through.epoch != event.position.epoch => {
                        self.gap(GapReason::Epoch, event.position, arrivals);
                    }
                    _ => {}
                }
                self.through = Some(event.position);
                arrivals.push(Arrival::Item(Item::Event(*event)));
            }
            Frame::Position(position) => {
                if !self
                    .through
                    .is_some_and(|through| is_behind(position, through))
                {
                    self.moved(position, arrivals);
                }
            }
            // The server may say one that is further on, which an earlier reader acknowledged.
            Frame::Acked => {
                if let Some(position) = connection.acking.take() {
                    *self.progress.confirmed.lock() = Some(position);
                }
            }
            Frame::End { code, reason } => return Err(Lost::closed(code, &reason)),
            // This connection says nothing but what can be refused as a whole.
            Frame::Refused { refusal, .. } => return Err(Lost::refused(refusal)),
            Frame::Unreadable(error) => return Err(self.unreadable(error)),
            Frame::Hello | Frame::Published { .. } | Frame::Other => {}
        }
        Ok(())
    }

    /// Comes back to the last position for what could not be read, and gives up when it stays so.
    fn unreadable(&mut self, error: Error) -> Lost {
        if self.unreadable.at != self.through {
            self.unreadable = Unreadable {
                times: 0,
                at: self.through,
            };
        }
        self.unreadable.times += 1;
        if self.unreadable.times >= UNREADABLE_MAX {
            return Lost::Over(error);
        }
        let after = self.through.map(|position| position.to_string());
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            after,
            "what the server said cannot be read; the stream goes on from its last position"
        );
        Lost::back(error)
    }

    fn moved(&mut self, position: Position, arrivals: &mut Vec<Arrival>) {
        self.through = Some(position);
        arrivals.push(Arrival::Moved(position));
    }

    fn gap(&mut self, reason: GapReason, from: Position, arrivals: &mut Vec<Arrival>) {
        self.through = Some(from);
        arrivals.push(Arrival::Item(Item::Gap { reason, from }));
    }

    /// Sends what the reader acknowledged. One is on its way at a time: of those that come meanwhile only
    /// the newest matters.
    async fn send_ack(&mut self, connection: &mut Connection) -> Result<(), Lost> {
        if connection.subscribed_at.is_none() || connection.acking.is_some() {
            return Ok(());
        }
        self.acks.mark_unchanged();
        let Some(position) = self.unconfirmed() else {
            return Ok(());
        };
        connection.acking = Some(position);
        connection.feed.say(Say::ack(position).to_text()).await
    }

    /// What the reader acknowledged and the server has not confirmed. What was acknowledged of a log that is
    /// no more means nothing to the one that took its place.
    fn unconfirmed(&self) -> Option<Position> {
        let acked = *self.acks.borrow();
        let is_gone = |acked: Position| {
            self.through
                .is_some_and(|through| through.epoch != acked.epoch)
        };
        acked
            .filter(|_| acked != *self.progress.confirmed.lock())
            .filter(|acked| !is_gone(*acked))
    }

    /// Stopped, and nothing is open: neither an acknowledgement at the server, nor, while there is a
    /// reader, an event in its hands.
    fn is_finished(&self) -> bool {
        if !self.stop.is_cancelled() || self.unconfirmed().is_some() {
            return false;
        }
        let reader_is_gone = self.acks.has_changed().is_err();
        let (given, acked) = (*self.progress.given.lock(), *self.acks.borrow());
        // Also what stands behind the last event may be acknowledged: `Subscription::position`.
        let is_acked = match (given, acked) {
            (None, _) => true,
            (Some(given), Some(acked)) => is_behind(given, acked),
            (Some(_), None) => false,
        };
        reader_is_gone || is_acked
    }
}

/// Whether the log has come past a position when it has come so far.
fn is_behind(position: Position, through: Position) -> bool {
    position.epoch == through.epoch && position.seq <= through.seq
}
