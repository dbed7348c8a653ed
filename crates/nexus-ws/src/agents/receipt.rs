//! That the direct messages to a session were received: what was sent behind a ping that is answered was. What was
//! not is sent again to the session's next connection.

use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use nexus_core::{Log, Seq};
use nexus_http::Problem;

use super::port::SessionConnection;

/// That so many events are behind is kept also without a message among them, so that the next connection
/// has not to look through them.
const LAG_EVENTS_MAX: u64 = 10_000;

/// What is known of what a session received.
pub(super) struct Receipt {
    /// Every message up to here was received, and that is kept …
    kept: Seq,
    /// … or is still to be kept.
    received: Seq,
    /// A message was handed over behind which no ping was sent.
    is_unasked: bool,
    /// A ping was sent when everything up to here had been.
    asked: Option<Seq>,
    keeping: Option<Keeping>,
}

struct Keeping {
    through: Seq,
    done: BoxFuture<'static, Result<(), Problem>>,
}

impl Receipt {
    /// Every message up to here was received before.
    pub(super) fn new(received: Seq) -> Self {
        Self {
            kept: received,
            received,
            is_unasked: false,
            asked: None,
            keeping: None,
        }
    }

    /// A message was handed over to be sent.
    pub(super) fn handed_over(&mut self) {
        self.is_unasked = true;
    }

    /// Everything up to here was sent. What a ping is to say now, if one is to be sent.
    pub(super) fn ask(&mut self, sent: Seq) -> Option<[u8; 8]> {
        if !self.is_unasked || self.asked.is_some() {
            return None;
        }
        self.is_unasked = false;
        self.asked = Some(sent);
        Some(sent.get().to_be_bytes())
    }

    /// A ping was answered; everything up to `settled` was sent or is not for the session.
    pub(super) fn ponged(&mut self, said: &[u8], settled: Seq) {
        match self.asked {
            Some(asked) if said == asked.get().to_be_bytes() => {
                self.asked = None;
                self.received = self.received.max(asked);
            }
            // Of several pings a client may answer the last alone: it is asked once more.
            Some(_) => {
                self.asked = None;
                self.is_unasked = true;
            }
            None if !self.is_unasked && settled.get() >= self.kept.get() + LAG_EVENTS_MAX => {
                self.received = self.received.max(settled);
            }
            None => {}
        }
    }

    /// Goes on keeping what was received. Says whether anything came of it.
    pub(super) fn poll(
        &mut self,
        log: &Log,
        session: &impl SessionConnection,
        context: &mut Context<'_>,
    ) -> bool {
        if self.keeping.is_none() && self.received > self.kept {
            let through = self.received;
            let done = session.keep_received(log.position(through));
            self.keeping = Some(Keeping { through, done });
        }
        let Some(keeping) = &mut self.keeping else {
            return false;
        };
        let Poll::Ready(done) = keeping.done.as_mut().poll(context) else {
            return false;
        };
        let through = keeping.through;
        self.keeping = None;
        match done {
            Ok(()) => self.kept = self.kept.max(through),
            // Tried again with what is received next; until then its messages may come twice.
            Err(problem) => {
                tracing::warn!(?problem, "what a session received could not be kept");
                self.received = self.kept;
            }
        }
        true
    }

    /// The connection is over, and everything up to `settled` was handed over or is not for it. What has still
    /// to be done, if anything has.
    pub(super) fn finish(
        &mut self,
        settled: Seq,
        log: &Log,
        session: &impl SessionConnection,
    ) -> Option<BoxFuture<'static, ()>> {
        let is_all_received = !self.is_unasked && self.asked.is_none();
        let received = if is_all_received {
            self.received.max(settled)
        } else {
            self.received
        };
        let keeping = self.keeping.take().map(|keeping| keeping.done);
        let rest = (received > self.kept).then(|| session.keep_received(log.position(received)));
        self.kept = received;
        if keeping.is_none() && rest.is_none() {
            return None;
        }
        Some(Box::pin(async move {
            for done in [keeping, rest].into_iter().flatten() {
                // Expected when everything ends.
                if let Err(problem) = done.await {
                    tracing::debug!(?problem, "what a session received could not be kept");
                }
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seq(number: u64) -> Seq {
        Seq::new(number)
    }

    #[test]
    fn a_message_is_received_when_the_ping_behind_it_is_answered() {
        let mut receipt = Receipt::new(seq(5));
        assert_eq!(receipt.ask(seq(6)), None, "nothing to ask for");
        receipt.handed_over();
        let says = receipt.ask(seq(7)).unwrap();
        receipt.handed_over();
        assert_eq!(receipt.ask(seq(8)), None, "one at a time");
        assert_eq!(receipt.received, seq(5));
        receipt.ponged(&says, seq(8));
        assert_eq!(receipt.received, seq(7));
        let says = receipt.ask(seq(9)).unwrap();
        receipt.ponged(&says, seq(9));
        assert_eq!(receipt.received, seq(9));
    }

    #[test]
    fn a_ping_that_was_passed_over_is_sent_again() {
        let mut receipt = Receipt::new(seq(5));
        receipt.handed_over();
        receipt.ask(seq(7)).unwrap();
        receipt.ponged(b"", seq(7));
        assert_eq!(receipt.received, seq(5));
        let says = receipt.ask(seq(8)).unwrap();
        receipt.ponged(&says, seq(8));
        assert_eq!(receipt.received, seq(8));
    }

    #[test]
    fn much_that_was_for_others_is_passed_for_good() {
        let mut receipt = Receipt::new(seq(5));
        receipt.ponged(b"", seq(4 + LAG_EVENTS_MAX));
        assert_eq!(receipt.received, seq(5));
        receipt.ponged(b"", seq(5 + LAG_EVENTS_MAX));
        assert_eq!(receipt.received, seq(5 + LAG_EVENTS_MAX));
        let mut unasked = Receipt::new(seq(5));
        unasked.handed_over();
        unasked.ponged(b"", seq(5 + LAG_EVENTS_MAX));
        assert_eq!(unasked.received, seq(5), "a message may be among it");
    }
}
