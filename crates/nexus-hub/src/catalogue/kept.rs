//! What is kept of the catalogue in the log's records, so that a restart asks no server anything.
//!
//! A tool or prompt is a record: with its name, which never changes, and with its text as it was approved. Of
//! resources the whole list is one record, because there can be many and nothing hangs on one of them.

use std::sync::Arc;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use nexus_core::{Change, Family, Fence, Json, Key, Log, Record, sha256};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    About, Error, ServerId,
    catalogue::{
        ServerCatalogue,
        entry::{Entry, ItemKind, Offered, Pending, Standing, damaged},
        review::Finding,
        server::HubServer,
    },
    fingerprint::Fingerprint,
    view::Features,
};

/// A tool or prompt of a server.
const ITEM: Family = Family::new("hub_item");
/// The resources or templates of a server.
const LIST: Family = Family::new("hub_list");
/// What a server said about itself.
const ABOUT: Family = Family::new("hub_about");

const LISTED: &str = "listed";
const GONE: &str = "gone";

/// A list of resources that is larger is not kept: after a restart it is read again.
const LIST_BYTES_MAX: usize = 1024 * 1024;

#[derive(Serialize, Deserialize)]
struct KeptItem {
    kind: ItemKind,
    original: Arc<str>,
    exposed: Arc<str>,
    approved: bool,
    waiting: bool,
    text: Box<RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pending: Option<KeptPending>,
}

#[derive(Serialize, Deserialize)]
struct KeptPending {
    text: Box<RawValue>,
    findings: Vec<Finding>,
}

#[derive(Serialize, Deserialize)]
struct KeptList {
    kind: ItemKind,
    items: Vec<Box<RawValue>>,
}

/// What a server said about itself, as far as it was approved.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Known {
    pub(crate) protocol_version: Arc<str>,
    pub(crate) capabilities: Arc<RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) server_info: Option<Arc<RawValue>>,
    /// How it wants to be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) instructions: Option<Arc<str>>,
    /// How it wants to be used now, and nobody has looked at that yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pending_instructions: Option<Arc<str>>,
    /// When its lists were last read, in microseconds since 1970.
    pub(crate) synced_us: i64,
}

impl Known {
    /// Which parts of MCP it offers.
    pub(crate) fn features(&self) -> Features {
        let about = About {
            protocol_version: self.protocol_version.clone(),
            capabilities: self.capabilities.clone(),
            server_info: None,
            instructions: None,
        };
        Features {
            tools: about.can("tools"),
            resources: about.can("resources"),
            subscribe: about.can_also("resources", "subscribe"),
            prompts: about.can("prompts"),
            completions: about.can("completions"),
            logging: about.can("logging"),
        }
    }

    /// The change that keeps it.
    pub(crate) fn put(&self, id: &ServerId) -> Change {
        put(Key::new(ABOUT, id.as_str()), id, LISTED, None, json(self))
    }
}

fn item_key(id: &ServerId, kind: ItemKind, original: &str) -> Key {
    let hash = HEXLOWER.encode(&sha256(original.as_bytes())[..16]);
    Key::new(ITEM, format!("{id}/{}/{hash}", kind.as_str()))
}

fn list_key(id: &ServerId, kind: ItemKind) -> Key {
    Key::new(LIST, format!("{id}/{}", kind.as_str()))
}

/// The change that keeps a tool or prompt.
pub(crate) fn put_item(
    id: &ServerId,
    entry: &Entry,
    gone_us: Option<i64>,
) -> Result<Change, Error> {
    let standing = &entry.standing;
    let pending = match &standing.pending {
        Some(pending) => Some(KeptPending {
            text: raw(&pending.text, &entry.original)?,
            findings: pending.findings.clone(),
        }),
        None => None,
    };
    let kept = KeptItem {
        kind: entry.kind,
        original: entry.original.clone(),
        exposed: entry.exposed.clone(),
        approved: standing.is_approved,
        waiting: standing.is_waiting,
        text: raw(&entry.text, &entry.original)?,
        pending,
    };
    let key = item_key(id, entry.kind, &entry.original);
    let state = if standing.is_listed { LISTED } else { GONE };
    Ok(put(key, id, state, gone_us, json(&kept)))
}

/// The change that forgets a tool or prompt and its name.
pub(crate) fn delete_item(id: &ServerId, entry: &Entry) -> Change {
    Change::Delete(item_key(id, entry.kind, &entry.original))
}

