//! What users write in configuration: JSON Schemas of declared events and paths into payloads.
//!
//! Both are read once, when Nexus starts, so that a mistake in them is told then and not when the first
//! event arrives.
//!
//! ```
//! use nexus_expr::{PayloadPath, Schema};
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
//! # Ok::<(), nexus_expr::Error>(())
//! ```
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod error;
mod path;
mod schema;

pub use error::Error;
pub use path::{PATH_NAMES_MAX, PayloadPath};
pub use schema::{ALL_PROBLEMS_BYTES_MAX, PROBLEMS_MAX, Schema};
