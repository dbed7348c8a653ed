//! How much of what a server says by itself is passed on: so many messages and bytes in a second, whatever it says.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use crate::ServerId;

/// Messages of one server that are passed on in a second.
const SAYINGS_MAX: u32 = 100;
/// Bytes of them: each is copied for every session that hears it, and a longer one is on no stream.
const SAYINGS_BYTES_MAX: usize = 1024 * 1024;
const SECOND: Duration = Duration::from_secs(1);
/// Servers that are remembered, until those that say nothing are forgotten.
const SERVERS_KEPT: usize = 1_024;

/// What servers said lately.
#[derive(Debug, Default)]
pub(super) struct Sayings(HashMap<ServerId, Lately>);

#[derive(Debug)]
struct Lately {
    since: Instant,
    count: u32,
    bytes: usize,
    /// Whether it was told that something is left out.
    is_told: bool,
}

/// Whether a message is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Allowed {
    /// It is.
    Yes,
    /// It is not, and is the first of which that has to be told.
    NoMore,
    /// It is not.
    No,
}

impl Sayings {
    /// A server says so much.
    pub(super) fn take(&mut self, server: &ServerId, bytes: usize, now: Instant) -> Allowed {
        let is_old = |lately: &Lately| now.saturating_duration_since(lately.since) >= SECOND;
        if self.0.len() >= SERVERS_KEPT {
            self.0.retain(|_, lately| !is_old(lately));
        }
        let fresh = || Lately {
            since: now,
            count: 0,
            bytes: 0,
            is_told: false,
        };
        let lately = self.0.entry(server.clone()).or_insert_with(fresh);
        if is_old(lately) {
            *lately = fresh();
        }
        let all_bytes = lately.bytes.saturating_add(bytes);
        if lately.count < SAYINGS_MAX && all_bytes <= SAYINGS_BYTES_MAX {
            lately.count += 1;
            lately.bytes = all_bytes;
            return Allowed::Yes;
        }
        match std::mem::replace(&mut lately.is_told, true) {
            false => Allowed::NoMore,
            true => Allowed::No,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_says_too_much_is_passed_on_as_far_as_it_goes() {
        let mut sayings = Sayings::default();
        let (loud, quiet) = (ServerId::new("loud"), ServerId::new("quiet"));
        let now = Instant::now();
        let said: Vec<_> = (0..300).map(|_| sayings.take(&loud, 9, now)).collect();
        let count = |wanted| said.iter().filter(|allowed| **allowed == wanted).count();
        assert_eq!(count(Allowed::Yes), 100);
        assert_eq!(count(Allowed::NoMore), 1);
        assert_eq!(sayings.take(&quiet, 9, now), Allowed::Yes);
        assert_eq!(sayings.take(&loud, 9, now + SECOND), Allowed::Yes);
    }

    #[test]
    fn what_is_too_long_is_left_out_and_what_is_short_is_not() {
        let mut sayings = Sayings::default();
        let (server, now) = (ServerId::new("long"), Instant::now());
        let mut take = |bytes, now| sayings.take(&server, bytes, now);
        assert_eq!(take(SAYINGS_BYTES_MAX + 1, now), Allowed::NoMore);
        assert_eq!(take(usize::MAX, now), Allowed::No);
        assert_eq!(take(SAYINGS_BYTES_MAX - 9, now), Allowed::Yes);
        assert_eq!(take(10, now), Allowed::No);
        assert_eq!(take(9, now), Allowed::Yes);
        assert_eq!(take(SAYINGS_BYTES_MAX, now + SECOND), Allowed::Yes);
    }
}
