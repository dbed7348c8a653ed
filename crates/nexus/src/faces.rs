//! Faces: each a set of routes that speaks one client's language.

mod caller;
pub(crate) mod neo;
mod request;
pub(crate) mod v1;

pub(crate) use caller::Callers;
