//! Rules about single files: a head that says the file's job, no leftovers, nothing that holds on one machine only.

use crate::tidy::{
    Finding,
    tree::{File, Tree},
};

const LINES_MAX: usize = 600;
/// Machine-written: they name what their tools put there.
const GENERATED: [&str; 2] = ["Cargo.lock", "package-lock.json"];
/// Put together here, so that this file does not hold them.
const MACHINE_PATHS: [&str; 4] = [
    concat!("/", "work/"),
    concat!("/", "root/"),
    concat!("/", "home/"),
    concat!("/", "tmp/"),
];
/// Routes that begin as one of them does.
const ROUTES: [&str; 5] = ["claim", "claimed", "renew", "release", "complete"];
const LEFTOVERS: [&str; 2] = [concat!("FIX", "ME"), concat!("TO", "DO")];

/// Checks every file by itself.
pub(crate) fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    for file in &tree.files {
        if GENERATED.iter().any(|name| file.path.ends_with(name)) {
            check_lock_of_npm(file, findings);
            continue;
        }
        check_rust(file, findings);
        for (index, line) in file.text.lines().enumerate() {
            check_line(file, index + 1, line, findings);
        }
    }
}

fn check_rust(file: &File, findings: &mut Vec<Finding>) {
    let Some(code) = &file.code else {
        return;
    };
    if !file.text.starts_with("//! ") {
        findings.push(file.finding(
            1,
            "head",
            String::from("the first line is no `//! …`"),
            "a stranger learns from it what the file is for",
        ));
    }
    if file.path.ends_with("/mod.rs") {
        findings.push(file.finding(
            1,
            "file name",
            String::from("mod.rs"),
            "`foo.rs` stands beside `foo/`, so that every file has a name of its own",
        ));
    }
    let lines = file.text.lines().count();
    if file.path.starts_with("crates/") && file.path.contains("/src/") && lines > LINES_MAX {
        findings.push(file.finding(
            LINES_MAX + 1,
            "length",
            format!("{lines} lines, {LINES_MAX} are allowed"),
            "a file has one job",
        ));
    }
    for name in ["todo", "unimplemented"] {
        for line in code.lines_calling_macro(name) {
            findings.push(file.finding(
                line,
                "leftover",
                format!("`{name}!`"),
                "what is not there yet is not there, instead of panicking",
            ));
        }
    }
}

fn check_line(file: &File, number: usize, line: &str, findings: &mut Vec<Finding>) {
    for leftover in LEFTOVERS {
        if has_word(line, leftover) {
            findings.push(file.finding(
                number,
                "leftover",
                format!("`{leftover}`"),
                "it is done now, or it is said in the documents what is missing",
            ));
        }
    }
    for path in MACHINE_PATHS {
        if names_path(line, path) {
            findings.push(file.finding(
                number,
                "machine path",
                format!("`{path}…`"),
                "nothing may hold on one machine only; tests use a temporary folder",
            ));
        }
    }
    if names_issue(line) {
        findings.push(file.finding(
            number,
            "wording",
            String::from("the number of an issue"),
            "the text must explain itself to someone who has only the tree",
        ));
    }
}

fn check_lock_of_npm(file: &File, findings: &mut Vec<Finding>) {
    for (index, line) in file.text.lines().enumerate() {
        if file.path.ends_with(".json") && line.contains("\"resolved\": \"http") {
            findings.push(file.finding(
                index + 1,
                "machine path",
                String::from("the address of a registry"),
                "where a package is fetched from is set on each machine; `.npmrc` leaves it out",
            ));
        }
    }
}

fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

/// The path from the root of a machine, with something below it; not `https://example.org/home/`.
fn names_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = &line[at + path.len()..];
        let begins =
            !before.is_some_and(|c| is_word(c) || matches!(c, '.' | '-' | '}' | ')' | '~'));
        let step = after.split(|c: char| !is_word(c)).next();
        let is_route = step.is_some_and(|step| ROUTES.contains(&step));
        begins && !is_route && after.starts_with(char::is_alphanumeric)
    })
}

fn names_issue(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    line.match_indices("issue").any(|(at, word)| {
        let rest = &line[at + word.len()..];
        let rest = rest.strip_prefix('s').unwrap_or(rest);
        let Some(rest) = rest.strip_prefix(' ') else {
            return false;
        };
        rest.strip_prefix('#')
            .unwrap_or(rest)
            .starts_with(|c: char| c.is_ascii_digit())
    })
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

impl File {
    fn finding(&self, line: usize, rule: &'static str, what: String, why: &'static str) -> Finding {
        Finding {
            file: self.path.clone(),
            line,
            rule,
            what,
            why,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_path_begins_at_the_root() {
        for path in MACHINE_PATHS {
            assert!(names_path(&format!("see {path}x"), path));
            assert!(!names_path(&format!("https://example.org{path}x"), path));
            assert!(!names_path(&format!("POST {path}claim?x"), path));
            assert!(names_path(&format!("see {path}claims"), path));
            assert!(!names_path(&format!("under {path}"), path));
        }
    }

    #[test]
    fn only_the_number_of_an_issue_is_wording() {
        assert!(names_issue(concat!("see issue", " #12")));
        assert!(names_issue(concat!("Issues", " 3 and 4")));
        assert!(!names_issue("issues a claim 3 times"));
    }
}
