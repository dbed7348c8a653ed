//! The one guarded HTTP client: every call that leaves Nexus goes through it.
#![deny(missing_docs)]
