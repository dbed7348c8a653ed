//! What a client is told as soon as it listens, and only once, however often it happened before.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::{Value, json};

use super::super::{
    budget::{Budget, Reservation, Share},
    options::{STREAM_BYTES_MAX, STREAM_MESSAGES_MAX},
};

/// Lists that a session's client is told to read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum List {
    Tools,
    Resources,
    Prompts,
}

impl List {
    fn method(self) -> &'static str {
        match self {
            Self::Tools => "notifications/tools/list_changed",
            Self::Resources => "notifications/resources/list_changed",
            Self::Prompts => "notifications/prompts/list_changed",
        }
    }
}

/// What waits for somebody who listens.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    lists: BTreeSet<List>,
    /// Resources that are others, with the room that their addresses take.
    updated: BTreeMap<Arc<str>, Reservation>,
    /// Messages that there was no room for since it was last told.
    dropped: u64,
}

impl Waiting {
    /// A list is another. Gives whether that is news.
    pub(super) fn list(&mut self, list: List) -> bool {
        self.lists.insert(list)
    }

    /// A resource is another. Gives whether that is news. A server can name as many parts of what somebody
    /// listens to as it likes, and nobody may be listening: what finds no room counts as dropped.
    pub(super) fn resource(&mut self, uri: &Arc<str>, budget: &Arc<Budget>) -> bool {
        if self.updated.contains_key(uri) {
            return false;
        }
        let bytes: usize = self.updated.keys().map(|uri| uri.len()).sum();
        let has_room = self.updated.len() < STREAM_MESSAGES_MAX
            && bytes.saturating_add(uri.len()) <= STREAM_BYTES_MAX;
        let room = has_room.then(|| budget.reserve(uri.len(), Share::Half).ok());
        match room.flatten() {
            Some(room) => self.updated.insert(uri.clone(), room).is_none(),
            None => self.drop_one(),
        }
    }

    /// A message found no room. Gives whether it is the first since it was last told.
    pub(super) fn drop_one(&mut self) -> bool {
        self.dropped += 1;
        if self.dropped.is_power_of_two() {
            let dropped = self.dropped;
            tracing::warn!(dropped, "a client does not take its notifications");
        }
        self.dropped == 1
    }

    /// What is told of messages that were dropped, if any were.
    pub(super) fn take_dropped(&mut self) -> Option<Vec<u8>> {
        let dropped = std::mem::take(&mut self.dropped);
        (dropped > 0).then(|| {
            let why = "the client did not take its messages, and there is no room for more";
            let data = json!({ "code": "messages-dropped", "dropped": dropped, "message": why });
            // Said at a level at which hardly any client is deaf: it misses something.
            let params = json!({ "level": "error", "logger": "nexus", "data": data });
            told("notifications/message", Some(&params))
        })
    }

    /// The lists that are others, as messages.
    pub(super) fn take_lists(&mut self) -> impl Iterator<Item = Vec<u8>> + use<> {
        let lists = std::mem::take(&mut self.lists).into_iter();
        lists.map(|list| told(list.method(), None))
    }

    /// The resources that are others, as messages.
    pub(super) fn take_updated(&mut self) -> impl Iterator<Item = Vec<u8>> + use<> {
        let updated = std::mem::take(&mut self.updated).into_keys();
        updated.map(|uri| {
            let params = json!({ "uri": &*uri });
            told("notifications/resources/updated", Some(&params))
        })
    }

    #[cfg(test)]
    pub(super) fn resources(&self) -> usize {
        self.updated.len()
    }
}

fn told(method: &str, params: Option<&Value>) -> Vec<u8> {
    let params = params.map_or_else(String::new, |params| format!(",\"params\":{params}"));
    format!("{{\"jsonrpc\":\"2.0\",\"method\":\"{method}\"{params}}}").into_bytes()
}
