//! The beat of a connection: when it is pinged, when it counts as dead, and how fast it may talk.

use std::time::Duration;

use tokio::time::Instant;

/// When to ping, and when to give up.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    every: Duration,
    within: Duration,
    next: Instant,
    /// Since when a ping is not answered.
    unanswered: Option<Instant>,
}

/// What is due.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Beat {
    Nothing,
    Ping,
    Silent,
}

impl Heartbeat {
    pub(crate) fn new(every: Duration, within: Duration, now: Instant) -> Self {
        Self {
            every,
            within,
            next: now + every,
            unanswered: None,
        }
    }

    pub(crate) fn pong(&mut self) {
        self.unanswered = None;
    }

    /// When something is due. A ping may lie behind much that a slow reader has still to take, so the
    /// wait for its answer begins anew whenever the socket was full and took something.
    pub(crate) fn due(&self, unblocked_at: Option<Instant>) -> Instant {
        match self.silent_at(unblocked_at) {
            Some(silent_at) => silent_at.min(self.next),
            None => self.next,
        }
    }

    pub(crate) fn beat(&mut self, now: Instant, unblocked_at: Option<Instant>) -> Beat {
        if self
            .silent_at(unblocked_at)
            .is_some_and(|silent_at| now >= silent_at)
        {
            return Beat::Silent;
        }
        if now < self.next {
            return Beat::Nothing;
        }
        self.next = now + self.every;
        self.unanswered.get_or_insert(now);
        Beat::Ping
    }

    fn silent_at(&self, unblocked_at: Option<Instant>) -> Option<Instant> {
        let since = self.unanswered?;
        Some(unblocked_at.map_or(since, |at| at.max(since)) + self.within)
    }
}

/// How many messages a client may send in a second, with a second's worth at once.
#[derive(Debug)]
pub(crate) struct MessageRate {
    interval: Option<Duration>,
    /// When the allowance of a whole second is there again.
    full_at: Instant,
}

impl MessageRate {
    /// So many a second; 0 = any number.
    pub(crate) fn new(per_second: u32, now: Instant) -> Self {
        Self {
            interval: Duration::from_secs(1).checked_div(per_second),
            full_at: now,
        }
    }

    /// Whether one more is allowed.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let Some(interval) = self.interval else {
            return true;
        };
        let full_at = self.full_at.max(now) + interval;
        let allowed = full_at <= now + Duration::from_secs(1);
        if allowed {
            self.full_at = full_at;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn pings_and_gives_up_when_nothing_answers() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(SECOND * 30, SECOND * 10, start);
        assert_eq!(heartbeat.due(None), start + SECOND * 30);
        assert_eq!(heartbeat.beat(start + SECOND * 29, None), Beat::Nothing);
        assert_eq!(heartbeat.beat(start + SECOND * 30, None), Beat::Ping);
        assert_eq!(heartbeat.due(None), start + SECOND * 40);
        heartbeat.pong();
        assert_eq!(heartbeat.beat(start + SECOND * 45, None), Beat::Nothing);
        assert_eq!(heartbeat.beat(start + SECOND * 60, None), Beat::Ping);
        let slow = Some(start + SECOND * 65);
        assert_eq!(heartbeat.beat(start + SECOND * 70, slow), Beat::Nothing);
        assert_eq!(heartbeat.beat(start + SECOND * 70, None), Beat::Silent);
    }

    #[test]
    fn ten_messages_a_second() {
        let start = Instant::now();
        let mut rate = MessageRate::new(10, start);
        let taken = (0..20).filter(|_| rate.take(start)).count();
        assert_eq!(taken, 10);
        assert!(rate.take(start + SECOND / 10));
        assert!(!rate.take(start + SECOND / 10));
        let later = start + SECOND * 3;
        assert_eq!((0..20).filter(|_| rate.take(later)).count(), 10);
        let mut unlimited = MessageRate::new(0, start);
        assert!((0..1_000).all(|_| unlimited.take(start)));
    }
}
