//! The log as server-sent events: the same readers and the same shared bytes as over a WebSocket, in the
//! body of an answer.

mod asked;
mod cookie;
mod stream;

use http::{HeaderName, HeaderValue, StatusCode, header};
use nexus_auth::Grant;
use nexus_core::{Position, Recovery, Scope};
use nexus_http::{Access, Call, Form, Problem, Reply, Route};

pub(crate) use self::asked::Asked;
use self::stream::EventStream;
use crate::{Edge, Error, format::Format, reader::reason, selection::Rights};

const CONTENT_TYPE: &str = "text/event-stream";
/// Where the stream begins: what follows this is sent.
const NEXUS_POSITION: HeaderName = HeaderName::from_static("nexus-position");
/// Whether that is where the client wanted to go on, as a structured boolean …
const NEXUS_RECOVERED: HeaderName = HeaderName::from_static("nexus-recovered");
/// … and why not.
const NEXUS_RECOVERY_REASON: HeaderName = HeaderName::from_static("nexus-recovery-reason");
/// Proxies that collect answers before they pass them on are asked not to.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The routes for pages, which cannot set headers, to get a cookie for streams at this path.
pub(crate) fn cookie_routes(edge: &Edge, stream_path: &'static str) -> Vec<Route> {
    let path = format!("{stream_path}/cookie");
    let edge = edge.clone();
    let set = Route::post(path.clone(), Access::Read, move |call: Call| {
        let answer = cookie::set(&edge, &call, stream_path);
        async move { answer }
    });
    let clear = Route::new(
        http::Method::DELETE,
        path,
        Access::Open,
        move |call: Call| {
            let answer = cookie::clear(&call, stream_path);
            async move { answer }
        },
    );
    vec![set.form(Form::V1), clear.form(Form::V1)]
}

/// Answers a request for events.
///
/// # Errors
/// A foreign origin, no credential, a question that cannot be understood, a log that cannot be read.
pub(crate) async fn answer(edge: &Edge, call: &Call) -> Result<Reply, Problem> {
    if !accepts(call) {
        return Err(Error::NotAcceptable.into());
    }
    if !call.is_origin_allowed() {
        return Err(Error::OriginRefused.into());
    }
    let grant = authenticate(edge, call)?;
    let shared = edge.0.shared.clone();
    let rights = Rights::of(&grant.principal);
    let asked = Asked::read(call, &shared, &rights)?;
    let start = shared.start(asked.from).await.map_err(Problem::from)?;
    let selection = asked.selection(Format::Sse, &rights);
    let edge = edge.clone();
    let reply = Reply::stream(StatusCode::OK, CONTENT_TYPE, move |draining| {
        EventStream::new(&edge, grant, selection, start, draining)
    });
    Ok(with_headers(reply, start.position, start.recovery))
}

/// Whether the client takes events: it says so, or it says nothing.
fn accepts(call: &Call) -> bool {
    let mut lines = call.headers.get_all(header::ACCEPT).iter().peekable();
    lines.peek().is_none()
        || lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','))
            .map(|range| range.split(';').next().unwrap_or_default().trim())
            .any(|range| {
                [CONTENT_TYPE, "text/*", "*/*"]
                    .iter()
                    .any(|taken| range.eq_ignore_ascii_case(taken))
            })
}

/// Who it is: by what it says in a header, or by the cookie of a page that may use one.
fn authenticate(edge: &Edge, call: &Call) -> Result<Grant, Problem> {
    let anonymous = call.take_anonymous_token()?;
    let auth = &edge.0.shared.auth;
    let cookie = call
        .cookie(cookie::NAME)
        .filter(|_| !call.headers.contains_key(header::AUTHORIZATION) && call.may_use_cookies());
    let grant = match cookie {
        Some(token) => auth.grant(token)?,
        None => auth.reader_grant(&call.headers)?,
    };
    anonymous.give_back();
    auth.require(&grant.principal, Scope::Read)?;
    Ok(grant)
}

fn with_headers(reply: Reply, position: Position, recovery: Recovery) -> Reply {
    let mut reply = reply.header(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    if let Ok(position) = HeaderValue::try_from(position.to_string()) {
        reply = reply.header(NEXUS_POSITION, position);
    }
    match reason(recovery) {
        None => reply.header(NEXUS_RECOVERED, HeaderValue::from_static("?1")),
        Some(reason) => reply
            .header(NEXUS_RECOVERED, HeaderValue::from_static("?0"))
            .header(NEXUS_RECOVERY_REASON, HeaderValue::from_static(reason)),
    }
}
