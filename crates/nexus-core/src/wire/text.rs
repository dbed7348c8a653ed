//! The small parts of what is written: numbers, times, identifiers and strings, without allocating.

use uuid::Uuid;

use crate::{Epoch, Seq};

/// Writes a number in decimal.
pub fn write_decimal(out: &mut Vec<u8>, number: u64) {
    let (digits, first) = decimal_digits(number);
    out.extend_from_slice(&digits[first..]);
}

/// A decimal number has at most this many digits.
pub(super) const DECIMAL_DIGITS: usize = 20;

/// The digits of a number, with zeros in front, and where the number itself begins.
pub(super) fn decimal_digits(mut number: u64) -> ([u8; DECIMAL_DIGITS], usize) {
    let mut digits = [b'0'; DECIMAL_DIGITS];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = digit(number % 10);
        number /= 10;
        if number == 0 {
            return (digits, first);
        }
    }
}

fn digit(number: u64) -> u8 {
    b"0123456789abcdef"[usize::try_from(number & 0xf).unwrap_or(0)]
}

/// Writes a position as [`crate::Position`] prints, `7f3a09c2-1042`.
pub fn write_position(out: &mut Vec<u8>, epoch: Epoch, seq: Seq) {
    for shift in (0..8).rev() {
        out.push(digit(u64::from(epoch.get() >> (shift * 4))));
    }
    out.push(b'-');
    write_decimal(out, seq.get());
}

/// Writes an identifier in lower case with hyphens.
pub fn write_uuid(out: &mut Vec<u8>, id: Uuid) {
    let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
    out.extend_from_slice(id.hyphenated().encode_lower(&mut text).as_bytes());
}

/// Writes microseconds since 1970 as [`crate::iso8601`] does, `2026-11-21T06:00:00.123456Z`; a time outside
/// the years 0 to 9999 as the beginning of 1970.
pub fn write_time(out: &mut Vec<u8>, time_us: i64) {
    const DAY_US: i64 = 86_400_000_000;
    let (year, month, day, of_day) = match civil(time_us.div_euclid(DAY_US)) {
        (year @ 0..=9_999, month, day) => (year, month, day, time_us.rem_euclid(DAY_US)),
        _ => (1970, 1, 1, 0),
    };
    let second = of_day / 1_000_000;
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    for (end, digits, value) in [
        (4, 4, year),
        (7, 2, month),
        (10, 2, day),
        (13, 2, second / 3_600),
        (16, 2, second / 60 % 60),
        (19, 2, second % 60),
        (26, 6, of_day % 1_000_000),
    ] {
        // Every value is positive by now.
        let mut value = value.unsigned_abs();
        for place in text[end - digits..end].iter_mut().rev() {
            *place = digit(value % 10);
            value /= 10;
        }
    }
    out.extend_from_slice(&text);
}

/// Year, month and day in the Gregorian calendar of a day counted from 1970-01-01.
///
/// Years are counted from March, so that the day that may be missing is the last of its year; 400 of them
/// always have as many days.
fn civil(days: i64) -> (i64, i64, i64) {
    const FROM_MARCH_OF_YEAR_0: i64 = 719_468;
    const DAYS_IN_400_YEARS: i64 = 146_097;
    let days = days + FROM_MARCH_OF_YEAR_0;
    let cycle = days.div_euclid(DAYS_IN_400_YEARS);
    let day = days.rem_euclid(DAYS_IN_400_YEARS);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month_from_march = (5 * day + 2) / 153;
    let day = day - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    (cycle * 400 + year + i64::from(month <= 2), month, day)
}

/// Writes text as a JSON string, quotes included.
pub fn write_json_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut written = 0;
    for (n, byte) in bytes.iter().enumerate() {
        let escaped: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0..=0x1f => b"\\u00",
            _ => continue,
        };
        out.extend_from_slice(&bytes[written..n]);
        out.extend_from_slice(escaped);
        if escaped == b"\\u00" {
            out.extend_from_slice(&[digit(u64::from(byte >> 4)), digit(u64::from(*byte))]);
        }
        written = n + 1;
    }
    out.extend_from_slice(&bytes[written..]);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Position, iso8601};

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_written_in_full() {
        for number in [0, 7, 10, 1_763_712_000_123, u64::MAX] {
            assert_eq!(
                written(|out| write_decimal(out, number)),
                number.to_string()
            );
        }
    }

    #[test]
    fn times_at_the_edges() {
        for text in [
            "0000-01-01T00:00:00.000000Z",
            "1900-03-01T00:00:00.000000Z",
            "1969-12-31T23:59:59.999999Z",
            "1970-01-01T00:00:00.000000Z",
            "2000-02-29T12:00:00.000001Z",
            "2024-02-29T23:59:59.999999Z",
            "2100-03-01T00:00:00.000000Z",
            "9999-12-30T21:59:59.999999Z",
        ] {
            let time_us = crate::parse_iso8601_us(text).unwrap();
            assert_eq!(written(|out| write_time(out, time_us)), text);
        }
        for time_us in [i64::MIN, i64::MAX] {
            assert_eq!(
                written(|out| write_time(out, time_us)),
                "1970-01-01T00:00:00.000000Z"
            );
        }
    }

    proptest! {
        #[test]
        fn times_are_written_as_the_calendar_says(time_us in -62_167_219_200_000_000_i64..253_402_200_000_000_000) {
            prop_assert_eq!(written(|out| write_time(out, time_us)), iso8601(time_us));
        }

        #[test]
        fn positions_are_written_as_they_print(epoch: u32, seq: u64) {
            let position = Position { epoch: Epoch::new(epoch), seq: Seq::new(seq) };
            prop_assert_eq!(written(|out| write_position(out, position.epoch, position.seq)), position.to_string());
        }

        #[test]
        fn strings_read_back(text in any::<String>()) {
            let written = written(|out| write_json_string(out, &text));
            prop_assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
        }
    }
}
