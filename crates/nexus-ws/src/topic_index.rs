//! Which patterns match a topic, found without looking at those that do not.

use std::collections::HashMap;

use nexus_core::{Pattern, Topic};

/// Values by pattern, as a tree of segments: a topic meets at most two branches at each of its segments, the one
/// with its name and the one for any name, however many patterns there are.
#[derive(Debug)]
pub(crate) struct TopicIndex<T> {
    root: Node<T>,
}

#[derive(Debug)]
struct Node<T> {
    named: HashMap<Box<str>, Node<T>>,
    /// Behind a `*` that stands for one segment.
    any: Option<Box<Node<T>>>,
    /// Of the patterns that end here, each with the number that it is known by.
    here: HashMap<u64, T>,
    /// Of the patterns that take everything below.
    below: HashMap<u64, T>,
}

impl<T> Default for TopicIndex<T> {
    fn default() -> Self {
        Self {
            root: Node::default(),
        }
    }
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self {
            named: HashMap::new(),
            any: None,
            here: HashMap::new(),
            below: HashMap::new(),
        }
    }
}

impl<T> TopicIndex<T> {
    /// Adds a value under a pattern; one with the same number and pattern is replaced.
    pub(crate) fn insert(&mut self, pattern: &Pattern, number: u64, value: T) {
        let (path, takes_all_below) = parts(pattern);
        let mut node = &mut self.root;
        for segment in segments(path) {
            node = match segment {
                "*" => node.any.get_or_insert_default(),
                name => {
                    if !node.named.contains_key(name) {
                        node.named.insert(name.into(), Node::default());
                    }
                    let Some(named) = node.named.get_mut(name) else {
                        return;
                    };
                    named
                }
            };
        }
        let values = if takes_all_below {
            &mut node.below
        } else {
            &mut node.here
        };
        values.insert(number, value);
    }

    /// Takes out the value with a number from under a pattern.
    pub(crate) fn remove(&mut self, pattern: &Pattern, number: u64) {
        let (path, takes_all_below) = parts(pattern);
        let path: Vec<&str> = segments(path).collect();
        self.root.remove(&path, takes_all_below, number);
    }

    /// Shows every value whose pattern matches, with its number; one that is there under several patterns comes
    /// once for each that matches.
    pub(crate) fn matching<'t>(&'t self, topic: &Topic, mut found: impl FnMut(u64, &'t T)) {
        self.root.matching(Some(topic.as_str()), &mut found);
    }
}

impl<T> Node<T> {
    fn matching<'t>(&'t self, rest: Option<&str>, found: &mut impl FnMut(u64, &'t T)) {
        let Some(rest) = rest else {
            return show(&self.here, found);
        };
        show(&self.below, found);
        let (segment, rest) = match rest.split_once('.') {
            Some((segment, rest)) => (segment, Some(rest)),
            None => (rest, None),
        };
        if let Some(named) = self.named.get(segment) {
            named.matching(rest, found);
        }
        if let Some(any) = &self.any {
            any.matching(rest, found);
        }
    }

    /// Whether nothing is left here and below.
    fn remove(&mut self, path: &[&str], takes_all_below: bool, number: u64) -> bool {
        match path {
            [] if takes_all_below => {
                self.below.remove(&number);
            }
            [] => {
                self.here.remove(&number);
            }
            ["*", rest @ ..] => {
                let any = self.any.as_mut();
                if any.is_some_and(|any| any.remove(rest, takes_all_below, number)) {
                    self.any = None;
                }
            }
            [name, rest @ ..] => {
                let named = self.named.get_mut(*name);
                if named.is_some_and(|named| named.remove(rest, takes_all_below, number)) {
                    self.named.remove(*name);
                }
            }
        }
        self.named.is_empty() && self.any.is_none() && self.here.is_empty() && self.below.is_empty()
    }
}

fn show<'t, T>(values: &'t HashMap<u64, T>, found: &mut impl FnMut(u64, &'t T)) {
    for (number, value) in values {
        found(*number, value);
    }
}

/// The segments of a pattern, and whether it takes everything below them.
fn parts(pattern: &Pattern) -> (&str, bool) {
    let text = pattern.as_str();
    if text == ">" {
        return ("", true);
    }
    match text.strip_suffix(".*") {
        Some(path) => (path, true),
        None => (text, false),
    }
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('.').filter(|segment| !segment.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(index: &TopicIndex<Pattern>, topic: &Topic) -> Vec<(u64, Pattern)> {
        let mut all = Vec::new();
        index.matching(topic, |number, pattern| all.push((number, pattern.clone())));
        all.sort();
        all
    }

    fn pattern() -> impl Strategy<Value = Pattern> {
        let segment = prop::sample::select(vec!["a", "b", "c", "*"]);
        let some = prop::collection::vec(segment, 2..=6);
        let some = some.prop_map(|segments| Pattern::parse(&segments.join(".")).unwrap());
        prop_oneof![9 => some, 1 => Just(Pattern::everything())]
    }

    fn topic() -> impl Strategy<Value = Topic> {
        let segment = prop::sample::select(vec!["a", "b", "c", "d"]);
        let some = prop::collection::vec(segment, 2..=6);
        some.prop_map(|segments| Topic::parse(&segments.join(".")).unwrap())
    }

    proptest! {
        /// As if each pattern were held against the topic, whatever came and went before.
        #[test]
        fn what_is_found_is_what_matches(
            patterns in prop::collection::vec((pattern(), any::<bool>()), 0..40),
            topics in prop::collection::vec(topic(), 1..10),
        ) {
            let mut index = TopicIndex::default();
            let numbered = || (0_u64..).zip(&patterns);
            for (number, (pattern, _)) in numbered() {
                index.insert(pattern, number, pattern.clone());
            }
            let goes = |(_, (_, goes)): &(u64, &(Pattern, bool))| *goes;
            for (number, (pattern, _)) in numbered().filter(goes) {
                index.remove(pattern, number);
            }
            for topic in &topics {
                let left = numbered().filter(|one| !goes(one));
                let naive: Vec<_> = left
                    .filter(|(_, (pattern, _))| pattern.matches(topic))
                    .map(|(number, (pattern, _))| (number, pattern.clone()))
                    .collect();
                prop_assert_eq!(found(&index, topic), naive);
            }
            for (number, (pattern, _)) in numbered() {
                index.remove(pattern, number);
            }
            let root = &index.root;
            prop_assert!(root.named.is_empty() && root.any.is_none(), "nothing is left behind");
        }
    }
}
