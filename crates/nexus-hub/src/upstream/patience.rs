//! How long a request goes on waiting: a while after each sign of the server, and not beyond its end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

use super::{CallError, Waited};

/// The patience with one request.
#[derive(Debug)]
pub(crate) struct Patience {
    begun: Instant,
    deadline: Instant,
    idle: Duration,
    last_sign: Mutex<Instant>,
    /// Questions of the server that wait for the caller: while they do, it is not the server that is idle.
    questions: AtomicUsize,
}

/// A question of the server that waits for the caller.
#[derive(Debug)]
pub(crate) struct OpenQuestion(Arc<Patience>);

impl Patience {
    pub(crate) fn new(deadline: Instant, idle: Duration) -> Arc<Self> {
        let begun = Instant::now();
        Arc::new(Self {
            begun,
            deadline,
            idle,
            last_sign: Mutex::new(begun),
            questions: AtomicUsize::new(0),
        })
    }

    /// That of a question that belongs to no request: whoever is asked has limits of their own.
    pub(crate) fn endless() -> Arc<Self> {
        const LONG: Duration = Duration::from_secs(24 * 60 * 60);
        Self::new(Instant::now() + LONG, LONG)
    }

    /// The server gave a sign.
    pub(crate) fn touch(&self) {
        *self.last_sign.lock() = Instant::now();
    }

    /// The server asks something back.
    pub(crate) fn question(self: &Arc<Self>) -> OpenQuestion {
        self.questions.fetch_add(1, Ordering::SeqCst);
        OpenQuestion(self.clone())
    }

    /// Ends when the patience does, with the error that this is.
    pub(crate) async fn over(&self) -> CallError {
        loop {
            sleep_until(self.next_look()).await;
            if let Some(error) = self.look(Instant::now()) {
                return error;
            }
        }
    }

    /// When it can be over at the earliest.
    fn next_look(&self) -> Instant {
        (*self.last_sign.lock() + self.idle).min(self.deadline)
    }

    /// Whether it is over, and how.
    fn look(&self, now: Instant) -> Option<CallError> {
        let (waited, limit) = if now >= self.deadline {
            let total = self.deadline.saturating_duration_since(self.begun);
            (Waited::Total, total)
        } else if self.questions.load(Ordering::SeqCst) > 0 {
            *self.last_sign.lock() = now;
            return None;
        } else if now >= *self.last_sign.lock() + self.idle {
            (Waited::Idle, self.idle)
        } else {
            return None;
        };
        Some(CallError::Timeout { waited, limit })
    }
}

impl Drop for OpenQuestion {
    fn drop(&mut self) {
        self.0.touch();
        self.0.questions.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(60);
    const TOTAL: Duration = Duration::from_secs(600);

    fn patience() -> Arc<Patience> {
        Patience::new(Instant::now() + TOTAL, IDLE)
    }

    /// Looks whenever it is time to, until it is over; with a sign of the server so often, for so long.
    fn ends(patience: &Patience, signs_every: Duration, signs_for: Duration) -> (Duration, Waited) {
        let mut sign_at = patience.begun + signs_every;
        loop {
            let now = patience.next_look();
            while sign_at <= now && sign_at <= patience.begun + signs_for {
                *patience.last_sign.lock() = sign_at;
                sign_at += signs_every;
            }
            if let Some(CallError::Timeout { waited, .. }) = patience.look(now) {
                return (now - patience.begun, waited);
            }
        }
    }

    #[test]
    fn silence_ends_it_and_a_sign_begins_it_anew() {
        let never = Duration::ZERO;
        assert_eq!(ends(&patience(), TOTAL, never), (IDLE, Waited::Idle));
        let signs = Duration::from_secs(50);
        let expected = (Duration::from_secs(310), Waited::Idle);
        assert_eq!(ends(&patience(), signs, signs * 5), expected);
    }

    #[test]
    fn no_sign_carries_it_past_its_end() {
        let signs = Duration::from_secs(1);
        let patience = patience();
        let whole = patience.deadline - patience.begun;
        let found = ends(&patience, signs, TOTAL * 2);
        assert_eq!(found, (whole, Waited::Total));
    }

    #[test]
    fn a_question_to_the_caller_is_no_silence() {
        let patience = patience();
        let question = patience.question();
        for seconds in [60, 120, 500] {
            let now = patience.begun + Duration::from_secs(seconds);
            assert!(patience.look(now).is_none());
        }
        let end = patience.look(patience.deadline);
        assert!(matches!(
            end,
            Some(CallError::Timeout {
                waited: Waited::Total,
                ..
            })
        ));
        drop(question);
        // From the answer on the server is waited for again.
        let answered = *patience.last_sign.lock();
        assert!(patience.look(answered + IDLE / 2).is_none());
        let idle = patience.look(answered + IDLE);
        assert!(matches!(
            idle,
            Some(CallError::Timeout {
                waited: Waited::Idle,
                ..
            })
        ));
    }

    #[tokio::test]
    async fn what_is_over_is_noticed() {
        let patience = Patience::new(Instant::now() + TOTAL, Duration::from_millis(1));
        let over = patience.over().await;
        assert!(matches!(
            over,
            CallError::Timeout {
                waited: Waited::Idle,
                ..
            }
        ));
    }
}
