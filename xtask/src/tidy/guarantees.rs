//! Each promise of `docs/guarantees.md` ends with the name of a test, and the test exists.

use std::collections::HashSet;

use crate::tidy::{
    Finding,
    tree::{File, Tree},
};

const RULE: &str = "guarantees";
const DOCUMENT: &str = "docs/guarantees.md";
const WHY: &str = "a promise that no test keeps is a hope";

/// Reads list items (`- promise … `name``) and table rows (`| promise | `name` |`).
pub(crate) fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    let Some(document) = tree.find(DOCUMENT) else {
        if tree.files.iter().any(|file| file.path.starts_with("docs/")) {
            findings.push(finding(1, String::from("there is no such file")));
        }
        return;
    };
    let tests = all_tests(tree);
    let promises = promises(&document.text);
    if promises.is_empty() {
        findings.push(finding(1, String::from("it makes no promise")));
    }
    for (line, promise) in promises {
        match named_test(&promise) {
            None => findings.push(finding(
                line,
                String::from("the promise does not end with the name of a test in backticks"),
            )),
            Some(name) if !tests.contains(name.rsplit("::").next().unwrap_or(name)) => {
                findings.push(finding(line, format!("there is no test `{name}`")));
            }
            Some(_) => {}
        }
    }
}

fn finding(line: usize, what: String) -> Finding {
    Finding {
        file: String::from(DOCUMENT),
        line,
        rule: RULE,
        what,
        why: WHY,
    }
}

/// Each promise in one line, with the number of its last.
fn promises(text: &str) -> Vec<(usize, String)> {
    let mut promises: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let trimmed = line.trim();
        if trimmed.starts_with("- ") || trimmed.starts_with("* ") || is_row(trimmed) {
            promises.push((number, trimmed.to_owned()));
            open = !is_row(trimmed);
        } else if trimmed.is_empty() || trimmed.starts_with('#') {
            open = false;
        } else if let (true, Some(last)) = (open, promises.last_mut()) {
            last.0 = number;
            last.1.push(' ');
            last.1.push_str(trimmed);
        } else if trimmed.starts_with("|-") || trimmed.starts_with("| -") {
            // What was taken for a row above the rule of a table was its head.
            promises.pop();
        }
    }
    promises
}

fn is_row(line: &str) -> bool {
    line.starts_with("| ") && !line.starts_with("| -")
}

/// The name in the last backticks, when nothing but punctuation follows it.
fn named_test(promise: &str) -> Option<&str> {
    let end = promise.trim_end_matches(['.', '|', ' ', ')']);
    let end = end.strip_suffix('`')?;
    let (_, name) = end.rsplit_once('`')?;
    (!name.is_empty()).then_some(name)
}

/// The names of all functions that an attribute makes a test, and of those that a suite does.
fn all_tests(tree: &Tree) -> HashSet<&str> {
    tree.files
        .iter()
        .filter(|file| file.code.is_some())
        .flat_map(|file| tests_of(file).into_iter().chain(suite_of(&file.text)))
        .collect()
}

fn tests_of(file: &File) -> Vec<&str> {
    let mut found = Vec::new();
    let mut attributed = false;
    for line in file.text.lines().map(str::trim) {
        if is_test_attribute(line) {
            attributed = true;
        }
        let function = line.trim_start_matches("pub ").trim_start_matches("async ");
        if let Some(rest) = function.strip_prefix("fn ") {
            if attributed {
                let end = rest.find(['(', '<']).unwrap_or(rest.len());
                found.push(&rest[..end]);
            }
            attributed = false;
        }
    }
    found
}

/// The functions of a contract suite: its macro lists them, one a line, and makes a test of each.
fn suite_of(text: &str) -> impl Iterator<Item = &str> {
    let is_name = |line: &&str| {
        !line.is_empty() && line.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    text.lines()
        .map(str::trim)
        .skip_while(|line| !line.contains("!(@each "))
        .skip(1)
        .take_while(is_name)
}

fn is_test_attribute(line: &str) -> bool {
    let Some(attribute) = line.strip_prefix("#[") else {
        return false;
    };
    let path = attribute.split(['(', ']']).next().unwrap_or(attribute);
    path == "test" || path.ends_with("::test")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_suite_lists_is_a_test() {
        let suite = "($subject:expr) => {\n    $crate::contract!(@each $subject;\n        one_holds\n        two_holds\n    );\n};\nfn other() {}\n";
        assert_eq!(
            suite_of(suite).collect::<Vec<_>>(),
            ["one_holds", "two_holds"]
        );
        assert_eq!(suite_of("fn one_holds() {}").count(), 0);
    }

    #[test]
    fn items_rows_and_continued_lines_are_promises() {
        let text = "# Promises\n\nWords.\n\n- One\n  goes on `a::b`.\n- Two (`c`).\n\n| promise | test |\n|---|---|\n| Three | `d` |\n";
        let found = promises(text);
        let names: Vec<_> = found
            .iter()
            .map(|(_, promise)| named_test(promise))
            .collect();
        assert_eq!(names, [Some("a::b"), Some("c"), Some("d")]);
        assert_eq!(found[0].0, 6);
        assert_eq!(named_test("- Four `e` and more"), None);
    }
}
