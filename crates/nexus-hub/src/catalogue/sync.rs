//! Brings the catalogue up to what a server offers now: read, decided, kept in the log, then shown.
//!
//! What fails leaves everything as it was. A list is only ever replaced by a list that came whole.

use std::sync::Arc;

use bytes::Bytes;
use nexus_core::{Change, Command, NewEvent, Principal, ProtocolEvent, Publish, Scopes, Source};
use serde::Serialize;
use tokio::time::Instant;

use crate::{
    About, CallError, Error, HubChange, ServerId,
    breaker::Sign,
    catalogue::{
        ServerCatalogue,
        entry::{Entry, ItemKind},
        fetch::{Fetched, fetch},
        fold::{Folded, fold},
        kept::{self, Known},
        review::Finding,
        running::{Occasion, Running},
        server::{HubServer, Review},
    },
    handle::{Shared, SyncReport},
};

/// A commit has at most so many changes, and about so many bytes.
const CHANGES_MAX: usize = 200;
const CHANGES_BYTES_MAX: usize = 1024 * 1024;

/// Lists of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Kinds(u8);

impl Kinds {
    pub(crate) const ALL: Self = Self(0b1111);
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const TOOLS: Self = Self(0b0001);
    pub(crate) const RESOURCES: Self = Self(0b0110);
    pub(crate) const PROMPTS: Self = Self(0b1000);

    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn has(self, kind: ItemKind) -> bool {
        self.0 & (1 << kind.place()) != 0
    }
}

/// What a server said when it was asked for its lists.
struct Heard {
    about: Arc<About>,
    lists: Vec<(ItemKind, Fetched)>,
    failure: Option<(ItemKind, CallError)>,
}

/// Lists that came whole.
struct Read {
    about: Arc<About>,
    lists: Vec<(ItemKind, Fetched)>,
    occasion: Occasion,
}

/// Reads lists of a server and takes them over.
///
/// # Errors
/// [`Error::UnknownServer`], [`Error::CircuitOpen`], how the server failed, and [`Error::Log`].
pub(crate) async fn sync(
    shared: &Shared,
    id: &ServerId,
    kinds: Kinds,
    occasion: Occasion,
) -> Result<SyncReport, Error> {
    let catalogue = shared.server(id)?;
    let running = catalogue.running.clone();
    let _alone = running.syncing.lock().await;
    let heard = hear(shared, &catalogue.server, &running, kinds).await?;
    let mut report = SyncReport::default();
    if let Some((kind, error)) = heard.failure {
        if heard.lists.is_empty() {
            return Err(error.into());
        }
        tracing::warn!(
            error = &error as &dyn std::error::Error, server = %id, list = kind.as_str(),
            "a list of a server could not be read; what is known of it stays"
        );
        report.failed.push(kind);
    } else {
        running.synced(shared.log.clock().now_us());
    }
    let Heard { about, lists, .. } = heard;
    let read = Read {
        about,
        lists,
        occasion,
    };
    take_over(shared, id, &running, read, &mut report).await?;
    Ok(report)
}

async fn hear(
    shared: &Shared,
    server: &HubServer,
    running: &Running,
    kinds: Kinds,
) -> Result<Heard, Error> {
    let now_us = || shared.log.clock().now_us();
    let passage = running.enter(server.alias.as_str())?;
    let upstream = match running.connect(&shared.upstreams, &server.scope()).await {
        Ok(upstream) => upstream,
        Err(error) => {
            passage.ended(running.note(Err(&error), now_us()), Instant::now());
            return Err(error.into());
        }
    };
    let about = upstream.about();
    let mut heard = Heard {
        lists: Vec::new(),
        failure: None,
        about,
    };
    for kind in ItemKind::ALL.into_iter().filter(|kind| kinds.has(*kind)) {
        if !heard.about.can(capability(kind)) {
            heard.lists.push((kind, Fetched::default()));
            continue;
        }
        match fetch(running, &*upstream, kind, &shared.options, now_us).await {
            Ok(list) => heard.lists.push((kind, list)),
            Err(error) => {
                heard.failure = Some((kind, error));
                break;
            }
        }
    }
    let failed = heard.failure.as_ref().map(|(_, error)| error);
    let sign = failed.map_or(Sign::Works, |error| running.note(Err(error), now_us()));
    passage.ended(sign, Instant::now());
    Ok(heard)
}

