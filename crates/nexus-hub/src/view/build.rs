//! Puts a view together: which servers, what of them, under which names.

pub(crate) mod templates;

use std::{collections::HashMap, sync::Arc};

use crate::{
    CatalogueOptions, Error,
    catalogue::{
        ServerCatalogue, Snapshot,
        entry::{Entry, ItemKind},
    },
    permissions::Permissions,
    router::{params, search::Own},
    view::{
        Features, View,
        build::templates::Templates,
        listing::{Item, Listing, Target},
    },
};

/// Makes the view of a user, or of everybody who has nothing of their own.
///
/// # Errors
/// [`Error::UnknownNamespace`].
pub(crate) fn build(
    snapshot: &Snapshot,
    permissions: &Permissions,
    policy: u64,
    options: &CatalogueOptions,
    user: Option<&str>,
    namespace: &str,
) -> Result<View, Error> {
    let (servers, is_single) = select(snapshot, options, user, namespace)?;
    let names = Names {
        servers: &servers,
        is_single,
    };
    let (tools, waiting) = names.tools(permissions, user, options);
    let resources = names.addresses(ItemKind::Resource);
    let templates = names.addresses(ItemKind::Template);
    let prompts = names.of_kind(ItemKind::Prompt, |_, entry| entry.is_usable());
    let mut features = servers
        .iter()
        .fold(Features::default(), |all, server| all.and(server.features));
    features.tools |= !tools.is_empty();
    Ok(View {
        generation: snapshot.generation,
        policy,
        namespace: namespace.into(),
        is_single,
        matcher: Templates::new(&templates),
        tools: Listing::new(ItemKind::Tool, tools, options),
        resources: Listing::new(ItemKind::Resource, resources, options),
        templates: Listing::new(ItemKind::Template, templates, options),
        prompts: Listing::new(ItemKind::Prompt, prompts, options),
        waiting,
        features,
        servers,
    })
}

impl Features {
    fn and(self, other: Self) -> Self {
        Self {
            tools: self.tools || other.tools,
            resources: self.resources || other.resources,
            subscribe: self.subscribe || other.subscribe,
            prompts: self.prompts || other.prompts,
            completions: self.completions || other.completions,
            logging: self.logging || other.logging,
        }
    }
}

/// The servers of a namespace, by alias, and whether it shows one as that shows itself.
fn select(
    snapshot: &Snapshot,
    options: &CatalogueOptions,
    user: Option<&str>,
    namespace: &str,
) -> Result<(Vec<Arc<ServerCatalogue>>, bool), Error> {
    let mut servers: Vec<_> = snapshot
        .visible(user.unwrap_or_default())
        .filter(|server| server.server.enabled)
        .cloned()
        .collect();
    servers.sort_by(|one, other| {
        let key =
            |server: &ServerCatalogue| (server.server.alias.clone(), server.server.id.clone());
        key(one).cmp(&key(other))
    });
    if namespace.is_empty() {
        return Ok((servers, false));
    }
    if let Some(members) = options.namespaces.get(namespace) {
        let is_member = |server: &ServerCatalogue| {
            let alias = server.server.alias.as_str();
            members.iter().any(|member| **member == *alias)
        };
        servers.retain(|server| is_member(server));
        return Ok((servers, members.len() == 1));
    }
    // A server of one's own first: nobody else's server takes its place.
    let mut named = servers
        .into_iter()
        .filter(|server| server.server.alias.as_str() == namespace);
    let one = named.next();
    let one = named.fold(one, |one, other| {
        if other.server.owner.is_some() {
            Some(other)
        } else {
            one
        }
    });
    match one {
        Some(server) => Ok((vec![server], true)),
        None => Err(Error::UnknownNamespace {
            name: namespace.chars().take(64).collect(),
        }),
    }
}

/// Tools that wait for a review, by the names that they would have.
type Waiting = HashMap<Arc<str>, Arc<Entry>>;

