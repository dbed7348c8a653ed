//! `/api/v1/nodes`: outside services, what they may do, and their secrets.

mod secrets;

use std::sync::Arc;

use http::{HeaderValue, Method, StatusCode, header};
use nexus_auth::{Node, NodeRegistry, NodeSettings};
use nexus_core::{Clock, Principal, Scope, iso8601_ms};
use nexus_http::{Access, Call, ETag, Form, Problem, Reply, Route};
use serde::{Deserialize, Deserializer, Serialize};

use super::Answered;
use crate::faces::Callers;

const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1_000;

/// What the handlers share.
pub(crate) struct Nodes {
    pub(crate) registry: NodeRegistry,
    pub(crate) callers: Callers,
    pub(crate) clock: Clock,
}

/// The routes of nodes and their secrets, each also under `/api`.
pub(crate) fn routes(nodes: &Arc<Nodes>) -> Vec<Route> {
    const ALL: &str = "/api/v1/nodes";
    const ONE: &str = "/api/v1/nodes/{id}";
    /// A route whose handler gets the shared state.
    macro_rules! route {
        ($method:expr, $path:expr, $access:expr, $handler:path) => {{
            let own = nodes.clone();
            Route::new($method, $path, $access, move |call| {
                let nodes = own.clone();
                async move { $handler(&nodes, &call).await }
            })
        }};
    }
    let routes = [
        route!(Method::GET, ALL, Access::Operate, list),
        route!(Method::POST, ALL, Access::Admin, create),
        route!(Method::GET, ONE, Access::Operate, get),
        route!(Method::PATCH, ONE, Access::Admin, change),
        route!(Method::DELETE, ONE, Access::Admin, remove),
        route!(Method::GET, secrets::ALL, Access::Operate, secrets::list),
        route!(Method::POST, secrets::ALL, Access::Admin, secrets::add),
        route!(Method::DELETE, secrets::ONE, Access::Admin, secrets::retire),
    ];
    let with_alias = routes.into_iter().flat_map(|route| {
        let alias = route.path().replacen("/api/v1/", "/api/", 1);
        [route.at(alias), route]
    });
    let written = with_alias.map(|route| route.form(Form::V1));
    // A secret that is kept and not in force would be found out only by the next start.
    written
        .map(|route| match *route.method() {
            Method::GET => route,
            _ => route.to_the_end(),
        })
        .collect()
}

#[derive(Serialize)]
struct Body<'a> {
    id: &'a str,
    /// Whether the configuration describes it, so that only secrets can be added here.
    configured: bool,
    publish: Option<&'a [String]>,
    read: Option<&'a [String]>,
    signature_only: bool,
    events_per_second: Option<u32>,
    created_at: Option<String>,
    changed_at: Option<String>,
}

impl<'a> Body<'a> {
    fn new(node: &'a Node) -> Self {
        let settings = &node.settings;
        Self {
            id: &node.id,
            configured: node.configured,
            publish: settings.publish.as_deref(),
            read: settings.read.as_deref(),
            signature_only: settings.signature_only,
            events_per_second: settings.events_per_second,
            created_at: node.created_us.map(iso8601_ms),
            changed_at: node.changed_us.map(iso8601_ms),
        }
    }
}

/// `GET /nodes`: by id.
async fn list(nodes: &Nodes, call: &Call) -> Answered {
    nodes.callers.reader(call, Scope::Operate)?;
    call.refuse_unknown_query(&["limit", "cursor"])?;
    let limit = call.limit(LIMIT_DEFAULT, LIMIT_MAX)?;
    let after = call.query("cursor").unwrap_or_default();
    let all = nodes.registry.list();
    let mut rest = all.iter().filter(|node| node.id.as_str() > &*after);
    let page: Vec<Body<'_>> = rest.by_ref().take(limit).map(Body::new).collect();
    let next = page.last().filter(|_| rest.next().is_some());
    Ok(Reply::page(
        call,
        &nodes.clock,
        &page,
        next.map(|node| node.id),
    ))
}

