//! What each request of a client comes to: lists out of the caller's view, everything else by the hub.

use std::{borrow::Cow, sync::Arc};

use nexus_core::{Coded, Kind, Scope};
use nexus_http::Call as HttpCall;
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    Shared,
    greeting::{self, raw},
    peer::SessionPeer,
    post::Request,
    session::{Level, Session},
    tasks,
};
use crate::{
    Call, CallError, Caller, Category, Error, ItemKind, OWN_ALIAS, Page, Raw, RpcError, TAGS_MAX,
    ToolFilter,
    message::{
        self, INTERNAL_ERROR, INVALID_PARAMS, INVALID_REQUEST, LIMITED, METHOD_NOT_FOUND,
        RESOURCE_NOT_FOUND, Response,
    },
    router::search::Own,
    view::Target,
};

/// The caller may not.
pub(crate) const FORBIDDEN: i64 = -32_003;

/// What is passed on to the servers behind the hub.
const PASSED_ON: [&str; 7] = [
    "tools/call",
    "resources/read",
    "resources/subscribe",
    "resources/unsubscribe",
    "prompts/get",
    "completion/complete",
    SET_LEVEL,
];
const SET_LEVEL: &str = "logging/setLevel";

#[derive(Deserialize, Default)]
struct Paged<'a> {
    #[serde(borrow, default)]
    cursor: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
}

/// The answer to a request that nothing has to be waited for; nothing for all others.
pub(crate) fn at_once(
    shared: &Shared,
    session: &Session,
    caller: &Caller,
    request: &Request,
    filter: &ToolFilter,
) -> Option<Response> {
    let id = &request.id;
    let kind = ItemKind::ALL.into_iter();
    if let Some(kind) = kind
        .into_iter()
        .find(|kind| kind.list_method() == &*request.method)
    {
        let page = page(
            shared,
            session,
            caller,
            (kind, filter),
            request.params.as_deref(),
        );
        return Some(match page {
            Ok(page) => Response::ending_with(id, page.ending),
            Err(error) => message::response(Some(id), &Err(error)).into(),
        });
    }
    let outcome = match &*request.method {
        "ping" => Ok(raw(&json!({}))),
        greeting::METHOD => {
            let why = "the session has begun already";
            Err(RpcError::new(INVALID_REQUEST, why))
        }
        method if PASSED_ON.contains(&method) => return None,
        method if tasks::METHODS.contains(&method) && tasks::are_offered(shared, session) => {
            return None;
        }
        method => Err(no_method(method)),
    };
    Some(message::response(Some(id), &outcome).into())
}

/// A page of a list, as it was written when the view was made.
fn page(
    shared: &Shared,
    session: &Session,
    caller: &Caller,
    (kind, filter): (ItemKind, &ToolFilter),
    params: Option<&RawValue>,
) -> Result<Page, RpcError> {
    let paged = match params {
        Some(params) => serde_json::from_str(params.get())
            .map_err(|_| RpcError::new(INVALID_PARAMS, "`cursor` has to be a text"))?,
        None => Paged::default(),
    };
    let method = kind.list_method();
    let view = shared.hub.view(caller, &session.namespace);
    let view = view.map_err(|error| told(method, &error))?;
    let listing = view.list(kind);
    session.saw(kind, listing.digest());
    let page = if kind == ItemKind::Tool && !filter.is_empty() {
        view.tools_matching(filter).page(paged.cursor.as_deref())
    } else {
        listing.page(paged.cursor.as_deref())
    };
    page.map_err(|error| told(method, &error))
}

/// Which tools a client wants to see, as the address says that it uses.
pub(crate) fn filter(call: &HttpCall) -> ToolFilter {
    if call.uri.query().is_none() {
        return ToolFilter::default();
    }
    let tags = call.query_all("tags");
    let tags = tags.flat_map(|tags| {
        let tags = tags.split(',').map(str::trim).filter(|tag| !tag.is_empty());
        tags.map(Arc::from).collect::<Vec<_>>()
    });
    ToolFilter {
        category: call
            .query("category")
            .and_then(|text| Category::parse(&text)),
        tags: tags.take(TAGS_MAX).collect(),
        query: call
            .query("q")
            .map(Cow::into_owned)
            .filter(|text| !text.trim().is_empty()),
    }
}

/// The answer to a request that the hub passes on, or that stands among others.
pub(crate) async fn answer(
    shared: &Shared,
    session: &Arc<Session>,
    caller: &Caller,
    request: &Request,
    peer: SessionPeer,
    cancel: &CancellationToken,
) -> Result<Raw, RpcError> {
    let method = &*request.method;
    if method == SET_LEVEL {
        let level = Level::of(request.params.as_deref());
        let why =
            "`level` is one of debug, info, notice, warning, error, critical, alert, emergency";
        session.set_level(level.ok_or_else(|| RpcError::new(INVALID_PARAMS, why))?);
    }
    if method == "tools/call" && !caller.may_act() {
        look_only(shared, session, caller, request.params.as_deref())?;
    }
    if let Some(outcome) = tasks::answer(shared, session, caller, request, cancel).await {
        return outcome;
    }
    let call = Call {
        method: method.into(),
        params: tasks::without_task(method, request.params.as_deref()),
        deadline: Some(Instant::now() + shared.options.request_timeout),
        cancel: cancel.clone(),
        peer: Some(Arc::new(peer)),
    };
    let answered = shared.hub.call(caller, &session.namespace, call).await;
    answered.or_else(|error| refused(method, &error))
}

