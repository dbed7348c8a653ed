//! What users write: filters over events, templates that are filled in from them, JSON Schemas of declared
//! events, and paths into payloads.
//!
//! Each is read once, when Nexus starts or a reader subscribes, so that a mistake in it is told then and
//! not when the first event arrives.
//!
//! ```
//! use nexus_expr::{PayloadPath, Schema, compile_filter};
//! use serde_json::json;
//!
//! let schema = Schema::compile(&json!({
//!     "type": "object",
//!     "required": ["athleteId"],
//!     "properties": {"minutes": {"type": "integer", "minimum": 1}},
//! }))?;
//! assert!(schema.check(br#"{"athleteId":"a-7","minutes":42}"#).is_empty());
//!
//! let problems = schema.check(br#"{"athleteId":"a-7","minutes":0}"#);
//! assert_eq!(problems[0].pointer, "/minutes");
//!
//! let key = PayloadPath::parse("payload.athleteId")?;
//! assert_eq!(key.names(), ["athleteId"]);
//!
//! let filter = compile_filter("payload.minutes >= 30 && key.startsWith('a-')")?;
//! assert_eq!(filter.text(), "payload.minutes >= 30 && key.startsWith('a-')");
//! # Ok::<(), nexus_expr::Error>(())
//! ```
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod error;
mod filter;
mod path;
mod schema;
mod template;

pub use error::{Error, FilterError};
pub use filter::{
    FILTER_BYTES_MAX, FILTER_DEPTH_MAX, FILTER_PATTERN_BYTES_MAX, FILTER_PATTERNS_MAX,
    FILTER_STEPS_MAX, compile_filter, compile_filter_with,
};
pub use path::{PATH_NAMES_MAX, PayloadPath};
pub use schema::{ALL_PROBLEMS_BYTES_MAX, PROBLEMS_MAX, Schema};
pub use template::{
    Answered, Asked, FUEL, JsonTemplate, RENDERED_BYTES_MAX, RenderError, SHAPE_DEPTH_MAX, Scope,
    Shape, TEMPLATE_BYTES_MAX, Template, TemplateContext, TemplateError, UrlTemplate,
};