/// `GET /nodes/{id}`.
async fn get(nodes: &Nodes, call: &Call) -> Answered {
    nodes.callers.reader(call, Scope::Operate)?;
    call.refuse_unknown_query(&[])?;
    let node = nodes.named(call)?;
    let body = Body::new(&node);
    Ok(Reply::enveloped(StatusCode::OK, &nodes.clock, &body, NO_META).etag(&version(&node)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    id: String,
    #[serde(default)]
    publish: Option<Vec<String>>,
    #[serde(default)]
    read: Option<Vec<String>>,
    #[serde(default)]
    signature_only: bool,
    #[serde(default)]
    events_per_second: Option<u32>,
}

/// A node that was just made, with its secret.
#[derive(Serialize)]
struct Made<'a> {
    #[serde(flatten)]
    node: Body<'a>,
    secret: secrets::Shown<'a>,
}

/// `POST /nodes`.
async fn create(nodes: &Nodes, call: &Call) -> Answered {
    let by = nodes.administrator(call)?;
    call.refuse_unknown_query(&[])?;
    let new: New = call.json()?;
    let settings = NodeSettings {
        publish: new.publish,
        read: new.read,
        signature_only: new.signature_only,
        events_per_second: new.events_per_second,
    };
    let (node, secret) = nodes.registry.create(&new.id, settings).await?;
    nodes.limits_changed();
    tracing::info!(node = node.id, by = %by.source(), "a node was made");
    let body = Made {
        node: Body::new(&node),
        secret: secrets::Shown::new(&secret),
    };
    let reply = Reply::enveloped(StatusCode::CREATED, &nodes.clock, &body, NO_META);
    let reply = secrets::not_stored(reply).etag(&version(&node));
    let path = format!("/api/v1/nodes/{}", node.id);
    Ok(match HeaderValue::from_str(&path) {
        Ok(path) => reply.header(header::LOCATION, path),
        Err(_) => reply,
    })
}

/// What is to be changed; what is not named stays, and `null` is the default.
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Changed {
    #[serde(deserialize_with = "given")]
    publish: Option<Option<Vec<String>>>,
    #[serde(deserialize_with = "given")]
    read: Option<Option<Vec<String>>>,
    #[serde(deserialize_with = "given")]
    signature_only: Option<Option<bool>>,
    #[serde(deserialize_with = "given")]
    events_per_second: Option<Option<u32>>,
}

fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(value: D) -> Result<Option<T>, D::Error> {
    T::deserialize(value).map(Some)
}

/// `PATCH /nodes/{id}`.
async fn change(nodes: &Nodes, call: &Call) -> Answered {
    let by = nodes.administrator(call)?;
    call.refuse_unknown_query(&[])?;
    let node = nodes.named(call)?;
    call.require_if_match(&version(&node))?;
    let changed: Changed = call.json()?;
    let before = node.settings;
    let settings = NodeSettings {
        publish: changed.publish.unwrap_or(before.publish),
        read: changed.read.unwrap_or(before.read),
        signature_only: match changed.signature_only {
            Some(stated) => stated.unwrap_or_default(),
            None => before.signature_only,
        },
        events_per_second: changed
            .events_per_second
            .unwrap_or(before.events_per_second),
    };
    let registry = &nodes.registry;
    let node = registry.change(&node.id, node.revision, settings).await?;
    nodes.limits_changed();
    tracing::info!(node = node.id, by = %by.source(), "a node was changed");
    let body = Body::new(&node);
    Ok(Reply::enveloped(StatusCode::OK, &nodes.clock, &body, NO_META).etag(&version(&node)))
}

/// `DELETE /nodes/{id}`.
async fn remove(nodes: &Nodes, call: &Call) -> Answered {
    let by = nodes.administrator(call)?;
    call.refuse_unknown_query(&[])?;
    let node = nodes.named(call)?;
    call.check_if_match(&version(&node))?;
    nodes.registry.remove(&node.id, node.revision).await?;
    nodes.limits_changed();
    tracing::info!(node = node.id, by = %by.source(), "a node was removed");
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

const NO_META: Option<&()> = None;

fn version(node: &Node) -> ETag {
    ETag::of_revision(node.revision)
}

impl Nodes {
    /// Who changes something: a token with the scope `admin`. A signature never does.
    fn administrator(&self, call: &Call) -> Result<Principal, Problem> {
        administrator(&self.callers, call)
    }

    /// The node that the path names.
    fn named(&self, call: &Call) -> Result<Node, Problem> {
        let id = call.param("id").unwrap_or_default();
        let missing = || nexus_auth::Error::NodeNotFound {
            id: id.chars().take(64).collect(),
        };
        Ok(self.registry.get(id).ok_or_else(missing)?)
    }

    /// Lets the limits of their own count that nodes have now.
    fn limits_changed(&self) {
        self.callers.node_limits.set_own(&self.registry.rates());
    }
}

/// Who asks, by a token with the scope `admin`.
pub(super) fn administrator(callers: &Callers, call: &Call) -> Result<Principal, Problem> {
    let principal = call.identify(|headers| callers.auth.bearer(headers))?;
    callers.auth.require(&principal, Scope::Admin)?;
    Ok(principal)
}
