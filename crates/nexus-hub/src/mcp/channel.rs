//! What one stream has to say: kept until the client has it, and a while longer, for a client that lost its
//! connection and comes back with the id of the last message that it saw.

mod waiting;

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::timeout;

use self::waiting::Waiting;
use super::{
    budget::{Budget, Share, Spent},
    options::{STREAM_BYTES_MAX, STREAM_MESSAGES_MAX},
};

pub(crate) use waiting::List;

/// What a message is to whoever has no room for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Message {
    /// Goes before others when there is no room.
    Notification,
    /// Somebody waits for what comes of it.
    Question,
    /// The client waits for it.
    Answer,
    /// Few words that are told also where there is no room: that there was none for another, that a list is
    /// another.
    Excuse,
}

/// Why something could not be said.
#[derive(Debug)]
pub(crate) enum Unsaid {
    /// Nobody is owed anything on this stream any more.
    Ended,
    /// There is no room for it; here it is again.
    NoRoom {
        /// What there is no room in.
        spent: Spent,
        /// The message.
        text: Vec<u8>,
    },
}

/// One stream.
#[derive(Debug)]
pub(crate) struct Channel {
    /// Which of its session's; part of the ids of its messages.
    pub(crate) number: u64,
    budget: Arc<Budget>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The messages that are kept; the first of them has the number `first`.
    kept: VecDeque<Bytes>,
    first: u64,
    bytes: usize,
    /// Everything before this number was given to a reader.
    unread: u64,
    /// Nothing more comes.
    is_ended: bool,
    /// It held something else than answers.
    is_mixed: bool,
    /// What is told when somebody listens.
    waiting: Waiting,
    /// Which reader is the last that came: those before it end.
    reader: u64,
    waker: Option<Waker>,
}

impl State {
    fn end(&self) -> u64 {
        self.first + self.kept.len() as u64
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Lets go of the first message, if a reader was given it; whether it was.
    fn forget_read(&mut self) -> bool {
        if self.first >= self.unread {
            return false;
        }
        if let Some(message) = self.kept.pop_front() {
            self.bytes -= message.len();
            self.first += 1;
        }
        true
    }
}

/// How the answer to a request begins.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// Everything is there, and it is nothing but answers.
    Whole(Vec<Bytes>),
    /// There is more to say, or it takes long.
    Stream,
}

impl Channel {
    pub(crate) fn new(number: u64, budget: &Arc<Budget>) -> Arc<Self> {
        let state = State {
            first: 1,
            unread: 1,
            ..State::default()
        };
        Arc::new(Self {
            number,
            budget: budget.clone(),
            state: Mutex::new(state),
        })
    }

    /// Says something.
    ///
    /// # Errors
    /// There is no room for it, or nobody is owed it. A notification that finds no room is dropped: its client
    /// is told how many were.
    pub(crate) fn push(&self, text: Vec<u8>, kind: Message) -> Result<(), Unsaid> {
        let mut state = self.state.lock();
        if state.is_ended {
            return Err(Unsaid::Ended);
        }
        // A client is told of what it missed before it is told that this is all.
        if kind != Message::Notification
            && let Some(dropped) = state.waiting.take_dropped()
        {
            let _ = self.keep(&mut state, dropped, Message::Excuse);
        }
        let kept = self.keep(&mut state, text, kind);
        if kept.is_err() && kind == Message::Notification {
            state.waiting.drop_one();
        }
        state.is_mixed |= matches!(kind, Message::Notification | Message::Question);
        state.wake();
        kept
    }

    fn keep(&self, state: &mut State, text: Vec<u8>, kind: Message) -> Result<(), Unsaid> {
        let is_full = |state: &State| {
            let is_full = state.kept.len() >= STREAM_MESSAGES_MAX
                || state.bytes + text.len() > STREAM_BYTES_MAX;
            is_full.then_some(Spent {
                of: "this stream",
                max: STREAM_BYTES_MAX,
            })
        };
        let share = match kind {
            Message::Notification => Share::Half,
            Message::Question | Message::Answer => Share::Whole,
            Message::Excuse => Share::More,
        };
        let room = loop {
            let room = match is_full(state) {
                // What the client was sent is kept for the case that it did not arrive, and only as far as
                // there is room.
                Some(_) if state.forget_read() => continue,
                Some(spent) if kind == Message::Notification => Err(spent),
                _ => self.budget.reserve(text.len(), share),
            };
            match room {
                Ok(room) => break room,
                Err(_) if state.forget_read() => {}
                Err(spent) => return Err(Unsaid::NoRoom { spent, text }),
            }
        };
        state.bytes += text.len();
        state.kept.push_back(room.hold(text));
        Ok(())
    }

