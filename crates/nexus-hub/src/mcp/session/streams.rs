//! The streams on which the requests of a session are answered: kept for a client that comes back to them.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::super::{
    budget::Budget,
    channel::Channel,
    options::{ENDED_STREAM_KEPT, ENDED_STREAMS_MAX, REQUESTS_PER_SESSION_MAX},
};

/// The stream that belongs to no request.
pub(crate) const STANDING: u64 = 0;

/// The streams of one session's requests.
#[derive(Debug)]
pub(crate) struct Streams {
    budget: Arc<Budget>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    last: u64,
    /// Those that a client can come back to.
    kept: VecDeque<Kept>,
}

#[derive(Debug)]
struct Kept {
    channel: Arc<Channel>,
    /// When it was read to its end.
    read: Option<Instant>,
}

impl Streams {
    pub(super) fn new(budget: &Arc<Budget>) -> Self {
        Self {
            budget: budget.clone(),
            state: Mutex::new(State {
                last: STANDING,
                kept: VecDeque::new(),
            }),
        }
    }

    /// A new stream for the answer to a request.
    pub(crate) fn open(&self) -> Arc<Channel> {
        let mut state = self.state.lock();
        state.last += 1;
        Channel::new(state.last, &self.budget)
    }

    /// Keeps a stream, so that the client can come back to it.
    pub(crate) fn keep(&self, channel: &Arc<Channel>) {
        let mut state = self.state.lock();
        while state.kept.len() >= ENDED_STREAMS_MAX {
            let Some(read) = state.kept.iter().position(|kept| kept.read.is_some()) else {
                break;
            };
            state.kept.remove(read);
        }
        // More than run at once are those whose client never came to read the end.
        if state.kept.len() >= REQUESTS_PER_SESSION_MAX + ENDED_STREAMS_MAX {
            state.kept.pop_front();
        }
        let channel = channel.clone();
        state.kept.push_back(Kept {
            channel,
            read: None,
        });
    }

    /// A stream was read to its end. It may have been lost on its way: it is kept a while longer.
    pub(crate) fn was_read(&self, number: u64) {
        let mut state = self.state.lock();
        let mut kept = state.kept.iter_mut();
        if let Some(kept) = kept.find(|kept| kept.channel.number == number) {
            kept.read = Some(Instant::now());
        }
    }

    /// A stream of a request; nothing when it is no longer kept.
    pub(crate) fn find(&self, number: u64) -> Option<Arc<Channel>> {
        let state = self.state.lock();
        let mut kept = state.kept.iter();
        let kept = kept.find(|kept| kept.channel.number == number)?;
        Some(kept.channel.clone())
    }

    /// Lets go of what no client will come back to.
    pub(crate) fn forget(&self, now: Instant) {
        let is_due = |kept: &Kept| {
            kept.read
                .is_some_and(|read| now.duration_since(read) >= ENDED_STREAM_KEPT)
        };
        self.state.lock().kept.retain(|kept| !is_due(kept));
    }

    /// Lets go of all that clients were sent, so that there is room for what they were not.
    pub(super) fn forget_read(&self) {
        let mut state = self.state.lock();
        state.kept.retain(|kept| kept.read.is_none());
        for kept in &state.kept {
            kept.channel.forget_read();
        }
    }

    /// The session has ended.
    pub(super) fn clear(&self) {
        self.state.lock().kept.clear();
    }
}
