//! Endpoints: outside URLs that get matching events as signed webhooks.
#![deny(missing_docs)]
#![forbid(unsafe_code)]
