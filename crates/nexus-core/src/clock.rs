//! Time as a value that is handed in, so that tests own it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

/// Where the time comes from: the machine, or a test.
///
/// Only wall-clock time is read through it. How long something lasts is measured on tokio's clock, which
/// tests pause.
#[derive(Debug, Clone)]
pub enum Clock {
    /// The clock of the machine.
    System,
    /// A clock that stands still until it is set, in microseconds since 1970.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that stands at `now_us` until [`Clock::advance_us`].
    #[must_use]
    pub fn manual(now_us: i64) -> Self {
        Self::Manual(Arc::new(AtomicI64::new(now_us)))
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn now_us(&self) -> i64 {
        match self {
            Self::System => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| {
                    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
                }),
            Self::Manual(now_us) => now_us.load(Ordering::SeqCst),
        }
    }

    /// Moves a manual clock, also backwards; the machine's clock is left alone.
    pub fn advance_us(&self, by_us: i64) {
        if let Self::Manual(now_us) = self {
            now_us.fetch_add(by_us, Ordering::SeqCst);
        }
    }
}

/// Writes a time as ISO 8601 in UTC with microseconds, `2026-11-21T06:00:00.123456Z`.
#[must_use]
pub fn iso8601(time_us: i64) -> String {
    jiff::Timestamp::from_microsecond(time_us).map_or_else(
        |_| String::from("1970-01-01T00:00:00.000000Z"),
        |time| format!("{time:.6}"),
    )
}

/// Writes a time as JavaScript's `toISOString` does, `2026-11-21T06:00:00.123Z`.
#[must_use]
pub fn iso8601_ms(time_us: i64) -> String {
    jiff::Timestamp::from_microsecond(time_us).map_or_else(
        |_| String::from("1970-01-01T00:00:00.000Z"),
        |time| format!("{time:.3}"),
    )
}

/// Reads an RFC 3339 time into microseconds since 1970; nothing when the text is no such time.
#[must_use]
pub fn parse_iso8601_us(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>()
        .ok()
        .map(jiff::Timestamp::as_microsecond)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_and_reads_times() {
        assert_eq!(
            iso8601(1_763_704_800_123_456),
            "2025-11-21T06:00:00.123456Z"
        );
        assert_eq!(
            iso8601_ms(1_763_704_800_123_456),
            "2025-11-21T06:00:00.123Z"
        );
        assert_eq!(iso8601(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(
            parse_iso8601_us("2025-11-21T06:00:00.123456Z"),
            Some(1_763_704_800_123_456)
        );
        assert_eq!(parse_iso8601_us("yesterday"), None);
    }

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = Clock::manual(10);
        assert_eq!(clock.now_us(), 10);
        clock.advance_us(-3);
        assert_eq!(clock.clone().now_us(), 7);
    }
}
