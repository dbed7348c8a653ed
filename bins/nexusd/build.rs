//! How `nexusd` is linked, so that an idle daemon holds less of its own program.

use std::{env, process::Command};

/// Linkers that are told nothing: none of them knows scripts of this kind, and gold knows no packed relocations.
const LEFT_ALONE: [&str; 3] = ["gold", "mold", "wild"];
/// The first version of glibc that understands packed relocations. What is linked with them runs with no older one.
const PACKED_SINCE: (u32, u32) = (2, 36);

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=layout.ld");
    // Only what is optimized is shipped, and other systems have other linkers.
    if said("CARGO_CFG_TARGET_OS") != "linux" || said("OPT_LEVEL") != "3" {
        return;
    }
    let asked = said("RUSTC_LINKER") + &said("CARGO_ENCODED_RUSTFLAGS");
    if LEFT_ALONE.iter().any(|linker| asked.contains(linker)) {
        return;
    }
    // The functions that a start runs side by side: `cargo xtask layout` says which.
    println!("cargo::rustc-link-arg-bins=-T");
    let folder = said("CARGO_MANIFEST_DIR");
    println!("cargo::rustc-link-arg-bins={folder}/layout.ld");
    // What the loader reads to put addresses in is a hundredth as long.
    if said("HOST") == said("TARGET") && glibc().is_some_and(|version| version >= PACKED_SINCE) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

fn said(name: &str) -> String {
    env::var(name).unwrap_or_default()
}

/// The version of glibc here, if there is one.
fn glibc() -> Option<(u32, u32)> {
    let printed = Command::new("getconf").arg("GNU_LIBC_VERSION").output();
    let printed = String::from_utf8(printed.ok()?.stdout).ok()?;
    let (major, minor) = printed.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
