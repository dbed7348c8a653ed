//! Tools that wait for somebody to look at them, and who may use which.

use std::sync::Arc;

use bytes::Bytes;
use nexus_core::{NewEvent, ProtocolEvent};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{Hub, HubChange, Shared};
use crate::{
    Caller, Error, Finding, Fingerprint, ItemKind, ServerId,
    catalogue::{
        ServerCatalogue,
        entry::{Entry, Offered, Standing, damaged},
        kept,
        server::HubServer,
        sync,
    },
    permissions::Rule,
    view::unknown,
};

/// Something that is not as it was approved, or never was.
#[derive(Debug, Clone, Serialize)]
pub struct Waiting {
    /// The server.
    pub server: Arc<str>,
    /// What stands before the names of its tools.
    pub alias: Arc<str>,
    /// The tool under its name in the hub; nothing when it is how the whole server wants to be used.
    pub name: Option<Arc<str>>,
    /// Whether it is hidden meanwhile. If not, what was approved is shown in its place.
    pub is_hidden: bool,
    /// What was found.
    pub findings: Vec<Finding>,
    /// What was approved; nothing when nothing ever was.
    pub approved: Option<Box<RawValue>>,
    /// What is offered now.
    pub offered: Box<RawValue>,
    /// What the offered text is recognised by; to be named when it is approved.
    pub fingerprint: String,
}

/// What was said of who may use a tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Permission {
    /// Whom it is for; nothing for all users.
    pub user: Option<Arc<str>>,
    /// Whether they may.
    pub allowed: bool,
    /// Whether an operator said it: then a user cannot take it back.
    pub by_operator: bool,
}

#[derive(Serialize)]
struct Approved<'a> {
    server: &'a str,
    alias: &'a str,
    name: &'a str,
    tool: &'a str,
    by: &'a str,
    fingerprint: String,
}

impl Hub {
    /// What waits for somebody to look at it, of the servers that the caller manages.
    #[must_use]
    pub fn waiting(&self, caller: &Caller) -> Vec<Waiting> {
        let snapshot = self.0.snapshot.load();
        let managed = snapshot
            .visible(&caller.user)
            .filter(|server| manages(caller, &server.server));
        managed.flat_map(|server| waiting_of(server)).collect()
    }

    /// Approves a tool as it is offered now.
    ///
    /// # Errors
    /// [`Error::UnknownName`] when there is no such tool or it does not wait, [`Error::Forbidden`],
    /// [`Error::Log`].
    pub async fn approve(&self, caller: &Caller, name: &str) -> Result<(), Error> {
        self.approve_if(caller, name, |_| true).await
    }

    /// Approves a tool as the caller has seen it.
    ///
    /// # Errors
    /// As [`Hub::approve`], and [`Error::StaleFingerprint`] when it has changed again.
    pub async fn approve_text(
        &self,
        caller: &Caller,
        name: &str,
        seen: Fingerprint,
    ) -> Result<(), Error> {
        self.approve_if(caller, name, |now| now == seen).await
    }

    async fn approve_if(
        &self,
        caller: &Caller,
        name: &str,
        is_seen: impl Fn(Fingerprint) -> bool,
    ) -> Result<(), Error> {
        let shared = &self.0;
        let _alone = shared.changing.lock().await;
        let snapshot = shared.snapshot.load_full();
        let (server, entry) = snapshot
            .visible(&caller.user)
            .find_map(|server| {
                let mut tools = server.list(ItemKind::Tool).iter();
                let tool = tools.find(|tool| *tool.exposed == *name)?;
                Some((server, tool))
            })
            .filter(|(_, entry)| entry.standing.pending.is_some())
            .ok_or_else(|| unknown(ItemKind::Tool, name))?;
        if !manages(caller, &server.server) {
            return Err(Error::Forbidden { who: "an operator" });
        }
        let approved = approved(&server.server, entry)?;
        if !is_seen(approved.fingerprint) {
            return Err(Error::StaleFingerprint { name: name.into() });
        }
        let id = server.server.id.clone();
        let change = kept::put_item(&id, &approved, None)?;
        let event = told(shared, &server.server, &approved, caller);
        sync::keep(
            shared,
            &sync::telling(&server.server),
            vec![change],
            vec![event],
        )
        .await?;
        let mut next = ServerCatalogue::clone(server);
        let approved = Arc::new(approved);
        let entries = server.list(ItemKind::Tool).iter().map(|old| {
            if old.original == approved.original {
                approved.clone()
            } else {
                old.clone()
            }
        });
        next.set_list(ItemKind::Tool, entries.collect());
        let owner = next.server.owner.clone();
        let generation = shared.show(&snapshot, &id, Some(next));
        shared.tell(HubChange::Catalogue {
            generation,
            server: id,
            owner,
            kinds: vec![ItemKind::Tool],
        });
        Ok(())
    }

