//! The one error of this crate.

use nexus_core::{Cause, Coded, Kind};

/// Why something that was configured cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is no JSON Schema, or one that asks for what is not on this machine.
    #[error("this is no JSON Schema that can be used (at {pointer:?})")]
    Schema {
        /// Where, as a JSON Pointer from the schema's root.
        pointer: String,
        /// What the validator says.
        source: Cause,
    },
    /// It is no path into a payload.
    #[error("{path:?} is no path into a payload: {why}")]
    Path {
        /// What was written, shortened.
        path: String,
        /// The rule that it breaks.
        why: &'static str,
    },
}

impl Coded for Error {
    fn kind(&self) -> Kind {
        Kind::Malformed
    }

    fn code(&self) -> &'static str {
        "invalid-configuration"
    }
}
