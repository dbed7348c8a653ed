//! The hub: many MCP servers behind one, for whoever may use them.
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod breaker;
mod bridge;
mod caller;
mod catalogue;
mod error;
mod fingerprint;
mod handle;
pub mod http;
mod jobs;
pub mod mcp;
mod message;
mod names;
mod options;
mod permissions;
mod rate;
mod registry;
mod router;
mod service;
mod upstream;
mod view;

pub use breaker::CircuitState;
pub use bridge::{BridgeOptions, bridge};
pub use catalogue::{
    entry::{ENTRY_BYTES_MAX, ItemKind, ORIGINAL_BYTES_MAX},
    metadata::{
        Category, EstimatedDuration, Metadata, Overrides, PRIORITY_DEFAULT, PRIORITY_MAX,
        PRIORITY_MIN, TAG_CHARS_MAX, TAGS_MAX,
    },
    options::CatalogueOptions,
    review::Finding,
    server::{Alias, HubServer, OWN_ALIAS, Review},
};
pub use error::Error;
pub use fingerprint::Fingerprint;
pub use handle::{
    Call, Caller, Hub, HubChange, Permission, ServerFailure, ServerStatus, SyncReport, Waiting,
};
pub use jobs::{
    Invocation, Invoked, JobFailure, JobPage, JobState, JobView, Jobs, JobsOptions, Progress,
    ProgressView,
};
pub use message::{
    INTERNAL_ERROR, INVALID_PARAMS, INVALID_REQUEST, Id, Incoming, METHOD_NOT_FOUND, MessageError,
    PARSE_ERROR, RESOURCE_NOT_FOUND, Raw, RpcError, URL_ELICITATION_REQUIRED, notification,
    request, response,
};
pub use names::NAME_CHARS_MAX;
pub use options::{PoolOptions, UpstreamLimits};
pub use permissions::PERMISSIONS_PER_USER_MAX;
pub use registry::{
    ARG_BYTES_MAX, ARGS_MAX, Fault, HEADERS_MAX, Health, Hint, RATE_LIMIT_DEFAULT, RATE_LIMIT_MAX,
    Registry, RegistryOptions, RegistryParts, SERVER_NAME_CHARS_MAX, ServerInput, ServerPatch,
    ServerView, Sharing, Synced, SystemOptions, TransportKind, URL_BYTES_MAX, VALUE_BYTES_MAX,
    VARIABLE_CHARS_MAX, VARIABLES_MAX, Validated,
};
pub use service::Service;
pub use upstream::{
    About, CallError, Changed, ClientCapabilities, Isolation, Notice, Peer, Redactor, Request,
    Scope, ServerId, Transport, Upstream, UpstreamConfig, Upstreams, Vitals, Waited,
};
pub use view::{Features, Item, Listing, Page, ToolFilter, View};
