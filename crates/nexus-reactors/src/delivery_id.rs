//! The name of a delivery in addresses: `<target>.<seq>`, one segment of a path.

use std::{fmt, str::FromStr, sync::Arc};

use nexus_core::Seq;

/// Which delivery: one event on its way to one target. As text `payment-to-mint.1042`: names of targets have
/// no dot, and nothing of it needs an escape in an address. The record in the log, and the neo face, write
/// `payment-to-mint/00000000000000001042`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryId {
    /// The target.
    pub target: Arc<str>,
    /// The event.
    pub seq: Seq,
}

impl DeliveryId {
    /// The delivery of an event to a target.
    #[must_use]
    pub fn new(target: impl Into<Arc<str>>, seq: Seq) -> Self {
        Self {
            target: target.into(),
            seq,
        }
    }

    /// The name of its record.
    #[must_use]
    pub(crate) fn record(&self) -> String {
        format!("{}/{}", self.target, self.seq)
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.target, self.seq)
    }
}

/// The text names no delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoDeliveryId;

impl FromStr for DeliveryId {
    type Err = NoDeliveryId;

    fn from_str(text: &str) -> Result<Self, NoDeliveryId> {
        let (target, seq) = text.rsplit_once('.').ok_or(NoDeliveryId)?;
        let number: u64 = seq.parse().map_err(|_| NoDeliveryId)?;
        let id = Self::new(target, Seq::new(number));
        // As it is printed and not otherwise: no sign, no leading zero.
        if target.is_empty() || target.contains(['.', '/']) || id.to_string() != text {
            return Err(NoDeliveryId);
        }
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            ".",
            "mint",
            "mint.",
            ".7",
            "mint.+7",
            "mint.07",
            "mint.-7",
            "mint/7",
            "a.b.7",
            "mint.7 ",
            "mint.18446744073709551616",
        ] {
            assert_eq!(text.parse::<DeliveryId>(), Err(NoDeliveryId), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn is_read_back_as_it_is_printed(target in "[a-z0-9_-]{1,100}", seq in any::<u64>()) {
            let id = DeliveryId::new(target, Seq::new(seq));
            prop_assert_eq!(id.to_string().parse::<DeliveryId>(), Ok(id));
        }
    }
}
