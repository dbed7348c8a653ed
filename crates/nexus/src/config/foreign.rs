//! Entries of the file whose schema another crate owns: read through serde, every problem told at once, each
//! with its line.

use std::{collections::HashSet, fmt};

use serde::{
    Deserializer,
    de::{
        self, DeserializeOwned, Expected, IntoDeserializer, Unexpected, Visitor,
        value::{MapAccessDeserializer, MapDeserializer, SeqDeserializer},
    },
    forward_to_deserialize_any,
};
use serde_path_to_error::Segment;

use super::{
    given::{Entry, Given, shorten},
    load::unknown,
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

/// What serde found wrong. Texts are not shown: they may be secrets.
#[derive(Debug)]
enum Fault {
    Unknown {
        field: String,
        known: &'static [&'static str],
    },
    Missing(String),
    Choice {
        written: String,
        choices: &'static [&'static str],
    },
    Other(String),
}

impl Fault {
    /// What is wrong, and what would be right.
    fn into_words(self) -> (String, Option<String>) {
        match self {
            Self::Unknown { field, known } => {
                (unknown("setting", &field, known.iter().copied()), None)
            }
            Self::Missing(field) => (format!("`{field}` is missing"), None),
            Self::Choice { written, choices } => (
                format!("{:?} is not one of them", shorten(&written)),
                Some(choices.join(", ")),
            ),
            Self::Other(what) => (what, None),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Other(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::Other(format!("this is {}, not {expected}", Kind(found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::Other(format!("this is {}, not {expected}", Kind(found)))
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::Other(format!("these are {length}, not {expected}"))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::Choice {
            written: variant.to_owned(),
            choices: expected,
        }
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::Unknown {
            field: field.to_owned(),
            known: expected,
        }
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Missing(field.to_owned())
    }
}

/// What kind of value was found, in the words of the file.
struct Kind<'a>(Unexpected<'a>);

impl fmt::Display for Kind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Unexpected::Bool(flag) => write!(f, "{flag}"),
            Unexpected::Signed(number) => write!(f, "{number}"),
            Unexpected::Unsigned(number) => write!(f, "{number}"),
            Unexpected::Float(number) => write!(f, "{number}"),
            Unexpected::Str(_) => f.write_str("text"),
            Unexpected::Seq => f.write_str("a list"),
            Unexpected::Map | Unexpected::StructVariant => f.write_str("a table"),
            other => write!(f, "{other}"),
        }
    }
}

/// Gives what was written to serde.
struct Reader<'g>(&'g Given);

impl<'g> Reader<'g> {
    fn members(entries: &'g [Entry]) -> impl Iterator<Item = (&'g str, Self)> {
        entries
            .iter()
            .map(|entry| (entry.key.as_str(), Self(&entry.given)))
    }
}

