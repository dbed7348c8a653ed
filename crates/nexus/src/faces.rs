//! The faces that belong to no capability: sets of routes that speak one client's language.

pub(crate) mod neo;
