//! What an expression gave, and how it is written into JSON and into texts.

use std::borrow::Cow;

use minijinja::Value;

use super::{RENDERED_BYTES_MAX, document, error::RenderError, jinja};

/// What an expression gave.
#[derive(Debug, Clone)]
pub(crate) enum Found<'s> {
    /// Nothing is there.
    Nothing,
    /// JSON as its sender wrote it.
    Raw(&'s str),
    /// A text.
    Text(Cow<'s, str>),
    /// A whole number.
    Whole(u64),
    /// What MiniJinja computed.
    Made(Value),
}

impl Found<'_> {
    pub(crate) fn is_nothing(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Made(value) => value.is_undefined(),
            _ => false,
        }
    }

    /// Whether it counts as true where one of two values is chosen.
    pub(crate) fn is_true(&self) -> bool {
        match self {
            Self::Nothing => false,
            Self::Raw(raw) => document::is_true(raw),
            Self::Text(text) => !text.is_empty(),
            Self::Whole(number) => *number != 0,
            Self::Made(value) => value.is_true(),
        }
    }

    /// Writes it as JSON, `null` for nothing.
    pub(crate) fn write_json(&self, out: &mut String) -> Result<(), RenderError> {
        match self {
            Self::Nothing => push(out, "null"),
            Self::Raw(raw) => push(out, raw),
            Self::Text(text) => push_json_string(out, text),
            Self::Whole(number) => push(out, &number.to_string()),
            Self::Made(value) => jinja::write_json(value, out),
        }
    }

    /// Writes it into a text: texts as they are, all else as JSON. Nothing and `null` are no text.
    pub(crate) fn write_text(&self, expression: &str, out: &mut String) -> Result<(), RenderError> {
        match self {
            Self::Nothing | Self::Raw("null") => Err(RenderError::missing(expression)),
            Self::Raw(raw) if raw.starts_with('"') => push(out, &document::decode(raw)),
            Self::Raw(raw) => push(out, raw),
            Self::Text(text) => push(out, text),
            Self::Whole(number) => push(out, &number.to_string()),
            Self::Made(value) if value.is_undefined() || value.is_none() => {
                Err(RenderError::missing(expression))
            }
            Self::Made(value) => jinja::write_text(value, out),
        }
    }
}

/// Adds to what is rendered, within its limit.
pub(crate) fn push(out: &mut String, text: &str) -> Result<(), RenderError> {
    if out.len() + text.len() > RENDERED_BYTES_MAX {
        return Err(RenderError::too_large());
    }
    out.push_str(text);
    Ok(())
}

/// Adds a text as a JSON string.
pub(crate) fn push_json_string(out: &mut String, text: &str) -> Result<(), RenderError> {
    let is_plain = !text
        .bytes()
        .any(|byte| byte < 0x20 || byte == b'"' || byte == b'\\');
    if is_plain {
        push(out, "\"")?;
        push(out, text)?;
        return push(out, "\"");
    }
    // A string always serialises.
    push(out, &serde_json::to_string(text).unwrap_or_default())
}
