//! The engine that runs what follows from an event until it finishes.
#![deny(missing_docs)]
