//! A refusal, as RFC 9457 problem details: the one place where a kind becomes a status.

mod write;

use std::{any::Any, error::Error as StdError, fmt};

use http::{HeaderName, HeaderValue, StatusCode};
use nexus_core::{Coded, Kind};
use serde_json::{Map, Value};

pub(crate) use write::{ProblemContext, early_problem};

/// What went wrong, to be told to a client.
pub struct Problem {
    /// What kind of refusal it is; decides the status.
    pub kind: Kind,
    /// The stable code.
    pub code: &'static str,
    /// What went wrong this time, as a sentence for the caller.
    pub detail: String,
    /// Members beside the standard ones.
    pub extra: Map<String, Value>,
    /// After how many seconds asking again may help.
    pub retry_after_s: Option<u32>,
    /// Headers beside the standard ones. A list: it is short, and a map would make every `Result` large.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The error behind it, for the log only.
    pub(crate) cause: Option<Box<dyn StdError + Send + Sync>>,
}

impl Problem {
    /// A problem of a kind.
    #[must_use]
    pub fn new(kind: Kind, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            kind,
            code,
            detail: detail.into(),
            extra: Map::new(),
            retry_after_s: None,
            headers: Vec::new(),
            cause: None,
        }
    }

    /// Adds a member.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.extra.insert(name.into(), value.into());
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Says after how many seconds asking again may help.
    #[must_use]
    pub fn retry_after_s(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// There is nothing at this path.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(Kind::NotFound, "not-found", "there is nothing at this path")
    }

    /// The status of its kind.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self.kind {
            Kind::Malformed => StatusCode::BAD_REQUEST,
            Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
            Kind::Forbidden => StatusCode::FORBIDDEN,
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Kind::Timeout => StatusCode::REQUEST_TIMEOUT,
            Kind::Conflict => StatusCode::CONFLICT,
            Kind::Stale => StatusCode::PRECONDITION_FAILED,
            Kind::Gone => StatusCode::GONE,
            Kind::PreconditionRequired => StatusCode::PRECONDITION_REQUIRED,
            Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Kind::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Kind::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Kind::Unprocessable => StatusCode::UNPROCESSABLE_ENTITY,
            Kind::Limited => StatusCode::TOO_MANY_REQUESTS,
            Kind::Unavailable | Kind::Unknown => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The title of its code, or of its kind when the code has none of its own.
    #[must_use]
    pub fn title(&self) -> &'static str {
        match self.code {
            "malformed-json" => "Malformed JSON",
            "invalid-event-type" => "Invalid event type",
            "missing-payload" => "Missing payload",
            "invalid-payload" => "Invalid payload",
            "origin-refused" => "Origin not allowed",
            "idempotency-mismatch" => "Idempotency mismatch",
            "storage-full" => "Storage full",
            _ => match self.kind {
                Kind::Malformed => "Bad request",
                Kind::Unauthenticated => "Unauthorized",
                Kind::Forbidden => "Not permitted",
                Kind::NotFound => "Not found",
                Kind::MethodNotAllowed => "Method not allowed",
                Kind::Timeout => "Timeout",
                Kind::Conflict => "Conflict",
                Kind::Stale => "Precondition failed",
                Kind::Gone => "Gone",
                Kind::PreconditionRequired => "Precondition required",
                Kind::TooLarge => "Payload too large",
                Kind::HeadersTooLarge => "Headers too large",
                Kind::UnsupportedMediaType => "Unsupported media type",
                Kind::Unprocessable => "Unprocessable",
                Kind::Limited => "Rate limited",
                Kind::Unavailable => "Unavailable",
                Kind::Unknown => "Outcome unknown",
                Kind::Internal => "Internal error",
            },
        }
    }
}

/// Any error with a kind and a code is a problem.
///
/// Its text is the detail, its sources go to the log only. Of a fault of Nexus itself the client learns
/// nothing but that. When a [`nexus_core::Error`] is the error or among its sources, the members that
/// clients expect with it are added: `validEvents`, `errors`.
impl<E> From<E> for Problem
where
    E: Coded + Send + Sync + 'static,
{
    fn from(error: E) -> Self {
        let kind = error.kind();
        let detail = match kind {
            Kind::Internal => String::from("the server failed; the request id names the log entry"),
            _ => error.to_string(),
        };
        let mut problem = Self::new(kind, error.code(), detail);
        problem.retry_after_s = error.retry_after_s();
        if let Some(core) = core_error(&error) {
            add_members(&mut problem.extra, core);
        }
        // What a client did wrong needs no line of its own in the log.
        if matches!(kind, Kind::Internal | Kind::Unavailable | Kind::Unknown) {
            problem.cause = Some(Box::new(error));
        }
        problem
    }
}

fn core_error<E: StdError + 'static>(error: &E) -> Option<&nexus_core::Error> {
    if let Some(core) = (error as &dyn Any).downcast_ref() {
        return Some(core);
    }
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(core) = error.downcast_ref() {
            return Some(core);
        }
        source = error.source();
    }
    None
}

fn add_members(extra: &mut Map<String, Value>, error: &nexus_core::Error) {
    match error {
        nexus_core::Error::UnknownEvent { valid, .. } => {
            extra.insert(String::from("validEvents"), Value::from(valid.clone()));
        }
        nexus_core::Error::InvalidPayload { problems } => {
            let errors: Vec<Value> = problems
                .iter()
                .map(|problem| {
                    serde_json::json!({ "pointer": problem.pointer, "detail": problem.detail })
                })
                .collect();
            extra.insert(String::from("errors"), Value::from(errors));
        }
        _ => {}
    }
}

impl fmt::Debug for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Problem")
            .field("kind", &self.kind)
            .field("code", &self.code)
            .field("detail", &self.detail)
            .finish_non_exhaustive()
    }
}
