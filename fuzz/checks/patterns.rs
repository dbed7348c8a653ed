//! What must hold for every pattern and topic. The input has one text in each line: each is read as both.

use nexus_core::{Catalogue, Pattern, PatternSet, Topic};

/// More lines than this say nothing new.
const LINES_MAX: usize = 32;

/// Panics when something does not hold.
pub(crate) fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let lines: Vec<&str> = text.split('\n').take(LINES_MAX).collect();
    let patterns: Vec<Pattern> = lines.iter().flat_map(|line| Pattern::parse(line)).collect();
    let topics: Vec<Topic> = lines.iter().flat_map(|line| Topic::parse(line)).collect();
    for topic in &topics {
        let exact = Pattern::from(topic);
        assert!(exact.is_exact() && exact.matches(topic));
        assert!(Pattern::everything().matches(topic));
        for pattern in &patterns {
            let expected = matches(pattern.as_str(), topic.as_str());
            assert_eq!(pattern.matches(topic), expected, "{pattern} on {topic}");
        }
    }
    for pattern in &patterns {
        let again = Pattern::parse(pattern.as_str()).expect("it was one");
        assert_eq!(again, *pattern);
    }
    check_set(&patterns, &topics);
    check_catalogue(&lines);
}

/// A set matches what one of its patterns does, and its order does not matter.
fn check_set(patterns: &[Pattern], topics: &[Topic]) {
    let set: PatternSet = patterns.iter().cloned().collect();
    let reversed: PatternSet = patterns.iter().rev().cloned().collect();
    assert_eq!(set, reversed);
    assert_eq!(set.is_empty(), patterns.is_empty());
    assert_eq!(
        PatternSet::parse(set.iter().map(Pattern::as_str)).expect("patterns"),
        set
    );
    for topic in topics {
        let one = patterns.iter().any(|pattern| pattern.matches(topic));
        assert_eq!(set.matches(topic), one, "{set:?} on {topic}");
        assert!(one || !set.is_everything());
    }
}

/// What names an event stands for a pattern that matches this event alone.
fn check_catalogue(lines: &[&str]) {
    let catalogue = Catalogue::known();
    for line in lines {
        if let Ok(named) = catalogue.resolve(line) {
            assert_eq!(named.event_type.name_in(named.form), *line);
            let (pattern, form) = catalogue.resolve_pattern(line).expect("it names an event");
            assert_eq!(pattern.as_str(), named.event_type.topic.as_str());
            assert_eq!(form, named.form);
        }
    }
}

/// The meaning of patterns, written again as simply as can be.
fn matches(pattern: &str, topic: &str) -> bool {
    fn rest(pattern: &[&str], topic: &[&str]) -> bool {
        match (pattern, topic) {
            ([], []) => true,
            (["*"], [_, ..]) => true,
            (["*", pattern @ ..], [_, topic @ ..]) => rest(pattern, topic),
            ([a, pattern @ ..], [b, topic @ ..]) if a == b => rest(pattern, topic),
            _ => false,
        }
    }
    let pattern_segments: Vec<&str> = pattern.split('.').collect();
    let topic_segments: Vec<&str> = topic.split('.').collect();
    pattern == ">" || rest(&pattern_segments, &topic_segments)
}
