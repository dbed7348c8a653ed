//! What may happen to a log and its readers, for the model of cursors.

use proptest::prelude::*;

pub const TOPICS: [&str; 4] = ["a.x", "a.y", "b.x", "c.rare"];
pub const PATTERNS: [&[&str]; 6] = [
    &[">"],
    &["a.*"],
    &["*.x"],
    &["c.rare"],
    &["a.y", "c.*"],
    &["z.none"],
];

/// What happens.
#[derive(Debug, Clone)]
pub enum Step {
    /// So many events are published in one request, their topics chosen by the number.
    Append { events: usize, seed: usize },
    /// A reader comes: from somewhere, for some topics, for one in `of` of their events.
    Open {
        from: Place,
        patterns: usize,
        of: u64,
    },
    /// A reader reads so many pages, each dropped when it takes longer than that many turns.
    Read {
        reader: usize,
        pages: usize,
        turns: usize,
    },
    /// That share of the log is removed, in percent, while a reader reads.
    Prune { percent: usize, reader: usize },
    /// The log is opened anew with a ring of this size, and every reader comes back.
    Restart { ring: usize },
    /// The log is restored from a copy that has this share of it, in percent: another epoch.
    Restore { percent: usize },
}

#[derive(Debug, Clone, Copy)]
pub enum Place {
    Earliest,
    Latest,
    /// Behind this share of the log, in percent; over a hundred is past its end.
    After(usize),
    Elsewhere,
}

pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    let place = prop_oneof![
        Just(Place::Earliest),
        Just(Place::Latest),
        (0_usize..120).prop_map(Place::After),
        Just(Place::Elsewhere),
    ];
    let step = prop_oneof![
        6 => (1_usize..30, any::<usize>()).prop_map(|(events, seed)| Step::Append { events, seed }),
        3 => (place, 0..PATTERNS.len(), 1_u64..4)
            .prop_map(|(from, patterns, of)| Step::Open { from, patterns, of }),
        6 => (any::<usize>(), 1_usize..6, 0_usize..8)
            .prop_map(|(reader, pages, turns)| Step::Read { reader, pages, turns }),
        2 => (0_usize..100, any::<usize>()).prop_map(|(percent, reader)| Step::Prune { percent, reader }),
        1 => (1_usize..60).prop_map(|ring| Step::Restart { ring }),
        1 => (0_usize..=100).prop_map(|percent| Step::Restore { percent }),
    ];
    prop::collection::vec(step, 1..40)
}
