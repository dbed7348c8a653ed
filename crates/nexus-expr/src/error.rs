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
    /// It is no filter.
    #[error(transparent)]
    Filter(#[from] FilterError),
}

impl Coded for Error {
    fn kind(&self) -> Kind {
        Kind::Malformed
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Schema { .. } | Self::Path { .. } => "invalid-configuration",
            Self::Filter(error) => error.code(),
        }
    }
}

/// Why a text is no filter, and where in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the filter cannot be used: line {line}, column {column}: {message}")]
pub struct FilterError {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub message: String,
}

/// What is wrong is told in at most this many characters.
const MESSAGE_CHARS_MAX: usize = 240;

impl FilterError {
    pub(crate) fn at_start(message: String) -> Self {
        Self {
            line: 1,
            column: 1,
            message,
        }
    }

    /// A mistake at a byte of the text, counted from 0.
    pub(crate) fn new(text: &str, at: usize, message: &str) -> Self {
        let before = text.get(..at).unwrap_or_default().chars();
        let (line, column) = before.fold((1, 1), |(line, column), c| match c {
            '\n' => (line + 1, 1),
            _ => (line, column + 1),
        });
        Self {
            line,
            column,
            message: message.chars().take(MESSAGE_CHARS_MAX).collect(),
        }
    }

    /// The first mistake in the grammar; whatever else the parser tells follows from it, often without a
    /// place. Only in a text that has none, the first of its other complaints.
    pub(crate) fn of_parser(errors: &cel::ParseErrors) -> Self {
        const GRAMMAR: &str = "Syntax error: ";
        let errors = &errors.errors;
        let mistake = errors
            .iter()
            .find(|error| error.msg.starts_with(GRAMMAR))
            .or_else(|| errors.iter().find(|error| error.pos.0 > 0))
            .or_else(|| errors.first());
        let Some(mistake) = mistake else {
            return Self::at_start("this cannot be read".to_owned());
        };
        let place = |number: isize| usize::try_from(number).unwrap_or(1).max(1);
        let told = mistake.msg.as_str();
        let told = told.strip_prefix(GRAMMAR).unwrap_or(told);
        Self {
            line: place(mistake.pos.0),
            column: place(mistake.pos.1),
            message: told.chars().take(MESSAGE_CHARS_MAX).collect(),
        }
    }
}

impl Coded for FilterError {
    fn kind(&self) -> Kind {
        Kind::Malformed
    }

    fn code(&self) -> &'static str {
        "invalid-filter"
    }
}
