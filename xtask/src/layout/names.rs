//! Patterns of names: few that stand for the functions that ran, and hold when the program is built again.
//!
//! A function's name holds a hash of nearly everything that it was built from, so a pattern leaves that out. Where
//! most of a module ran, one pattern stands for all of it.

use std::collections::{BTreeMap, BTreeSet};

/// How deep a crate is: after what all names of Rust begin with.
const CRATE_DEPTH: usize = 2;
/// A module counts as run when this part of its code did, in percent.
const MODULE_PERCENT_MIN: u64 = 70;
/// A function and its size in bytes, of the table that `nm --print-size` prints.
pub(super) fn symbols(table: &str) -> BTreeMap<String, u64> {
    let mut symbols = BTreeMap::new();
    for line in table.lines() {
        let mut fields = line.split(' ').skip(1);
        let (Some(bytes), Some(kind), Some(name)) = (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        if let (Ok(bytes), "t" | "T" | "w" | "W") = (u64::from_str_radix(bytes, 16), kind) {
            *symbols.entry(name.to_owned()).or_default() += bytes;
        }
    }
    symbols
}

/// The patterns for the functions that ran, among all that there are.
pub(super) fn patterns(symbols: &BTreeMap<String, u64>, ran: &BTreeSet<String>) -> Vec<String> {
    let mut root = Module::default();
    for (name, bytes) in symbols {
        root.add(&path(name), *bytes, ran.contains(name));
    }
    let mut patterns = Vec::new();
    root.collect("", 0, &mut patterns);
    patterns.sort();
    patterns
}

/// The parts of a name that hold from build to build: of Rust's, a part for each module and one for the function.
/// Empty for names of C, whose files are put in as a whole.
fn path(name: &str) -> Vec<String> {
    // Added when the function was made known to other files.
    let name = name.split(".llvm.").next().unwrap_or(name);
    if let Some(mangled) = name.strip_prefix("_R") {
        return vec![format!("_R{}*", without_crates(mangled))];
    }
    let Some(mut rest) = name.strip_prefix("_ZN") else {
        return Vec::new();
    };
    let mut parts = vec![String::from("_ZN")];
    while let Some(digits) = rest.find(|at: char| !at.is_ascii_digit()) {
        let Ok(length) = rest[..digits].parse::<usize>() else {
            break;
        };
        let Some(part) = rest.get(..digits + length) else {
            break;
        };
        if is_hash(&part[digits..]) {
            break;
        }
        parts.push(part.to_owned());
        rest = &rest[part.len()..];
    }
    parts
}

fn is_hash(part: &str) -> bool {
    let hex = |digits: &str| digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    part.len() == 17 && part.strip_prefix('h').is_some_and(hex)
}

/// A name of the newer kind (those of the standard library) without the hashes of its crates: `Cs` and `_` around
/// letters and digits.
fn without_crates(mangled: &str) -> String {
    let mut out = String::with_capacity(mangled.len());
    let mut rest = mangled;
    while let Some(at) = rest.find("Cs") {
        let (before, hash) = rest.split_at(at + 2);
        out.push_str(before);
        let end = hash.find(|letter: char| !letter.is_ascii_alphanumeric());
        rest = match end {
            Some(end) if hash[end..].starts_with('_') && end > 0 => {
                out.push('*');
                &hash[end..]
            }
            _ => hash,
        };
    }
    out.push_str(rest);
    out
}

/// A module, or the functions of one name: there is one for each type that it is made for.
#[derive(Debug, Default)]
struct Module {
    /// Of everything in it.
    bytes: u64,
    ran_bytes: u64,
    /// Whether a function ran that has just this name.
    ran: bool,
    inner: BTreeMap<String, Self>,
}

impl Module {
    fn add(&mut self, path: &[String], bytes: u64, ran: bool) {
        self.bytes += bytes;
        self.ran_bytes += if ran { bytes } else { 0 };
        if let Some((first, rest)) = path.split_first() {
            let inner = self.inner.entry(first.clone()).or_default();
            inner.add(rest, bytes, ran);
        } else {
            self.ran |= ran;
        }
    }

    fn collect(&self, name: &str, depth: usize, patterns: &mut Vec<String>) {
        if self.ran_bytes == 0 {
            return;
        }
        let is_module = depth > CRATE_DEPTH && !self.inner.is_empty();
        if is_module && self.ran_bytes * 100 >= self.bytes * MODULE_PERCENT_MIN {
            patterns.push(format!("{name}*"));
            return;
        }
        if self.ran && !name.is_empty() {
            let hash = if name.starts_with("_ZN") { "17h*" } else { "" };
            patterns.push(format!("{name}{hash}"));
        }
        for (part, inner) in &self.inner {
            inner.collect(&format!("{name}{part}"), depth + 1, patterns);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "17h0123456789abcdefE";

    fn chosen(functions: &[(&str, u64, bool)]) -> Vec<String> {
        let named = |name: &str| match name.starts_with("_ZN") {
            true => format!("{name}{HASH}"),
            false => name.to_owned(),
        };
        let all = functions
            .iter()
            .map(|(name, bytes, _)| (named(name), *bytes));
        let ran = functions.iter().filter(|(_, _, ran)| *ran);
        let ran = ran.map(|(name, ..)| named(name)).collect();
        patterns(&all.collect(), &ran)
    }

    #[test]
    fn a_module_that_ran_is_one_pattern_and_of_others_only_functions_are_named() {
        let patterns = chosen(&[
            ("_ZN5nexus6config4load", 8_000, true),
            ("_ZN5nexus6config4read", 2_000, false),
            ("_ZN5nexus5faces3neo", 90_000, false),
            ("_ZN5nexus5faces2v1", 9_000, true),
        ]);
        assert_eq!(patterns, ["_ZN5nexus5faces2v117h*", "_ZN5nexus6config*"]);
    }

    #[test]
    fn what_changes_with_each_build_is_not_in_a_pattern() {
        let newer = "_RNvMs_NtCslNYArtu3iFV_5alloc6string.llvm.3643936799275306673";
        assert_eq!(
            chosen(&[(newer, 10, true)]),
            ["_RNvMs_NtCs*_5alloc6string*"]
        );
        assert!(chosen(&[("sqlite3_step", 10, true)]).is_empty());
    }

    #[test]
    fn the_table_gives_functions_and_their_sizes() {
        let table = "\
0000000000619eb0 0000000000000084 T name
                 U malloc
0000000000001000 0000000000000010 r data
0000000000619f40 00000000000000ff t _ZN1a1b17h0123456789abcdefE
";
        let symbols = symbols(table);
        assert_eq!(symbols.len(), 2);
        assert_eq!(symbols["name"], 0x84);
    }
}
