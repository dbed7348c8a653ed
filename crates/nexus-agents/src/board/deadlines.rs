//! What runs out when: a queue on the machine's monotonic time, which no one can set.

use std::{cmp::Reverse, collections::BinaryHeap};

use nexus_core::Seq;
use tokio::time::Instant;

use crate::{SessionId, WorkId};

/// What may have run out. Whether it has is looked up then: a renewal moves only the real time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    /// A claim, by its token.
    Claim(WorkId, Seq),
    /// The time in which a session may come back.
    Session(SessionId),
}

/// A queue of what may run out, the earliest first.
#[derive(Debug, Default)]
pub(crate) struct Deadlines(BinaryHeap<Reverse<(Instant, Due)>>);

impl Deadlines {
    pub(crate) fn add(&mut self, at: Instant, due: Due) {
        self.0.push(Reverse((at, due)));
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Drops what is not wanted any more, and of what is there several times all but the earliest.
    pub(crate) fn tidy(&mut self, is_wanted: impl Fn(Instant, &Due) -> bool) {
        let mut all = std::mem::take(&mut self.0).into_vec();
        all.retain(|Reverse((at, due))| is_wanted(*at, due));
        all.sort_unstable_by(|Reverse((at, due)), Reverse((other_at, other))| {
            (due, at).cmp(&(other, other_at))
        });
        all.dedup_by(|Reverse((_, later)), Reverse((_, earlier))| later == earlier);
        self.0 = all.into();
    }

    /// When the first may run out.
    pub(crate) fn first(&self) -> Option<Instant> {
        self.0.peek().map(|Reverse((at, _))| *at)
    }

    /// The first if its time has come.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Due> {
        if self.first()? > now {
            return None;
        }
        self.0.pop().map(|Reverse((_, due))| due)
    }
}
