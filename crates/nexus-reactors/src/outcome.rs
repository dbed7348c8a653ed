//! The outcome record: how one event ended for one target, kept for people for a while.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use nexus_core::{Change, Event, Exchange, Family, Fence, Key, Record, Seq};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    delivery::Delivery,
    exchange::Kept,
    handle::{OUTCOMES_KEPT, OUTCOMES_MAX, OutcomeInfo, OutcomeState},
};

/// The family of outcome records.
pub(crate) const OUTCOME: Family = Family::new("outcome");
/// At most this many records that are too old go with one write.
const FORGOTTEN_MAX: usize = 64;

/// The body of an outcome record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    seq: u64,
    event_id: Uuid,
    topic: Arc<str>,
    state: OutcomeState,
    attempts: u32,
    time_us: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exchange: Option<Box<Kept>>,
}

impl Outcome {
    /// An event that ended at its first attempt.
    pub(crate) fn first(
        event: &Event,
        state: OutcomeState,
        exchange: Option<Exchange>,
        time_us: i64,
    ) -> Self {
        Self {
            seq: event.seq.get(),
            event_id: event.id,
            topic: event.topic.as_str().into(),
            state,
            attempts: u32::from(state != OutcomeState::Already),
            time_us,
            error: None,
            exchange: exchange.map(|exchange| Box::new(exchange.into())),
        }
    }

    /// A delivery that ended well.
    pub(crate) fn of(
        delivery: &Delivery,
        state: OutcomeState,
        exchange: Option<Exchange>,
        time_us: i64,
    ) -> Self {
        Self {
            seq: delivery.seq,
            event_id: delivery.event_id,
            topic: delivery.topic.clone(),
            state,
            attempts: delivery.attempts,
            time_us,
            error: None,
            exchange: exchange.map(|exchange| Box::new(exchange.into())),
        }
    }

    /// A delivery that was given up.
    pub(crate) fn dead(delivery: &Delivery) -> Self {
        let last = delivery.errors.last();
        Self {
            error: last.map(|last| last.error.clone()),
            exchange: last.and_then(|last| last.exchange.clone()),
            ..Self::of(
                delivery,
                OutcomeState::Dead,
                None,
                delivery.failed_us.unwrap_or(delivery.created_us),
            )
        }
    }

    /// The name of its record: those of a target are listed newest first.
    pub(crate) fn key(&self, target: &str) -> Key {
        let age = i64::MAX - self.time_us.max(0);
        Key::new(OUTCOME, format!("{target}/{age:019}-{:020}", self.seq))
    }

    /// The change that keeps it.
    pub(crate) fn put(&self, target: &Arc<str>) -> Change {
        Change::Put {
            key: self.key(target),
            owner: None,
            scope: target.clone(),
            state: "".into(),
            due_us: None,
            fence: Fence::Keep,
            // Strings and numbers always serialise.
            body: Bytes::from(serde_json::to_vec(self).unwrap_or_default()),
        }
    }

    /// About how many bytes of a write it takes.
    pub(crate) fn weight(&self) -> usize {
        const FIXED_BYTES: usize = 256;
        FIXED_BYTES + self.exchange.as_ref().map_or(0, |kept| kept.weight())
    }

    /// Whether it was given up.
    pub(crate) fn is_dead(&self) -> bool {
        self.state == OutcomeState::Dead
    }

    /// When it ended.
    pub(crate) fn time_us(&self) -> i64 {
        self.time_us
    }

    /// Reads a record; nothing when it is damaged.
    pub(crate) fn decode(record: &Record) -> Option<Self> {
        serde_json::from_slice(&record.body).ok()
    }

    /// What others are told of it.
    pub(crate) fn into_info(self, target: &Arc<str>) -> OutcomeInfo {
        OutcomeInfo {
            target: target.clone(),
            seq: Seq::new(self.seq),
            event_id: self.event_id,
            topic: self.topic,
            state: self.state,
            attempts: self.attempts,
            time_us: self.time_us,
            error: self.error,
            exchange: self.exchange.map(|kept| (*kept).into()),
        }
    }
}

/// Whether an outcome of this time is still kept.
pub(crate) fn is_kept(time_us: i64, now_us: i64) -> bool {
    let kept_us = i64::try_from(OUTCOMES_KEPT.as_micros()).unwrap_or(i64::MAX);
    time_us > now_us.saturating_sub(kept_us)
}

/// Which outcomes of a target there are, oldest first, so that those which are too many or too old go.
#[derive(Debug, Default)]
pub(crate) struct Outcomes(VecDeque<(i64, Key)>);

impl Outcomes {
    /// One was written.
    pub(crate) fn push(&mut self, time_us: i64, key: Key) {
        self.0.push_back((time_us, key));
    }

    /// One that is older than all others was found.
    pub(crate) fn push_oldest(&mut self, time_us: i64, key: Key) {
        self.0.push_front((time_us, key));
    }

    /// Takes out those that have to go when `more` are written: a bounded part of them.
    pub(crate) fn forget(&mut self, more: usize, now_us: i64) -> Vec<(i64, Key)> {
        let mut gone = Vec::new();
        while gone.len() < FORGOTTEN_MAX + more
            && let Some((time_us, _)) = self.0.front()
            && (self.0.len() + more > OUTCOMES_MAX || !is_kept(*time_us, now_us))
            && let Some(oldest) = self.0.pop_front()
        {
            gone.push(oldest);
        }
        gone
    }

    /// They are there after all.
    pub(crate) fn remember(&mut self, gone: Vec<(i64, Key)>) {
        for oldest in gone.into_iter().rev() {
            self.0.push_front(oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(seq: u64, time_us: i64) -> Outcome {
        Outcome {
            seq,
            event_id: Uuid::nil(),
            topic: "payment.received".into(),
            state: OutcomeState::Done,
            attempts: 1,
            time_us,
            error: None,
            exchange: None,
        }
    }

    #[test]
    fn names_sort_newest_first() {
        let names = [(9, 10), (2, 9), (1, 9), (3, 0), (4, -5)]
            .map(|(seq, time_us)| outcome(seq, time_us).key("shop").key);
        assert!(names[0] < names[1] && names[2] < names[1] && names[1] < names[3]);
        assert_eq!(names[3].split('-').next(), names[4].split('-').next());
    }

    #[test]
    fn what_is_too_much_or_too_old_goes_oldest_first() {
        let mut outcomes = Outcomes::default();
        for n in 0..OUTCOMES_MAX as u64 {
            let outcome = outcome(n, 1_000 + n.cast_signed());
            outcomes.push(outcome.time_us(), outcome.key("shop"));
        }
        assert!(outcomes.forget(0, 2_000).is_empty());
        let gone = outcomes.forget(2, 2_000);
        let expected = [0, 1].map(|n| {
            let outcome = outcome(n, 1_000 + n.cast_signed());
            (outcome.time_us(), outcome.key("shop"))
        });
        assert_eq!(gone, expected);
        outcomes.remember(gone);
        assert_eq!(outcomes.forget(2, 2_000), expected);
        let a_week_us = i64::try_from(OUTCOMES_KEPT.as_micros()).unwrap();
        assert_eq!(outcomes.forget(0, a_week_us + 1_004).len(), 3);
        assert_eq!(outcomes.0.len(), OUTCOMES_MAX - 5);
    }
}
