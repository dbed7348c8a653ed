//! Token buckets by address.
//!
//! A bucket is one number: the time at which it will be full again (the generic cell rate algorithm). So a
//! token can be given back, which a caller that turns out to be known needs.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher,
    net::{IpAddr, Ipv6Addr},
};

use http::{HeaderName, HeaderValue};
use nexus_core::Kind;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{Problem, Rate, request_path::client_address::network};

const SHARDS: usize = 16;
/// Addresses that are remembered; when there are more, the newcomers of a shard share one bucket.
const ADDRESSES_MAX: usize = 65_536;
const NANOS_PER_SECOND: u64 = 1_000_000_000;

const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// A limit as the header fields for rate limits tell it: `quota` in `window_s` seconds, of which `left` are
/// left, and that they are more in `more_after_s` seconds. `name` says of what, in lower-case letters.
#[must_use]
pub fn rate_limit_headers(
    name: &str,
    quota: u32,
    window_s: u32,
    left: u32,
    more_after_s: u32,
) -> [(HeaderName, HeaderValue); 2] {
    let value = |text: String| {
        // Letters, digits and ASCII punctuation.
        HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
    };
    let policy = value(format!("\"{name}\";q={quota};w={window_s}"));
    let limit = value(format!("\"{name}\";r={left};t={more_after_s}"));
    [(RATE_LIMIT_POLICY, policy), (RATE_LIMIT, limit)]
}

/// The two limits of a server.
#[derive(Debug)]
pub(crate) struct RateLimits {
    anonymous: Option<Buckets>,
    address: Option<Buckets>,
}

impl RateLimits {
    pub(crate) fn new(anonymous: Option<Rate>, address: Option<Rate>) -> Self {
        Self {
            anonymous: anonymous.map(|rate| Buckets::new("anonymous", rate, ADDRESSES_MAX)),
            address: address.map(|rate| Buckets::new("address", rate, ADDRESSES_MAX)),
        }
    }

    /// Takes a token that everybody needs.
    pub(crate) fn take(&self, address: IpAddr) -> Result<(), Problem> {
        match &self.address {
            Some(buckets) => buckets
                .take(network(address), Instant::now())
                .map_err(|after_s| buckets.refused(after_s)),
            None => Ok(()),
        }
    }

    /// Takes a token that callers need who are not known.
    pub(crate) fn take_anonymous(&self, address: IpAddr) -> Result<AnonymousToken<'_>, Problem> {
        let Some(buckets) = &self.anonymous else {
            return Ok(AnonymousToken { taken: None });
        };
        let charged = buckets
            .charge(network(address), Instant::now())
            .map_err(|after_s| buckets.refused(after_s))?;
        Ok(AnonymousToken {
            taken: Some((buckets, charged)),
        })
    }

    /// Forgets the addresses whose buckets are full again.
    pub(crate) fn forget_full(&self) {
        let now = Instant::now();
        for buckets in [&self.anonymous, &self.address].into_iter().flatten() {
            buckets.forget_full(now);
        }
    }
}

/// A token that was taken; it stays spent unless it is given back.
#[derive(Debug)]
#[must_use = "a token that is dropped is spent: give it back once the caller is known"]
pub struct AnonymousToken<'a> {
    taken: Option<(&'a Buckets, Charged)>,
}

impl AnonymousToken<'_> {
    /// Gives the token back, because the caller proved who it is.
    pub fn give_back(self) {
        if let Some((buckets, charged)) = self.taken {
            buckets.give_back(charged);
        }
    }

    /// Leaves the token spent, because the caller stays unknown.
    pub fn spend(self) {}
}

/// The bucket that a token was taken from: that of the caller's address, or the common one.
#[derive(Debug, Clone, Copy)]
struct Charged {
    shard: usize,
    key: IpAddr,
}

