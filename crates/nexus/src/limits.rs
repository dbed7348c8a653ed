//! How many events a node may send in a second.

use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroU32,
    sync::Arc,
};

use arc_swap::ArcSwap;
use governor::{
    NotUntil, Quota, RateLimiter,
    clock::{Clock, DefaultClock, QuantaInstant},
    middleware::{StateInformationMiddleware, StateSnapshot},
    state::keyed::DefaultKeyedStateStore,
};
use http::{HeaderName, HeaderValue};
use nexus_core::{Kind, Source};
use nexus_http::{Problem, rate_limit_headers};

type Buckets =
    RateLimiter<Source, DefaultKeyedStateStore<Source>, DefaultClock, StateInformationMiddleware>;

/// When there are so many buckets, those that are full again are dropped: users of an identity provider come
/// and go.
const BUCKETS_KEPT: usize = 4_096;

/// A token bucket for each node, token and user who lately sent something.
pub(crate) struct NodeLimits {
    /// What holds for every node without a limit of its own.
    common: Option<Arc<Limited>>,
    /// Limits of their own; none: they may send as many as they like.
    own: ArcSwap<HashMap<Source, Option<Arc<Limited>>>>,
}

struct Limited {
    rate: NonZeroU32,
    buckets: Buckets,
}

/// What a node has left of its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Allowance {
    /// Events a second.
    pub(crate) rate: u32,
    /// Events that it may still send at once.
    pub(crate) left: u32,
}

impl Allowance {
    /// As the header fields for rate limits tell it.
    pub(crate) fn headers(self) -> [(HeaderName, HeaderValue); 2] {
        rate_limit_headers("events", self.rate, 1, self.left, 1)
    }
}

impl NodeLimits {
    /// So many events a second for each node, saved up for one second; zero means no limit.
    pub(crate) fn new(events_per_second: u32) -> Self {
        Self {
            common: Limited::new(events_per_second),
            own: ArcSwap::default(),
        }
    }

    /// Gives these nodes limits of their own, and all others the common one. A limit that stays as it was goes
    /// on where it is.
    pub(crate) fn set_own(&self, rates: &BTreeMap<String, u32>) {
        let before = self.own.load();
        let own = rates.iter().map(|(node, rate)| {
            let source = Source::node(node);
            let kept = before.get(&source).cloned().flatten();
            let kept = kept.filter(|limited| limited.rate.get() == *rate);
            (source, kept.or_else(|| Limited::new(*rate)))
        });
        self.own.store(Arc::new(own.collect()));
    }

    fn limit(&self, source: &Source) -> Option<Arc<Limited>> {
        match self.own.load().get(source) {
            Some(own) => own.clone(),
            None => self.common.clone(),
        }
    }

    /// Takes tokens for some events; what is left, if there is a limit.
    ///
    /// # Errors
    /// `rate-limited`, with the seconds after which it is worth asking again; `too-large` for more events
    /// than may ever come at once.
    pub(crate) fn take(&self, source: &Source, events: u32) -> Result<Option<Allowance>, Problem> {
        let (Some(limited), Some(events)) = (self.limit(source), NonZeroU32::new(events)) else {
            return Ok(None);
        };
        limited.make_room();
        match limited.buckets.check_key_n(source, events) {
            Ok(Ok(state)) => Ok(Some(limited.allowance(&state))),
            Ok(Err(not_until)) => Err(limited.refused(&not_until)),
            Err(_) => {
                let rate = limited.rate;
                let detail = format!("this node may send at most {rate} events at once");
                Err(Problem::new(Kind::TooLarge, "too-large", detail))
            }
        }
    }
}

impl Limited {
    fn new(events_per_second: u32) -> Option<Arc<Self>> {
        let rate = NonZeroU32::new(events_per_second)?;
        let buckets = RateLimiter::keyed(Quota::per_second(rate));
        Some(Arc::new(Self {
            rate,
            buckets: buckets.with_middleware::<StateInformationMiddleware>(),
        }))
    }

