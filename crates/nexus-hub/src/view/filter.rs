//! Fewer tools: those of a category, with a tag, or that have certain words.

use std::sync::Arc;

use crate::{
    catalogue::metadata::Category,
    router::search::Own,
    view::listing::{Item, Listing},
};

/// Which tools somebody wants to see. Whatever is left out can still be called: this decides no rights.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolFilter {
    /// Those of this category.
    pub category: Option<Category>,
    /// Those that have all of these tags.
    pub tags: Vec<Arc<str>>,
    /// Those that have all of these words in name, title, description or tags.
    pub query: Option<String>,
}

impl ToolFilter {
    /// Whether it lets everything through.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.category.is_none() && self.tags.is_empty() && self.query.is_none()
    }

    /// Whether it lets a tool through.
    #[must_use]
    pub fn matches(&self, item: &Item) -> bool {
        let metadata = item.metadata();
        let is_of = self
            .category
            .is_none_or(|wanted| wanted == metadata.category);
        let has_tags = self
            .tags
            .iter()
            .all(|tag| metadata.tags.contains(tag.to_lowercase().as_str()));
        let has_words = || match &self.query {
            Some(query) => words(query).all(|word| {
                item.words().contains(&word) || metadata.tags.iter().any(|tag| **tag == *word)
            }),
            None => true,
        };
        is_of && has_tags && has_words()
    }
}

/// The words of a query in lower case.
pub(crate) fn words(query: &str) -> impl Iterator<Item = String> {
    /// What follows is not looked for.
    const WORDS_MAX: usize = 16;
    query
        .split_whitespace()
        .take(WORDS_MAX)
        .map(str::to_lowercase)
}

/// The tools that a filter lets through, and the two by which the others can be found and called.
pub(super) fn tools(all: &Listing, filter: &ToolFilter) -> Listing {
    if filter.is_empty() {
        return all.clone();
    }
    let wanted = all
        .items()
        .iter()
        .filter(|item| filter.matches(item))
        .cloned();
    let own = [Own::Search, Own::Call].map(|own| Arc::new(own.item()));
    all.of(wanted.chain(own).collect())
}
