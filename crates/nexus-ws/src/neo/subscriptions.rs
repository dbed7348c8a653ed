//! The subscriptions of one connection, in the order they were made.

use std::sync::Arc;

use nexus_core::{Catalogue, Event, PatternSet, Seq};

use crate::selection::{Entry, Rights};

/// One subscription.
#[derive(Debug, Clone)]
struct Subscription {
    text: Arc<str>,
    entry: Entry,
    /// What matches and follows this was sent or will be.
    since: Seq,
}

/// The subscriptions of one connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Subscriptions(Vec<Subscription>);

/// What somebody wants to add.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    entries: Vec<(Arc<str>, Entry)>,
    pub(crate) valid: Vec<String>,
    pub(crate) invalid: Vec<String>,
}

impl Wanted {
    /// Sorts what exists and may be read from what does not. A pattern may match more than may be read:
    /// then it gives the part that may.
    pub(crate) fn resolve(texts: Vec<String>, catalogue: &Catalogue, rights: &Rights) -> Self {
        let mut wanted = Self::default();
        for text in texts {
            match catalogue.resolve_pattern(&text) {
                Ok((pattern, _)) if rights.may_read(&pattern) => {
                    let entry = Entry::new(&text, pattern);
                    wanted.entries.push((text.as_str().into(), entry));
                    wanted.valid.push(text);
                }
                _ => wanted.invalid.push(text),
            }
        }
        wanted
    }

    pub(crate) fn patterns(&self) -> PatternSet {
        let patterns = self.entries.iter().map(|(_, entry)| entry.pattern.clone());
        patterns.collect()
    }
}

impl Subscriptions {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn texts(&self) -> Vec<&str> {
        self.0
            .iter()
            .map(|subscription| &*subscription.text)
            .collect()
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        let entries = self.0.iter().map(|subscription| subscription.entry.clone());
        entries.collect()
    }

    /// How many there would be.
    pub(crate) fn count_with(&self, wanted: &Wanted) -> usize {
        let mut new: Vec<&str> = wanted.entries.iter().map(|(text, _)| &**text).collect();
        new.retain(|text| !self.has(text));
        new.sort_unstable();
        new.dedup();
        self.0.len() + new.len()
    }

    /// Adds what is wanted, from a sequence on; what is there already may begin earlier now.
    pub(crate) fn add(&mut self, wanted: Wanted, since: Seq) {
        for (text, entry) in wanted.entries {
            match self
                .0
                .iter_mut()
                .find(|subscription| subscription.text == text)
            {
                Some(subscription) => subscription.since = subscription.since.min(since),
                None => self.0.push(Subscription { text, entry, since }),
            }
        }
    }

    /// Takes out those with these texts.
    pub(crate) fn remove(&mut self, texts: &[String]) {
        self.0
            .retain(|subscription| !texts.iter().any(|text| **text == *subscription.text));
    }

    /// Whether the event was sent, or will be, for one of these.
    pub(crate) fn cover(&self, event: &Event) -> bool {
        self.0.iter().any(|subscription| {
            subscription.since < event.seq && subscription.entry.pattern.matches(&event.topic)
        })
    }

    fn has(&self, text: &str) -> bool {
        self.0
            .iter()
            .any(|subscription| &*subscription.text == text)
    }
}
