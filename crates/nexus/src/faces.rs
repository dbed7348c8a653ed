//! Faces: each a set of routes that speaks one client's language.

pub(crate) mod agents;
mod caller;
pub(crate) mod neo;
pub(crate) mod operations;
mod request;
pub(crate) mod v1;

pub(crate) use caller::Callers;
pub(crate) use operations::Operations;
