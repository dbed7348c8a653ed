//! What one caller may use in one namespace: ready-made pages, and where each name leads.

pub(crate) mod build;
pub(crate) mod cache;
mod filter;
mod listing;

use std::{collections::HashMap, sync::Arc};

use crate::{
    Error, ServerId,
    catalogue::{
        ServerCatalogue,
        entry::{Entry, ItemKind},
    },
    router::search::Own,
    view::build::templates::Templates,
};

pub use filter::ToolFilter;
pub(crate) use filter::words as search_words;
pub(crate) use listing::Target;
pub use listing::{Item, Listing, Page};

/// What one caller may use in one namespace, as it was at one moment: it never changes. The same lists
/// decide what is shown and what can be called.
pub struct View {
    pub(crate) generation: u64,
    pub(crate) policy: u64,
    pub(crate) namespace: Arc<str>,
    pub(crate) servers: Vec<Arc<ServerCatalogue>>,
    pub(crate) is_single: bool,
    pub(crate) tools: Listing,
    pub(crate) resources: Listing,
    pub(crate) templates: Listing,
    pub(crate) prompts: Listing,
    pub(crate) matcher: Templates,
    /// Names of tools that would be here if nothing were the matter with them.
    pub(crate) waiting: HashMap<Arc<str>, Arc<Entry>>,
    pub(crate) features: Features,
}

/// Which parts of MCP the servers of a view offer between them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Features {
    /// Tools.
    pub tools: bool,
    /// Resources.
    pub resources: bool,
    /// To be told when a resource has other content.
    pub subscribe: bool,
    /// Prompts.
    pub prompts: bool,
    /// Completion of arguments.
    pub completions: bool,
    /// Messages of a server's log.
    pub logging: bool,
}

impl View {
    /// The generation of the catalogue that it shows.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Whether it shows one server as that shows itself: under its own names, without a prefix.
    #[must_use]
    pub fn is_single(&self) -> bool {
        self.is_single
    }

    /// The tools, by name.
    #[must_use]
    pub fn tools(&self) -> &Listing {
        &self.tools
    }

    /// The resources, by address.
    #[must_use]
    pub fn resources(&self) -> &Listing {
        &self.resources
    }

    /// The templates of resources, by their text.
    #[must_use]
    pub fn templates(&self) -> &Listing {
        &self.templates
    }

    /// The prompts, by name.
    #[must_use]
    pub fn prompts(&self) -> &Listing {
        &self.prompts
    }

    /// The list of a kind.
    #[must_use]
    pub fn list(&self, kind: ItemKind) -> &Listing {
        match kind {
            ItemKind::Tool => &self.tools,
            ItemKind::Resource => &self.resources,
            ItemKind::Template => &self.templates,
            ItemKind::Prompt => &self.prompts,
        }
    }

    /// The tools that a filter lets through, with the two by which the others can be found and called.
    #[must_use]
    pub fn tools_matching(&self, filter: &ToolFilter) -> Listing {
        filter::tools(&self.tools, filter)
    }

    /// Which parts of MCP the servers offer between them.
    #[must_use]
    pub fn features(&self) -> Features {
        self.features
    }

    /// What the servers say about how they are to be used, as far as it was approved.
    #[must_use]
    pub fn instructions(&self) -> Option<String> {
        build::instructions(self)
    }

    /// The servers that it shows, by alias.
    pub fn servers(&self) -> impl Iterator<Item = &ServerId> {
        self.servers.iter().map(|server| &server.server.id)
    }

    /// The server that is shown under an alias.
    pub(crate) fn server(&self, id: &ServerId) -> Option<&Arc<ServerCatalogue>> {
        self.servers.iter().find(|server| server.server.id == *id)
    }

    /// Where the name of a tool leads.
    pub(crate) fn tool(&self, name: &str) -> Result<&Arc<Item>, Error> {
        if let Some(item) = self.tools.get(name) {
            return Ok(item);
        }
        // Who may use the tool is told why it cannot be used; for everybody else there is none.
        if self.waiting.contains_key(name) {
            return Err(Error::AwaitingReview { name: name.into() });
        }
        Own::named(name).ok_or_else(|| unknown(ItemKind::Tool, name))
    }

    /// Where the name of a prompt leads.
    pub(crate) fn prompt(&self, name: &str) -> Result<&Arc<Item>, Error> {
        let item = self.prompts.get(name);
        item.ok_or_else(|| unknown(ItemKind::Prompt, name))
    }
}

/// There is no such thing; names of any length are told shortened.
pub(crate) fn unknown(kind: ItemKind, name: &str) -> Error {
    const TOLD_CHARS_MAX: usize = 200;
    Error::UnknownName {
        kind,
        name: name.chars().take(TOLD_CHARS_MAX).collect(),
    }
}
