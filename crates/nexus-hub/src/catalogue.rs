//! What all servers offer: immutable snapshots, each with the number of its generation.

pub(crate) mod entry;
pub(crate) mod fetch;
pub(crate) mod fold;
pub(crate) mod kept;
pub(crate) mod metadata;
pub(crate) mod options;
pub(crate) mod review;
pub(crate) mod running;
pub(crate) mod server;
pub(crate) mod sync;
#[cfg(test)]
pub(crate) mod testing;

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use crate::{
    Scope, ServerId,
    catalogue::{
        entry::{Entry, ItemKind},
        kept::Known,
        running::Running,
        server::HubServer,
    },
    view::Features,
};

/// Everything that all servers offer, at one moment.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    /// Goes up with each change.
    pub(crate) generation: u64,
    pub(crate) servers: BTreeMap<ServerId, Arc<ServerCatalogue>>,
    /// The users that have servers of their own: only they see more than everybody.
    pub(crate) owners: HashSet<Arc<str>>,
}

/// What one server offers.
#[derive(Debug, Clone)]
pub(crate) struct ServerCatalogue {
    pub(crate) server: HubServer,
    /// What changes without the catalogue becoming another.
    pub(crate) running: Arc<Running>,
    /// Its lists, in the order of [`ItemKind::ALL`], each by name. With what is gone or hidden.
    pub(crate) lists: [Arc<[Arc<Entry>]>; 4],
    /// What it said about itself; nothing as long as it was never reached.
    pub(crate) known: Option<Arc<Known>>,
    pub(crate) features: Features,
}

impl Snapshot {
    /// The next snapshot, with a server as it is now; without it if there is none.
    #[must_use]
    pub(crate) fn with(&self, id: &ServerId, server: Option<ServerCatalogue>) -> Self {
        let mut servers = self.servers.clone();
        match server {
            Some(server) => servers.insert(id.clone(), Arc::new(server)),
            None => servers.remove(id),
        };
        let owners = servers
            .values()
            .filter_map(|server| server.server.owner.clone())
            .collect();
        Self {
            generation: self.generation + 1,
            servers,
            owners,
        }
    }

    /// The servers that a user sees, whether they are enabled or not.
    pub(crate) fn visible<'s>(
        &'s self,
        user: &'s str,
    ) -> impl Iterator<Item = &'s Arc<ServerCatalogue>> {
        self.servers
            .values()
            .filter(move |server| server.server.is_visible_to(user))
    }

    /// The names of a kind that a server may not give to anything new, because others have them that are seen
    /// together with it.
    pub(crate) fn taken(&self, server: &HubServer, kind: ItemKind) -> HashSet<Arc<str>> {
        let meets = |other: &HubServer| {
            server.owner.is_none() || other.owner.is_none() || other.owner == server.owner
        };
        self.servers
            .values()
            .filter(|other| meets(&other.server))
            .flat_map(|other| other.list(kind).iter())
            .map(|entry| entry.exposed.clone())
            .collect()
    }
}

impl HubServer {
    /// Whether a user sees it.
    pub(crate) fn is_visible_to(&self, user: &str) -> bool {
        self.owner.as_deref().is_none_or(|owner| owner == user)
    }

    /// Over whose connection its lists are read.
    pub(crate) fn scope(&self) -> Scope {
        Scope {
            user: self.owner.clone().unwrap_or_else(|| "".into()),
            session: None,
        }
    }
}

impl ServerCatalogue {
    /// A server of which nothing is known yet.
    pub(crate) fn new(server: HubServer, running: Arc<Running>) -> Self {
        Self {
            server,
            running,
            lists: std::array::from_fn(|_| Arc::from([])),
            known: None,
            features: Features::default(),
        }
    }

    /// Its list of a kind.
    pub(crate) fn list(&self, kind: ItemKind) -> &[Arc<Entry>] {
        &self.lists[kind.place()]
    }

    /// The same with another list.
    pub(crate) fn set_list(&mut self, kind: ItemKind, mut entries: Vec<Arc<Entry>>) {
        entries.sort_by(|one, other| one.exposed.cmp(&other.exposed));
        self.lists[kind.place()] = entries.into();
    }

    /// The same, having said something else about itself.
    pub(crate) fn set_known(&mut self, known: Known) {
        self.features = known.features();
        self.known = Some(Arc::new(known));
    }
}
