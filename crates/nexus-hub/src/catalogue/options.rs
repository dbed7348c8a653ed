//! How much the catalogue holds, how long it is fresh, and how often it may be asked.

use std::{collections::BTreeMap, time::Duration};

/// What holds for the catalogue and for calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogueOptions {
    /// A list is read again when it is this old, give or take a quarter.
    pub sync_interval: Duration,
    /// How soon a list that could not be read is tried again, at first; each time twice as long.
    pub sync_retry: Duration,
    /// After a server has told of a change it is waited so long for more of them.
    pub debounce: Duration,
    /// A list that comes empty although it was full is believed when it has come so again and again for this
    /// long, unless somebody asks for it by hand: then the second time is enough.
    pub empty_believed_after: Duration,
    /// A page of a server's list has to come within this time.
    pub list_timeout: Duration,
    /// Pages of one list of one server.
    pub pages_max: usize,
    /// Entries of one list of one server; what follows is left out.
    pub items_max: usize,
    /// Bytes of one list of one server.
    pub list_bytes_max: usize,
    /// Entries on a page that clients are given. Many clients read the first page only.
    pub page_items_max: usize,
    /// Bytes on a page that clients are given, unless one entry alone is larger.
    pub page_bytes_max: usize,
    /// Views that are kept ready.
    pub views_max: usize,
    /// From this many tools on a view has `nexus_search_tools` and `nexus_call_tool`.
    pub search_from_tools: usize,
    /// How long a call may take if who makes it does not say. How long a server may take at all, and without a
    /// sign of it, is a matter of its [`UpstreamLimits`](crate::UpstreamLimits).
    pub call_timeout: Duration,
    /// Calls that one user may make in a minute; 0 means no limit.
    pub user_calls_per_minute: u32,
    /// Calls that one user may make in a minute to one tool; 0 means no limit.
    pub tool_calls_per_minute: u32,
    /// Failures one after the other that open the circuit of a server.
    pub circuit_failures: u32,
    /// How long the circuit is open at first; it doubles up to `circuit_open_max`.
    pub circuit_open: Duration,
    /// How long the circuit is open at most.
    pub circuit_open_max: Duration,
    /// Resources that one session may be subscribed to.
    pub subscriptions_per_session_max: usize,
    /// Resources that all sessions of one user may be subscribed to.
    pub subscriptions_per_user_max: usize,
    /// Resources that all sessions may be subscribed to.
    pub subscriptions_max: usize,
    /// Named sets of servers, by the aliases of their members: what `/mcp/{name}` shows.
    pub namespaces: BTreeMap<Box<str>, Vec<Box<str>>>,
}

impl Default for CatalogueOptions {
    fn default() -> Self {
        Self {
            sync_interval: Duration::from_secs(20 * 60),
            sync_retry: Duration::from_secs(2),
            debounce: Duration::from_millis(250),
            empty_believed_after: Duration::from_secs(600),
            list_timeout: Duration::from_secs(15),
            pages_max: 200,
            items_max: 5_000,
            list_bytes_max: 16 * 1024 * 1024,
            page_items_max: 1_000,
            page_bytes_max: 1024 * 1024,
            views_max: 1_024,
            search_from_tools: 40,
            call_timeout: Duration::from_secs(600),
            user_calls_per_minute: 600,
            tool_calls_per_minute: 60,
            circuit_failures: 5,
            circuit_open: Duration::from_secs(15),
            circuit_open_max: Duration::from_secs(300),
            subscriptions_per_session_max: 128,
            subscriptions_per_user_max: 1_024,
            subscriptions_max: 8_192,
            namespaces: BTreeMap::new(),
        }
    }
}
