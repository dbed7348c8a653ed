//! How much is held for clients: of one session, of all sessions of one caller, and of all together. What is
//! held counts until the last that has it lets go, also while it is on its way to a slow client.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;

/// The bytes that something may hold, within what holds more.
#[derive(Debug)]
pub(crate) struct Budget {
    of: &'static str,
    held: AtomicUsize,
    max: usize,
    within: Option<Arc<Budget>>,
    /// Room that nobody else can take, for when all others together have taken the rest.
    own: Option<Arc<Budget>>,
}

/// How much of a budget may be spent on something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Share {
    /// Half of it: the rest is for what somebody waits for.
    Half,
    /// All of it.
    Whole,
    /// More than there is: for the few bytes that tell why something else found no room.
    More,
}

/// There is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spent {
    /// What there is no room in.
    pub(crate) of: &'static str,
    /// How much it may hold, in bytes.
    pub(crate) max: usize,
}

/// Room that was taken; free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: Arc<Budget>,
    bytes: usize,
}

/// A text with the room that it takes.
struct Held<T> {
    text: T,
    _room: Reservation,
}

impl Budget {
    pub(crate) fn new(of: &'static str, max: usize) -> Arc<Self> {
        Self::of(of, max, None, None)
    }

    /// One that counts in this one as well.
    pub(crate) fn part(self: &Arc<Self>, of: &'static str, max: usize) -> Arc<Self> {
        Self::of(of, max, Some(self.clone()), None)
    }

    /// One that counts in this one as well, and has some room of its own when this one, or what this one is
    /// within, is full for the sake of others.
    pub(crate) fn part_with_own(
        self: &Arc<Self>,
        of: &'static str,
        max: usize,
        own: usize,
    ) -> Arc<Self> {
        Self::of(of, max, Some(self.clone()), Some(Self::new(of, own)))
    }

    fn of(
        of: &'static str,
        max: usize,
        within: Option<Arc<Self>>,
        own: Option<Arc<Self>>,
    ) -> Arc<Self> {
        let held = AtomicUsize::new(0);
        Arc::new(Self {
            of,
            held,
            max,
            within,
            own,
        })
    }

    /// Takes room, here and in all that this is within.
    pub(crate) fn reserve(
        self: &Arc<Self>,
        bytes: usize,
        share: Share,
    ) -> Result<Reservation, Spent> {
        for (taken, budget) in self.chain().enumerate() {
            if let Err(spent) = budget.take(bytes, share) {
                for budget in self.chain().take(taken) {
                    budget.give_back(bytes);
                }
                let is_for_all = taken > 0 && budget.within.is_none();
                let own = self.own.as_ref().filter(|_| is_for_all).ok_or(spent)?;
                return own.reserve(bytes, share).or(Err(spent));
            }
        }
        Ok(Reservation {
            budget: self.clone(),
            bytes,
        })
    }

    /// Whether so much is spent, here or in one that this is within, that nothing is kept for comfort alone.
    pub(crate) fn is_half_spent(&self) -> bool {
        self.chain()
            .any(|budget| budget.held.load(Ordering::Relaxed) > budget.max / 2)
    }

    fn chain(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |budget| budget.within.as_deref())
    }

    fn take(&self, bytes: usize, share: Share) -> Result<(), Spent> {
        let max = match share {
            Share::Half => self.max / 2,
            Share::Whole => self.max,
            Share::More => usize::MAX,
        };
        let with = |held: usize| held.checked_add(bytes).filter(|held| *held <= max);
        let taken = self
            .held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, with);
        let (of, max) = (self.of, self.max);
        taken.map(|_| ()).map_err(|_| Spent { of, max })
    }

    fn give_back(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

impl Reservation {
    /// The text that the room was taken for, or the largest part of it.
    pub(crate) fn hold<T: AsRef<[u8]> + Send + 'static>(self, text: T) -> Bytes {
        debug_assert!(text.as_ref().len() <= self.bytes);
        Bytes::from_owner(Held { text, _room: self })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        for budget in self.budget.chain() {
            budget.give_back(self.bytes);
        }
    }
}

impl<T: AsRef<[u8]>> AsRef<[u8]> for Held<T> {
    fn as_ref(&self) -> &[u8] {
        self.text.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn budgets() -> (Arc<Budget>, Arc<Budget>, Arc<Budget>) {
        let all = Budget::new("all", 100);
        let (one, other) = (all.part("one", 60), all.part("other", 60));
        (all, one, other)
    }

    #[test]
    fn what_one_holds_another_cannot_and_what_is_let_go_is_free() {
        let (all, one, other) = budgets();
        let held = one.reserve(60, Share::Whole).unwrap();
        assert_eq!(one.reserve(1, Share::Whole).unwrap_err().of, "one");
        // What there is no room for in all takes none of its own either.
        let spent = other.reserve(41, Share::Whole).unwrap_err();
        assert_eq!((spent.of, spent.max, other.held()), ("all", 100, 0));
        let text = other.reserve(40, Share::Whole).unwrap();
        let text = text.hold(vec![b'x'; 40]);
        let on_its_way = text.clone();
        drop((held, text));
        assert_eq!((all.held(), one.held(), other.held()), (40, 0, 40));
        drop(on_its_way);
        assert_eq!(all.held(), 0);
    }

    #[test]
    fn half_is_left_for_what_somebody_waits_for() {
        let (all, one, other) = budgets();
        let _note = one.reserve(30, Share::Half).unwrap();
        assert!(!one.is_half_spent());
        assert!(one.reserve(1, Share::Half).is_err());
        let _answer = one.reserve(30, Share::Whole).unwrap();
        assert!(one.is_half_spent() && other.is_half_spent());
        assert!(other.reserve(1, Share::Half).is_err());
        let _excuse = one.reserve(10, Share::More).unwrap();
        assert_eq!(all.held(), 70);
    }

    #[test]
    fn whoever_takes_all_that_there_is_leaves_each_a_little() {
        let all = Budget::new("all", 100);
        let (one, other) = (all.part("one", 100), all.part_with_own("other", 60, 20));
        let _held = one.reserve(100, Share::Whole).unwrap();
        let little = other.reserve(20, Share::Whole).unwrap();
        assert_eq!(other.reserve(1, Share::Whole).unwrap_err().of, "all");
        drop(little);
        assert!(other.reserve(11, Share::Half).is_err());
        let _note = other.reserve(10, Share::Half).unwrap();
        // It is no way around a bound of its own.
        assert_eq!(other.reserve(61, Share::Whole).unwrap_err().of, "other");
    }

    proptest! {
        /// However much is asked for, no more is held than may be, and in the end nothing is.
        #[test]
        fn no_more_is_held_than_may_be(
            steps in prop::collection::vec((any::<bool>(), any::<bool>(), 0_usize..50), 0..60),
        ) {
            let (all, one, other) = budgets();
            let mut held = Vec::new();
            for (takes, first, bytes) in steps {
                let budget = if first { &one } else { &other };
                if takes {
                    held.extend(budget.reserve(bytes, Share::Whole));
                } else if !held.is_empty() {
                    held.swap_remove(bytes % held.len());
                }
                prop_assert!(all.held() <= 100 && one.held() <= 60 && other.held() <= 60);
                prop_assert_eq!(all.held(), one.held() + other.held());
            }
            held.clear();
            prop_assert_eq!(all.held() + one.held() + other.held(), 0);
        }
    }
}