impl<'de> IntoDeserializer<'de, Fault> for Reader<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Reader<'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0 {
            Given::Flag(flag) => visitor.visit_bool(*flag),
            Given::Whole(number) => visitor.visit_i64(*number),
            Given::Real(number) => visitor.visit_f64(*number),
            Given::Time(text) | Given::Text(text) | Given::Raw(text) => {
                visitor.visit_borrowed_str(text)
            }
            Given::List(items) => visitor.visit_seq(SeqDeserializer::new(items.iter().map(Self))),
            Given::Table(entries) => {
                visitor.visit_map(MapDeserializer::new(Self::members(entries)))
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self.0 {
            Given::Text(text) => visitor.visit_enum(text.as_str().into_deserializer()),
            Given::Table(entries) => {
                let members = MapDeserializer::new(Self::members(entries));
                visitor.visit_enum(MapAccessDeserializer::new(members))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::{super::given, *};

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Rule {
        name: String,
        on: Vec<String>,
        http: Option<Http>,
        ordering: Option<Ordering>,
        #[serde(default)]
        headers: BTreeMap<String, String>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Http {
        url: String,
        timeout_ms: Option<u32>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Ordering {
        None,
        Key,
    }

    fn read(text: &str) -> Result<Rule, Vec<String>> {
        let mut problems = Problems::default();
        let entries = given::parse("n.toml", text, &mut problems);
        let written = Written::new("n.toml", "reactors", 1, entries);
        let rule = written.read(&mut problems);
        let told: Vec<String> = problems
            .into_vec()
            .iter()
            .map(ToString::to_string)
            .collect();
        match rule {
            Some(rule) if told.is_empty() => Ok(rule),
            _ => Err(told),
        }
    }

    #[test]
    fn what_is_right_is_read() {
        let text = "name = 'a'\non = ['x.y']\nordering = 'key'\nhttp = { url = 'u', timeout_ms = 3 }\n[headers]\nX-A = 'b'\n";
        let rule = Rule {
            name: "a".into(),
            on: vec!["x.y".into()],
            http: Some(Http {
                url: "u".into(),
                timeout_ms: Some(3),
            }),
            ordering: Some(Ordering::Key),
            headers: BTreeMap::from([("X-A".into(), "b".into())]),
        };
        assert_eq!(read(text), Ok(rule));
    }

    #[test]
    fn every_problem_is_told_with_its_line_and_without_texts() {
        let text = "\
name = 7
on = ['x.y', 3]
ordering = 'keys'
nmae = 'hunter2'
[http]
timeout_ms = 'hunter2'
url = 'u'
tiemout_ms = 4
[headers]
X-A = -1
";
        let told = [
            "n.toml:1 reactors.name: this is 7, not a string",
            "n.toml:2 reactors.on.1: this is 3, not a string",
            "n.toml:3 reactors.ordering: \"keys\" is not one of them; allowed: none, key",
            "n.toml:4 reactors.nmae: there is no such setting; did you mean name?",
            "n.toml:6 reactors.http.timeout_ms: this is text, not u32",
            "n.toml:8 reactors.http.tiemout_ms: there is no such setting; did you mean timeout_ms?",
            "n.toml:10 reactors.headers.X-A: this is -1, not a string",
        ];
        assert_eq!(read(text), Err(told.map(str::to_owned).to_vec()));
    }

    #[test]
    fn what_is_missing_is_told_once_and_not_when_it_was_wrong() {
        let told = |text: &str| read(text).unwrap_err();
        assert_eq!(told("on = []\n"), ["n.toml:1 reactors: `name` is missing"]);
        assert_eq!(
            told("name = 'a'\non = []\nhttp = { timeout_ms = 'x' }\n"),
            [
                "n.toml:3 reactors.http.timeout_ms: this is text, not u32",
                "n.toml:3 reactors.http: `url` is missing"
            ]
        );
        assert_eq!(
            told("name = 'a'\non = []\nhttp = { url = 7 }\n"),
            ["n.toml:3 reactors.http.url: this is 7, not a string"]
        );
    }

    #[test]
    fn a_place_is_the_line_of_the_nearest_member_that_has_one() {
        let mut problems = Problems::default();
        let text = "name = 'a'\n[http]\nurl = 'u'\n[[http.body]]\nx = 1\n[[http.body]]\nx = 2\n";
        let entries = given::parse("n.toml", text, &mut problems);
        let written = Written::new("n.toml", "reactors", 1, entries);
        for (path, place) in [
            ("", "n.toml:1 reactors"),
            ("http.url", "n.toml:3 reactors.http.url"),
            ("http.url.deeper", "n.toml:3 reactors.http.url.deeper"),
            ("http.body[1].x", "n.toml:7 reactors.http.body[1].x"),
            ("http.body.1.x", "n.toml:7 reactors.http.body.1.x"),
            ("once", "n.toml:1 reactors.once"),
        ] {
            assert_eq!(written.place(path), place);
        }
    }
}
