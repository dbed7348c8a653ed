//! `initialize`: which revision is spoken, what the hub can do, and the session that begins with it.

use std::borrow::Cow;

use http::{HeaderValue, StatusCode};
use nexus_http::{Call, Reply};
use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue};

use super::{
    Shared,
    guard::{self, Refusal, refuse},
    post,
    session::Hello,
    tasks,
    version::Version,
};
use crate::{
    Caller, ClientCapabilities, Features, Id, Raw, RpcError, View,
    message::{self, INTERNAL_ERROR, INVALID_PARAMS},
};

pub(crate) const METHOD: &str = "initialize";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Params<'a> {
    #[serde(borrow)]
    protocol_version: Cow<'a, str>,
    #[serde(borrow, default)]
    capabilities: Option<&'a RawValue>,
}

/// Begins a session.
///
/// # Errors
/// The answer to a client that greets in another way, asks for what is not there, or for too much.
pub(crate) fn greet(
    shared: &Shared,
    call: &Call,
    caller: &Caller,
    id: &Id,
    params: Option<&RawValue>,
) -> Result<Reply, Refusal> {
    let params: Params<'_> = match params.map(|params| serde_json::from_str(params.get())) {
        Some(Ok(params)) => params,
        _ => {
            let why = "`params` have to name a `protocolVersion`";
            let refused = Err(RpcError::new(INVALID_PARAMS, why));
            return Ok(post::json(message::response(Some(id), &refused).into()));
        }
    };
    let namespace = call.param("namespace").unwrap_or_default();
    let view = shared
        .hub
        .view(caller, namespace)
        .map_err(|error| refuse(StatusCode::NOT_FOUND, INVALID_PARAMS, &error.to_string()))?;
    let version = Version::negotiate(&params.protocol_version);
    let capabilities = params.capabilities.map(ToOwned::to_owned);
    let hello = Hello {
        version,
        capabilities: capabilities.map_or_else(ClientCapabilities::none, ClientCapabilities::new),
    };
    let begun = shared.sessions.begin(caller, namespace.into(), hello);
    let (session, ended) = begun.map_err(|_| {
        let why = "there are too many sessions, and all of them are in use";
        refuse(StatusCode::TOO_MANY_REQUESTS, INTERNAL_ERROR, why)
    })?;
    if let Some(ended) = ended {
        shared.end(&ended);
    }
    session.knows(&view);
    let has_tasks = tasks::are_offered(shared, &session);
    let text = message::response(Some(id), &Ok(welcome(version, &view, has_tasks)));
    let reply = post::json(text.into());
    match HeaderValue::from_str(&session.id) {
        Ok(value) => Ok(reply.header(guard::SESSION_ID, value)),
        // Hexadecimal digits are a header.
        Err(_) => Ok(reply),
    }
}

fn welcome(version: Version, view: &View, has_tasks: bool) -> Raw {
    let mut welcome = json!({
        "protocolVersion": version.as_str(),
        "capabilities": capabilities(view, has_tasks),
        "serverInfo": {
            "name": "nexus",
            "title": "Nexus",
            "version": env!("CARGO_PKG_VERSION"),
        },
    });
    if let Some(instructions) = view.instructions() {
        welcome["instructions"] = instructions.into();
    }
    raw(&welcome)
}

/// What a client can expect. Servers come and go at the address that has them all, so that everything may be
/// there in a moment; at the address of one server it is what that server can do.
fn capabilities(view: &View, has_tasks: bool) -> Value {
    let features = if view.is_single() {
        view.features()
    } else {
        Features {
            tools: true,
            resources: true,
            subscribe: true,
            prompts: true,
            completions: true,
            logging: true,
        }
    };
    let mut capabilities = Map::new();
    let mut add = |is_there: bool, name: &str, detail: Value| {
        if is_there {
            capabilities.insert(name.to_owned(), detail);
        }
    };
    add(features.tools, "tools", json!({ "listChanged": true }));
    let subscribe = features.subscribe;
    let resources = json!({ "subscribe": subscribe, "listChanged": true });
    add(features.resources, "resources", resources);
    add(features.prompts, "prompts", json!({ "listChanged": true }));
    add(features.completions, "completions", json!({}));
    add(features.logging, "logging", json!({}));
    let tasks = json!({ "list": {}, "cancel": {}, "requests": { "tools": { "call": {} } } });
    add(features.tools && has_tasks, "tasks", tasks);
    Value::Object(capabilities)
}

/// A value as JSON text that is carried on.
pub(crate) fn raw(value: &Value) -> Raw {
    // What serde_json has in memory it can write.
    serde_json::value::to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned())
}
