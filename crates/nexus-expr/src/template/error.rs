//! Why a text is no template, and why a template cannot be rendered for an event.

use minijinja::ErrorKind;
use nexus_core::{Coded, Kind};

/// What is wrong is told in at most this many characters.
const MESSAGE_CHARS_MAX: usize = 240;

/// Why a text is no template, and where in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}line {line}, column {column}: {message}", in_place(.place))]
pub struct TemplateError {
    /// Where the text stands, as `http.body.amount`; empty when only one was given.
    pub place: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub message: String,
}

impl TemplateError {
    /// A mistake at a byte of the text, counted from 0.
    pub(crate) fn new(text: &str, at: usize, message: &str) -> Self {
        let at = text.floor_char_boundary(at);
        let (line, column) = text[..at]
            .chars()
            .fold((1, 1), |(line, column), c| match c {
                '\n' => (line + 1, 1),
                _ => (line, column + 1),
            });
        Self {
            place: String::new(),
            line,
            column,
            message: message.chars().take(MESSAGE_CHARS_MAX).collect(),
        }
    }

    /// What MiniJinja says of a part of the text that begins at a byte.
    pub(crate) fn of_jinja(text: &str, part_at: usize, error: &minijinja::Error) -> Self {
        let at = part_at + error.range().map_or(0, |range| range.start);
        Self::new(text, at, &told(error))
    }

    pub(crate) fn at(mut self, place: &str) -> Self {
        place.clone_into(&mut self.place);
        self
    }
}

impl Coded for TemplateError {
    fn kind(&self) -> Kind {
        Kind::Malformed
    }

    fn code(&self) -> &'static str {
        "invalid-template"
    }
}

/// Why a template cannot be rendered for an event. None of them passes by waiting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RenderError {
    /// A text asks for what the event does not have, or has as `null`.
    #[error("{}{what} is missing", in_place(.place))]
    Missing {
        /// Where the template stands, as `http.body.note`.
        place: String,
        /// The expression that gave nothing.
        what: String,
    },
    /// It would be too large.
    #[error("{}larger than {bytes_max} bytes", in_place(.place))]
    TooLarge {
        /// Where the template stands.
        place: String,
        /// How large it may be.
        bytes_max: usize,
    },
    /// Its values do not do what it asks of them.
    #[error("{}{detail}", in_place(.place))]
    Failed {
        /// Where the template stands.
        place: String,
        /// What is wrong; values are not repeated.
        detail: String,
    },
}

impl RenderError {
    pub(crate) fn missing(what: &str) -> Self {
        Self::Missing {
            place: String::new(),
            what: what.chars().take(MESSAGE_CHARS_MAX).collect(),
        }
    }

    pub(crate) fn failed(detail: impl Into<String>) -> Self {
        Self::Failed {
            place: String::new(),
            detail: detail.into(),
        }
    }

    pub(crate) fn too_large() -> Self {
        Self::TooLarge {
            place: String::new(),
            bytes_max: super::RENDERED_BYTES_MAX,
        }
    }

    pub(crate) fn of_jinja(expression: &str, error: &minijinja::Error) -> Self {
        match error.kind() {
            ErrorKind::UndefinedError => Self::missing(expression),
            ErrorKind::WriteFailure => Self::too_large(),
            ErrorKind::OutOfFuel => Self::failed("it takes too many steps"),
            _ => Self::failed(told(error)),
        }
    }

    /// The same error, said of the template that stands there.
    pub(crate) fn at(mut self, at: &str) -> Self {
        let (Self::Missing { place, .. }
        | Self::TooLarge { place, .. }
        | Self::Failed { place, .. }) = &mut self;
        if place.is_empty() {
            at.clone_into(place);
        }
        self
    }
}

impl Coded for RenderError {
    fn kind(&self) -> Kind {
        Kind::Malformed
    }

    fn code(&self) -> &'static str {
        "template-failed"
    }
}

fn in_place(place: &str) -> String {
    if place.is_empty() {
        String::new()
    } else {
        format!("{place}: ")
    }
}

/// What MiniJinja says, without the place, which is told in another way.
fn told(error: &minijinja::Error) -> String {
    let message = match error.detail() {
        Some(detail) => detail.to_owned(),
        None => error.kind().to_string(),
    };
    message.chars().take(MESSAGE_CHARS_MAX).collect()
}