    /// Forgets who has not sent anything for as long as their bucket takes to fill.
    fn make_room(&self) {
        if self.buckets.len() >= BUCKETS_KEPT {
            self.buckets.retain_recent();
        }
    }

    fn allowance(&self, state: &StateSnapshot) -> Allowance {
        Allowance {
            rate: self.rate.get(),
            left: state.remaining_burst_capacity(),
        }
    }

    fn refused(&self, not_until: &NotUntil<QuantaInstant>) -> Problem {
        let wait = not_until.wait_time_from(DefaultClock::default().now());
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let detail = "this node sends more events than it may";
        let none_left = Allowance {
            rate: self.rate.get(),
            left: 0,
        };
        let mut problem = Problem::new(Kind::Limited, "rate-limited", detail)
            .retry_after_s(u32::try_from(seconds).unwrap_or(u32::MAX).max(1));
        problem.headers.extend(none_left.headers());
        problem
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes until it is refused: a bucket fills while the machine stands still.
    fn refusal(limits: &NodeLimits, node: &Source, events: u32) -> Problem {
        let mut refused = std::iter::repeat_with(|| limits.take(node, events).err());
        refused.find_map(|refused| refused).unwrap()
    }

    #[test]
    fn each_node_has_its_own_bucket_and_zero_is_no_limit() {
        let limits = NodeLimits::new(2);
        let (a, b) = (Source::node("a"), Source::node("b"));
        let left = |left| Some(Allowance { rate: 2, left });
        assert_eq!(limits.take(&a, 1).unwrap(), left(1));
        let refused = refusal(&limits, &a, 1);
        assert_eq!(
            (refused.code, refused.retry_after_s),
            ("rate-limited", Some(1))
        );
        assert_eq!(limits.take(&b, 2).unwrap(), left(0));
        let never = limits.take(&b, 5).unwrap_err();
        assert_eq!(never.code, "too-large", "waiting would not help");
        assert!((0..10_000).all(|_| NodeLimits::new(0).take(&a, 1).unwrap().is_none()));
    }

    #[test]
    fn whoever_comes_once_is_not_remembered_for_ever() {
        // A bucket of so many a second is full again within a microsecond.
        let limits = NodeLimits::new(1_000_000);
        for n in 0..4 * BUCKETS_KEPT {
            limits.take(&Source::user(&n.to_string()), 1).unwrap();
        }
        let kept = limits.common.as_ref().unwrap().buckets.len();
        assert!(kept < 2 * BUCKETS_KEPT, "{kept}");
    }

    #[test]
    fn a_node_may_have_a_limit_of_its_own() {
        let limits = NodeLimits::new(2);
        let (a, b) = (Source::node("a"), Source::node("b"));
        let rates = |rates: &[(&str, u32)]| {
            let owned = rates.iter().map(|(node, rate)| ((*node).to_owned(), *rate));
            owned.collect::<BTreeMap<_, _>>()
        };
        limits.set_own(&rates(&[("a", 5), ("b", 0)]));
        assert_eq!(limits.take(&a, 4).unwrap().unwrap().left, 1);
        assert!(limits.take(&b, 1_000).unwrap().is_none());
        limits.set_own(&rates(&[("a", 5)]));
        assert_eq!(refusal(&limits, &a, 2).code, "rate-limited");
        assert_eq!(limits.take(&b, 3).unwrap_err().code, "too-large");
        limits.set_own(&rates(&[("a", 6)]));
        assert_eq!(limits.take(&a, 6).unwrap().unwrap().left, 0);
    }

    #[test]
    fn what_is_left_is_told_in_two_headers() {
        let allowance = Allowance {
            rate: 1000,
            left: 744,
        };
        let headers = allowance.headers();
        let told = headers
            .each_ref()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
        assert_eq!(
            told,
            [
                ("ratelimit-policy", "\"events\";q=1000;w=1"),
                ("ratelimit", "\"events\";r=744;t=1")
            ]
        );
    }
}
