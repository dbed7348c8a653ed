//! What somebody says of an endpoint: the body of a request, a change to it, an entry of the configuration.

use indexmap::IndexMap;
use nexus_auth::Secret;
use serde::{Deserialize, Serialize};

/// Which events wait for which.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ordering {
    /// None waits.
    #[default]
    None,
    /// Those with the same key are sent one after the other.
    Key,
    /// All are sent one after the other.
    All,
}

/// What a delivery's body looks like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// The event as face v1 writes it.
    #[default]
    Nexus,
    /// `{"event","payload","timestamp"}`, as the receivers of the NEO protocol read it.
    Neo,
    /// A CloudEvent in structured mode.
    CloudEvents,
}

/// When a failed delivery is tried again. Without `first_ms` and `factor` the waits are those of Standard
/// Webhooks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// How many attempts there are, the first included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// How long after the first failure the second attempt is made, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_ms: Option<u64>,
    /// By how much each wait is longer than the one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factor: Option<f64>,
    /// By which part of itself a wait differs at random, from 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<f64>,
}

/// An endpoint as somebody asks for it. What is absent or `null` is as it is by default.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EndpointInput {
    /// Where events are sent.
    pub url: Option<String>,
    /// Names, topics and patterns of the events.
    pub patterns: Option<Vec<String>>,
    /// What has to be true of them besides, in CEL.
    pub filter: Option<String>,
    /// Which wait for which.
    pub ordering: Option<Ordering>,
    /// `latest`, `earliest`, a position or a time.
    pub start: Option<String>,
    /// When a failed delivery is tried again.
    pub retry: Option<Retry>,
    /// What is sent beside the headers of Nexus. Values are secret.
    pub headers: Option<IndexMap<String, Secret>>,
    /// How many attempts are begun in a second at most.
    pub rate: Option<f64>,
    /// What bodies look like.
    pub format: Option<Format>,
    /// What it is for, for people.
    pub description: Option<String>,
    /// Whether it is sent anything.
    pub enabled: Option<bool>,
    /// How many deliveries run at once.
    pub concurrency: Option<usize>,
    /// How long the receiver is given, in milliseconds.
    pub timeout_ms: Option<u64>,
}

/// A change to an endpoint: what is absent stays, what is `null` becomes what it is by default.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EndpointPatch {
    #[serde(deserialize_with = "nexus_http::given")]
    url: Option<Option<String>>,
    #[serde(deserialize_with = "nexus_http::given")]
    patterns: Option<Option<Vec<String>>>,
    #[serde(deserialize_with = "nexus_http::given")]
    filter: Option<Option<String>>,
    #[serde(deserialize_with = "nexus_http::given")]
    ordering: Option<Option<Ordering>>,
    #[serde(deserialize_with = "nexus_http::given")]
    retry: Option<Option<Retry>>,
    #[serde(deserialize_with = "nexus_http::given")]
    headers: Option<Option<IndexMap<String, Secret>>>,
    #[serde(deserialize_with = "nexus_http::given")]
    rate: Option<Option<f64>>,
    #[serde(deserialize_with = "nexus_http::given")]
    format: Option<Option<Format>>,
    #[serde(deserialize_with = "nexus_http::given")]
    description: Option<Option<String>>,
    #[serde(deserialize_with = "nexus_http::given")]
    concurrency: Option<Option<usize>>,
    #[serde(deserialize_with = "nexus_http::given")]
    timeout_ms: Option<Option<u64>>,
}

impl EndpointPatch {
    /// Makes the change, and names the members that it is about.
    pub(crate) fn apply(self, to: &mut EndpointInput) -> Vec<&'static str> {
        nexus_http::apply_given!(self => to, [
            url, patterns, filter, ordering, retry, headers, rate, format, description, concurrency, timeout_ms,
        ])
    }
}

/// `[[endpoints]]`: an endpoint of the configuration. It is read only over the API, and its address may be
/// private, because an operator wrote it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EndpointConfig {
    /// Required. Its name, which is its id: 1 to 64 of `a-z`, `0-9`, `-` and `_`.
    pub name: String,
    /// Required. The variable that holds its secret.
    pub secret_env: String,
    /// The variable that holds a secret that is being replaced: both sign.
    pub previous_secret_env: Option<String>,
    /// See [`EndpointInput::url`].
    pub url: Option<String>,
    /// See [`EndpointInput::patterns`].
    pub patterns: Option<Vec<String>>,
    /// See [`EndpointInput::filter`].
    pub filter: Option<String>,
    /// See [`EndpointInput::ordering`].
    pub ordering: Option<Ordering>,
    /// See [`EndpointInput::start`]. Counts when the endpoint is seen for the first time.
    pub start: Option<String>,
    /// See [`EndpointInput::retry`].
    pub retry: Option<Retry>,
    /// See [`EndpointInput::headers`].
    pub headers: Option<IndexMap<String, Secret>>,
    /// See [`EndpointInput::rate`].
    pub rate: Option<f64>,
    /// See [`EndpointInput::format`].
    pub format: Option<Format>,
    /// See [`EndpointInput::description`].
    pub description: Option<String>,
    /// See [`EndpointInput::enabled`].
    pub enabled: Option<bool>,
    /// See [`EndpointInput::concurrency`].
    pub concurrency: Option<usize>,
    /// See [`EndpointInput::timeout_ms`].
    pub timeout_ms: Option<u64>,
}

impl EndpointConfig {
    /// What it says that a request could say too.
    pub(crate) fn input(&self) -> EndpointInput {
        let own = self.clone();
        EndpointInput {
            url: own.url,
            patterns: own.patterns,
            filter: own.filter,
            ordering: own.ordering,
            start: own.start,
            retry: own.retry,
            headers: own.headers,
            rate: own.rate,
            format: own.format,
            description: own.description,
            enabled: own.enabled,
            concurrency: own.concurrency,
            timeout_ms: own.timeout_ms,
        }
    }
}