const fn capability(kind: ItemKind) -> &'static str {
    match kind {
        ItemKind::Tool => "tools",
        ItemKind::Resource | ItemKind::Template => "resources",
        ItemKind::Prompt => "prompts",
    }
}

/// What is to be kept and told of new lists.
#[derive(Default)]
struct Outcome {
    changes: Vec<Change>,
    waiting: Vec<(Arc<Entry>, Vec<Finding>)>,
    kinds: Vec<ItemKind>,
    is_new: bool,
}

async fn take_over(
    shared: &Shared,
    id: &ServerId,
    running: &Arc<Running>,
    read: Read,
    report: &mut SyncReport,
) -> Result<(), Error> {
    let Read {
        about,
        lists,
        occasion,
    } = read;
    let _alone = shared.changing.lock().await;
    let snapshot = shared.snapshot.load_full();
    let catalogue = snapshot
        .servers
        .get(id)
        // It is reached in another way by now: what was read is of another time.
        .filter(|catalogue| Arc::ptr_eq(&catalogue.running, running))
        .ok_or_else(|| Error::UnknownServer { server: id.clone() })?;
    let mut next = ServerCatalogue::clone(catalogue);
    let mut outcome = Outcome::default();
    let now_us = shared.log.clock().now_us();
    for (kind, fetched) in lists {
        report.left_out += fetched.left_out;
        let was_full = catalogue
            .list(kind)
            .iter()
            .any(|entry| entry.standing.is_listed);
        if !fetched.offered.is_empty() {
            running.came_full(kind.place());
        } else if !running.believe_empty(
            kind.place(),
            was_full,
            occasion,
            shared.options.empty_believed_after,
        ) {
            report.doubted.push(kind);
            continue;
        }
        let taken = snapshot.taken(&catalogue.server, kind);
        let folded = fold(&next, kind, fetched, &taken, shared.options.items_max)?;
        outcome.take(id, kind, &folded, now_us)?;
        next.set_list(kind, folded.entries);
    }
    let instructions = about.instructions.as_ref();
    let instructions = instructions.map(|text| running.clean_text(text));
    let known = heard_of(&about, instructions, catalogue, now_us);
    if catalogue
        .known
        .as_deref()
        .is_none_or(|old| differs(old, &known))
    {
        outcome.changes.push(known.put(id));
        outcome.is_new = true;
        next.set_known(known);
    }
    for (kind, count) in ItemKind::ALL.into_iter().zip(&mut report.counts) {
        *count = next
            .list(kind)
            .iter()
            .filter(|entry| entry.is_usable())
            .count();
    }
    report.waiting = outcome.waiting.len();
    report.has_changed = outcome.is_new || !outcome.kinds.is_empty();
    if outcome.changes.is_empty() && !report.has_changed {
        return Ok(());
    }
    let events = events(shared, &next.server, &outcome.waiting);
    let principal = telling(&next.server);
    keep(shared, &principal, outcome.changes, events).await?;
    let owner = next.server.owner.clone();
    let mut next = snapshot.with(id, Some(next));
    if !report.has_changed {
        // Nothing that anybody sees is other: a server that changes what is hidden makes no view again.
        next.generation = snapshot.generation;
    }
    let generation = next.generation;
    shared.snapshot.store(Arc::new(next));
    for (entry, findings) in outcome.waiting {
        shared.tell(HubChange::Waiting {
            server: id.clone(),
            owner: owner.clone(),
            name: entry.original.clone(),
            findings,
        });
    }
    if report.has_changed {
        shared.tell(HubChange::Catalogue {
            generation,
            server: id.clone(),
            owner,
            kinds: outcome.kinds,
        });
    }
    Ok(())
}

