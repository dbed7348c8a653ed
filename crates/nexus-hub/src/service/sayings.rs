//! How much of what a server says by itself is passed on: so much in a second, whatever it says.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use crate::ServerId;

/// Messages of one server that are passed on in a second.
const SAYINGS_MAX: u32 = 100;
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
    /// A server says something.
    pub(super) fn take(&mut self, server: &ServerId, now: Instant) -> Allowed {
        let is_old = |lately: &Lately| now.saturating_duration_since(lately.since) >= SECOND;
        if self.0.len() >= SERVERS_KEPT {
            self.0.retain(|_, lately| !is_old(lately));
        }
        let fresh = || Lately {
            since: now,
            count: 0,
        };
        let lately = self.0.entry(server.clone()).or_insert_with(fresh);
        if is_old(lately) {
            *lately = fresh();
        }
        lately.count = lately.count.saturating_add(1);
        match lately.count {
            0..=SAYINGS_MAX => Allowed::Yes,
            count if count == SAYINGS_MAX + 1 => Allowed::NoMore,
            _ => Allowed::No,
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
        let said: Vec<_> = (0..300).map(|_| sayings.take(&loud, now)).collect();
        let count = |wanted| said.iter().filter(|allowed| **allowed == wanted).count();
        assert_eq!(count(Allowed::Yes), 100);
        assert_eq!(count(Allowed::NoMore), 1);
        assert_eq!(sayings.take(&quiet, now), Allowed::Yes);
        assert_eq!(sayings.take(&loud, now + SECOND), Allowed::Yes);
    }
}
