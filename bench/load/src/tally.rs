//! What was answered and how long it took, and the line that is printed about it.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Longer latencies are counted as this one.
const LATENCY_US_MAX: u64 = 60_000_000;

/// The measured answers of all connections.
#[derive(Debug)]
pub(crate) struct Tally {
    latencies_us: Histogram<u64>,
    errors: u64,
    /// How many events a request carries.
    batch: u64,
}

/// What is printed.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    requests: u64,
    ok: u64,
    errors: u64,
    /// Events, not requests.
    per_second: u64,
    p50_us: u64,
    p99_us: u64,
}

impl Tally {
    /// Of requests that carry so many events each.
    pub(crate) fn new(batch: u64) -> std::io::Result<Self> {
        Ok(Self {
            batch,
            latencies_us: Histogram::new_with_bounds(1, LATENCY_US_MAX, 3)
                .map_err(std::io::Error::other)?,
            errors: 0,
        })
    }

    pub(crate) fn answered(&mut self, took: Duration) {
        let took_us = u64::try_from(took.as_micros()).unwrap_or(LATENCY_US_MAX);
        self.latencies_us.saturating_record(took_us.max(1));
    }

    pub(crate) fn failed(&mut self) {
        self.errors += 1;
    }

    pub(crate) fn ok(&self) -> u64 {
        self.latencies_us.len()
    }

    /// `seconds` is how long was measured.
    pub(crate) fn report(&self, seconds: u64) -> Report {
        Report {
            requests: self.ok() + self.errors,
            ok: self.ok(),
            errors: self.errors,
            per_second: self.ok() * self.batch / seconds.max(1),
            p50_us: self.latencies_us.value_at_quantile(0.50),
            p99_us: self.latencies_us.value_at_quantile(0.99),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_counts_answers_and_errors_and_gives_quantiles() {
        let mut tally = Tally::new(1).unwrap();
        for took_us in 1..=200 {
            tally.answered(Duration::from_micros(took_us));
        }
        tally.failed();

        let report: serde_json::Value = serde_json::to_value(tally.report(2)).unwrap();

        assert_eq!(report["requests"], 201);
        assert_eq!(report["ok"], 200);
        assert_eq!(report["errors"], 1);
        assert_eq!(report["per_second"], 100);
        assert_eq!(report["p50_us"], 100);
        assert_eq!(report["p99_us"], 198);
    }

    #[test]
    fn a_latency_beyond_the_bound_still_counts() {
        let mut tally = Tally::new(1).unwrap();
        tally.answered(Duration::from_secs(3_600));
        assert_eq!(tally.ok(), 1);
    }
}
