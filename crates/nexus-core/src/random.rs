//! Randomness as a value that is handed in, and the identifiers made from it.

use std::{fmt, sync::Arc};

use parking_lot::Mutex;
use ring::rand::{SecureRandom, SystemRandom};
use uuid::Uuid;

use crate::Clock;

/// Where random bytes come from: the operating system, or a seed in a test.
#[derive(Clone)]
pub struct Random(Arc<Mutex<Source>>);

enum Source {
    /// Read in blocks, because a system call for each salt would cost more than the hash over it.
    System {
        random: SystemRandom,
        block: Box<[u8; BLOCK_BYTES]>,
        used: usize,
    },
    Seeded(u64),
}

const BLOCK_BYTES: usize = 4096;

impl Random {
    /// The operating system's generator.
    #[must_use]
    pub fn system() -> Self {
        Self(Arc::new(Mutex::new(Source::System {
            random: SystemRandom::new(),
            block: Box::new([0; BLOCK_BYTES]),
            used: BLOCK_BYTES,
        })))
    }

    /// The same bytes at each run; for tests only, it hides nothing.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Source::Seeded(seed))))
    }

    /// Random bytes.
    ///
    /// # Panics
    /// When the operating system has no randomness to give: nothing safe can follow.
    #[must_use]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        let mut source = self.0.lock();
        match &mut *source {
            Source::System {
                random,
                block,
                used,
            } => {
                for chunk in bytes.chunks_mut(BLOCK_BYTES) {
                    if *used + chunk.len() > BLOCK_BYTES {
                        #[allow(
                            clippy::expect_used,
                            reason = "no randomness: nothing safe can follow"
                        )]
                        random
                            .fill(&mut **block)
                            .expect("the operating system gives random bytes");
                        *used = 0;
                    }
                    let taken = &mut block[*used..*used + chunk.len()];
                    chunk.copy_from_slice(taken);
                    // So that no byte is ever given twice.
                    taken.fill(0);
                    *used += chunk.len();
                }
            }
            Source::Seeded(state) => {
                for chunk in bytes.chunks_mut(8) {
                    let word = split_mix(state).to_le_bytes();
                    chunk.copy_from_slice(&word[..chunk.len()]);
                }
            }
        }
        bytes
    }

    /// A random number.
    #[must_use]
    pub fn number(&self) -> u64 {
        u64::from_le_bytes(self.bytes())
    }

    /// A random number from 0 up to, and without, 1.
    #[must_use]
    pub fn fraction(&self) -> f64 {
        #[allow(
            clippy::cast_precision_loss,
            reason = "53 bits are exactly what a double holds"
        )]
        let numerator = (self.number() >> 11) as f64;
        numerator / (1_u64 << 53) as f64
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Random")
    }
}

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Makes UUIDv7 identifiers (RFC 9562, section 6.2, method 2) that only grow, also when the clock goes
/// back.
#[derive(Debug)]
pub struct Ids {
    clock: Clock,
    random: Random,
    last: Mutex<(u64, u128)>,
}

/// A UUIDv7 has 74 bits beside its time, version and variant.
const TAIL_BITS: u32 = 74;

impl Ids {
    /// Identifiers above every one that was made before `floor_us` (the time of the newest event).
    #[must_use]
    pub fn new(clock: Clock, random: Random, floor_us: i64) -> Self {
        let floor_ms = u64::try_from(floor_us / 1000).unwrap_or(0);
        // A tail that is full moves the first identifier to the next millisecond.
        let last = Mutex::new((floor_ms, (1 << TAIL_BITS) - 1));
        Self {
            clock,
            random,
            last,
        }
    }

    /// The next identifier.
    #[must_use]
    pub fn next(&self) -> Uuid {
        let now_ms = u64::try_from(self.clock.now_us() / 1000).unwrap_or(0);
        let mut last = self.last.lock();
        let (ms, tail) = &mut *last;
        if now_ms > *ms {
            *ms = now_ms;
            // The highest bit stays free, so that a millisecond has room to count in.
            *tail = self.tail() >> 1;
        } else {
            *tail += 1 + u128::from(u32::from_le_bytes(self.random.bytes()));
            if *tail >= 1 << TAIL_BITS {
                *ms += 1;
                *tail = self.tail() >> 1;
            }
        }
        compose(*ms, *tail)
    }

    fn tail(&self) -> u128 {
        u128::from_le_bytes(self.random.bytes()) & ((1 << TAIL_BITS) - 1)
    }
}

/// Time (48 bits), version, 12 bits of the tail, variant, 62 bits of the tail.
fn compose(ms: u64, tail: u128) -> Uuid {
    let high = u128::from(ms & 0xffff_ffff_ffff) << 80;
    let middle = (tail >> 62) << 64;
    let low = tail & ((1 << 62) - 1);
    Uuid::from_u128(high | (7 << 76) | middle | (0b10 << 62) | low)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn identifiers_only_grow_whatever_the_clock_does(
            steps in prop::collection::vec(-5_000_000_i64..5_000_000, 1..200), seed: u64,
        ) {
            let clock = Clock::manual(1_763_704_800_000_000);
            let ids = Ids::new(clock.clone(), Random::seeded(seed), 0);
            let mut last = ids.next();
            for step in steps {
                clock.advance_us(step);
                let next = ids.next();
                prop_assert!(next > last, "{next} after {last}");
                prop_assert_eq!(next.get_version_num(), 7);
                prop_assert_eq!(next.get_variant(), uuid::Variant::RFC4122);
                last = next;
            }
        }
    }

    #[test]
    fn a_restart_with_the_clock_set_back_stays_above() {
        let floor_us = 1_763_704_800_000_000;
        let before = Ids::new(Clock::manual(floor_us), Random::seeded(1), 0).next();
        let after = Ids::new(
            Clock::manual(floor_us - 86_400_000_000),
            Random::seeded(2),
            floor_us,
        )
        .next();
        assert!(after > before);
    }

    #[test]
    fn system_bytes_differ() {
        let random = Random::system();
        assert_ne!(random.bytes::<32>(), random.bytes::<32>());
        assert!((0.0..1.0).contains(&random.fraction()));
    }
}
