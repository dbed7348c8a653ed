//! Whether a session is there: a pure state machine over its connections.

use std::time::Duration;

use tokio::time::Instant;

use crate::options::CONNECTIONS_PER_SESSION_MAX;

/// Whether a session is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Presence {
    /// It is known, and was never connected.
    Registered,
    /// It has so many connections.
    Online(usize),
    /// Its last connection ended a moment ago; it may come back until then and nothing has happened.
    Grace(Instant),
    /// It is gone.
    Offline,
}

/// What happens to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// A connection began.
    Connect,
    /// A connection ended.
    Disconnect,
    /// Its time is up, if it is.
    Elapsed,
    /// It was signed off, whatever connections it has.
    SignOff,
}

/// What the log has to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// Nothing.
    Nothing,
    /// It came.
    Connected,
    /// It is gone.
    Disconnected,
}

/// It has as many connections as it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

impl Presence {
    /// Whether it counts as connected.
    #[must_use]
    pub fn is_connected(self) -> bool {
        matches!(self, Self::Online(_) | Self::Grace(_))
    }

    /// What becomes of it, and what has to be told.
    pub(crate) fn step(
        self,
        input: Input,
        now: Instant,
        grace: Duration,
    ) -> Result<(Self, Told), Full> {
        Ok(match (self, input) {
            (Self::Online(count), Input::Connect) if count >= CONNECTIONS_PER_SESSION_MAX => {
                return Err(Full);
            }
            (Self::Online(count), Input::Connect) => (Self::Online(count + 1), Told::Nothing),
            (Self::Grace(_), Input::Connect) => (Self::Online(1), Told::Nothing),
            (Self::Registered | Self::Offline, Input::Connect) => {
                (Self::Online(1), Told::Connected)
            }
            (Self::Online(count), Input::Disconnect) if count > 1 => {
                (Self::Online(count - 1), Told::Nothing)
            }
            (Self::Online(_), Input::Disconnect) => (Self::Grace(now + grace), Told::Nothing),
            (Self::Grace(until), Input::Elapsed) if until <= now => {
                (Self::Offline, Told::Disconnected)
            }
            (Self::Online(_) | Self::Grace(_), Input::SignOff) => {
                (Self::Offline, Told::Disconnected)
            }
            (unchanged, Input::Disconnect | Input::Elapsed | Input::SignOff) => {
                (unchanged, Told::Nothing)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GRACE: Duration = Duration::from_secs(5);

    #[test]
    fn every_state_and_every_input() {
        use Input::{Connect, Disconnect, Elapsed, SignOff};
        use Presence::{Grace, Offline, Online, Registered};
        let now = Instant::now();
        let (later, over) = (now + GRACE, now);
        let table = [
            (Registered, Connect, Ok((Online(1), Told::Connected))),
            (Registered, Disconnect, Ok((Registered, Told::Nothing))),
            (Registered, Elapsed, Ok((Registered, Told::Nothing))),
            (Registered, SignOff, Ok((Registered, Told::Nothing))),
            (Online(1), Connect, Ok((Online(2), Told::Nothing))),
            (Online(8), Connect, Err(Full)),
            (Online(2), Disconnect, Ok((Online(1), Told::Nothing))),
            (Online(1), Disconnect, Ok((Grace(later), Told::Nothing))),
            (Online(1), Elapsed, Ok((Online(1), Told::Nothing))),
            (Online(3), SignOff, Ok((Offline, Told::Disconnected))),
            (Grace(later), Connect, Ok((Online(1), Told::Nothing))),
            (Grace(later), Disconnect, Ok((Grace(later), Told::Nothing))),
            (Grace(later), Elapsed, Ok((Grace(later), Told::Nothing))),
            (Grace(over), Elapsed, Ok((Offline, Told::Disconnected))),
            (Grace(later), SignOff, Ok((Offline, Told::Disconnected))),
            (Offline, Connect, Ok((Online(1), Told::Connected))),
            (Offline, Disconnect, Ok((Offline, Told::Nothing))),
            (Offline, Elapsed, Ok((Offline, Told::Nothing))),
            (Offline, SignOff, Ok((Offline, Told::Nothing))),
        ];
        for (state, input, expected) in table {
            assert_eq!(
                state.step(input, now, GRACE),
                expected,
                "{state:?} {input:?}"
            );
        }
    }

    proptest! {
        /// Comings and goings are told in turn, and exactly when the session is there or not.
        #[test]
        fn what_is_told_alternates(inputs in prop::collection::vec((0..4_usize, 0..8_u64), 0..200)) {
            let mut now = Instant::now();
            let (mut presence, mut told) = (Presence::Registered, false);
            for (input, seconds) in inputs {
                now += Duration::from_secs(seconds);
                let input = [Input::Connect, Input::Disconnect, Input::Elapsed, Input::SignOff][input];
                let Ok((next, tell)) = presence.step(input, now, GRACE) else {
                    prop_assert_eq!(presence, Presence::Online(CONNECTIONS_PER_SESSION_MAX));
                    continue;
                };
                match tell {
                    Told::Connected => prop_assert!(!std::mem::replace(&mut told, true)),
                    Told::Disconnected => prop_assert!(std::mem::replace(&mut told, false)),
                    Told::Nothing => {}
                }
                prop_assert_eq!(next.is_connected(), told);
                presence = next;
            }
        }
    }
}
