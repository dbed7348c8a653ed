//! What is depended on: no banned package, no unknown source, only licences that `deny.toml` allows.

use std::{path::Path, process::Command};

use serde::Deserialize;
use toml::{Table, Value};

use crate::{
    error::{Error, Result},
    process::stdout_of,
    tidy::{Finding, tree::Tree},
};

const LOCK: &str = "Cargo.lock";
const POLICY: &str = "deny.toml";
const REGISTRY: &str = "registry+";

/// A package as `cargo metadata` tells of it.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    name: String,
    version: String,
    license: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

/// Checks the lock file against the bans; a tree without one has nothing to check.
pub(crate) fn check_lock(tree: &Tree, findings: &mut Vec<Finding>) {
    let (Some(lock), Some(policy)) = (table(tree, LOCK), table(tree, POLICY)) else {
        return;
    };
    let banned = strings(&policy, "bans", "deny", "name");
    let packages = lock.get("package").and_then(Value::as_array);
    for package in packages.into_iter().flatten() {
        let field = |name| package.get(name).and_then(Value::as_str);
        let Some(name) = field("name") else { continue };
        if banned.iter().any(|banned| banned == name) {
            findings.push(finding(
                tree,
                name,
                "bans",
                format!("`{name}` is banned"),
                "TLS is rustls with ring: no system library, no second C toolchain",
            ));
        }
        if field("source").is_some_and(|source| !source.starts_with(REGISTRY)) {
            findings.push(finding(
                tree,
                name,
                "sources",
                format!("`{name}` does not come from the registry"),
                "what is built must be fetchable by everyone, at a fixed version",
            ));
        }
    }
}

/// Checks the licence of each package against the list.
pub(crate) fn check_licences(tree: &Tree, packages: &[Package], findings: &mut Vec<Finding>) {
    let Some(policy) = table(tree, POLICY) else {
        return;
    };
    let allowed = strings(&policy, "licenses", "allow", "");
    for package in packages {
        let licence = package.license.as_deref().unwrap_or("none");
        if !is_allowed(licence, &allowed) {
            findings.push(finding(
                tree,
                &package.name,
                "licences",
                format!("`{} {}` has `{licence}`", package.name, package.version),
                "only the licences listed in deny.toml; a new one is added there on purpose",
            ));
        }
    }
}

/// The packages that a build for this machine uses.
pub(crate) fn packages(root: &Path) -> Result<Vec<Package>> {
    let host = stdout_of(Command::new("rustc").args(["--print", "host-tuple"]))?;
    let metadata = stdout_of(
        Command::new("cargo")
            .args(["metadata", "--format-version", "1", "--locked"])
            .args(["--filter-platform", String::from_utf8_lossy(&host).trim()])
            .current_dir(root),
    )?;
    let metadata: Metadata = serde_json::from_slice(&metadata).map_err(|source| Error::Json {
        what: String::from("the answer of cargo metadata"),
        source,
    })?;
    Ok(metadata.packages)
}

/// `AND` binds more than `OR`; `/` is an old way to write `OR`.
fn is_allowed(licence: &str, allowed: &[String]) -> bool {
    let licence = licence.replace('/', " OR ");
    let (head, tail) = match licence.split_once('(') {
        Some((head, rest)) => match rest.split_once(')') {
            Some((inner, tail)) => {
                // A bracket is one operand: it holds, or it is a licence nobody has.
                let holds = is_allowed(inner, allowed);
                let operand = if holds { allowed.first() } else { None };
                let operand = operand.map_or("none", String::as_str);
                (format!("{head}{operand}"), tail.to_owned())
            }
            None => return false,
        },
        None => (licence.clone(), String::new()),
    };
    let flat = format!("{head}{tail}");
    if flat.contains('(') {
        return is_allowed(&flat, allowed);
    }
    flat.split(" OR ").any(|choice| {
        choice.split(" AND ").all(|part| {
            let part = part.trim();
            allowed.iter().any(|allowed| allowed == part)
        })
    })
}

fn table(tree: &Tree, path: &str) -> Option<Table> {
    tree.find(path)?.text.parse().ok()
}

/// The strings of a list, or one member of each of its tables.
fn strings(policy: &Table, section: &str, list: &str, member: &str) -> Vec<String> {
    let list = policy.get(section).and_then(|section| section.get(list));
    list.and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.as_str().or_else(|| entry.get(member)?.as_str()))
        .map(str::to_owned)
        .collect()
}

/// A finding about a package, at its place in the lock file.
pub(super) fn finding(
    tree: &Tree,
    package: &str,
    rule: &'static str,
    what: String,
    why: &'static str,
) -> Finding {
    let wanted = format!("name = \"{package}\"");
    let line = tree
        .find(LOCK)
        .and_then(|lock| lock.text.lines().position(|line| line == wanted))
        .map_or(1, |index| index + 1);
    Finding {
        file: String::from(LOCK),
        line,
        rule,
        what,
        why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_licence_is_allowed_when_one_choice_is_allowed_whole() {
        let allowed = ["MIT", "Unicode-3.0", "Apache-2.0 WITH LLVM-exception"].map(String::from);
        let is_allowed = |licence| is_allowed(licence, &allowed);
        assert!(is_allowed("MIT"));
        assert!(is_allowed("GPL-3.0/MIT"));
        assert!(is_allowed("Apache-2.0 WITH LLVM-exception OR GPL-3.0"));
        assert!(is_allowed("(MIT OR GPL-3.0) AND Unicode-3.0"));
        assert!(!is_allowed("MIT AND GPL-3.0"));
        assert!(!is_allowed("(MIT OR GPL-3.0) AND ISC"));
        assert!(!is_allowed("(GPL-3.0 OR ISC) AND MIT"));
        assert!(!is_allowed("none"));
    }
}
