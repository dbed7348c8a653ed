//! Features: what is built for one package alone is what is built for all, so that nothing is built twice.
//!
//! Cargo gives a package the features that all packages which are built by the same command ask for. A package with
//! other features is another package to it, and so is all that stands on it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use crate::{
    error::Result,
    process::{cargo, stdout_of},
    tidy::{Finding, dependencies, tree::Tree},
};

/// What is built without the rest: by `cargo run --package nexusd`, by `cargo xtask`, and for the documentation.
const ALONE: [&str; 3] = ["--package=nexusd", "--package=xtask", "--workspace"];
/// What a build for the tests uses, which is all there is.
const WITH_TESTS: &str = "--edges=normal,build,dev";
const WITHOUT_TESTS: &str = "--edges=normal,build";

/// The sets of features that each package is built with: more than one, if it is used while building too.
type Features = BTreeMap<String, BTreeSet<String>>;

/// Compares what the commands build that are run one after another.
pub(crate) fn check(root: &Path, tree: &Tree, findings: &mut Vec<Finding>) -> Result<()> {
    let all = resolved(root, "--workspace", WITH_TESTS)?;
    for selection in ALONE {
        let alone = resolved(root, selection, WITHOUT_TESTS)?;
        findings.extend(differing(&alone, &all).map(|(package, features)| {
            let what = format!("`{package}` has [{features}] with {selection} {WITHOUT_TESTS}");
            let name = package.split(' ').next().unwrap_or(package);
            dependencies::finding(
                tree,
                name,
                "features",
                what,
                "built again for the tests, with more features: name those in the workspace's `Cargo.toml`",
            )
        }));
    }
    Ok(())
}

/// The packages that have features here which they have nowhere in `all`.
fn differing<'a>(
    alone: &'a Features,
    all: &'a Features,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    let pairs = alone.iter().flat_map(|(package, sets)| {
        let sets = sets.iter();
        sets.map(move |features| (package.as_str(), features.as_str()))
    });
    pairs.filter(|(package, features)| {
        let known = all.get(*package);
        !known.is_some_and(|known| known.contains(*features))
    })
}

fn resolved(root: &Path, selection: &str, edges: &str) -> Result<Features> {
    let mut tree = cargo();
    tree.args(["tree", "--locked", "--prefix=none", "--format={p}|{f}"])
        .args([selection, edges])
        .current_dir(root);
    Ok(features(&String::from_utf8_lossy(&stdout_of(&mut tree)?)))
}

/// A line for each package, such as `memchr v2.8.3|alloc,std`; ` (*)` stands after what was told before.
fn features(lines: &str) -> Features {
    let mut features = Features::new();
    for line in lines.lines() {
        let line = line.trim_end_matches(" (*)");
        if let Some((package, set)) = line.split_once('|') {
            let sets = features.entry(package.to_owned()).or_default();
            sets.insert(set.to_owned());
        }
    }
    features
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_with_other_features_is_found_and_one_that_is_built_in_two_ways_is_not() {
        let all = features("a v1|std\nb v2|\nb v2|std\nc v1 (proc-macro)|default\nd v1|std (*)\n");
        let alone = features("a v1|alloc,std\nb v2|std\nd v1|std\na v1|alloc,std (*)\n");
        let differing: Vec<_> = differing(&alone, &all).collect();
        assert_eq!(differing, [("a v1", "alloc,std")]);
    }

    #[test]
    fn another_version_is_another_package() {
        let (one, other) = (features("a v1|std\n"), features("a v2|std\n"));
        assert_eq!(differing(&one, &other).count(), 1);
    }
}
