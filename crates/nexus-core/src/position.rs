//! Where in a log: sequence, epoch, position.

use std::{fmt, str::FromStr};

use crate::{Error, topic::shorten};

/// The number of an event in its log: 1, 2, 3 … without gaps. Zero stands before the first event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Seq(u64);

impl Seq {
    /// Before the first event.
    pub const ZERO: Self = Self(0);

    /// The sequence with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The sequence that follows.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The sequence that precedes; zero precedes itself.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// The sequence `count` further on.
    #[must_use]
    pub const fn plus(self, count: u64) -> Self {
        Self(self.0 + count)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which life of a log a sequence belongs to: drawn when a log is created, drawn anew when one is
/// restored, so that a sequence of another life is never taken for one of this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch(u32);

impl Epoch {
    /// The epoch with this number.
    #[must_use]
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// `<epoch>-<seq>`: the SSE id, the resume point, the checkpoint and the page cursor of every list of
/// events.
///
/// ```
/// # use nexus_core::Position;
/// let position: Position = "7f3a09c2-1042".parse()?;
/// assert_eq!(position.seq.get(), 1042);
/// assert_eq!(position.to_string(), "7f3a09c2-1042");
/// # Ok::<(), nexus_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    /// The life of the log.
    pub epoch: Epoch,
    /// The event in it.
    pub seq: Seq,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.seq)
    }
}

impl FromStr for Position {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = || Error::InvalidName {
            what: "position",
            value: shorten(text),
            why: "a position is eight lower-case hex digits, a hyphen and a number",
        };
        let (epoch, seq) = text.split_once('-').ok_or_else(refuse)?;
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if epoch.len() != 8 || !epoch.bytes().all(hex) {
            return Err(refuse());
        }
        // The number as it is printed, and nothing else: no sign, no leading zero, within what a
        // database can hold.
        let canonical = seq == "0" || !seq.starts_with('0');
        if seq.is_empty() || !canonical || !seq.bytes().all(|b| b.is_ascii_digit()) {
            return Err(refuse());
        }
        let seq: u64 = seq.parse().map_err(|_| refuse())?;
        if seq > i64::MAX as u64 {
            return Err(refuse());
        }
        let epoch = u32::from_str_radix(epoch, 16).map_err(|_| refuse())?;
        Ok(Self {
            epoch: Epoch(epoch),
            seq: Seq(seq),
        })
    }
}

impl serde::Serialize for Position {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn refuses_what_is_not_printed_that_way() {
        for text in [
            "",
            "-",
            "7f3a09c2",
            "7f3a09c2-",
            "7F3A09C2-1",
            "7f3a09c-1",
            "7f3a09c2-01",
            "7f3a09c2-+1",
            "7f3a09c2--1",
            "7f3a09c2-1 ",
            "7f3a09c2-9223372036854775808",
            "7f3a09c2-1e3",
        ] {
            assert!(text.parse::<Position>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn prints_and_reads_back(epoch: u32, seq in 0..=i64::MAX as u64) {
            let position = Position { epoch: Epoch(epoch), seq: Seq(seq) };
            prop_assert_eq!(position.to_string().parse::<Position>().unwrap(), position);
        }

        #[test]
        fn never_panics(text in ".{0,40}") {
            let _ = text.parse::<Position>();
        }
    }
}
