//! The ids of jobs: nobody guesses one, and in their order the newest comes first.

use nexus_core::Random;

/// The bits of a time that stand in front.
const TIME_BITS: u32 = 48;

/// A new id: 32 hexadecimal digits.
pub(super) fn new(now_us: i64, random: &Random) -> String {
    let now_ms = u64::try_from(now_us / 1_000).unwrap_or(0);
    // Lists are read in the order of ids, and people want the newest first.
    let left_ms = ((1 << TIME_BITS) - 1) - (now_ms & ((1 << TIME_BITS) - 1));
    let tail = u128::from_le_bytes(random.bytes()) >> TIME_BITS;
    format!("{left_ms:012x}{tail:020x}")
}

/// Whether a text could be the id of a job.
pub(super) fn is_one(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_of_one_form_and_the_newest_is_the_first() {
        let random = Random::seeded(1);
        let at = |time_us| new(time_us, &random);
        let (old, new) = (at(1_763_704_800_000_000), at(1_763_704_800_001_000));
        assert!(is_one(&old) && is_one(&new), "{old} {new}");
        assert!(new < old);
        assert_ne!(at(1), at(1));
        for other in ["", "x", &old[1..], &old.to_uppercase().replace('0', "A")] {
            assert!(!is_one(other), "{other}");
        }
    }
}