/// Names of what the servers of a view offer.
struct Names<'v> {
    servers: &'v [Arc<ServerCatalogue>],
    is_single: bool,
}

impl Names<'_> {
    /// The entries that are let through.
    fn of_kind(
        &self,
        kind: ItemKind,
        is_in: impl Fn(&ServerCatalogue, &Entry) -> bool,
    ) -> Vec<Arc<Item>> {
        let mut items = Vec::new();
        for server in self.servers {
            for entry in server
                .list(kind)
                .iter()
                .filter(|entry| is_in(server, entry))
            {
                let (name, json) = if self.is_single {
                    (&entry.original, &entry.text)
                } else {
                    (&entry.exposed, &entry.shown)
                };
                items.push(Arc::new(Item {
                    name: name.clone(),
                    json: json.clone(),
                    target: Target::Server {
                        server: server.clone(),
                        entry: entry.clone(),
                    },
                }));
            }
        }
        items
    }

    /// The tools that the user may use, and those that they could use if nothing were the matter.
    fn tools(
        &self,
        permissions: &Permissions,
        user: Option<&str>,
        options: &CatalogueOptions,
    ) -> (Vec<Arc<Item>>, Waiting) {
        let is_allowed = |server: &ServerCatalogue, entry: &Entry| {
            permissions.allows(user, &server.server.id, &entry.original)
        };
        let mut items = self.of_kind(ItemKind::Tool, |server, entry| {
            entry.is_usable() && is_allowed(server, entry)
        });
        let is_waiting = |entry: &Entry| {
            entry.standing.is_listed && entry.standing.is_waiting && !entry.is_disabled
        };
        let waiting = self.of_kind(ItemKind::Tool, |server, entry| {
            is_waiting(entry) && is_allowed(server, entry)
        });
        let waiting = waiting
            .iter()
            .filter_map(|item| match &item.target {
                Target::Server { entry, .. } => Some((item.name.clone(), entry.clone())),
                Target::Own(_) => None,
            })
            .collect();
        if !self.is_single && items.len() >= options.search_from_tools.max(1) {
            items.extend([Own::Search, Own::Call].map(|own| Arc::new(own.item())));
        }
        (items, waiting)
    }

    /// Resources or templates: under their own address where only one server has it, else with the alias
    /// before it.
    fn addresses(&self, kind: ItemKind) -> Vec<Arc<Item>> {
        let mut items = self.of_kind(kind, |_, entry| entry.is_usable());
        let mut counts: HashMap<Arc<str>, usize> = HashMap::new();
        for item in &items {
            *counts.entry(item.name.clone()).or_default() += 1;
        }
        for item in &mut items {
            if counts.get(&item.name).is_some_and(|count| *count > 1)
                && let Target::Server { server, entry } = &item.target
            {
                let name = format!("{}+{}", server.server.alias, entry.original);
                let json = params::with_text(&entry.text, kind.key_member(), &name);
                *item = Arc::new(Item {
                    name: name.into(),
                    json: json.unwrap_or_else(|| entry.text.clone()),
                    target: item.target.clone(),
                });
            }
        }
        items
    }
}

/// What the servers of a view say about how they are to be used.
pub(super) fn instructions(view: &View) -> Option<String> {
    /// More is cut off: it is read by models before anything else.
    const BYTES_MAX: usize = 16 * 1024;
    let mut text = String::new();
    for server in &view.servers {
        let known = server.known.as_ref();
        let Some(instructions) = known.and_then(|known| known.instructions.as_deref()) else {
            continue;
        };
        if view.is_single {
            return Some(instructions.to_owned());
        }
        if text.len() + instructions.len() > BYTES_MAX {
            continue;
        }
        if !text.is_empty() {
            text.push_str("\n\n");
        }
        let alias = server.server.alias.as_str();
        text.push_str(&format!(
            "Tools that begin with `{alias}_`:\n{instructions}"
        ));
    }
    (!text.is_empty()).then_some(text)
}
