//! How much may go: a pure decision.

use super::{Pin, RetentionOptions};
use crate::Seq;

/// By size at most this part of the log goes at one time, as a divisor: how large single events are is not
/// known, only all together.
const PART_BY_SIZE: u64 = 8;
/// By size, at least this many events go at one time.
const EVENTS_BY_SIZE_MIN: u64 = 1_000;
/// So much of the log has to be gone before it is judged whether that made the database smaller, as a
/// divisor: a few events free no whole page.
const PART_JUDGED: u64 = 64;
/// Removing events is futile when it frees less than this part of what it would if the database were
/// nothing but events, as a divisor.
const PART_FREED_MIN: u64 = 16;
/// After that it is tried again when the database has grown by this part, as a divisor, or is half as large.
const PART_GROWN: u64 = 16;

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

impl View {
    fn kept(&self) -> u64 {
        self.head.get().saturating_sub(self.pruned.get())
    }
}

/// Whether removing events makes the database smaller. When what is beside them is larger than the limit
/// alone, it does not, and would go on until no event is left.
#[derive(Debug, Default)]
pub(super) struct Shrinking {
    /// What there was when it was last judged, in this look.
    before: Option<View>,
    /// How many bytes were in use when it was found futile.
    futile_at_bytes: Option<u64>,
}

impl Shrinking {
    /// Begins a look. What is written between two looks says nothing about what removing events frees.
    pub(super) fn begin(&mut self) {
        self.before = None;
    }

    /// Whether events may go by size, after what was found now.
    pub(super) fn goes_on(&mut self, bytes_max: u64, view: &View) -> bool {
        let used = view.used_bytes;
        if used <= bytes_max {
            *self = Self::default();
            return true;
        }
        if let Some(at) = self.futile_at_bytes {
            if at / 2 < used && used < at.saturating_add(at.div_ceil(PART_GROWN)) {
                return false;
            }
            *self = Self::default();
        }
        let before = *self.before.get_or_insert(*view);
        let removed = before.kept().saturating_sub(view.kept());
        if removed == 0 || removed < before.kept() / PART_JUDGED {
            return true;
        }
        let wide = u128::from;
        let freed = wide(before.used_bytes.saturating_sub(used));
        let hoped = wide(before.used_bytes) * wide(removed) / wide(before.kept());
        if freed * wide(PART_FREED_MIN) < hoped {
            self.futile_at_bytes = Some(used);
            return false;
        }
        self.before = Some(*view);
        true
    }
}

/// The last event that is to go by the limits: never less than is gone already, never behind the head.
/// `by_size` is whether the limit of bytes counts.
pub(super) fn wanted(options: &RetentionOptions, view: &View, by_size: bool) -> Seq {
    let by_age = view.aged;
    let by_events = options.events.map_or(Seq::ZERO, |events| {
        Seq::new(view.head.get().saturating_sub(events))
    });
    let by_bytes = options
        .bytes
        .filter(|_| by_size)
        .map_or(Seq::ZERO, |bytes| {
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
    let kept = view.kept();
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
            let wanted = wanted(&options, &view, true);
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
            let first = wanted(&RetentionOptions { bytes: None, ..options.clone() }, &view, true);
            let later = View {
                head: view.head.plus(more),
                pruned: first,
                ..view
            };
            prop_assert!(wanted(&options, &later, true) >= first);
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
                let next = wanted(&options, &view, true).get();
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

    /// A database of events and of what is beside them, in bytes.
    #[derive(Debug)]
    struct Database {
        view: View,
        each: u64,
        beside: u64,
    }

    impl Database {
        fn new(events: u64, each: u64, beside: u64) -> Self {
            let view = View {
                head: Seq::new(events),
                pruned: Seq::ZERO,
                aged: Seq::ZERO,
                used_bytes: events * each + beside,
                now_us: 0,
            };
            Self { view, each, beside }
        }

        fn grow(&mut self, events: u64) {
            self.view.head = self.view.head.plus(events);
        }

        /// One look, until nothing more is to go; whether the limit counts in the end.
        fn look(&mut self, shrinking: &mut Shrinking, bytes_max: u64) -> bool {
            let options = RetentionOptions {
                bytes: Some(bytes_max),
                ..RetentionOptions::default()
            };
            shrinking.begin();
            loop {
                self.view.used_bytes = self.view.kept() * self.each + self.beside;
                let by_size = shrinking.goes_on(bytes_max, &self.view);
                let wanted = wanted(&options, &self.view, by_size);
                if wanted == self.view.pruned {
                    return by_size;
                }
                self.view.pruned = wanted;
            }
        }
    }

    #[test]
    fn what_is_beside_the_log_does_not_empty_it() {
        let mut database = Database::new(100_000, 500, 60_000_000);
        let mut shrinking = Shrinking::default();
        assert!(!database.look(&mut shrinking, 20_000_000));
        let kept = database.view.kept();
        // About a sixteenth of what is in use.
        assert!((6_000..9_000).contains(&kept), "{kept}");
        // Nothing more goes as long as nothing changes.
        assert!(!database.look(&mut shrinking, 20_000_000));
        assert_eq!(database.view.kept(), kept);
        // However both grow, a good part of a sixteenth is left: two steps lead below it at most.
        for _ in 0..50 {
            database.grow(2_000);
            database.beside += 400_000;
            database.look(&mut shrinking, 20_000_000);
            let events_bytes = database.view.kept() * database.each;
            assert!(events_bytes * 24 > database.view.used_bytes, "{database:?}");
        }
    }

    #[test]
    fn the_limit_counts_again_when_the_rest_has_become_smaller() {
        let mut database = Database::new(100_000, 500, 60_000_000);
        let mut shrinking = Shrinking::default();
        assert!(!database.look(&mut shrinking, 20_000_000));
        database.beside = 1_000_000;
        database.grow(50_000);
        assert!(database.look(&mut shrinking, 20_000_000));
        assert_eq!(database.view.kept(), 19_000_000 / 500);
    }

    #[test]
    fn the_part_of_the_log_that_is_too_much_goes_whatever_is_beside_it() {
        let mut database = Database::new(100_000, 500, 15_000_000);
        assert!(database.look(&mut Shrinking::default(), 20_000_000));
        assert_eq!(database.view.kept(), 5_000_000 / 500);
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
        assert_eq!(
            wanted(&RetentionOptions::default(), &view, true),
            Seq::new(7)
        );
    }
}
