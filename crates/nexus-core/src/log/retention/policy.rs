//! How much may go: a pure decision.

use super::{Pin, RetentionOptions};
use crate::Seq;

/// By size at most this part of the log goes at one time, as a divisor: how large single events are is not
/// known, only all together.
const PART_BY_SIZE: u64 = 8;
/// By size, at least this many events go at one time.
const EVENTS_BY_SIZE_MIN: u64 = 1_000;

/// What is decided on.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    /// The newest event.
    pub(super) head: Seq,
    /// The last event that is gone.
    pub(super) pruned: Seq,
    /// The last event that is too old; zero if none is.
    pub(super) aged: Seq,
    /// How many bytes are in use.
    pub(super) used_bytes: u64,
    /// When it was looked, in microseconds since 1970.
    pub(super) now_us: i64,
}

/// The last event that is to go by the limits: never less than is gone already, never behind the head.
pub(super) fn wanted(options: &RetentionOptions, view: &View) -> Seq {
    let by_age = view.aged;
    let by_events = options.events.map_or(Seq::ZERO, |events| {
        Seq::new(view.head.get().saturating_sub(events))
    });
    let by_bytes = options.bytes.map_or(Seq::ZERO, |bytes| {
        view.pruned.plus(events_by_size(view, bytes))
    });
    by_age
        .max(by_events)
        .max(by_bytes)
        .min(view.head)
        .max(view.pruned)
}

/// How many of the oldest events to remove next, so that less is in use. As if all were of one size: so it
/// may take a few times.
fn events_by_size(view: &View, bytes_max: u64) -> u64 {
    let kept = view.head.get().saturating_sub(view.pruned.get());
    let excess = view.used_bytes.saturating_sub(bytes_max);
    if excess == 0 {
        return 0;
    }
    let events = (u128::from(excess) * u128::from(kept)).div_ceil(u128::from(view.used_bytes));
    let events = u64::try_from(events).unwrap_or(u64::MAX);
    events
        .min((kept / PART_BY_SIZE).max(EVENTS_BY_SIZE_MIN))
        .min(kept)
}

/// How much of it may go.
pub(super) fn allowed(wanted: Seq, pins: &[Pin], force: bool) -> Seq {
    let needed = pins.iter().map(|pin| pin.after).min();
    match needed {
        Some(after) if !force => wanted.min(after),
        _ => wanted,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn view() -> impl Strategy<Value = View> {
        (0..100_000_u64, 0..=100_u64, 0..=100_u64, 0..10_000_000_u64).prop_map(
            |(head, pruned, aged, used_bytes)| View {
                head: Seq::new(head),
                pruned: Seq::new(head * pruned / 100),
                aged: Seq::new(head * aged / 100),
                used_bytes,
                now_us: 0,
            },
        )
    }

    fn options() -> impl Strategy<Value = RetentionOptions> {
        let events = prop::option::of(0..100_000_u64);
        let bytes = prop::option::of(0..10_000_000_u64);
        (events, bytes, any::<bool>()).prop_map(|(events, bytes, force)| RetentionOptions {
            age: Some(Duration::from_secs(1)),
            events,
            bytes,
            force,
            ..RetentionOptions::default()
        })
    }

    fn pins() -> impl Strategy<Value = Vec<Pin>> {
        prop::collection::vec(
            (0..100_000_u64).prop_map(|after| Pin::new("x", Seq::new(after))),
            0..5,
        )
    }

    proptest! {
        #[test]
        fn never_past_a_pin_unless_forced(options in options(), view in view(), pins in pins()) {
            let wanted = wanted(&options, &view);
            prop_assert!(view.pruned <= wanted && wanted <= view.head);
            let allowed = allowed(wanted, &pins, options.force);
            prop_assert!(allowed <= wanted);
            if options.force {
                prop_assert_eq!(allowed, wanted);
            } else {
                prop_assert!(pins.iter().all(|pin| allowed <= pin.after));
            }
        }

        /// What is too old or too much stays so while the log grows.
        #[test]
        fn what_may_go_only_grows(options in options(), view in view(), more in 0..10_000_u64) {
            let first = wanted(&RetentionOptions { bytes: None, ..options.clone() }, &view);
            let later = View {
                head: view.head.plus(more),
                pruned: first,
                ..view
            };
            prop_assert!(wanted(&options, &later) >= first);
        }

        /// Removed again and again, the log comes within its limits, and not far below.
        #[test]
        fn by_size_it_ends_within_the_limit(events in 1..50_000_u64, each in 1..2_000_u64, bytes in 0..50_000_000_u64) {
            let options = RetentionOptions { bytes: Some(bytes), ..RetentionOptions::default() };
            let mut pruned = 0;
            for _ in 0..200 {
                let view = View {
                    head: Seq::new(events),
                    pruned: Seq::new(pruned),
                    aged: Seq::ZERO,
                    used_bytes: (events - pruned) * each,
                    now_us: 0,
                };
                let next = wanted(&options, &view).get();
                if next == pruned {
                    break;
                }
                pruned = next;
            }
            let left = events - pruned;
            prop_assert!(left * each <= bytes);
            prop_assert!(left == events || (left + 1) * each > bytes, "{} left of {}", left, events);
        }
    }

    #[test]
    fn with_no_limit_everything_is_kept() {
        let view = View {
            head: Seq::new(1_000_000),
            pruned: Seq::new(7),
            aged: Seq::ZERO,
            used_bytes: u64::MAX,
            now_us: i64::MAX,
        };
        assert_eq!(wanted(&RetentionOptions::default(), &view), Seq::new(7));
    }
}
