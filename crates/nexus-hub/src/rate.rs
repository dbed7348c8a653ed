//! How often may be called: by one user, by one user to one tool, to one server.
//!
//! A bucket is one number: the moment at which it will be full again (the generic cell rate algorithm).

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::Error;

const SHARDS: usize = 16;
/// So many buckets are remembered that are not full; when there are more, newcomers of a shard share one.
const BUCKETS_MAX: usize = 65_536;
const MINUTE_NS: u64 = 60_000_000_000;

/// The buckets of users, tools and servers.
#[derive(Debug)]
pub(crate) struct Rates {
    started: Instant,
    hasher: RandomState,
    shards: Vec<Mutex<HashMap<u64, u64>>>,
}

/// Calls that are allowed in a minute; 0 means no limit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) user: u32,
    pub(crate) tool: u32,
    pub(crate) server: u32,
}

impl Rates {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }

    /// Takes what a call costs: of the user, of the user for this tool, of the server. One that is refused
    /// costs nothing.
    pub(crate) fn take(
        &self,
        limits: Limits,
        user: &str,
        server: &str,
        tool: &str,
        now: Instant,
    ) -> Result<(), Error> {
        let buckets = [
            ("of this user", limits.user, self.key(&(0, user))),
            (
                "of this user to the tool",
                limits.tool,
                self.key(&(1, user, server, tool)),
            ),
            ("to the server", limits.server, self.key(&(2, server))),
        ];
        for (n, (of, per_minute, key)) in buckets.iter().enumerate() {
            if let Err(wait) = self.take_one(*key, *per_minute, now) {
                for (_, per_minute, key) in &buckets[..n] {
                    self.give_back(*key, *per_minute);
                }
                return Err(Error::RateLimited {
                    of,
                    per_minute: *per_minute,
                    retry_after_s: whole_seconds(wait),
                });
            }
        }
        Ok(())
    }

    fn take_one(&self, key: u64, per_minute: u32, now: Instant) -> Result<(), Duration> {
        if per_minute == 0 {
            return Ok(());
        }
        let period_ns = MINUTE_NS / u64::from(per_minute);
        let now_ns = self.nanos(now);
        let mut shard = self.shard(key).lock();
        let key = admitted(&mut shard, key, now_ns);
        let full_at = shard.entry(key).or_insert(now_ns);
        let full_after = (*full_at).max(now_ns).saturating_add(period_ns);
        let wait_ns = full_after.saturating_sub(now_ns.saturating_add(MINUTE_NS));
        if wait_ns > 0 {
            return Err(Duration::from_nanos(wait_ns));
        }
        *full_at = full_after;
        Ok(())
    }

    fn give_back(&self, key: u64, per_minute: u32) {
        if per_minute > 0
            && let Some(full_at) = self.shard(key).lock().get_mut(&key)
        {
            *full_at = full_at.saturating_sub(MINUTE_NS / u64::from(per_minute));
        }
    }

    fn key(&self, of: &impl std::hash::Hash) -> u64 {
        self.hasher.hash_one(of)
    }

    fn shard(&self, key: u64) -> &Mutex<HashMap<u64, u64>> {
        // In range: the remainder is below the number of shards, which is not 0.
        #[allow(clippy::cast_possible_truncation, reason = "a remainder of 16")]
        let place = (key % SHARDS as u64) as usize;
        &self.shards[place]
    }

    fn nanos(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.started);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }
}

/// The key itself, or the common one when there are too many: memory is bounded.
fn admitted(shard: &mut HashMap<u64, u64>, key: u64, now_ns: u64) -> u64 {
    const COMMON: u64 = 0;
    if shard.len() < BUCKETS_MAX / SHARDS || shard.contains_key(&key) {
        return key;
    }
    shard.retain(|_, full_at| *full_at > now_ns);
    if shard.len() < BUCKETS_MAX / SHARDS {
        key
    } else {
        COMMON
    }
}

fn whole_seconds(wait: Duration) -> u32 {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(result: Result<(), Error>) -> Option<(&'static str, u32)> {
        match result {
            Ok(()) => None,
            Err(Error::RateLimited {
                of, retry_after_s, ..
            }) => Some((of, retry_after_s)),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn each_limit_holds_by_itself_and_heals() {
        let rates = Rates::new();
        let (s, t) = ("s", "t");
        let limits = Limits {
            user: 6,
            tool: 2,
            server: 3,
        };
        let now = Instant::now();
        let take = |user, server, tool| of(rates.take(limits, user, server, tool, now));
        assert_eq!(take("ana", s, "a"), None);
        assert_eq!(take("ana", s, "a"), None);
        assert_eq!(take("ana", s, "a"), Some(("of this user to the tool", 30)));
        assert_eq!(take("bob", s, "a"), None);
        assert_eq!(take("bob", s, "b"), Some(("to the server", 20)));
        for tool in ["a", "b", "c", "d"] {
            let limits = Limits {
                server: 0,
                ..limits
            };
            assert_eq!(of(rates.take(limits, "ana", t, tool, now)), None, "{tool}");
        }
        assert_eq!(take("ana", t, "e"), Some(("of this user", 10)));
        let later = now + Duration::from_secs(31);
        assert_eq!(of(rates.take(limits, "ana", s, "a", later)), None);
    }

    #[test]
    fn a_refused_call_costs_nothing() {
        let rates = Rates::new();
        let (s, now) = ("s", Instant::now());
        let limits = Limits {
            user: 2,
            tool: 0,
            server: 1,
        };
        assert_eq!(of(rates.take(limits, "ana", s, "a", now)), None);
        for _ in 0..5 {
            assert!(of(rates.take(limits, "ana", s, "a", now)).is_some());
        }
        let limits = Limits {
            server: 0,
            ..limits
        };
        assert_eq!(of(rates.take(limits, "ana", s, "a", now)), None);
    }

    #[test]
    fn none_is_no_limit() {
        let rates = Rates::new();
        let limits = Limits {
            user: 0,
            tool: 0,
            server: 0,
        };
        for _ in 0..10_000 {
            assert_eq!(
                of(rates.take(limits, "ana", "s", "a", Instant::now())),
                None
            );
        }
    }
}
