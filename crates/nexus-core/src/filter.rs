//! Filters: conditions over an event that a reader states in a language that this crate does not know.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use crate::Event;

/// A compiled condition over an event, known by the text it was compiled from: two filters with one text
/// are equal, so that their readers can share what is encoded for them.
///
/// ```
/// # use nexus_core::Filter;
/// let from_nodes = Filter::new("source.startsWith(\"node:\")", |event| {
///     event.source.as_str().starts_with("node:")
/// });
/// assert_eq!(from_nodes.text(), "source.startsWith(\"node:\")");
/// ```
#[derive(Clone)]
pub struct Filter {
    text: Arc<str>,
    test: Arc<dyn Fn(&Event) -> bool + Send + Sync>,
}

impl Filter {
    /// The condition that `text` was compiled to. The test has to depend on the event alone, and its
    /// time has to be bounded: it runs on the tasks of those who read.
    #[must_use]
    pub fn new(
        text: impl Into<Arc<str>>,
        test: impl Fn(&Event) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self {
            text: text.into(),
            test: Arc::new(test),
        }
    }

    /// The text that it was compiled from.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the event meets the condition.
    #[must_use]
    pub fn matches(&self, event: &Event) -> bool {
        (self.test)(event)
    }
}

impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Filter {}

impl Hash for Filter {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Filter").field(&self.text).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_filter_is_known_by_its_text() {
        let filters = [
            Filter::new("a", |_| true),
            Filter::new("a", |_| false),
            Filter::new("b", |_| true),
        ];
        assert_eq!(filters.iter().collect::<HashSet<_>>().len(), 2);
        assert_eq!(format!("{:?}", filters[0]), "Filter(\"a\")");
    }
}
