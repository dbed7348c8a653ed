//! The `Cargo.toml` of each package: what it depends on, and that versions and lints come from the workspace.

use toml::{Table, Value};

use crate::tidy::{
    Finding,
    tree::{File, Tree},
};

const RULE: &str = "manifest";

/// The manifest of a package of the workspace.
#[derive(Debug)]
pub(crate) struct Manifest<'tree> {
    pub(crate) file: &'tree File,
    /// The folder that it is in, such as `crates/nexus-core`.
    pub(crate) folder: &'tree str,
    pub(crate) name: String,
    pub(crate) dependencies: Vec<Dependency>,
    table: Table,
}

/// One entry of a table of dependencies.
#[derive(Debug)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) line: usize,
    /// Only tests, benches and examples see it.
    pub(crate) dev: bool,
    inherited: bool,
}

/// The manifests of all packages; one that cannot be read is a finding.
pub(crate) fn read<'tree>(tree: &'tree Tree, findings: &mut Vec<Finding>) -> Vec<Manifest<'tree>> {
    let mut manifests = Vec::new();
    for file in &tree.files {
        let Some(folder) = file.path.strip_suffix("/Cargo.toml") else {
            continue;
        };
        if file.package() != Some(folder) {
            continue;
        }
        match file.text.parse::<Table>() {
            Ok(table) => manifests.push(Manifest::new(file, folder, table)),
            Err(error) => findings.push(Finding {
                file: file.path.clone(),
                line: 1,
                rule: RULE,
                what: format!("not TOML: {}", error.message()),
                why: "cargo could not read it either",
            }),
        }
    }
    manifests
}

/// Checks that nothing is said here that the workspace says for all.
pub(crate) fn check(manifests: &[Manifest<'_>], findings: &mut Vec<Finding>) {
    for manifest in manifests {
        if !inherits(manifest.table.get("lints")) {
            findings.push(manifest.finding(
                1,
                String::from("no `[lints] workspace = true`"),
                "the same lints hold in every package",
            ));
        }
        let version = manifest.table.get("package").and_then(|p| p.get("version"));
        if !inherits(version) {
            findings.push(manifest.finding(
                line_of(&manifest.file.text, "version"),
                String::from("a package version of its own"),
                "all packages are released together: `version.workspace = true`",
            ));
        }
        for dependency in manifest.dependencies.iter().filter(|d| !d.inherited) {
            findings.push(manifest.finding(
                dependency.line,
                format!("`{}` with a version or path of its own", dependency.name),
                "versions and features stand once, in the workspace: `name.workspace = true`",
            ));
        }
    }
}

impl<'tree> Manifest<'tree> {
    fn new(file: &'tree File, folder: &'tree str, table: Table) -> Self {
        let name = table
            .get("package")
            .and_then(|package| package.get("name"))
            .and_then(Value::as_str)
            .unwrap_or(folder)
            .to_owned();
        let mut dependencies = Vec::new();
        collect(&table, &file.text, &mut dependencies);
        if let Some(Value::Table(targets)) = table.get("target") {
            for target in targets.values().filter_map(Value::as_table) {
                collect(target, &file.text, &mut dependencies);
            }
        }
        Self {
            file,
            folder,
            name,
            dependencies,
            table,
        }
    }

    fn finding(&self, line: usize, what: String, why: &'static str) -> Finding {
        Finding {
            file: self.file.path.clone(),
            line,
            rule: RULE,
            what,
            why,
        }
    }
}

fn collect(table: &Table, text: &str, dependencies: &mut Vec<Dependency>) {
    for (section, dev) in [
        ("dependencies", false),
        ("build-dependencies", false),
        ("dev-dependencies", true),
    ] {
        let Some(Value::Table(entries)) = table.get(section) else {
            continue;
        };
        for (key, value) in entries {
            let name = value.get("package").and_then(Value::as_str).unwrap_or(key);
            dependencies.push(Dependency {
                name: name.to_owned(),
                line: line_of(text, key),
                dev,
                inherited: inherits(Some(value)),
            });
        }
    }
}

fn inherits(value: Option<&Value>) -> bool {
    value
        .and_then(|value| value.get("workspace"))
        .and_then(Value::as_bool)
        == Some(true)
}

/// The first line that begins with this key.
fn line_of(text: &str, key: &str) -> usize {
    let ends_key = |rest: &str| rest.starts_with(['.', ' ', '=']);
    text.lines()
        .position(|line| line.strip_prefix(key).is_some_and(ends_key))
        .map_or(1, |index| index + 1)
}
