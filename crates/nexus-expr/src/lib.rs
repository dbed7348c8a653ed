//! What users write in configuration: JSON Schemas of declared events and paths into payloads.
#![deny(missing_docs)]