#[derive(Debug)]
struct Buckets {
    /// What the limit is called.
    name: &'static str,
    rate: Rate,
    /// Nanoseconds until one token comes back.
    period_ns: u64,
    /// Nanoseconds until an empty bucket is full.
    capacity_ns: u64,
    started: Instant,
    hasher: RandomState,
    shards: Vec<Mutex<HashMap<IpAddr, u64>>>,
    addresses_per_shard: usize,
}

impl Buckets {
    fn new(name: &'static str, rate: Rate, addresses_max: usize) -> Self {
        let period_ns = NANOS_PER_SECOND / u64::from(rate.per_second.get());
        Self {
            name,
            rate,
            period_ns,
            capacity_ns: period_ns.saturating_mul(u64::from(rate.burst.get())),
            started: Instant::now(),
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            addresses_per_shard: addresses_max.div_ceil(SHARDS),
        }
    }

    /// Takes a token, or says after how many seconds there is one.
    fn take(&self, key: IpAddr, now: Instant) -> Result<(), u32> {
        self.charge(key, now).map(|_| ())
    }

    /// The same, and says from which bucket.
    fn charge(&self, key: IpAddr, now: Instant) -> Result<Charged, u32> {
        let now_ns = self.nanos(now);
        let at = self.shard_of(&key);
        let mut shard = self.shards[at].lock();
        let key = self.admitted(&mut shard, key, now_ns);
        let full_at = shard.entry(key).or_insert(now_ns);
        let full_after = (*full_at).max(now_ns).saturating_add(self.period_ns);
        let wait_ns = full_after.saturating_sub(now_ns.saturating_add(self.capacity_ns));
        if wait_ns > 0 {
            return Err(u32::try_from(wait_ns.div_ceil(NANOS_PER_SECOND)).unwrap_or(u32::MAX));
        }
        *full_at = full_after;
        Ok(Charged { shard: at, key })
    }

    fn refused(&self, after_s: u32) -> Problem {
        let Rate { per_second, burst } = self.rate;
        // An empty bucket is full after so long.
        let window_s = burst.get().div_ceil(per_second.get());
        let detail = "too many requests from this address";
        let mut problem =
            Problem::new(Kind::Limited, "rate-limited", detail).retry_after_s(after_s);
        let headers = rate_limit_headers(self.name, burst.get(), window_s, 0, after_s);
        problem.headers.extend(headers);
        problem
    }

    fn give_back(&self, charged: Charged) {
        if let Some(full_at) = self.shards[charged.shard].lock().get_mut(&charged.key) {
            *full_at = full_at.saturating_sub(self.period_ns);
        }
    }

    /// The key itself, or the common one when there are too many: memory is bounded, and a flood of
    /// addresses limits only other newcomers.
    fn admitted(&self, shard: &mut HashMap<IpAddr, u64>, key: IpAddr, now_ns: u64) -> IpAddr {
        if shard.len() < self.addresses_per_shard || shard.contains_key(&key) {
            return key;
        }
        shard.retain(|_, full_at| *full_at > now_ns);
        if shard.len() < self.addresses_per_shard {
            return key;
        }
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    }

    fn forget_full(&self, now: Instant) {
        let now_ns = self.nanos(now);
        for shard in &self.shards {
            let mut shard = shard.lock();
            shard.retain(|_, full_at| *full_at > now_ns);
            shard.shrink_to(64);
        }
    }

    /// Which of the shards: below their number, which is not 0.
    fn shard_of(&self, key: &IpAddr) -> usize {
        (self.hasher.hash_one(key) % SHARDS as u64) as usize
    }

