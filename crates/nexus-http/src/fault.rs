//! Faults: everything that is wrong with what somebody says of a resource, each with its place.

use serde::Serialize;

/// A rule that is broken, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Where, as a JSON Pointer.
    pub pointer: String,
    /// What the rule is, to be read behind the name of the place: `must be from 1 to 64`.
    pub detail: String,
}

impl Fault {
    /// What is wrong at a place.
    #[must_use]
    pub fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            detail: detail.into(),
        }
    }

    /// The place of a member of an object whose names are somebody else's.
    ///
    /// ```
    /// assert_eq!(nexus_http::Fault::place("/headers", "a/b"), "/headers/a~1b");
    /// ```
    #[must_use]
    pub fn place(object: &str, member: &str) -> String {
        format!("{object}/{}", member.replace('~', "~0").replace('/', "~1"))
    }

    /// The end of a sentence that says what is wrong: the first fault, and how many there are.
    ///
    /// ```
    /// # use nexus_http::Fault;
    /// let faults = [Fault::new("/url", "is required"), Fault::new("/rate", "must be above 0")];
    /// let sentence = format!("the endpoint is wrong{}", Fault::summary(&faults));
    /// assert_eq!(sentence, "the endpoint is wrong at /url: is required, and in 1 more places");
    /// ```
    #[must_use]
    pub fn summary(faults: &[Self]) -> String {
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
}
