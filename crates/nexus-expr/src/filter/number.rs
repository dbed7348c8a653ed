//! Numbers as a person expects them: whole numbers exact, all others doubles, compared by their value.

use std::cmp::Ordering;

use super::node::Operator;

/// A decimal in a text is read when it has at most this many characters.
const DECIMAL_BYTES_MAX: usize = 64;

/// A number of a payload or a filter.
#[derive(Debug, Clone, Copy)]
pub(super) enum Number {
    Int(i128),
    Double(f64),
}

impl Number {
    /// The number that a text is, if it is a plain decimal: `-12`, `1250.50`, not `007`, `+1` or `1e3`.
    pub(super) fn of_text(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.is_empty() || text.len() > DECIMAL_BYTES_MAX {
            return None;
        }
        let (whole, fraction) = match digits.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (digits, None),
        };
        let is_digits =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_digits(whole) || (whole.len() > 1 && whole.starts_with('0')) {
            return None;
        }
        match fraction {
            Some(fraction) if is_digits(fraction) => text.parse().ok().map(Self::Double),
            Some(_) => None,
            None => text
                .parse()
                .map(Self::Int)
                .or_else(|_| text.parse().map(Self::Double))
                .ok(),
        }
    }

    #[allow(
        clippy::cast_precision_loss,
        reason = "asked for where a whole number meets a double"
    )]
    pub(super) fn as_double(self) -> f64 {
        match self {
            Self::Int(number) => number as f64,
            Self::Double(number) => number,
        }
    }

    /// The whole number that is left when the fraction is cut off, if there is one.
    pub(super) fn truncated(self) -> Option<i128> {
        match self {
            Self::Int(number) => Some(number),
            Self::Double(number) => whole(number),
        }
    }

    /// The order by value, exact also between a whole number and a double.
    pub(super) fn order(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(&b)),
            (Self::Double(a), Self::Double(b)) => a.partial_cmp(&b),
            (Self::Int(a), Self::Double(b)) => order_mixed(a, b),
            (Self::Double(a), Self::Int(b)) => order_mixed(b, a).map(Ordering::reverse),
        }
    }

    pub(super) fn negated(self) -> Option<Self> {
        match self {
            Self::Int(number) => number.checked_neg().map(Self::Int),
            Self::Double(number) => Some(Self::Double(-number)),
        }
    }

    /// The result of an operator: whole where both are and the result is, else a double; nothing for what
    /// is no number, as a division by zero.
    pub(super) fn calculate(self, operator: Operator, other: Self) -> Option<Self> {
        let exact = match (self, other) {
            (Self::Int(a), Self::Int(b)) => match operator {
                Operator::Add => a.checked_add(b),
                Operator::Subtract => a.checked_sub(b),
                Operator::Multiply => a.checked_mul(b),
                Operator::Divide => a
                    .checked_rem(b)
                    .filter(|rest| *rest == 0)
                    .and_then(|_| a.checked_div(b)),
                Operator::Remainder => a.checked_rem(b),
            },
            _ => None,
        };
        if let Some(number) = exact {
            return Some(Self::Int(number));
        }
        let (a, b) = (self.as_double(), other.as_double());
        let number = match operator {
            Operator::Add => a + b,
            Operator::Subtract => a - b,
            Operator::Multiply => a * b,
            Operator::Divide => a / b,
            Operator::Remainder => a % b,
        };
        number.is_finite().then_some(Self::Double(number))
    }
}

/// The range in which a double cut to a whole number is an `i128`.
const INT_LIMIT: f64 = 170_141_183_460_469_231_731_687_303_715_884_105_728.0;

#[allow(
    clippy::cast_possible_truncation,
    reason = "the fraction is cut off on purpose, the range is checked"
)]
fn whole(number: f64) -> Option<i128> {
    (-INT_LIMIT..INT_LIMIT)
        .contains(&number)
        .then(|| number.trunc() as i128)
}

