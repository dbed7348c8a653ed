//! What a developer of Nexus runs.
fn main() {}
