//! Revisions of the protocol: which are spoken here, and what differs between them.

use std::fmt;

/// A revision that is spoken here, the oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    V20241105,
    V20250326,
    V20250618,
    V20251125,
}

impl Version {
    const ALL: [Self; 4] = [
        Self::V20241105,
        Self::V20250326,
        Self::V20250618,
        Self::V20251125,
    ];

    /// The newest.
    pub(crate) const LATEST: Self = Self::V20251125;

    /// What a request without the header is in: the last revision that had no such header.
    pub(crate) const WITHOUT_HEADER: Self = Self::V20250326;

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::V20241105 => "2024-11-05",
            Self::V20250326 => "2025-03-26",
            Self::V20250618 => "2025-06-18",
            Self::V20251125 => "2025-11-25",
        }
    }

    /// The revision of a name; nothing if it is not spoken here.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|version| version.as_str() == text)
    }

    /// What is spoken with a client that asked for a revision: that one, else the newest. The client then
    /// decides whether it can go on.
    pub(crate) fn negotiate(asked: &str) -> Self {
        Self::parse(asked).unwrap_or(Self::LATEST)
    }

    /// Whether a body may hold several messages.
    pub(crate) fn has_batches(self) -> bool {
        self == Self::V20250326
    }

    /// Whether a call of a tool may be a task.
    pub(crate) fn has_tasks(self) -> bool {
        self >= Self::V20251125
    }

    /// Whether a stream begins with an id without a message, so that a client that loses it at once can
    /// come back. Clients before that take an event without data for a broken message.
    pub(crate) fn is_primed(self) -> bool {
        self >= Self::V20251125
    }

    /// The names of all, as an error tells them.
    pub(crate) fn names() -> [&'static str; 4] {
        Self::ALL.map(Self::as_str)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_what_it_asked_for_or_the_newest() {
        for version in Version::ALL {
            assert_eq!(Version::negotiate(version.as_str()), version);
        }
        for unknown in ["", "1.0", "2026-07-28", "2099-01-01", " 2025-11-25"] {
            assert_eq!(Version::negotiate(unknown), Version::LATEST, "{unknown}");
        }
    }

    #[test]
    fn only_one_revision_has_batches_and_only_the_newest_primes() {
        let with_batches = Version::ALL.into_iter().filter(|v| v.has_batches());
        assert_eq!(with_batches.collect::<Vec<_>>(), [Version::V20250326]);
        let primed = Version::ALL.into_iter().filter(|v| v.is_primed());
        assert_eq!(primed.collect::<Vec<_>>(), [Version::V20251125]);
    }
}
