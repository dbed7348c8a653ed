//! Tests of reading entries whose schema another crate owns.

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