fn order_mixed(int: i128, double: f64) -> Option<Ordering> {
    match whole(double) {
        Some(cut) if cut == int => 0.0.partial_cmp(&(double - double.trunc())),
        Some(cut) => Some(int.cmp(&cut)),
        None => 0.0.partial_cmp(&double),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_plain_decimal_is_a_number() {
        for (text, value) in [
            ("0", 0.0),
            ("-12", -12.0),
            ("1250.50", 1250.5),
            ("0.1", 0.1),
            ("-0.0", 0.0),
        ] {
            let number = Number::of_text(text).unwrap();
            assert_eq!(
                number.order(Number::Double(value)),
                Some(Ordering::Equal),
                "{text}"
            );
        }
        for text in [
            "", "-", ".", "1.", ".5", "007", "+1", "1e3", " 1", "1 ", "0x1", "1_000", "1,5", "∞",
            "NaN", "inf", "--1",
        ] {
            assert!(Number::of_text(text).is_none(), "{text:?}");
        }
        assert!(Number::of_text(&"9".repeat(DECIMAL_BYTES_MAX)).is_some());
        assert!(Number::of_text(&"9".repeat(DECIMAL_BYTES_MAX + 1)).is_none());
    }

    #[test]
    fn whole_numbers_meet_doubles_exactly() {
        let big = 9_007_199_254_740_993; // 2^53 + 1, which no double is.
        let double = Number::Double(9_007_199_254_740_992.0);
        assert_eq!(Number::Int(big).order(double), Some(Ordering::Greater));
        assert_eq!(double.order(Number::Int(big)), Some(Ordering::Less));
        assert_eq!(
            Number::Int(3).order(Number::Double(3.5)),
            Some(Ordering::Less)
        );
        assert_eq!(
            Number::Int(-3).order(Number::Double(-3.5)),
            Some(Ordering::Greater)
        );
        assert_eq!(
            Number::Int(1).order(Number::Double(1e300)),
            Some(Ordering::Less)
        );
        assert_eq!(
            Number::Int(1).order(Number::Double(-1e300)),
            Some(Ordering::Greater)
        );
        assert_eq!(Number::Int(1).order(Number::Double(f64::NAN)), None);
    }

    #[test]
    fn a_division_is_not_cut_off() {
        let divide = |a, b| Number::Int(a).calculate(Operator::Divide, Number::Int(b));
        assert!(matches!(divide(6, 2), Some(Number::Int(3))));
        assert!(matches!(divide(7, 2), Some(Number::Double(half)) if half == 3.5));
        assert!(divide(7, 0).is_none());
        assert!(divide(0, 0).is_none());
        assert!(
            Number::Int(i128::MIN)
                .calculate(Operator::Divide, Number::Int(-1))
                .is_some()
        );
    }

    proptest! {
        #[test]
        fn calculating_never_panics_and_gives_numbers(a in any::<i128>(), b in any::<i128>(), c in any::<f64>()) {
            for operator in [Operator::Add, Operator::Subtract, Operator::Multiply, Operator::Divide, Operator::Remainder] {
                for (left, right) in [(Number::Int(a), Number::Int(b)), (Number::Int(a), Number::Double(c)), (Number::Double(c), Number::Int(b))] {
                    if let Some(number) = left.calculate(operator, right) {
                        prop_assert!(number.as_double().is_finite());
                    }
                }
            }
        }

        #[test]
        fn the_order_is_that_of_the_values(a in -1000_i128..1000, b in -1000_i32..1000, quarters in 0_u8..4) {
            let double = f64::from(b) + f64::from(quarters) / 4.0;
            let expected = (a as f64).partial_cmp(&double);
            prop_assert_eq!(Number::Int(a).order(Number::Double(double)), expected);
            prop_assert_eq!(Number::Double(double).order(Number::Int(a)), expected.map(Ordering::reverse));
        }
    }
}
