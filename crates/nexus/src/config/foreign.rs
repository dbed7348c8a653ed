//! Entries of the file whose schema another crate owns: read through serde, every problem told at once, each
//! with its line.

mod reader;
#[cfg(test)]
mod tests;

use std::{collections::HashSet, fmt};

use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;

use self::reader::{Fault, Reader};
use super::{
    given::{Entry, Given},
    problem::Problems,
};

/// At most this many problems of one entry are told.
const PROBLEMS_MAX: usize = 64;

/// An entry as it was written, with the lines of its members.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    file: String,
    /// What the entry is called in problems: its list, or its list and member.
    name: String,
    line: usize,
    given: Given,
}

impl Written {
    /// What stands in `file` at `line`.
    pub(crate) fn new(file: &str, name: &str, line: usize, entries: Vec<Entry>) -> Self {
        Self {
            file: file.to_owned(),
            name: name.to_owned(),
            line,
            given: Given::Table(entries),
        }
    }

    /// Reads the entry. What is wrong in it is noted and left out, so that the rest is read and judged too;
    /// nothing when nothing is left that makes an entry.
    pub(crate) fn read<T: DeserializeOwned>(&self, problems: &mut Problems) -> Option<T> {
        let mut given = self.given.clone();
        let mut told = HashSet::new();
        for _ in 0..PROBLEMS_MAX {
            let error = match serde_path_to_error::deserialize(Reader(&given)) {
                Ok(read) => return Some(read),
                Err(error) => error,
            };
            let path: Vec<Step> = error.path().iter().filter_map(Step::of).collect();
            let fault = error.into_inner();
            // A member that was left out because it is wrong is not missing.
            let is_known = matches!(&fault, Fault::Missing(field) if told.contains(&dotted(&path, Some(field))));
            if !is_known {
                let (what, allowed) = fault.into_words();
                let place = self.place(&dotted(&path, None));
                match allowed {
                    Some(allowed) => problems.add_with(place, what, allowed),
                    None => problems.add(place, what),
                }
            }
            told.insert(dotted(&path, None));
            if !remove(&mut given, &path) {
                return None;
            }
        }
        None
    }

    /// Where a member stands, named by its path with dots: its own line, else that of what it is in.
    pub(crate) fn place(&self, path: &str) -> String {
        let (file, name) = (&self.file, &self.name);
        let line = line(&self.given, path).unwrap_or(self.line);
        if path.is_empty() {
            format!("{file}:{line} {name}")
        } else {
            format!("{file}:{line} {name}.{path}")
        }
    }
}

/// One step from a value to one in it.
enum Step {
    Member(String),
    Item(usize),
}

impl Step {
    fn of(segment: &Segment) -> Option<Self> {
        match segment {
            Segment::Map { key } => Some(Self::Member(key.clone())),
            Segment::Seq { index } => Some(Self::Item(*index)),
            Segment::Enum { .. } | Segment::Unknown => None,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member(key) => f.write_str(key),
            Self::Item(index) => write!(f, "{index}"),
        }
    }
}

fn dotted(path: &[Step], last: Option<&str>) -> String {
    let steps = path.iter().map(ToString::to_string);
    let steps: Vec<String> = steps.chain(last.map(str::to_owned)).collect();
    steps.join(".")
}

fn find<'g>(given: &'g Given, key: &str) -> Option<&'g Given> {
    match given {
        Given::Table(entries) => entries
            .iter()
            .find(|entry| entry.key == key)
            .map(|entry| &entry.given),
        Given::List(items) => items.get(key.parse::<usize>().ok()?),
        _ => None,
    }
}

/// The line of the last step of a path that stands on one of its own.
fn line(given: &Given, path: &str) -> Option<usize> {
    let (mut given, mut line) = (given, None);
    // Steps into lists are written `items.2` and `items[2]`.
    for step in path.split(['.', '[', ']']).filter(|step| !step.is_empty()) {
        if let Given::Table(entries) = given {
            line = entries
                .iter()
                .find(|entry| entry.key == step)
                .map(|entry| entry.line)
                .or(line);
        }
        let Some(next) = find(given, step) else { break };
        given = next;
    }
    line
}

/// Takes out what a path names; false when there is no such thing.
fn remove(given: &mut Given, path: &[Step]) -> bool {
    match (given, path) {
        (Given::Table(entries), [Step::Member(key)]) => {
            let before = entries.len();
            entries.retain(|entry| entry.key != *key);
            entries.len() < before
        }
        (Given::List(items), [Step::Item(index)]) if *index < items.len() => {
            items.remove(*index);
            true
        }
        (Given::Table(entries), [Step::Member(key), rest @ ..]) => entries
            .iter_mut()
            .find(|entry| entry.key == *key)
            .is_some_and(|entry| remove(&mut entry.given, rest)),
        (Given::List(items), [Step::Item(index), rest @ ..]) => {
            items.get_mut(*index).is_some_and(|item| remove(item, rest))
        }
        _ => false,
    }
}
