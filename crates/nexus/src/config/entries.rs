//! The lists of the file: nodes, tokens and declared events, each entry with settings of its own.

use std::path::PathBuf;

use nexus_auth::{Secret, TokenValue};
use nexus_core::{NameForm, Scopes, Topic};
use nexus_expr::PayloadPath;

use super::{
    read::{Bounds::None as Any, Moment},
    setting::{Setting, setting},
    value::Address,
};

/// `[[nodes]]`, as written.
pub(crate) struct NodeEntry {
    pub(crate) id: Option<String>,
    pub(crate) secret_env: Option<String>,
    pub(crate) secret_file: Option<PathBuf>,
    pub(crate) secrets: Vec<Secret>,
    pub(crate) publish: Option<Vec<String>>,
    pub(crate) read: Option<Vec<String>>,
    pub(crate) signature_only: bool,
    pub(crate) url: Option<Address>,
    pub(crate) names: NameForm,
    pub(crate) events: Option<Vec<String>>,
}

impl Default for NodeEntry {
    fn default() -> Self {
        Self {
            id: None,
            secret_env: None,
            secret_file: None,
            secrets: Vec::new(),
            publish: None,
            read: None,
            signature_only: false,
            url: None,
            names: NameForm::Name,
            events: None,
        }
    }
}

/// The settings of a node.
pub(crate) static NODE: &[Setting<NodeEntry>] = &[
    setting!(
        NodeEntry,
        id,
        Any,
        "Required. 1 to 64 of a-z, 0-9, `-` and `_`; `default` is the node that needs no name."
    ),
    setting!(
        NodeEntry,
        secret_env,
        Any,
        "The variable that holds a secret of the node. `NEXUS_NODE_<ID>_SECRET` is read anyway."
    ),
    setting!(
        NodeEntry,
        secret_file,
        Any,
        "The file that holds a secret of the node, beside the configuration file unless the path is absolute."
    ),
    setting!(
        NodeEntry,
        secrets,
        Any,
        "Secrets of the node; several while one is replaced. All that the node has are tried."
    ),
    setting!(
        NodeEntry,
        publish,
        Any,
        "Names, topics and patterns that it may publish. Unset: what the permissions file says, else the events that it owns."
    ),
    setting!(
        NodeEntry,
        read,
        Any,
        "Names, topics and patterns that it may read. Unset: everything. An empty list: it may not read."
    ),
    setting!(
        NodeEntry,
        signature_only,
        Any,
        "Whether its secrets are tried for requests that name no node. At most 8 nodes."
    ),
    setting!(
        NodeEntry,
        url,
        Any,
        "Where it is called. Unset: where the registry says, else `<NODE>_API_URL`."
    ),
    setting!(
        NodeEntry,
        names,
        Any,
        "Which names of events it is sent: `MINT_CONFIRMED` or `FACTORY:MINT_CONFIRMED`."
    ),
    setting!(
        NodeEntry,
        events,
        Any,
        "Names, topics and patterns of what it is told of, signed, at `/api/webhook/nexus` below its address. Unset: what the protocol says, which is the outcome of a mint to flowpay and neobot. An empty list: nothing."
    ),
];

/// `[[tokens]]`, as written.
#[derive(Default)]
pub(crate) struct TokenEntry {
    pub(crate) name: Option<String>,
    pub(crate) token_env: Option<String>,
    pub(crate) token_sha256: Option<TokenValue>,
    pub(crate) scopes: Scopes,
    pub(crate) read: Option<Vec<String>>,
    pub(crate) publish: Option<Vec<String>>,
    pub(crate) expires: Option<Moment>,
}

/// The settings of a token.
pub(crate) static TOKEN: &[Setting<TokenEntry>] = &[
    setting!(
        TokenEntry,
        name,
        Any,
        "Required. Who holds it; events that it publishes have the source `user:<name>`."
    ),
    setting!(
        TokenEntry,
        token_env,
        Any,
        "The variable that holds the token. This or `token_sha256` is required."
    ),
    setting!(
        TokenEntry,
        token_sha256,
        Any,
        "The SHA-256 of the token, so that the file does not hold it."
    ),
    setting!(
        TokenEntry,
        scopes,
        Any,
        "Required. What it may be used for."
    ),
    setting!(
        TokenEntry,
        read,
        Any,
        "Names, topics and patterns that it may read. Unset: everything."
    ),
    setting!(
        TokenEntry,
        publish,
        Any,
        "Names, topics and patterns that it may publish. Unset: everything that is not reserved."
    ),
    setting!(TokenEntry, expires, Any, "When it ends. Unset: never."),
];

/// `[[events]]`, as written.
#[derive(Default)]
pub(crate) struct EventEntry {
    pub(crate) topic: Option<Topic>,
    pub(crate) name: Option<String>,
    pub(crate) owner: Option<String>,
    pub(crate) key: Option<PayloadPath>,
    pub(crate) subject: Option<PayloadPath>,
    pub(crate) schema: Option<PathBuf>,
}

/// The settings of a declared event.
pub(crate) static EVENT: &[Setting<EventEntry>] = &[
    setting!(EventEntry, topic, Any, "Required. Where it is filed."),
    setting!(
        EventEntry,
        name,
        Any,
        "Its name. Unset: the topic in capitals with `_` for `.`."
    ),
    setting!(
        EventEntry,
        owner,
        Any,
        "The node that may publish it without a list of its own."
    ),
    setting!(
        EventEntry,
        key,
        Any,
        "The member of the payload that is the ordering key, `payload.athleteId`. Members `orderId`, `transactionId` and `payerId` come first."
    ),
    setting!(
        EventEntry,
        subject,
        Any,
        "The member of the payload that names the person it is about, `payload.athleteId`. Checked and kept; nothing uses it in this version, which is a warning."
    ),
    setting!(
        EventEntry,
        schema,
        Any,
        "The file of a JSON Schema for the payload, beside the configuration file unless the path is absolute."
    ),
];