    /// Tells, when somebody listens, that a list is another.
    pub(crate) fn list_changed(&self, list: List) {
        let mut state = self.state.lock();
        if !state.is_ended && state.waiting.list(list) {
            state.wake();
        }
    }

    /// Tells, when somebody listens, that a resource is another.
    pub(crate) fn resource_updated(&self, uri: &Arc<str>) {
        let mut state = self.state.lock();
        if !state.is_ended && state.waiting.resource(uri, &self.budget) {
            state.wake();
        }
    }

    /// Whether somebody has ever listened.
    pub(crate) fn has_listener(&self) -> bool {
        self.state.lock().reader > 0
    }

    /// Lets go of what its readers were given.
    pub(crate) fn forget_read(&self) {
        let mut state = self.state.lock();
        while state.forget_read() {}
    }

    /// Nothing more comes.
    pub(crate) fn end(&self) {
        let mut state = self.state.lock();
        state.is_ended = true;
        state.wake();
    }

    /// Waits until it is known how an answer begins, at most for `patience`.
    pub(crate) async fn begins(&self, patience: Duration) -> Beginning {
        let begins = poll_fn(|context| {
            let mut state = self.state.lock();
            if state.is_mixed {
                return Poll::Ready(Beginning::Stream);
            }
            if state.is_ended {
                return Poll::Ready(Beginning::Whole(state.kept.iter().cloned().collect()));
            }
            state.waker = Some(context.waker().clone());
            Poll::Pending
        });
        timeout(patience, begins).await.unwrap_or(Beginning::Stream)
    }

    /// Reads from here on, instead of whoever read before: behind a message, or from the first that nobody
    /// was given.
    pub(crate) fn read(self: &Arc<Self>, after: Option<u64>) -> Reader {
        let mut state = self.state.lock();
        state.reader += 1;
        state.wake();
        let next = match after {
            // What is no longer kept is passed over; the answer always is.
            Some(after) => after.saturating_add(1).clamp(state.first, state.end()),
            None => state.unread,
        };
        Reader {
            channel: self.clone(),
            number: state.reader,
            next,
        }
    }

    /// Turns what waited for a listener into messages.
    fn tell(&self, state: &mut State) {
        if let Some(dropped) = state.waiting.take_dropped() {
            let _ = self.keep(state, dropped, Message::Excuse);
        }
        // They count as told, and nobody would tell of them again.
        for text in state.waiting.take_lists() {
            let _ = self.keep(state, text, Message::Excuse);
        }
        for text in state.waiting.take_updated() {
            if self.keep(state, text, Message::Notification).is_err() {
                state.waiting.drop_one();
            }
        }
    }
}

/// Somebody who reads a channel.
#[derive(Debug)]
pub(crate) struct Reader {
    channel: Arc<Channel>,
    number: u64,
    next: u64,
}

impl Reader {
    /// The next message and its number; nothing when no more comes, or somebody else reads now.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<(u64, Bytes)>> {
        let channel = self.channel.clone();
        let mut state = channel.state.lock();
        if state.reader != self.number {
            return Poll::Ready(None);
        }
        self.next = self.next.max(state.first);
        if self.next >= state.end() {
            channel.tell(&mut state);
            // Room for it may have been made before.
            self.next = self.next.max(state.first);
        }
        let at = usize::try_from(self.next - state.first).unwrap_or(usize::MAX);
        if let Some(message) = state.kept.get(at).cloned() {
            let number = self.next;
            self.next += 1;
            state.unread = state.unread.max(self.next);
            // For the case that it does not arrive it is kept as long as there is room for what was not sent.
            while channel.budget.is_half_spent() && state.forget_read() {}
            return Poll::Ready(Some((number, message)));
        }
        if state.is_ended {
            return Poll::Ready(None);
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }

    /// The number of the last message that it was given.
    pub(crate) fn last(&self) -> u64 {
        self.next.saturating_sub(1)
    }

    /// Which stream it reads.
    pub(crate) fn stream(&self) -> u64 {
        self.channel.number
    }
}

#[cfg(test)]
mod tests;
