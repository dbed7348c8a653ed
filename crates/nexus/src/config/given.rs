//! What somebody wrote: the TOML file as a tree that knows its lines, or the text of a variable.

use std::fmt;

use toml::de::{DeTable, DeValue};

use super::problem::Problems;

/// A value as it was written.
#[derive(Debug, Clone)]
pub(crate) enum Given {
    /// `true`
    Flag(bool),
    /// `42`
    Whole(i64),
    /// `0.5`
    Real(f64),
    /// `2026-11-21T06:00:00Z`, unquoted
    Time(String),
    /// `"text"`
    Text(String),
    /// The text of a variable, which may be of any kind.
    Raw(String),
    /// `[1, 2]`
    List(Vec<Given>),
    /// `{ a = 1 }` and `[section]`
    Table(Vec<Entry>),
}

/// A member of a table.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Its name.
    pub(crate) key: String,
    /// The line it is on, from 1.
    pub(crate) line: usize,
    /// What it holds.
    pub(crate) given: Given,
}

impl fmt::Display for Given {
    /// As a message shows it: shortened, and quoted when it is text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Whole(number) => write!(f, "{number}"),
            Self::Real(number) => write!(f, "{number}"),
            Self::Time(text) => f.write_str(text),
            Self::Text(text) | Self::Raw(text) => write!(f, "{:?}", shorten(text)),
            Self::List(_) => f.write_str("a list"),
            Self::Table(_) => f.write_str("a table"),
        }
    }
}

/// Cut to a length that is fit for a message.
pub(crate) fn shorten(text: &str) -> String {
    const SHOWN_CHARS: usize = 64;
    let mut shown: String = text.chars().take(SHOWN_CHARS).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

/// Reads a TOML document; what cannot be read is a problem, the rest is used.
pub(crate) fn parse(name: &str, text: &str, problems: &mut Problems) -> Vec<Entry> {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let line = error.span().map_or(1, |span| line_of(text, span.start));
        problems.add(format!("{name}:{line}"), one_line(error.message()));
    }
    entries(text, table.get_ref())
}

fn one_line(message: &str) -> String {
    message.lines().collect::<Vec<_>>().join(", ")
}

fn line_of(text: &str, byte: usize) -> usize {
    1 + text
        .bytes()
        .take(byte)
        .filter(|letter| *letter == b'\n')
        .count()
}

/// The members of a table in the order they were written.
fn entries(text: &str, table: &DeTable<'_>) -> Vec<Entry> {
    let mut members: Vec<_> = table.iter().collect();
    members.sort_by_key(|(key, _)| key.span().start);
    members
        .into_iter()
        .map(|(key, value)| Entry {
            key: key.get_ref().to_string(),
            line: line_of(text, key.span().start),
            given: given(text, value.get_ref()),
        })
        .collect()
}

fn given(text: &str, value: &DeValue<'_>) -> Given {
    match value {
        DeValue::String(value) => Given::Text(value.to_string()),
        DeValue::Integer(value) => i64::from_str_radix(value.as_str(), value.radix())
            .map_or_else(|_| Given::Text(value.as_str().to_owned()), Given::Whole),
        DeValue::Float(value) => value
            .as_str()
            .parse()
            .map_or_else(|_| Given::Text(value.as_str().to_owned()), Given::Real),
        DeValue::Boolean(value) => Given::Flag(*value),
        DeValue::Datetime(value) => Given::Time(value.to_string()),
        DeValue::Array(items) => Given::List(
            items
                .iter()
                .map(|item| given(text, item.get_ref()))
                .collect(),
        ),
        DeValue::Table(table) => Given::Table(entries(text, table)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_read_in_order_with_its_lines() {
        let text = "b = 1_000\na = 'x'\n[s]\nt = 2026-11-21T06:00:00Z\nf = 0x10\n";
        let mut problems = Problems::default();
        let tree = parse("n", text, &mut problems);
        let shown: Vec<_> = tree
            .iter()
            .map(|entry| format!("{}@{}={}", entry.key, entry.line, entry.given))
            .collect();
        assert_eq!(shown, ["b@1=1000", "a@2=\"x\"", "s@3=a table"]);
        let Given::Table(section) = &tree[2].given else {
            panic!("a section is a table")
        };
        assert_eq!(section[1].given.to_string(), "16");
        assert!(problems.into_vec().is_empty());
    }

    #[test]
    fn every_broken_line_is_told_and_the_others_are_used() {
        let text = "good = 1\nbad = \nworse ==\nfine = true\n";
        let mut problems = Problems::default();
        let tree = parse("n", text, &mut problems);
        let places: Vec<_> = problems
            .into_vec()
            .into_iter()
            .map(|problem| problem.place)
            .collect();
        assert!(
            places.contains(&"n:2".to_owned()) && places.contains(&"n:3".to_owned()),
            "{places:?}"
        );
        assert!(tree.iter().any(|entry| entry.key == "fine"));
    }
}
