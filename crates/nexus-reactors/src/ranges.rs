//! A set of sequence numbers, kept as ranges.

use serde::{Deserialize, Serialize};

/// Numbers as inclusive ranges: sorted, disjoint, and never touching each other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// Adds every number from `first` to `last`; nothing if `last` is smaller.
    pub(crate) fn insert(&mut self, first: u64, last: u64) {
        if last < first {
            return;
        }
        // Everything that overlaps or touches [first, last] melts into one range.
        let from = self
            .0
            .partition_point(|(_, end)| *end < first.saturating_sub(1));
        let to = self
            .0
            .partition_point(|(start, _)| *start <= last.saturating_add(1));
        if from == to {
            self.0.insert(from, (first, last));
            return;
        }
        let melted = (first.min(self.0[from].0), last.max(self.0[to - 1].1));
        self.0.splice(from..to, [melted]);
    }

    /// Whether the number is in the set.
    pub(crate) fn contains(&self, number: u64) -> bool {
        let index = self.0.partition_point(|(_, end)| *end < number);
        self.0.get(index).is_some_and(|(start, _)| *start <= number)
    }

    /// Takes out everything up to where the run of numbers that follows `position` ends, and gives that
    /// end; `position` itself if the next number is not in the set.
    pub(crate) fn absorb(&mut self, position: u64) -> u64 {
        let mut reached = position;
        let absorbed = self
            .0
            .iter()
            .take_while(|(start, end)| {
                let follows = *start <= reached.saturating_add(1);
                if follows {
                    reached = reached.max(*end);
                }
                follows
            })
            .count();
        self.0.drain(..absorbed);
        reached
    }

    /// The numbers up to and including `last`.
    pub(crate) fn through(&self, last: u64) -> Self {
        let kept = self.0.iter().take_while(|(start, _)| *start <= last);
        Self(
            kept.map(|(start, end)| (*start, (*end).min(last)))
                .collect(),
        )
    }

    /// Whether the ranges are in the form that this type keeps; what is read from outside may not be.
    pub(crate) fn is_well_formed(&self) -> bool {
        self.0.iter().all(|(start, end)| start <= end)
            && self
                .0
                .windows(2)
                .all(|pair| pair[0].1.saturating_add(1) < pair[1].0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a plain set of numbers, whatever is inserted in whatever order.
        #[test]
        fn follows_the_model(
            inserts in prop::collection::vec((0_u64..200, 0_u64..12), 0..60),
            position in 0_u64..220, cut in 0_u64..220,
        ) {
            let mut ranges = Ranges::default();
            let mut model = BTreeSet::new();
            for (first, length) in inserts {
                // A length of zero is the empty range.
                let last = (first + length).wrapping_sub(1);
                if length > 0 {
                    ranges.insert(first, last);
                    model.extend(first..=last);
                }
                prop_assert!(ranges.is_well_formed(), "{ranges:?}");
            }
            for number in 0..220 {
                prop_assert_eq!(ranges.contains(number), model.contains(&number));
                prop_assert_eq!(
                    ranges.through(cut).contains(number),
                    number <= cut && model.contains(&number)
                );
            }
            let mut reached = position;
            while model.contains(&(reached + 1)) {
                reached += 1;
            }
            prop_assert_eq!(ranges.absorb(position), reached);
            model.retain(|number| *number > reached);
            for number in 0..220 {
                prop_assert_eq!(ranges.contains(number), model.contains(&number));
            }
        }
    }

    #[test]
    fn ranges_that_touch_are_one() {
        let mut ranges = Ranges::default();
        ranges.insert(1, 3);
        ranges.insert(7, 9);
        ranges.insert(4, 6);
        assert_eq!(ranges, Ranges(vec![(1, 9)]));
        ranges.insert(5, 4);
        assert_eq!(ranges, Ranges(vec![(1, 9)]));
    }
}
