//! Numbers as JavaScript prints them.

use std::fmt::Write;

/// Prints a number; nothing when it is not written as JSON writes numbers.
pub(super) fn print_number(token: &str) -> Option<String> {
    let written = Decimal::parse(token)?;
    // Whatever a double cannot hold to its last digit stays as it was written: also infinity.
    let Some(double) = token
        .parse::<f64>()
        .ok()
        .filter(|double| double.is_finite())
    else {
        return Some(token.to_owned());
    };
    // Rust prints the fewest digits that lead back to the double, as JavaScript does.
    let shortest = Decimal::parse(&format!("{double:e}"))?;
    if shortest.digits != written.digits || shortest.point != written.point {
        return Some(token.to_owned());
    }
    Some(shortest.print())
}

/// A number by its digits: `0.d₁d₂d₃… × 10^point`, without zeros at either end; zero has no digits.
#[derive(Debug, PartialEq, Eq)]
struct Decimal {
    is_negative: bool,
    digits: String,
    point: i64,
}

impl Decimal {
    fn parse(token: &str) -> Option<Self> {
        let unsigned = token.strip_prefix('-');
        let is_negative = unsigned.is_some();
        let unsigned = unsigned.unwrap_or(token);
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, Some(exponent)),
            None => (unsigned, None),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (mantissa, None),
        };
        let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let has_leading_zero = whole.len() > 1 && whole.starts_with('0');
        if !is_digits(whole) || has_leading_zero || !fraction.is_none_or(is_digits) {
            return None;
        }
        let exponent = match exponent {
            Some(text) if is_digits(text.strip_prefix(['+', '-']).unwrap_or(text)) => {
                // An exponent beyond every double: so large that nothing equals it.
                text.parse::<i64>().unwrap_or(i64::from(i32::MAX))
            }
            Some(_) => return None,
            None => 0,
        };
        let all = format!("{whole}{}", fraction.unwrap_or_default());
        let significant = all.trim_start_matches('0');
        let zeros = all.len() - significant.len();
        let digits = significant.trim_end_matches('0').to_owned();
        let point = if digits.is_empty() {
            0
        } else {
            let whole_digits = i64::try_from(whole.len()).ok()?;
            (whole_digits - i64::try_from(zeros).ok()?).saturating_add(exponent)
        };
        Some(Self {
            is_negative,
            digits,
            point,
        })
    }

    /// As `Number.prototype.toString` (ECMA-262, section 6.1.6.1.20) prints it.
    fn print(&self) -> String {
        let Self { digits, point, .. } = self;
        if digits.is_empty() {
            // Minus zero too.
            return String::from("0");
        }
        let mut out = String::from(if self.is_negative { "-" } else { "" });
        let count = digits.len();
        match usize::try_from(*point) {
            Ok(point @ 1..=21) if count <= point => {
                out.push_str(digits);
                out.extend(std::iter::repeat_n('0', point - count));
            }
            Ok(point @ 1..=21) => {
                out.push_str(&digits[..point]);
                out.push('.');
                out.push_str(&digits[point..]);
            }
            _ if (-5..=0).contains(point) => {
                out.push_str("0.");
                out.extend(std::iter::repeat_n(
                    '0',
                    usize::try_from(-point).unwrap_or(0),
                ));
                out.push_str(digits);
            }
            _ => {
                let (first, rest) = digits.split_at(1);
                out.push_str(first);
                if !rest.is_empty() {
                    out.push('.');
                    out.push_str(rest);
                }
                // Writing to a string cannot fail.
                let _ = write!(out, "e{:+}", point - 1);
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_printed_as_javascript_prints_them() {
        for (written, printed) in [
            ("0", "0"),
            ("-0", "0"),
            ("-0.0", "0"),
            ("0e5", "0"),
            ("100.50", "100.5"),
            ("100.00", "100"),
            ("1e2", "100"),
            ("1E+2", "100"),
            ("12.5e-1", "1.25"),
            ("0.1", "0.1"),
            ("1e20", "100000000000000000000"),
            ("1e21", "1e+21"),
            ("1.5e300", "1.5e+300"),
            ("123456789012345680000", "123456789012345680000"),
            ("0.000001", "0.000001"),
            ("0.0000001", "1e-7"),
            ("1.25e-7", "1.25e-7"),
            ("5e-324", "5e-324"),
            ("-1.50", "-1.5"),
            ("9007199254740991", "9007199254740991"),
            ("1.7976931348623157e308", "1.7976931348623157e+308"),
        ] {
            assert_eq!(print_number(written).as_deref(), Some(printed), "{written}");
        }
    }

    #[test]
    fn what_a_double_cannot_hold_stays_as_it_was_written() {
        for written in [
            "9007199254740993",
            "12345678901234567890.00",
            "0.10000000000000000001",
            "1e400",
            "-1e-400",
            "1e99999999999999999999",
        ] {
            assert_eq!(print_number(written).as_deref(), Some(written));
        }
    }

    proptest! {
        #[test]
        fn a_double_is_printed_so_that_it_reads_back(double: f64) {
            prop_assume!(double.is_finite());
            let printed = print_number(&format!("{double:e}")).unwrap();
            prop_assert_eq!(printed.parse::<f64>().unwrap(), double);
            prop_assert_eq!(print_number(&printed), Some(printed.clone()));
        }
    }
}
