//! Templates: texts and JSON that are filled in from an event, compiled once.
//!
//! The language is Jinja's, computed by MiniJinja. Two things are done here and not by it. An expression that
//! only chooses among values, as most do, is read here: what it gives goes through as its sender wrote it, so
//! an amount of `100.50` stays `100.50` and a number of twenty digits keeps them all. And structure is not
//! text: JSON is given by its shape, so that what comes out is JSON whatever the event holds.
//!
//! What a template may reach is what it is handed. It has no files, no functions, and bounded steps and size.

mod blocks;
mod document;
mod error;
mod expression;
mod found;
mod jinja;
mod json;
mod names;
mod plain;
mod scope;
mod shape;
mod text;
mod url;

use std::fmt;

pub use error::{RenderError, TemplateError};
pub use json::JsonTemplate;
pub use scope::{Answered, Asked, Scope};
pub use shape::{SHAPE_DEPTH_MAX, Shape};
pub use text::Template;
pub use url::UrlTemplate;

/// A template is at most this many bytes long.
pub const TEMPLATE_BYTES_MAX: usize = 4 * 1024;
/// What is rendered is at most this many bytes long.
pub const RENDERED_BYTES_MAX: usize = 1024 * 1024;
/// How many steps MiniJinja may take over one expression.
pub const FUEL: u64 = 20_000;

/// What a template may ask about, beside the event.
#[derive(Clone, Copy)]
pub struct TemplateContext<'c> {
    /// The value of a variable of the environment, asked for once for each that a template names.
    pub env: &'c dyn Fn(&str) -> Option<String>,
    /// Whether there is a `request`.
    pub has_request: bool,
    /// Whether there is a `response`.
    pub has_response: bool,
}

impl Default for TemplateContext<'_> {
    /// An event alone, and no variable is set.
    fn default() -> Self {
        Self {
            env: &|_| None,
            has_request: false,
            has_response: false,
        }
    }
}

impl fmt::Debug for TemplateContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TemplateContext")
            .field("has_request", &self.has_request)
            .field("has_response", &self.has_response)
            .finish_non_exhaustive()
    }
}
