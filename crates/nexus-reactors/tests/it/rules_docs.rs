//! `docs/rules.md`: its rules compile, and its worked examples do what the page says.

use std::sync::Arc;

use nexus_core::{Catalogue, Mode};
use nexus_reactors::rules::{MappingConfig, Mappings, RuleConfig};
use nexus_testkit::receiver::Receiver;

use crate::rules_support::{Ground, attempt, event};

const PAGE: &str = include_str!("../../../../docs/rules.md");

/// The fenced parts of the page: what kind each is, and its text.
fn parts(page: &str) -> Vec<(&str, &str)> {
    let mut parts = Vec::new();
    let mut rest = page;
    while let Some((_, behind)) = rest.split_once("\n```") {
        let (kind, behind) = behind.split_once('\n').unwrap();
        let (text, behind) = behind.split_once("```").unwrap();
        parts.push((kind, text.trim_end()));
        rest = behind;
    }
    parts
}

#[derive(serde::Deserialize, Default)]
#[serde(default)]
struct File {
    reactors: Vec<RuleConfig>,
    nodes: Vec<Node>,
}

#[derive(serde::Deserialize)]
struct Node {
    id: String,
    webhook: Vec<MappingConfig>,
}

#[test]
fn everything_that_is_shown_compiles() {
    let ground = Ground::new()
        .with("FACTORY_API_URL", "https://factory.example")
        .with("FACTORY_API_KEY", "factory-key")
        .with("CHAT_URL", "https://chat.example");
    let catalogue = Arc::new(Catalogue::known());
    let (mut rules, mut mappings) = (0, 0);
    for (_, text) in parts(PAGE).into_iter().filter(|(kind, _)| *kind == "toml") {
        let file: File = toml::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        for rule in &file.reactors {
            if let Err(problems) = ground.compile(rule) {
                panic!("{}: {problems:?}", rule.name);
            }
            rules += 1;
        }
        for node in &file.nodes {
            Mappings::compile(&node.id, &node.webhook, &catalogue, &|_| None).unwrap();
            mappings += node.webhook.len();
        }
    }
    assert_eq!((rules, mappings), (4, 2));
}

#[tokio::test]
async fn the_worked_examples_do_what_the_page_says() {
    let (_, examples) = PAGE.split_once("## Worked examples").unwrap();
    let mut parts = parts(examples).into_iter().peekable();
    let mut count = 0;
    while let Some((kind, text)) = parts.next() {
        assert_eq!(kind, "toml");
        let receiver = Receiver::new(|_, _| ("200 OK", "", String::new())).await;
        let ground = Ground::new().with("CHAT_URL", receiver.url());
        let file: File = toml::from_str(text).unwrap();
        let rule = ground.compile(&file.reactors[0]).unwrap().shared();

        let (kind, payload) = parts.next().unwrap();
        let event = event(kind.strip_prefix("json event ").unwrap(), payload);
        let options = rule.options();
        assert!(options.on.matches(&event.topic));
        assert!(options.filter.is_none_or(|filter| filter.matches(&event)));
        let attempt = attempt(&rule, &event, Mode::Live);
        let reaction = rule.react(attempt).await.unwrap();

        let mut calls = Vec::new();
        while let Some((_, text)) = parts.next_if(|(kind, _)| *kind == "http") {
            calls.push(text.to_owned());
        }
        let received = receiver.received();
        let sent = received.iter().map(|call| {
            format!("{}\n{}", call.line, call.text())
                .trim_end()
                .to_owned()
        });
        assert_eq!(sent.collect::<Vec<_>>(), calls);

        let mut emits = Vec::new();
        while let Some((kind, text)) = parts.next_if(|(kind, _)| kind.starts_with("json emits ")) {
            let topic = kind.strip_prefix("json emits ").unwrap();
            emits.push((topic.to_owned(), text.to_owned()));
        }
        let emitted = reaction.emit.iter().map(|new| {
            let payload = String::from_utf8(new.payload.to_vec()).unwrap();
            (new.event_type.topic.to_string(), payload)
        });
        assert_eq!(emitted.collect::<Vec<_>>(), emits);
        count += 1;
    }
    assert_eq!(count, 3);
}