impl Outcome {
    fn take(
        &mut self,
        id: &ServerId,
        kind: ItemKind,
        folded: &Folded,
        now_us: i64,
    ) -> Result<(), Error> {
        if kind.is_named() {
            for entry in &folded.changed {
                let gone_us = (!entry.standing.is_listed).then_some(now_us);
                self.changes.push(kept::put_item(id, entry, gone_us)?);
            }
            let forgotten = folded.forgotten.iter();
            self.changes
                .extend(forgotten.map(|entry| kept::delete_item(id, entry)));
        } else if folded.is_other {
            self.changes
                .push(kept::put_list(id, kind, &folded.entries)?);
        }
        self.waiting.extend(folded.waiting.iter().cloned());
        if folded.is_other {
            self.kinds.push(kind);
        }
        Ok(())
    }
}

/// What a server said about itself; how it wants to be used only as far as that was approved.
fn heard_of(
    about: &About,
    now: Option<Arc<str>>,
    catalogue: &ServerCatalogue,
    now_us: i64,
) -> Known {
    let old = catalogue.known.as_deref();
    let is_first = old.is_none();
    let approved = old.and_then(|old| old.instructions.clone());
    let is_trusted = match catalogue.server.review {
        Review::Nothing => true,
        Review::Changes | Review::ChangesAndNew => is_first,
        Review::Everything => false,
    };
    let (instructions, pending) = match now {
        None => (None, None),
        Some(now) if is_trusted || approved.as_ref() == Some(&now) => (Some(now), None),
        Some(now) => (approved, Some(now)),
    };
    Known {
        protocol_version: about.protocol_version.clone(),
        capabilities: about.capabilities.clone(),
        server_info: about.server_info.clone(),
        instructions,
        pending_instructions: pending,
        synced_us: now_us,
    }
}

fn differs(old: &Known, new: &Known) -> bool {
    let info = |known: &Known| known.server_info.as_ref().map(|info| info.get().to_owned());
    old.protocol_version != new.protocol_version
        || old.capabilities.get() != new.capabilities.get()
        || old.instructions != new.instructions
        || old.pending_instructions != new.pending_instructions
        || info(old) != info(new)
}

#[derive(Serialize)]
struct Quarantined<'a> {
    server: &'a str,
    alias: &'a str,
    name: &'a str,
    tool: &'a str,
    findings: &'a [Finding],
}

fn events(
    shared: &Shared,
    server: &HubServer,
    waiting: &[(Arc<Entry>, Vec<Finding>)],
) -> Vec<NewEvent> {
    let catalogue = shared.log.catalogue();
    let event_type = catalogue.known_type(ProtocolEvent::ToolQuarantined);
    let payload = |entry: &Entry, findings: &[Finding]| {
        let payload = Quarantined {
            server: server.id.as_str(),
            alias: server.alias.as_str(),
            name: &entry.exposed,
            tool: &entry.original,
            findings,
        };
        // Texts always serialise.
        Bytes::from(serde_json::to_vec(&payload).unwrap_or_default())
    };
    waiting
        .iter()
        .map(|(entry, findings)| NewEvent::new(event_type.clone(), payload(entry, findings)))
        .collect()
}

/// Nexus, telling of what belongs to a user: the event is theirs to read.
pub(crate) fn telling(server: &HubServer) -> Principal {
    match &server.owner {
        Some(owner) => Principal::new(Source::user(owner), Publish::Anything, Scopes::NONE),
        None => Principal::nexus(),
    }
}

/// Keeps changes in as many commits as they need; the events are in the last.
pub(crate) async fn keep(
    shared: &Shared,
    principal: &Principal,
    changes: Vec<Change>,
    mut events: Vec<NewEvent>,
) -> Result<(), Error> {
    /// More are told of by the hub's own list of what waits.
    const EVENTS_MAX: usize = 500;
    events.truncate(EVENTS_MAX);
    let mut command = Command::default();
    let mut bytes = 0;
    for change in changes {
        bytes += match &change {
            Change::Put { body, .. } => body.len(),
            Change::Touch { .. } | Change::Delete(_) => 0,
        };
        command.changes.push(change);
        if command.changes.len() >= CHANGES_MAX || bytes >= CHANGES_BYTES_MAX {
            bytes = 0;
            shared
                .log
                .submit(&Principal::nexus(), std::mem::take(&mut command))
                .await?;
        }
    }
    command.events = events;
    if !command.changes.is_empty() || !command.events.is_empty() {
        shared.log.submit(principal, command).await?;
    }
    Ok(())
}
