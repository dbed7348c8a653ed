//! The way of a request through the server, from top to bottom, one step after the other.
//!
//! It is one function and not a stack of generic layers, because each layer would wrap the future and the
//! body once more, and because the order is the point: it can be read here.

mod body;
pub(crate) mod client_address;
mod compression;
pub(crate) mod cors;
mod headers;
mod identity;
mod outgoing;

use std::{
    borrow::Cow, convert::Infallible, future::Future, mem, net::IpAddr, panic::AssertUnwindSafe,
    sync::Arc,
};

use futures_util::FutureExt;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header, request::Parts,
};
use hyper::{
    body::{Body, Incoming},
    upgrade::OnUpgrade,
};
use nexus_core::Kind;
use tokio::time::Instant;

use crate::{
    Access, Call, Error, Form, Problem, Reply, Route, ServerOptions,
    connection::ConnectionState,
    problem::ProblemContext,
    rate_limit::RateLimits,
    router::{Found, Router, decode_path},
};
use identity::{Identity, RequestIds};
use outgoing::Outgoing;

/// What every request of a server shares.
#[derive(Debug)]
pub(crate) struct RequestPath {
    pub(crate) router: Router,
    pub(crate) options: ServerOptions,
    pub(crate) limits: RateLimits,
    bodies: body::Budget,
    pub(crate) request_ids: RequestIds,
}

impl RequestPath {
    pub(crate) fn new(routes: Vec<Route>, options: ServerOptions) -> Result<Self, Error> {
        Ok(Self {
            router: Router::new(routes, options.forms.clone())?,
            limits: RateLimits::new(options.anonymous_rate, options.address_rate),
            bodies: body::Budget::new(
                options.body_bytes_in_flight_max,
                options.body_bytes_per_address_max,
            ),
            request_ids: RequestIds::new(&options.random),
            options,
        })
    }
}

/// Serves one request of a connection.
pub(crate) async fn serve(
    connection: Arc<ConnectionState>,
    request: Request<Incoming>,
) -> Result<Response<Outgoing>, Infallible> {
    let started = Instant::now();
    let path = &connection.path;
    let (mut parts, body) = request.into_parts();
    // From here until the body is read, the body's deadline runs.
    connection.progress.head_is_read(!body.is_end_stream());

    // Credentials: not to be seen in whatever is printed of the request.
    headers::hide_credentials(&mut parts.headers);
    // Request id: what the log, the client and the events that follow have in common.
    let identity = Identity::of(&parts.headers, &path.request_ids);
    // Origin: kept, because the headers go to the handler and CORS is answered at the end.
    let origin = cors::Origin::of(&parts.headers, &path.options.allowed_origins);
    // Compression: asked for in the request, done in the answer.
    let gzip = compression::wanted(&parts.headers).filter(|_| path.options.compression);
    // The socket, if the client asks for another protocol.
    let on_upgrade = parts.extensions.remove::<OnUpgrade>();
    // Chunked: the parser drops a Content-Length that stands beside it, by which a proxy in front may have
    // framed the request. What it then takes for the next request must not be one here.
    let is_chunked = parts.headers.contains_key(header::TRANSFER_ENCODING);
    let method = parts.method.clone();
    let uri = parts.uri.clone();

    let mut matched = Matched::default();
    let outcome = answer(&connection, parts, body, &identity, &origin, &mut matched)
        .await
        .and_then(|reply| connection.hand_over(on_upgrade, reply));

    let mut reply = match outcome {
        Ok(reply) => reply,
        Err(problem) => {
            log_cause(&problem, &identity);
            // Problems: written here only, so that each looks alike.
            problem.into_reply(&ProblemContext {
                form: matched.form(path, uri.path()),
                request_id: &identity.request_id,
                instance: uri.path(),
                clock: &path.options.clock,
            })
        }
    };
    // Gzip: only what is large enough to be worth it.
    if let Some(wanted) = gzip {
        reply = compression::gzip(reply, wanted).await;
    }
    let is_last = is_chunked || connection.progress.is_body_unread();
    add_headers(&mut reply.headers, &origin, identity.header, is_last);
    log_request(
        &identity.request_id,
        &method,
        &matched,
        reply.status,
        started,
    );
    connection
        .progress
        .reply_is_ready(reply.status == StatusCode::SWITCHING_PROTOCOLS);

    let (status, headers) = (reply.status, mem::take(&mut reply.headers));
    // Body: whole, or a stream that begins now; of a stream HEAD gets the headers alone.
    let mut response = Response::new(Outgoing::of(reply, &connection, method == Method::HEAD));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

/// Adds what every answer has. `is_last`: nothing can follow a body of which the rest is not read.
fn add_headers(
    headers: &mut HeaderMap,
    origin: &cors::Origin,
    request_id: HeaderValue,
    is_last: bool,
) {
    // Security headers, and no copy of an answer in any cache unless the handler wants one.
    headers::secure(headers);
    // CORS: for allowed origins; a foreign page gets nothing that its browser would let it read.
    origin.answer(headers);
    headers.insert(headers::X_REQUEST_ID, request_id);
    if is_last {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}

/// What is known of the route, also when what follows fails.
#[derive(Default)]
struct Matched<'a> {
    route: Option<&'a Route>,
}

impl Matched<'_> {
    fn form(&self, path: &RequestPath, raw: &str) -> Form {
        match self.route {
            Some(route) => route.form,
            None => path.router.form_of(raw),
        }
    }
}