    /// Approves how a server wants to be used, as the caller has seen it.
    ///
    /// # Errors
    /// [`Error::UnknownServer`] when there is no such server or nothing waits, [`Error::Forbidden`],
    /// [`Error::StaleFingerprint`], [`Error::Log`].
    pub async fn approve_instructions(
        &self,
        caller: &Caller,
        id: &ServerId,
        seen: Fingerprint,
    ) -> Result<(), Error> {
        let shared = &self.0;
        let _alone = shared.changing.lock().await;
        let snapshot = shared.snapshot.load_full();
        let unknown = || Error::UnknownServer { server: id.clone() };
        let server = snapshot.servers.get(id).ok_or_else(unknown)?;
        if !server.server.is_visible_to(&caller.user) {
            return Err(unknown());
        }
        if !manages(caller, &server.server) {
            return Err(Error::Forbidden { who: "an operator" });
        }
        let mut known = server.known.as_deref().cloned().ok_or_else(unknown)?;
        let pending = known.pending_instructions.take().ok_or_else(unknown)?;
        if Fingerprint::of_text(&pending) != seen {
            let name = server.server.alias.as_str().into();
            return Err(Error::StaleFingerprint { name });
        }
        known.instructions = Some(pending);
        let principal = sync::telling(&server.server);
        sync::keep(shared, &principal, vec![known.put(id)], Vec::new()).await?;
        let mut next = ServerCatalogue::clone(server);
        next.set_known(known);
        shared.show(&snapshot, id, Some(next));
        Ok(())
    }

    /// What was said of who may use a tool: of the caller, and of all users.
    ///
    /// # Errors
    /// [`Error::UnknownName`].
    pub fn permissions(&self, caller: &Caller, tool: &str) -> Result<Vec<Permission>, Error> {
        let (server, original) = self.known_tool(caller, tool)?;
        let of = |user: Option<&str>| {
            let rules = self.0.permissions.of(user).into_iter();
            rules
                .filter(|rule| *rule.server == *server.as_str() && rule.tool == original)
                .map(|rule| Permission {
                    user: rule.user,
                    allowed: rule.allowed,
                    by_operator: rule.by_operator,
                })
                .collect::<Vec<_>>()
        };
        Ok([of(Some(&caller.user)), of(None)].concat())
    }

    /// Says whether the caller's user may use a tool. What an operator says, a user cannot take back.
    ///
    /// # Errors
    /// [`Error::UnknownName`] when the user sees no such tool, [`Error::Forbidden`], [`Error::TooMany`],
    /// [`Error::Log`].
    pub async fn set_permission(
        &self,
        caller: &Caller,
        tool: &str,
        allowed: bool,
    ) -> Result<(), Error> {
        self.permit(caller, Some(caller.user.clone()), tool, allowed)
            .await
    }

    /// Says whether users may use a tool of a system server of whom nothing else is said; for operators.
    ///
    /// # Errors
    /// As [`Hub::set_permission`].
    pub async fn set_permission_of_all(
        &self,
        caller: &Caller,
        tool: &str,
        allowed: bool,
    ) -> Result<(), Error> {
        if !caller.is_operator {
            return Err(Error::Forbidden { who: "an operator" });
        }
        self.permit(caller, None, tool, allowed).await
    }

