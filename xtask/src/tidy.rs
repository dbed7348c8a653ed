//! The house rules that a program can check: layers, who may name what, file heads, leftovers, licences, features.

mod dependencies;
mod features;
mod files;
mod guarantees;
mod layers;
mod manifests;
mod only_here;
mod source;
mod tree;

use std::{fmt, path::Path};

use crate::{
    error::{Error, Result},
    tidy::tree::Tree,
};

/// A place where a rule is broken.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    file: String,
    line: usize,
    rule: &'static str,
    what: String,
    why: &'static str,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            rule,
            what,
            why,
        } = self;
        write!(out, "{file}:{line}: {rule}: {what} ({why})")
    }
}

/// Checks the repository and prints each finding.
pub(crate) fn run(root: &Path) -> Result<()> {
    let tree = Tree::read(root)?;
    let mut findings = check(&tree);
    dependencies::check_licences(&tree, &dependencies::packages(root)?, &mut findings);
    features::check(root, &tree, &mut findings)?;
    for finding in &findings {
        println!("{finding}");
    }
    if findings.is_empty() {
        println!("tidy: {} files, nothing found", tree.files.len());
        Ok(())
    } else {
        Err(Error::Untidy {
            count: findings.len(),
        })
    }
}

/// The rules that need no other program.
fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let manifests = manifests::read(tree, &mut findings);
    manifests::check(&manifests, &mut findings);
    layers::check(tree, &manifests, &mut findings);
    only_here::check(tree, &manifests, &mut findings);
    files::check(tree, &mut findings);
    guarantees::check(tree, &mut findings);
    dependencies::check_lock(tree, &mut findings);
    findings.sort();
    findings.dedup();
    findings
}

#[cfg(test)]
mod tests;
