//! One thing that is wrong with what somebody says of a server.

use serde::Serialize;

/// A rule that is broken, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Where, as a JSON Pointer.
    pub pointer: String,
    /// What the rule is.
    pub detail: String,
}

impl Fault {
    pub(crate) fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            detail: detail.into(),
        }
    }
}

/// A member's name as a part of a JSON Pointer.
pub(super) fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// What to tell of the first of some faults, and how many there are.
pub(crate) fn first(faults: &[Fault]) -> String {
    match faults {
        [] => String::new(),
        [only] => format!(" at {}: {}", only.pointer, only.detail),
        [first, rest @ ..] => {
            let more = rest.len();
            format!(
                " at {}: {}, and in {more} more places",
                first.pointer, first.detail
            )
        }
    }
}
