//! What a client without a token is told: that it needs one, and who gives them out (RFC 9728).

use std::sync::Arc;

use http::{HeaderValue, StatusCode, header};
use nexus_core::{Kind, Scope};
use nexus_http::{Access, Call, Problem, Reply, Route};
use serde_json::{Value, json};

use super::{McpOptions, PATH, guard};

/// Where the document is; the path of the resource follows.
const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// The routes of the document, for the endpoint and for each of its namespaces.
pub(crate) fn routes(options: &Arc<McpOptions>) -> Vec<Route> {
    let paths = [
        WELL_KNOWN.to_owned(),
        format!("{WELL_KNOWN}{PATH}"),
        format!("{WELL_KNOWN}{PATH}/{{namespace}}"),
    ];
    let route = |path| {
        let options = options.clone();
        Route::get(path, Access::Open, move |call: Call| {
            // It names the server as it was called: not by a name that was made to lead here.
            let allowed = guard::check_host(&call, &options);
            let document = allowed.map(|()| document(&call, &options));
            async move { document.map(|document| Reply::json(StatusCode::OK, &document)) }
        })
    };
    paths.into_iter().map(route).collect()
}

fn document(call: &Call, options: &McpOptions) -> Value {
    let namespace = call.param("namespace");
    let mut document = json!({
        "resource": resource(call, options, namespace),
        "bearer_methods_supported": ["header"],
        "scopes_supported": [Scope::Read.as_str(), Scope::Publish.as_str()],
        "resource_name": "Nexus",
    });
    if !options.authorization_servers.is_empty() {
        document["authorization_servers"] = json!(options.authorization_servers);
    }
    document
}

/// The address of the endpoint, as clients know it.
fn resource(call: &Call, options: &McpOptions, namespace: Option<&str>) -> String {
    let base = base(call, options);
    match namespace {
        Some(namespace) => format!("{base}{PATH}/{namespace}"),
        None => format!("{base}{PATH}"),
    }
}

fn base(call: &Call, options: &McpOptions) -> String {
    if let Some(url) = &options.public_url {
        return url.trim_end_matches('/').to_owned();
    }
    let host = call.headers.get(header::HOST);
    let host = host
        .and_then(|host| host.to_str().ok())
        .unwrap_or("localhost");
    let scheme = if call.is_https() { "https" } else { "http" };
    format!("{scheme}://{host}")
}

/// Adds to a refusal where its client can get what it lacks.
pub(crate) fn challenge(problem: Problem, call: &Call, options: &McpOptions) -> Problem {
    let error = match problem.kind {
        Kind::Unauthenticated if call.headers.contains_key(header::AUTHORIZATION) => {
            ", error=\"invalid_token\""
        }
        Kind::Unauthenticated => "",
        Kind::Forbidden => ", error=\"insufficient_scope\", scope=\"read\"",
        _ => return problem,
    };
    let (base, path) = (base(call, options), call.path());
    let value =
        format!("Bearer realm=\"nexus\", resource_metadata=\"{base}{WELL_KNOWN}{path}\"{error}");
    // A name that is not the server's has been refused before.
    match HeaderValue::try_from(value) {
        Ok(value) => problem.header(header::WWW_AUTHENTICATE, value),
        Err(_) => problem,
    }
}
