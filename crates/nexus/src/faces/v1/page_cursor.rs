//! The cursor of a list of events: a direction and a place in the log, so that a page stays right while
//! the log grows.

use std::{fmt, str::FromStr};

use nexus_core::{Order, Position};

/// Where the next page of a list begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageCursor {
    /// In which order the list is read.
    pub(super) order: Order,
    /// The last event that was looked at: what comes next lies behind it, in that order.
    pub(super) looked_at: Position,
}

impl fmt::Display for PageCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = match self.order {
            Order::Ascending => "asc",
            Order::Descending => "desc",
        };
        write!(f, "{order}-{}", self.looked_at)
    }
}

impl FromStr for PageCursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (order, looked_at) = text.split_once('-').ok_or(())?;
        let order = match order {
            "asc" => Order::Ascending,
            "desc" => Order::Descending,
            _ => return Err(()),
        };
        let looked_at = looked_at.parse().map_err(|_| ())?;
        Ok(Self { order, looked_at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_printed_and_nothing_else() {
        for text in ["asc-7f3a09c2-1042", "desc-00000000-0"] {
            assert_eq!(text.parse::<PageCursor>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "asc",
            "asc-",
            "up-7f3a09c2-1042",
            "7f3a09c2-1042",
            "asc-7f3a09c2-1042-",
        ] {
            assert!(text.parse::<PageCursor>().is_err(), "{text:?}");
        }
    }
}