    async fn permit(
        &self,
        caller: &Caller,
        user: Option<Arc<str>>,
        tool: &str,
        allowed: bool,
    ) -> Result<(), Error> {
        let (server, original) = self.known_tool(caller, tool)?;
        let rule = Rule {
            user: user.clone(),
            server: server.as_str().into(),
            tool: original,
            allowed,
            by_operator: caller.is_operator,
        };
        self.0.permissions.set(&self.0.log, rule).await?;
        self.0.tell(HubChange::Permissions { user });
        Ok(())
    }

    /// A tool that the caller's user sees or could be allowed to see.
    fn known_tool(&self, caller: &Caller, name: &str) -> Result<(ServerId, Arc<str>), Error> {
        let snapshot = self.0.snapshot.load();
        let found = snapshot.visible(&caller.user).find_map(|server| {
            let mut tools = server.list(ItemKind::Tool).iter();
            let tool = tools.find(|tool| *tool.exposed == *name)?;
            Some((server.server.id.clone(), tool.original.clone()))
        });
        found.ok_or_else(|| unknown(ItemKind::Tool, name))
    }
}

/// Whether a caller decides about a server: its owner, or an operator about a system server.
fn manages(caller: &Caller, server: &HubServer) -> bool {
    match &server.owner {
        Some(owner) => *owner == caller.user,
        None => caller.is_operator,
    }
}

fn waiting_of(server: &ServerCatalogue) -> Vec<Waiting> {
    let HubServer { id, alias, .. } = &server.server;
    let tools = server.list(ItemKind::Tool).iter();
    let tools = tools
        .filter(|tool| tool.standing.is_listed)
        .filter_map(|tool| {
            let pending = tool.standing.pending.as_ref()?;
            let is_approved = tool.standing.is_approved;
            Some(Waiting {
                server: id.as_str().into(),
                alias: alias.as_str().into(),
                name: Some(tool.exposed.clone()),
                is_hidden: tool.standing.is_waiting,
                findings: pending.findings.clone(),
                approved: is_approved.then(|| raw(&tool.text)).flatten(),
                offered: raw(&pending.text)?,
                fingerprint: pending.fingerprint.to_hex(),
            })
        });
    let known = server.known.as_deref();
    let instructions = known.and_then(|known| {
        let pending = known.pending_instructions.as_deref()?;
        let text = |text: &str| serde_json::value::to_raw_value(text).ok();
        Some(Waiting {
            server: id.as_str().into(),
            alias: alias.as_str().into(),
            name: None,
            is_hidden: false,
            findings: vec![Finding::Description],
            approved: known.instructions.as_deref().and_then(text),
            offered: text(pending)?,
            fingerprint: Fingerprint::of_text(pending).to_hex(),
        })
    });
    tools.chain(instructions).collect()
}

fn raw(text: &[u8]) -> Option<Box<RawValue>> {
    serde_json::from_slice(text).ok()
}

/// The entry with what is offered as what is approved.
fn approved(server: &HubServer, entry: &Entry) -> Result<Entry, Error> {
    let pending = entry.standing.pending.as_ref();
    let pending = pending.ok_or_else(|| damaged(&entry.original))?;
    let offered = Offered {
        original: entry.original.clone(),
        text: pending.text.clone(),
    };
    let standing = Standing {
        is_listed: entry.standing.is_listed,
        ..Standing::APPROVED
    };
    Entry::new(server, entry.kind, entry.exposed.clone(), offered, standing)
}

fn told(shared: &Shared, server: &HubServer, entry: &Entry, caller: &Caller) -> NewEvent {
    let payload = Approved {
        server: server.id.as_str(),
        alias: server.alias.as_str(),
        name: &entry.exposed,
        tool: &entry.original,
        by: &caller.user,
        fingerprint: entry.fingerprint.to_hex(),
    };
    // Texts always serialise.
    let payload = Bytes::from(serde_json::to_vec(&payload).unwrap_or_default());
    let catalogue = shared.log.catalogue();
    NewEvent::new(catalogue.known_type(ProtocolEvent::ToolApproved), payload)
}
