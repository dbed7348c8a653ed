//! How many events a node may send in a second.

use std::num::NonZeroU32;

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use nexus_core::{Kind, Source};
use nexus_http::Problem;

/// A token bucket for each node. There are only as many as there are nodes and tokens configured.
pub(crate) struct NodeLimits(Option<DefaultKeyedRateLimiter<Source>>);

impl NodeLimits {
    /// So many events a second for each node, saved up for one second; zero means no limit.
    pub(crate) fn new(events_per_second: u32) -> Self {
        Self(
            NonZeroU32::new(events_per_second)
                .map(|rate| RateLimiter::keyed(Quota::per_second(rate))),
        )
    }

    /// Takes tokens for some events.
    ///
    /// # Errors
    /// `rate-limited`, with the second after which it is worth asking again.
    pub(crate) fn take(&self, source: &Source, events: u32) -> Result<(), Problem> {
        let (Some(limiter), Some(events)) = (&self.0, NonZeroU32::new(events)) else {
            return Ok(());
        };
        match limiter.check_key_n(source, events) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => {
                let problem = Problem::new(
                    Kind::Limited,
                    "rate-limited",
                    "this node sends more events than it may",
                );
                Err(problem.retry_after_s(1))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_has_its_own_bucket_and_zero_is_no_limit() {
        let limits = NodeLimits::new(2);
        let (a, b) = (Source::node("a"), Source::node("b"));
        assert!(limits.take(&a, 1).is_ok() && limits.take(&a, 1).is_ok());
        assert_eq!(limits.take(&a, 1).unwrap_err().code, "rate-limited");
        assert!(limits.take(&b, 2).is_ok());
        assert!(
            limits.take(&b, 5).is_err(),
            "more than the bucket ever holds"
        );
        assert!((0..10_000).all(|_| NodeLimits::new(0).take(&a, 1).is_ok()));
    }
}
