//! Numbers that are counted with, of those that JSON has.

/// A number as it is counted with; nothing of one that has a part, a sign, or more digits than it can say.
pub(crate) fn whole(number: f64) -> Option<u64> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    let is_whole = number.fract() == 0.0 && (0.0..=EXACT_MAX).contains(&number);
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it was checked to be a whole number within what a double counts exactly"
    )]
    is_whole.then_some(number as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_counted_is_a_whole_number() {
        assert_eq!(whole(0.0), Some(0));
        assert_eq!(whole(1_042.0), Some(1_042));
        for number in [-1.0, 0.5, 1e300, f64::NAN, f64::INFINITY] {
            assert_eq!(whole(number), None, "{number}");
        }
    }
}