/// The change that keeps a list of resources or templates.
pub(crate) fn put_list(
    id: &ServerId,
    kind: ItemKind,
    entries: &[Arc<Entry>],
) -> Result<Change, Error> {
    let key = list_key(id, kind);
    if entries.iter().map(|entry| entry.text.len()).sum::<usize>() > LIST_BYTES_MAX {
        return Ok(Change::Delete(key));
    }
    let items = entries
        .iter()
        .map(|entry| raw(&entry.text, &entry.original))
        .collect::<Result<_, _>>()?;
    let body = json(&KeptList { kind, items });
    Ok(put(key, id, LISTED, None, body))
}

fn put(key: Key, id: &ServerId, state: &str, due_us: Option<i64>, body: Bytes) -> Change {
    Change::Put {
        key,
        owner: None,
        scope: id.as_str().into(),
        state: state.into(),
        due_us,
        fence: Fence::Keep,
        body,
    }
}

fn json(value: &impl Serialize) -> Bytes {
    // Nothing here has keys that are no texts.
    serde_json::to_vec(value).unwrap_or_default().into()
}

fn raw(text: &[u8], original: &str) -> Result<Box<RawValue>, Error> {
    serde_json::from_slice(text).map_err(|_| damaged(original))
}

/// Everything that is kept of a server, put into what is known of it.
pub(crate) async fn load(log: &Log, catalogue: &mut ServerCatalogue) -> Result<(), Error> {
    let id = catalogue.server.id.clone();
    let mut lists: [Vec<Arc<Entry>>; 4] = Default::default();
    let scope: Arc<str> = id.as_str().into();
    for record in log.all_records(ITEM, Some(scope.clone())).collect().await? {
        let server = &catalogue.server;
        match read_item(server, &record) {
            Some(entry) => lists[entry.kind.place()].push(Arc::new(entry)),
            None => {
                tracing::warn!(record = %record.key, "an entry of the hub cannot be understood");
            }
        }
    }
    for record in log.all_records(LIST, Some(scope)).collect().await? {
        let Ok(kept) = serde_json::from_slice::<KeptList>(&record.body) else {
            tracing::warn!(record = %record.key, "a list of the hub cannot be understood");
            continue;
        };
        let offered = kept
            .items
            .iter()
            .filter_map(|item| Offered::read(kept.kind, item.get()));
        lists[kept.kind.place()] = offered
            .filter_map(|offered| {
                let exposed = offered.original.clone();
                let server = &catalogue.server;
                Entry::new(server, kept.kind, exposed, offered, Standing::APPROVED).ok()
            })
            .map(Arc::new)
            .collect();
    }
    for (kind, list) in ItemKind::ALL.into_iter().zip(lists) {
        catalogue.set_list(kind, list);
    }
    if let Some(record) = log.record(&Key::new(ABOUT, id.as_str())).await? {
        match serde_json::from_slice(&record.body) {
            Ok(known) => catalogue.set_known(known),
            Err(_) => {
                tracing::warn!(record = %record.key, "what a server said cannot be understood");
            }
        }
    }
    Ok(())
}

fn read_item(server: &HubServer, record: &Record) -> Option<Entry> {
    let kept: KeptItem = serde_json::from_slice(&record.body).ok()?;
    let pending = match kept.pending {
        Some(pending) => Some(Pending {
            fingerprint: Fingerprint::of(&Json::parse(pending.text.get().as_bytes()).ok()?),
            text: Bytes::copy_from_slice(pending.text.get().as_bytes()),
            findings: pending.findings,
        }),
        None => None,
    };
    let offered = Offered::read(kept.kind, kept.text.get())?;
    let standing = Standing {
        is_listed: &*record.state == LISTED,
        is_approved: kept.approved,
        is_waiting: kept.waiting,
        pending,
    };
    Entry::new(server, kept.kind, kept.exposed, offered, standing).ok()
}

/// The changes that forget a server.
pub(crate) fn forget(catalogue: &ServerCatalogue) -> Vec<Change> {
    let id = &catalogue.server.id;
    let named = ItemKind::ALL.into_iter().filter(|kind| kind.is_named());
    let items = named.flat_map(|kind| catalogue.list(kind));
    let mut changes: Vec<Change> = items.map(|entry| delete_item(id, entry)).collect();
    let lists = ItemKind::ALL.into_iter().filter(|kind| !kind.is_named());
    changes.extend(lists.map(|kind| Change::Delete(list_key(id, kind))));
    changes.push(Change::Delete(Key::new(ABOUT, id.as_str())));
    changes
}
