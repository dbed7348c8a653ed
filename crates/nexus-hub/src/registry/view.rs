//! What people are told of a server: everything but its secrets, and how it is.

use std::sync::Arc;

use nexus_core::iso8601;
use serde::Serialize;

use super::{
    Live, Registry,
    connection::Hint,
    input::{Sharing, TransportKind},
    record::SYSTEM_OWNER,
    system::SystemServer,
};
use crate::{Caller, Error, ItemKind, ServerId};

/// How a server is, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// It answered the last time that it was asked.
    Healthy,
    /// It did not.
    Unhealthy,
    /// It wants other credentials. What it offered before is kept.
    NeedsAuth,
    /// It has not been asked yet.
    Unknown,
    /// It is switched off.
    Disabled,
    /// It cannot be used: what is sealed of it is lost, or it lacks a key.
    Broken,
}

/// A server as people see it.
#[derive(Debug, Clone, Serialize)]
pub struct ServerView {
    /// Its id.
    pub id: Arc<str>,
    /// What people call it.
    pub name: String,
    /// What the names of its tools begin with.
    pub alias: String,
    /// How it is spoken to.
    pub transport: TransportKind,
    /// Where it leads, without what may be secret: an origin, or a program and its package.
    pub target: String,
    /// Whether it may be used.
    pub enabled: bool,
    /// Whose it is: a user, or `system`.
    pub owner: Arc<str>,
    /// How it is.
    pub health: Health,
    /// What is the matter, if something is.
    pub message: Option<String>,
    /// Calls that may be made to it in a minute.
    pub rate_limit_per_minute: u32,
    /// Who shares a connection to it.
    pub sharing: Sharing,
    /// The end of its secret, by which people tell it from others; for who may change it.
    pub secret_hint: Option<String>,
    /// The same of each of its secrets.
    pub secrets: Vec<Hint>,
    /// When it was added.
    pub created_at: String,
    /// When it was changed last.
    pub changed_at: String,
    /// Which version of it this is.
    #[serde(skip)]
    pub revision: u64,
}

impl Registry {
    /// Every server that the caller may see: the system's and their own; an operator sees all.
    #[must_use]
    pub fn list(&self, caller: &Caller) -> Vec<ServerView> {
        let all: Vec<Arc<Live>> = self.0.live.read().values().cloned().collect();
        let seen = all.iter().filter(|live| live.may_be_seen_by(caller));
        seen.map(|live| self.shown(caller, live)).collect()
    }

    /// One server.
    ///
    /// # Errors
    /// [`Error::UnknownServer`].
    pub fn get(&self, caller: &Caller, id: &str) -> Result<ServerView, Error> {
        Ok(self.shown(caller, &*self.seen(caller, id)?))
    }

    /// A server as the caller may see it: the end of a secret is for who may change it.
    fn shown(&self, caller: &Caller, live: &Live) -> ServerView {
        let mut view = self.view(live);
        if !live.may_be_changed_by(caller) {
            view.secret_hint = None;
            view.secrets.clear();
        }
        view
    }

    pub(super) fn view(&self, live: &Live) -> ServerView {
        let kept = &live.kept;
        let settings = kept.settings.clone();
        let (health, message) = self.health(live);
        ServerView {
            id: live.id.clone(),
            name: settings.name,
            alias: kept.alias.clone(),
            transport: settings.transport,
            target: kept.target.clone(),
            enabled: settings.enabled,
            owner: kept.owner.clone().unwrap_or_else(|| SYSTEM_OWNER.into()),
            health,
            message,
            rate_limit_per_minute: settings.rate_limit_per_minute,
            sharing: settings.sharing,
            secret_hint: kept.hints.iter().find_map(|hint| hint.last.clone()),
            secrets: kept.hints.clone(),
            created_at: iso8601(kept.created_us),
            changed_at: iso8601(kept.changed_us),
            revision: live.revision,
        }
    }

    /// How a server is, and what is the matter.
    fn health(&self, live: &Live) -> (Health, Option<String>) {
        if let Some(problem) = &live.problem {
            return (Health::Broken, Some(problem.clone()));
        }
        if !live.kept.settings.enabled {
            return (Health::Disabled, self.lacking(live));
        }
        if self.is_closed(live) {
            return (Health::Disabled, Some(Error::StdioClosed.to_string()));
        }
        let id = ServerId::new(live.id.clone());
        let Ok(status) = self.hub().status(&id) else {
            return (Health::Unknown, None);
        };
        let message = status.failure.map(|failure| failure.message);
        let message = message.or_else(|| doubted(&status.doubted));
        let health = match (
            status.needs_auth,
            &message,
            status.worked_us.or(status.synced_us),
        ) {
            (true, ..) => Health::NeedsAuth,
            (false, Some(_), _) => Health::Unhealthy,
            (false, None, Some(_)) => Health::Healthy,
            (false, None, None) => Health::Unknown,
        };
        (health, message)
    }

    /// What a system server lacks.
    fn lacking(&self, live: &Live) -> Option<String> {
        let server = SystemServer::named(&live.id)?;
        let needs = server.needs?;
        let lacks = server.connection(&self.0.options.system).is_none();
        lacks.then(|| format!("{needs} is not set"))
    }
}

/// What is said of a server whose lists came empty although they had been full.
fn doubted(kinds: &[ItemKind]) -> Option<String> {
    let lists: Vec<&str> = kinds.iter().map(|kind| kind.list_member()).collect();
    let lists = lists.join(", ");
    (!kinds.is_empty())
        .then(|| format!("it says that it has none of these any more, which is doubted: {lists}"))
}
