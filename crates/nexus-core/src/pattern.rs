//! Patterns: topics with wildcards, matched without allocation.

use std::{fmt, sync::Arc};

use crate::{
    Error, Topic,
    topic::{TOPIC_BYTES_MAX, TOPIC_SEGMENTS_MAX, is_segment, shorten},
};

/// A topic with wildcards: `*` in the middle is one segment, `*` at the end is one or more, `>` alone
/// is everything.
///
/// ```
/// # use nexus_core::{Pattern, Topic};
/// let pattern = Pattern::parse("payment.*")?;
/// assert!(pattern.matches(&Topic::parse("payment.received")?));
/// assert!(pattern.matches(&Topic::parse("payment.card.refused")?));
/// # Ok::<(), nexus_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern(Arc<str>);

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`Error::InvalidName`] when the text is not a pattern.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let refuse = |why| Error::InvalidName {
            what: "pattern",
            value: shorten(text),
            why,
        };
        if text == ">" || text == "*" {
            return Ok(Self(">".into()));
        }
        if text.len() > TOPIC_BYTES_MAX {
            return Err(refuse("it is longer than 128 bytes"));
        }
        let mut segments = 0;
        for segment in text.split('.') {
            segments += 1;
            if segment != "*" && !is_segment(segment) {
                return Err(refuse(
                    "each segment is `*`, or one or more of a-z, 0-9 and _",
                ));
            }
        }
        if !(2..=TOPIC_SEGMENTS_MAX).contains(&segments) {
            return Err(refuse("a pattern has two to six segments, or is `>`"));
        }
        Ok(Self(text.into()))
    }

    /// The pattern that matches every topic.
    #[must_use]
    pub fn everything() -> Self {
        Self(">".into())
    }

    /// The pattern as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the pattern has no wildcard, so that it names one topic.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        !self.0.contains(['*', '>'])
    }

    /// Whether the topic matches.
    #[must_use]
    pub fn matches(&self, topic: &Topic) -> bool {
        if &*self.0 == ">" {
            return true;
        }
        let mut pattern = self.0.split('.').peekable();
        let mut segments = topic.as_str().split('.');
        while let Some(expected) = pattern.next() {
            let Some(segment) = segments.next() else {
                return false;
            };
            if expected == "*" {
                if pattern.peek().is_none() {
                    return true;
                }
            } else if expected != segment {
                return false;
            }
        }
        segments.next().is_none()
    }
}

impl From<&Topic> for Pattern {
    fn from(topic: &Topic) -> Self {
        Self(topic.as_str().into())
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Several patterns, of which one has to match. Sorted and without repetition, so that two sets with
/// the same patterns are equal whatever their order was.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct PatternSet(Arc<[Pattern]>);

impl PatternSet {
    /// The set that matches every topic.
    #[must_use]
    pub fn everything() -> Self {
        [Pattern::everything()].into_iter().collect()
    }

    /// Reads each text as a pattern.
    ///
    /// # Errors
    /// [`Error::InvalidName`] for the first text that is not a pattern.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, Error> {
        texts.into_iter().map(Pattern::parse).collect()
    }

    /// Whether any pattern of the set matches the topic.
    #[must_use]
    pub fn matches(&self, topic: &Topic) -> bool {
        self.0.iter().any(|pattern| pattern.matches(topic))
    }

    /// Whether the set is known to match every topic.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.0.iter().any(|pattern| pattern.as_str() == ">")
    }

    /// Whether the set has no pattern, so that nothing matches.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The patterns, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &Pattern> {
        self.0.iter()
    }
}

impl FromIterator<Pattern> for PatternSet {
    fn from_iter<I: IntoIterator<Item = Pattern>>(patterns: I) -> Self {
        let mut patterns: Vec<Pattern> = patterns.into_iter().collect();
        patterns.sort();
        patterns.dedup();
        Self(patterns.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, topic: &str) -> bool {
        Pattern::parse(pattern)
            .unwrap()
            .matches(&Topic::parse(topic).unwrap())
    }

    #[test]
    fn wildcards_mean_what_the_vocabulary_says() {
        for (pattern, topic, expected) in [
            (">", "a.b", true),
            ("*", "a.b.c", true),
            ("a.b", "a.b", true),
            ("a.b", "a.b.c", false),
            ("a.*", "a.b", true),
            ("a.*", "a.b.c", true),
            ("a.*", "b.a", false),
            ("a.*.c", "a.b.c", true),
            ("a.*.c", "a.b.d", false),
            ("a.*.c", "a.b.b.c", false),
            ("*.b", "a.b", true),
            ("*.b", "a.b.b", false),
            ("a.b.*", "a.b", false),
        ] {
            assert_eq!(matches(pattern, topic), expected, "{pattern} on {topic}");
        }
    }

    #[test]
    fn refuses_what_is_no_pattern() {
        for text in ["", "a", "a.>", "a.b*", "A.*", "a..b", "a.b.c.d.e.f.*"] {
            assert!(Pattern::parse(text).is_err(), "{text:?}");
        }
    }

    /// The definition of the vocabulary, written as recursion over lists.
    fn model(pattern: &[&str], topic: &[&str]) -> bool {
        match (pattern, topic) {
            ([], []) => true,
            (["*"], [_, ..]) => true,
            ([p, rest @ ..], [t, others @ ..]) => (*p == "*" || p == t) && model(rest, others),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn matching_equals_the_model(
            pattern in prop::collection::vec(prop::sample::select(vec!["a", "b", "*"]), 2..=6),
            topic in prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 2..=6),
        ) {
            prop_assert_eq!(matches(&pattern.join("."), &topic.join(".")), model(&pattern, &topic));
        }

        #[test]
        fn parsing_never_panics(text in ".{0,80}") {
            let _ = Pattern::parse(&text);
            let _ = Topic::parse(&text);
        }
    }
}
