//! The version of something that can be changed: `ETag`, and `If-Match` of whoever changes it.

use std::fmt;

use http::{HeaderValue, header};
use nexus_core::Kind;

use crate::{Call, Problem, Reply};

/// The version of something that can be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ETag(String);

impl ETag {
    /// The version of what is kept in one record.
    #[must_use]
    pub fn of_revision(revision: u64) -> Self {
        Self(format!("\"{revision}\""))
    }

    /// A version that is told apart by several numbers.
    #[must_use]
    pub fn of_parts(parts: &[u64]) -> Self {
        let parts: Vec<String> = parts.iter().map(u64::to_string).collect();
        Self(format!("\"{}\"", parts.join("-")))
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Reply {
    /// Says which version the answer is of.
    #[must_use]
    pub fn etag(self, version: &ETag) -> Self {
        // Digits, hyphens and quotes.
        let value = HeaderValue::from_str(&version.0).unwrap_or(HeaderValue::from_static("\"\""));
        self.header(header::ETAG, value)
    }
}

impl Call {
    /// Refuses a change to a version that the caller has not seen, if they said which they have.
    ///
    /// # Errors
    /// `stale` (412) when `If-Match` names other versions only.
    pub fn check_if_match(&self, current: &ETag) -> Result<(), Problem> {
        match self.if_match(current) {
            Some(false) => Err(Problem::new(
                Kind::Stale,
                "stale",
                format!("it was changed meanwhile: its version is {current}"),
            )),
            _ => Ok(()),
        }
    }

    /// The same for a change that would overwrite another's: the caller has to say which version they have
    /// seen, or `*`.
    ///
    /// # Errors
    /// `precondition-required` (428) without `If-Match`, `stale` (412) when it names other versions only.
    pub fn require_if_match(&self, current: &ETag) -> Result<(), Problem> {
        if !self.headers.contains_key(header::IF_MATCH) {
            let detail =
                "`If-Match` has to say which version is changed: the `ETag` of what was read";
            let kind = Kind::PreconditionRequired;
            return Err(Problem::new(kind, "precondition-required", detail));
        }
        self.check_if_match(current)
    }

    /// Whether `If-Match` allows this version; nothing when it is not there. A weak tag never does.
    fn if_match(&self, current: &ETag) -> Option<bool> {
        let mut values = self.headers.get_all(header::IF_MATCH).iter().peekable();
        values.peek()?;
        let mut tags = values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim);
        Some(tags.any(|tag| tag == "*" || tag == current.0))
    }
}
