//! The HTTP server: listener, router, request path, problems and upgrades; it knows no capability.
#![deny(missing_docs)]
