//! Rebuilds the crate when a migration changes: they are embedded when it is compiled.

fn main() {
    println!("cargo::rerun-if-changed=../../migrations/sqlite");
}