    fn nanos(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.started).as_nanos();
        u64::try_from(since).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn buckets(per_second: u32, burst: u32, addresses_max: usize) -> Buckets {
        Buckets::new("test", Rate::new(per_second, burst).unwrap(), addresses_max)
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn a_burst_passes_and_then_one_each_period() {
        let buckets = buckets(10, 5, 100);
        let start = buckets.started;
        for _ in 0..5 {
            assert_eq!(buckets.take(address(1), start), Ok(()));
        }
        assert_eq!(buckets.take(address(1), start), Err(1));
        assert_eq!(buckets.take(address(2), start), Ok(()), "others are free");
        let later = start + Duration::from_millis(100);
        assert_eq!(buckets.take(address(1), later), Ok(()));
        assert_eq!(buckets.take(address(1), later), Err(1));
    }

    #[test]
    fn the_wait_is_told_in_whole_seconds() {
        let buckets = buckets(1, 1, 100);
        let start = buckets.started;
        assert_eq!(buckets.take(address(1), start), Ok(()));
        assert_eq!(buckets.take(address(1), start), Err(1));
        let later = start + Duration::from_millis(10);
        assert_eq!(buckets.take(address(1), later), Err(1));
        assert_eq!(
            buckets.take(address(1), start + Duration::from_secs(1)),
            Ok(())
        );
    }

    #[test]
    fn a_token_given_back_can_be_taken_again() {
        let buckets = buckets(1, 1, 100);
        let start = buckets.started;
        for _ in 0..100 {
            buckets.give_back(buckets.charge(address(1), start).unwrap());
        }
        assert_eq!(buckets.take(address(1), start), Ok(()));
        assert_eq!(buckets.take(address(1), start), Err(1));
    }

    #[test]
    fn a_newcomer_who_proves_who_it_is_pays_nothing_in_a_flood_either() {
        let buckets = buckets(1, 1, SHARDS);
        let start = buckets.started;
        // Leaves the table full, and every common bucket too.
        let flood = (0..10_000_u32).map(|host| IpAddr::from(host.to_be_bytes()));
        for stranger in flood {
            if let Ok(charged) = buckets.charge(stranger, start)
                && charged.key.is_unspecified()
            {
                buckets.give_back(charged);
            }
        }
        for _ in 0..100 {
            let charged = buckets.charge(address(1), start).unwrap();
            assert!(charged.key.is_unspecified(), "there is room");
            buckets.give_back(charged);
        }
    }

    #[test]
    fn a_refusal_tells_the_limit() {
        let rate = Rate::new(3, 10);
        let limits = RateLimits::new(rate, rate);
        for _ in 0..10 {
            limits.take_anonymous(address(1)).unwrap().spend();
            limits.take(address(1)).unwrap();
        }
        // The buckets fill while the machine stands still.
        let stranger = loop {
            match limits.take_anonymous(address(1)) {
                Ok(token) => token.spend(),
                Err(problem) => break problem,
            }
        };
        let anybody = loop {
            if let Err(problem) = limits.take(address(1)) {
                break problem;
            }
        };
        for (problem, name) in [(stranger, "anonymous"), (anybody, "address")] {
            let told = problem.headers.iter();
            let told = told.map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
            let told: Vec<_> = told.collect();
            let policy = format!("\"{name}\";q=10;w=4");
            let limit = format!("\"{name}\";r=0;t=1");
            let expected = [("ratelimit-policy", &*policy), ("ratelimit", &limit)];
            assert_eq!(told, expected);
        }
    }

    #[test]
    fn memory_is_bounded_and_newcomers_share_one_bucket() {
        let buckets = buckets(1, 1, SHARDS);
        let start = buckets.started;
        for host in 0..10_000_u32 {
            let _ = buckets.take(IpAddr::from(host.to_be_bytes()), start);
        }
        let kept: usize = buckets.shards.iter().map(|shard| shard.lock().len()).sum();
        assert!(kept <= 2 * SHARDS, "{kept}");
        buckets.forget_full(start + Duration::from_secs(2));
        assert!(buckets.shards.iter().all(|shard| shard.lock().is_empty()));
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let buckets = buckets(1, 1, 100);
        let take = |text: &str| buckets.take(network(text.parse().unwrap()), buckets.started);
        assert_eq!(take("2001:db8::1"), Ok(()));
        assert_eq!(take("2001:db8::2"), Err(1));
        assert_eq!(take("2001:db8:0:1::1"), Ok(()));
    }
}
