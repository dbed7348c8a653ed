//! Tidy over small trees, each tidy but for one thing.

use std::fs;

use super::*;

const MANIFEST_HEAD: &str = "version.workspace = true\n\n[lints]\nworkspace = true\n\n";

/// A tree on disk, and what tidy finds in it as `file:line: rule: what`.
fn findings(files: &[(&str, &str)]) -> Vec<String> {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let tree = Tree::read(root.path()).unwrap();
    check(&tree)
        .into_iter()
        .map(|found| {
            format!(
                "{}:{}: {}: {}",
                found.file, found.line, found.rule, found.what
            )
        })
        .collect()
}

fn manifest(name: &str, dependencies: &str) -> String {
    format!("[package]\nname = \"{name}\"\n{MANIFEST_HEAD}{dependencies}")
}

#[test]
fn a_tidy_tree_has_no_findings() {
    let manifest = manifest(
        "nexus-store",
        "[dependencies]\nnexus-core.workspace = true\nsqlx.workspace = true\n",
    );
    let source = "//! The store.\nuse nexus_core::Log;\nuse sqlx::Row;\n";
    let files = [
        ("crates/nexus-store/Cargo.toml", manifest.as_str()),
        ("crates/nexus-store/src/lib.rs", source),
        (
            "bins/x/src/main.rs",
            "//! Reads.\nfn main() { std::env::args(); }\n",
        ),
    ];
    assert_eq!(findings(&files), Vec::<String>::new());
}

#[test]
fn an_upward_dependency_is_found_in_the_manifest() {
    let manifest = manifest(
        "nexus-store",
        "[dependencies]\nnexus-core.workspace = true\nnexus-http.workspace = true\n",
    );
    assert_eq!(
        findings(&[("crates/nexus-store/Cargo.toml", &manifest)]),
        [
            "crates/nexus-store/Cargo.toml:10: layers: `nexus-store` (layer 1) names `nexus-http` (layer 2)"
        ]
    );
}

#[test]
fn an_upward_import_is_found_in_the_source() {
    let manifest = manifest("nexus-http", "");
    let source = "//! HTTP.\nuse nexus_core::Log;\n\nfn f() { nexus_ws::Edge::new(); }\n";
    let files = [
        ("crates/nexus-http/Cargo.toml", manifest.as_str()),
        ("crates/nexus-http/src/lib.rs", source),
    ];
    assert_eq!(
        findings(&files),
        [
            "crates/nexus-http/src/lib.rs:4: layers: `nexus-http` (layer 2) names `nexus-ws` (layer 4)"
        ]
    );
}

#[test]
fn a_crate_of_the_same_layer_may_not_be_named_but_in_tests() {
    let same = manifest(
        "nexus-auth",
        "[dependencies]\nnexus-store.workspace = true\n",
    );
    let found = findings(&[("crates/nexus-auth/Cargo.toml", &same)]);
    assert_eq!(found.len(), 1, "{found:?}");
    let dev = manifest(
        "nexus-auth",
        "[dev-dependencies]\nnexus-testkit.workspace = true\n",
    );
    let files = [
        ("crates/nexus-auth/Cargo.toml", dev.as_str()),
        (
            "crates/nexus-auth/tests/it.rs",
            "//! Tests.\nuse nexus_testkit::x;\n",
        ),
    ];
    assert_eq!(findings(&files), Vec::<String>::new());
}

#[test]
fn sqlx_outside_the_store_is_found_in_source_manifest_and_tests() {
    let manifest = manifest("nexus-http", "[dependencies]\nsqlx.workspace = true\n");
    let source = "//! HTTP.\n// sqlx::query is not named here\nfn f() { sqlx::query(\"x\"); }\n";
    let files = [
        ("crates/nexus-http/Cargo.toml", manifest.as_str()),
        ("crates/nexus-http/src/lib.rs", source),
        (
            "crates/nexus-http/tests/it.rs",
            "//! Tests.\nuse sqlx::Row;\n",
        ),
    ];
    assert_eq!(
        findings(&files),
        [
            "crates/nexus-http/Cargo.toml:9: only here: `nexus-http` depends on `sqlx`",
            "crates/nexus-http/src/lib.rs:3: only here: `sqlx` is named in crates/nexus-http",
            "crates/nexus-http/tests/it.rs:2: only here: `sqlx` is named in crates/nexus-http",
        ]
    );
}

