//! The daemon: arguments, environment, signals; everything else is the `nexus` crate.
fn main() {}
