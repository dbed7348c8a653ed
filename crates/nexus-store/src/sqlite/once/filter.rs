//! Which names surely have no place: nearly every key is new, and need not be looked up to know it.
//!
//! A Bloom filter in blocks: a name sets one bit in each word of one block, so that it costs one access to
//! memory, and names that come sorted go through memory in order.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};

/// So many bits for each name that there is room for. A full filter takes one of thirty new names for one
/// that may be there; a filter is half empty when it is made, and takes one of a thousand.
const BITS_PER_NAME: usize = 8;
const WORDS_PER_BLOCK: usize = 8;
const BLOCK_BITS: usize = WORDS_PER_BLOCK * 32;

type Block = [AtomicU32; WORDS_PER_BLOCK];

/// A set of names that can err in one direction only: what was added is always found. Names may be added
/// from several threads.
pub(crate) struct Filter {
    blocks: Box<[Block]>,
    names: AtomicUsize,
    names_max: usize,
}

impl Filter {
    /// Has room for `names_max` names, in no more than `bytes_max`. With less memory it errs more often.
    pub(crate) fn new(names_max: usize, bytes_max: usize) -> Self {
        let blocks = names_max.saturating_mul(BITS_PER_NAME).div_ceil(BLOCK_BITS);
        let blocks = blocks.min(bytes_max / size_of::<Block>()).max(1);
        Self {
            blocks: (0..blocks).map(|_| Block::default()).collect(),
            names: AtomicUsize::new(0),
            names_max,
        }
    }

    /// Adds a name, of which [`prefix`] is given.
    pub(crate) fn add(&self, prefix: u32) {
        for (word, bit) in self.block(prefix).iter().zip(bits(prefix)) {
            word.fetch_or(bit, Relaxed);
        }
        self.names.fetch_add(1, Relaxed);
    }

    /// False only for a name that was never added.
    pub(crate) fn may_have(&self, prefix: u32) -> bool {
        let mut words = self.block(prefix).iter().zip(bits(prefix));
        words.all(|(word, bit)| word.load(Relaxed) & bit != 0)
    }

    /// Whether it holds more names than it has room for, and errs ever more often.
    pub(crate) fn is_overfull(&self) -> bool {
        self.names.load(Relaxed) > self.names_max
    }

    /// How many names it has, and how many it has room for.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.names.load(Relaxed), self.names_max)
    }

    /// All its bits.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let words = self.blocks.iter().flatten();
        words
            .flat_map(|word| word.load(Relaxed).to_le_bytes())
            .collect()
    }

    /// The filter with these bits; nothing if they are not whole blocks.
    pub(crate) fn from_bytes(bytes: &[u8], names: usize, names_max: usize) -> Option<Self> {
        let (words, []) = bytes.as_chunks::<4>() else {
            return None;
        };
        let (blocks, []) = words.as_chunks::<WORDS_PER_BLOCK>() else {
            return None;
        };
        let block = |block: &[[u8; 4]; WORDS_PER_BLOCK]| {
            block.map(|word| AtomicU32::new(u32::from_le_bytes(word)))
        };
        (!blocks.is_empty()).then(|| Self {
            blocks: blocks.iter().map(block).collect(),
            names: AtomicUsize::new(names),
            names_max,
        })
    }

    fn block(&self, prefix: u32) -> &Block {
        // As far into the blocks as the name is into all names.
        let place = (u64::from(prefix) * self.blocks.len() as u64) >> 32;
        &self.blocks[place as usize]
    }
}

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Filter")
            .field("bytes", &size_of_val(&*self.blocks))
            .field("names", &self.names)
            .field("names_max", &self.names_max)
            .finish()
    }
}

/// What is looked at of a name: its upper half, in the order of the names.
pub(crate) fn prefix(name: i64) -> u32 {
    ((name >> 32) as u32) ^ (1 << 31)
}

/// The bit of a name in each word of its block. Names of one block are neighbours, so they are mixed first.
fn bits(prefix: u32) -> impl Iterator<Item = u32> {
    let mixed = u64::from(prefix).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 32)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (0..WORDS_PER_BLOCK).map(move |word| 1 << ((mixed >> (24 + 5 * word)) & 31))
}

#[cfg(test)]
mod tests {
    use nexus_core::Random;

    use super::*;

    #[test]
    fn every_name_that_was_added_is_found() {
        let random = Random::seeded(7);
        let names: Vec<i64> = (0..20_000).map(|_| random.number().cast_signed()).collect();
        // With enough room, with too little, and with hardly any.
        for bytes_max in [usize::MAX, 4_096, 0] {
            let filter = Filter::new(1_000, bytes_max);
            for name in names.iter().chain(&[i64::MIN, -1, 0, i64::MAX]) {
                filter.add(prefix(*name));
                assert!(filter.may_have(prefix(*name)));
            }
            assert!(names.iter().all(|name| filter.may_have(prefix(*name))));
            assert!(filter.is_overfull());
            let (size, bytes) = (filter.size(), filter.to_bytes());
            let same = Filter::from_bytes(&bytes, size.0, size.1).unwrap();
            assert!(names.iter().all(|name| same.may_have(prefix(*name))));
            assert_eq!((same.size(), same.to_bytes()), (size, bytes));
        }
    }

    #[test]
    fn only_whole_blocks_are_a_filter() {
        assert!(Filter::from_bytes(&[], 0, 0).is_none());
        assert!(Filter::from_bytes(&[0; 31], 0, 0).is_none());
        assert!(Filter::from_bytes(&[0; 36], 0, 0).is_none());
        assert!(Filter::from_bytes(&[0; 64], 0, 0).is_some());
    }

    #[test]
    fn few_names_that_were_not_added_are_taken_for_some_that_were() {
        const NAMES: usize = 100_000;
        let random = Random::seeded(8);
        let filter = Filter::new(NAMES, usize::MAX);
        let mistaken = || {
            let others = (0..NAMES).map(|_| random.number().cast_signed());
            others.filter(|name| filter.may_have(prefix(*name))).count()
        };
        let add =
            |count| (0..count).for_each(|_| filter.add(prefix(random.number().cast_signed())));
        add(NAMES / 2);
        let half_full = mistaken();
        add(NAMES / 2);
        assert!(!filter.is_overfull());
        let full = mistaken();
        assert!(half_full < NAMES / 200, "{half_full} of {NAMES}");
        assert!(full < NAMES / 20, "{full} of {NAMES}");
    }

    #[test]
    fn prefixes_have_the_order_of_names() {
        let names = [i64::MIN, -1 << 40, -1, 0, 1 << 32, i64::MAX];
        assert!(names.is_sorted_by_key(|name| prefix(*name)));
        assert_eq!(prefix(i64::MIN), 0);
        assert_eq!(prefix(i64::MAX), u32::MAX);
    }
}