/// Who may only read calls nothing but Nexus's own tools, which look at the caller's rights themselves. What
/// is not there is for the router to tell.
fn look_only(
    shared: &Shared,
    session: &Session,
    caller: &Caller,
    params: Option<&RawValue>,
) -> Result<(), RpcError> {
    let named = params.and_then(|params| serde_json::from_str::<Named<'_>>(params.get()).ok());
    let view = shared.hub.view(caller, &session.namespace);
    let item = match (&named, &view) {
        (Some(named), Ok(view)) => view.tool(&named.name).ok(),
        _ => None,
    };
    let may_call = item.is_none_or(|item| match &item.target {
        Target::Server { server, .. } => server.server.alias.as_str() == OWN_ALIAS,
        Target::Own(own) => *own == Own::Search,
    });
    if may_call {
        return Ok(());
    }
    let scope = Scope::Publish;
    let error = nexus_auth::Error::ScopeMissing { scope };
    Err(RpcError::new(FORBIDDEN, error.to_string()))
}

/// What a failed call is to its client. A model that called a tool is to read why it gave nothing, if that may
/// pass or cannot be known: everything else is an error of the protocol.
fn refused(method: &str, error: &Error) -> Result<Raw, RpcError> {
    let may_read = matches!(
        error.kind(),
        Kind::Unavailable | Kind::Unknown | Kind::Timeout
    );
    if method != "tools/call" || !may_read {
        return Err(told(method, error));
    }
    let mut about = json!({ "code": error.code() });
    if let Some(seconds) = error.retry_after_s() {
        about["retry_after"] = seconds.into();
    }
    Ok(raw(&json!({
        "content": [{ "type": "text", "text": error.to_string() }],
        "isError": true,
        "_meta": { "nexus/error": about },
    })))
}

/// What went wrong, in the words of MCP.
pub(crate) fn told(method: &str, error: &Error) -> RpcError {
    // A server's own words stay as they are.
    if let Error::Call(CallError::Rpc(error)) = error {
        return error.clone();
    }
    let code = match error.kind() {
        Kind::NotFound => match error {
            Error::UnknownMethod { .. } => METHOD_NOT_FOUND,
            _ if method.starts_with("resources/") => RESOURCE_NOT_FOUND,
            _ => INVALID_PARAMS,
        },
        Kind::Malformed => INVALID_PARAMS,
        Kind::Forbidden => FORBIDDEN,
        Kind::Limited => LIMITED,
        Kind::Conflict if matches!(error, Error::TooMany { .. }) => LIMITED,
        _ => INTERNAL_ERROR,
    };
    let message = match error.kind() {
        Kind::Internal => {
            tracing::error!(
                error = error as &dyn std::error::Error,
                "an MCP request failed"
            );
            "the hub failed".to_owned()
        }
        _ => error.to_string(),
    };
    let mut data = json!({ "code": error.code() });
    if let Some(seconds) = error.retry_after_s() {
        data["retry_after"] = seconds.into();
    }
    RpcError {
        code,
        message,
        data: Some(raw(&data)),
    }
}

fn no_method(method: &str) -> RpcError {
    const TOLD_CHARS_MAX: usize = 100;
    let method: String = method.chars().take(TOLD_CHARS_MAX).collect();
    RpcError::new(METHOD_NOT_FOUND, format!("there is no method {method:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_quoted_and_the_hub_speaks_for_itself() {
        let own = CallError::Rpc(RpcError::new(-32_042, "visit this first"));
        assert_eq!(told("tools/call", &Error::Call(own)).code, -32_042);

        let unknown = |kind| Error::UnknownName {
            kind,
            name: "x".into(),
        };
        let cases = [
            ("tools/call", unknown(ItemKind::Tool), INVALID_PARAMS),
            (
                "resources/read",
                unknown(ItemKind::Resource),
                RESOURCE_NOT_FOUND,
            ),
            ("prompts/get", unknown(ItemKind::Prompt), INVALID_PARAMS),
        ];
        for (method, error, code) in cases {
            assert_eq!(told(method, &error).code, code, "{method}");
        }
        let limited = Error::RateLimited {
            of: "to this tool",
            per_minute: 60,
            retry_after_s: 7,
        };
        let error = refused("tools/call", &limited).unwrap_err();
        assert_eq!(error.code, LIMITED);
        let data = r#"{"code":"rate-limited","retry_after":7}"#;
        assert_eq!(error.data.unwrap().get(), data);
    }

    #[test]
    fn a_model_reads_why_its_tool_is_out_of_order_and_nobody_takes_that_for_a_resource() {
        let open = Error::CircuitOpen {
            server: "brave".into(),
            retry_after_s: 15,
        };
        let result = refused("tools/call", &open).unwrap();
        let result: serde_json::Value = serde_json::from_str(result.get()).unwrap();
        assert_eq!(result["isError"], true);
        assert_eq!(result["_meta"]["nexus/error"]["retry_after"], 15);
        assert!(refused("resources/read", &open).is_err());
    }
}