/// From the head of a request to what its handler says, or the reason why no handler was asked.
async fn answer<'a>(
    connection: &'a Arc<ConnectionState>,
    parts: Parts,
    body: Incoming,
    identity: &Identity,
    origin: &cors::Origin,
    matched: &mut Matched<'a>,
) -> Result<Reply, Problem> {
    let path = &connection.path;
    // Client address: behind proxies that are trusted, and only those.
    let remote = client_address::resolve(
        connection.peer,
        &parts.headers,
        &path.options.trusted_proxies,
    );
    // Path: decoded once, so that the router and the handler decide on the same text.
    let decoded = decode_path(parts.uri.path());
    // Route: an unknown path costs a stranger as much as a known one.
    let found = decoded.and_then(|decoded| {
        let found = path.router.find(&parts.method, &decoded)?;
        Ok((found, decoded))
    });
    if let Ok((Found::Route(route, _), _)) = &found {
        matched.route = Some(route);
    }
    // Rates: before the body is read, so that a refusal is cheap.
    charge(&path.limits, remote, matched.route)?;
    let (found, decoded) = found?;
    let (route, params) = match found {
        Found::Route(route, params) => (route, params),
        // OPTIONS: a preflight, or a question for the methods.
        Found::Options(allow) => return Ok(origin.options(&parts.headers, allow)),
    };
    // Host: exactly one, or a proxy may have read another request than this one.
    check_host(&parts)?;
    // Content type and coding: refused before a byte of the body is read.
    body::check_type(&parts, route.media_types)?;
    // Body: bounded by declared length, by what really comes, by its deadline, and all bodies together,
    // those of its address and those of everybody.
    let body_bytes_max = route.body_bytes_max.unwrap_or(path.options.body_bytes_max);
    let mut share = path.bodies.share(remote);
    let bytes = body::read(body, body_bytes_max, &connection.progress, &mut share).await?;
    connection.progress.body_is_read();

    let decoded = match decoded {
        // The handler finds it in the target.
        Cow::Borrowed(_) => None,
        Cow::Owned(decoded) => Some(decoded),
    };
    let call = Call {
        // Trace: handed on as it came, if it is well formed.
        traceparent: identity::traceparent(&parts.headers),
        method: parts.method,
        uri: parts.uri,
        headers: parts.headers,
        body: bytes,
        request_id: Arc::clone(&identity.request_id),
        remote,
        path: decoded,
        params,
        connection: Arc::clone(connection),
    };
    // Panics: one handler's fault is one answer of 500, not the end of the connection.
    catch_panic(async move { (route.handler)(call).await }, identity).await
}

/// Probes are never limited. Where the handler asks for a credential, it also decides who is a stranger.
fn charge(limits: &RateLimits, remote: IpAddr, route: Option<&Route>) -> Result<(), Problem> {
    if route.is_some_and(|route| route.probe) {
        return Ok(());
    }
    limits.take(remote)?;
    if route.is_none_or(|route| route.access == Access::Open) {
        limits.take_anonymous(remote)?.spend();
    }
    Ok(())
}

fn check_host(parts: &Parts) -> Result<(), Problem> {
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let first = hosts.next();
    let is_missing = first.is_none() && parts.version >= Version::HTTP_11;
    if is_missing || hosts.next().is_some() {
        return Err(Problem::new(
            Kind::Malformed,
            "invalid-request",
            "the request needs exactly one Host header",
        ));
    }
    Ok(())
}

async fn catch_panic(
    handler: impl Future<Output = Result<Reply, Problem>>,
    identity: &Identity,
) -> Result<Reply, Problem> {
    AssertUnwindSafe(handler)
        .catch_unwind()
        .await
        .unwrap_or_else(|panic| {
            let message = panic
                .downcast_ref::<&str>()
                .copied()
                .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
                .unwrap_or("no message");
            tracing::error!(
                request_id = &*identity.request_id,
                message,
                "a handler panicked"
            );
            Err(Problem::new(
                Kind::Internal,
                "internal",
                "the server failed; the request id names the log entry",
            ))
        })
}

/// The chain of causes, which the client is not told.
fn log_cause(problem: &Problem, identity: &Identity) {
    if let Some(cause) = &problem.cause {
        let mut causes = cause.to_string();
        let mut source = cause.source();
        while let Some(error) = source {
            causes.push_str(": ");
            causes.push_str(&error.to_string());
            source = error.source();
        }
        tracing::error!(
            request_id = &*identity.request_id,
            code = problem.code,
            cause = %causes,
            "a request failed"
        );
    }
}

/// One line a request: the route's pattern and never the query, which may hold a token.
fn log_request(
    request_id: &str,
    method: &Method,
    matched: &Matched<'_>,
    status: StatusCode,
    started: Instant,
) {
    let route = matched.route.map_or("-", Route::path);
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                request_id,
                method = method.as_str(),
                route,
                status = status.as_u16(),
                duration_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
                "request"
            )
        };
    }
    if status.is_server_error() {
        line!(info);
    } else {
        line!(debug);
    }
}