#[test]
fn the_environment_is_read_by_binaries_and_tests_only() {
    let read = "//! Reads.\nfn f() { std::env::var(\"A\"); }\n";
    let unit = "//! Reads.\n#[cfg(test)]\nmod tests { use std::env; }\n";
    let files = [
        ("crates/nexus-auth/src/a.rs", read),
        ("crates/nexus-auth/src/b.rs", unit),
        ("crates/nexus-auth/tests/it.rs", read),
        ("crates/nexus-auth/build.rs", read),
        ("bins/nexusd/src/main.rs", read),
    ];
    assert_eq!(
        findings(&files),
        ["crates/nexus-auth/src/a.rs:2: only here: `std::env` is named"]
    );
}

#[test]
fn a_manifest_takes_versions_and_lints_from_the_workspace() {
    let manifest =
        "[package]\nname = \"nexus-core\"\nversion = \"0.2.0\"\n\n[dependencies]\nbytes = \"1\"\n";
    assert_eq!(
        findings(&[("crates/nexus-core/Cargo.toml", manifest)]),
        [
            "crates/nexus-core/Cargo.toml:1: manifest: no `[lints] workspace = true`",
            "crates/nexus-core/Cargo.toml:3: manifest: a package version of its own",
            "crates/nexus-core/Cargo.toml:6: manifest: `bytes` with a version or path of its own",
        ]
    );
}

#[test]
fn a_crate_without_a_layer_is_found() {
    let manifest = manifest("nexus-new", "");
    assert_eq!(
        findings(&[("crates/nexus-new/Cargo.toml", &manifest)]),
        ["crates/nexus-new/Cargo.toml:1: layers: `nexus-new` has no layer"]
    );
}

#[test]
fn files_have_heads_and_bounds_and_no_leftovers() {
    let long = format!("//! Long.\n{}", "\n".repeat(600));
    let path = concat!("//! Path.\nconst A: &str = \"/", "root/x\";\n");
    let later = concat!("//! Later.\n// FIX", "ME: x\nfn f() { todo!() }\n");
    let files = [
        ("crates/a/src/long.rs", long.as_str()),
        ("crates/a/src/mod.rs", "//! Mod.\n"),
        ("crates/a/src/none.rs", "fn f() {}\n"),
        ("crates/a/src/path.rs", path),
        ("crates/a/src/later.rs", later),
    ];
    let rules: Vec<String> = findings(&files)
        .iter()
        .map(|found| found.split(": ").take(2).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        rules,
        [
            "crates/a/src/later.rs:2 leftover",
            "crates/a/src/later.rs:3 leftover",
            "crates/a/src/long.rs:601 length",
            "crates/a/src/mod.rs:1 file name",
            "crates/a/src/none.rs:1 head",
            "crates/a/src/path.rs:2 machine path",
        ]
    );
}

#[test]
fn a_promise_names_a_test_that_exists() {
    let guarantees = "# Guarantees\n\n- Kept: `kept`\n- Not kept: `gone`\n- Nothing named\n- A helper: `helper`\n";
    let source = "//! Tests.\n#[tokio::test]\nasync fn kept() {}\nfn helper() {}\n";
    let files = [
        ("docs/guarantees.md", guarantees),
        ("crates/a/tests/it.rs", source),
    ];
    assert_eq!(
        findings(&files),
        [
            "docs/guarantees.md:4: guarantees: there is no test `gone`",
            "docs/guarantees.md:5: guarantees: the promise does not end with the name of a test in backticks",
            "docs/guarantees.md:6: guarantees: there is no test `helper`",
        ]
    );
}

#[test]
fn a_banned_package_is_found_in_the_lock_file() {
    let lock = "[[package]]\nname = \"openssl-sys\"\nversion = \"0.9.1\"\n\n[[package]]\nname = \"x\"\nversion = \"1.0.0\"\nsource = \"git+https://example.org/x\"\n";
    let policy = "[bans]\ndeny = [{ name = \"openssl-sys\" }]\n";
    assert_eq!(
        findings(&[("Cargo.lock", lock), ("deny.toml", policy)]),
        [
            "Cargo.lock:2: bans: `openssl-sys` is banned",
            "Cargo.lock:6: sources: `x` does not come from the registry",
        ]
    );
}
