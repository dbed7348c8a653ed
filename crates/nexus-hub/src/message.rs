//! JSON-RPC as MCP speaks it: the envelope is read, what it carries stays the text that its sender wrote.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

pub(crate) mod meta;
pub(crate) mod scan;
mod writing;

pub(crate) use writing::{Response, in_one_line};
pub use writing::{notification, request, response};

/// JSON text that is carried, not read.
pub type Raw = Box<RawValue>;

/// The text is no JSON.
pub const PARSE_ERROR: i64 = -32_700;
/// The text is JSON, but no JSON-RPC message.
pub const INVALID_REQUEST: i64 = -32_600;
/// There is no such method, or it is not offered.
pub const METHOD_NOT_FOUND: i64 = -32_601;
/// The parameters are not as the method wants them; also: there is no such tool or prompt.
pub const INVALID_PARAMS: i64 = -32_602;
/// Something failed while the request was worked on.
pub const INTERNAL_ERROR: i64 = -32_603;
/// There is no such resource.
pub const RESOURCE_NOT_FOUND: i64 = -32_002;
/// The caller is over a limit of Nexus's; `data` says which, or when to come back.
pub const LIMITED: i64 = -32_029;
/// The server wants the user to visit an address first (2025-11-25).
pub const URL_ELICITATION_REQUIRED: i64 = -32_042;

/// The name of a request within its connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Id {
    /// A number.
    Number(i64),
    /// A text.
    Text(Box<str>),
}

/// A request that failed, as the side that worked on it says it.
#[derive(Debug, Clone)]
pub struct RpcError {
    /// JSON-RPC's code or the server's own.
    pub code: i64,
    /// What went wrong, for people.
    pub message: String,
    /// What else is said about it.
    pub data: Option<Raw>,
}

/// One message.
#[derive(Debug, Clone)]
pub enum Incoming {
    /// Wants an answer.
    Request {
        /// What the answer has to name.
        id: Id,
        /// What is asked.
        method: Box<str>,
        /// With what.
        params: Option<Raw>,
    },
    /// Wants none.
    Notification {
        /// What is told.
        method: Box<str>,
        /// The details.
        params: Option<Raw>,
    },
    /// Answers a request.
    Response {
        /// The request; nothing when the other side could not read which it was.
        id: Option<Id>,
        /// What came of it.
        outcome: Result<Raw, RpcError>,
    },
}

/// Why a text is no message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// It is not JSON, or a member of the envelope is not of its type.
    #[error("the text is no JSON-RPC message: line {}, column {}", source.line(), source.column())]
    Malformed {
        /// What the parser says.
        source: serde_json::Error,
    },
    /// It is JSON, but neither request nor notification nor response.
    #[error("the text is no JSON-RPC message: {why}")]
    NotAMessage {
        /// The rule that it breaks.
        why: &'static str,
    },
    /// It is longer than is read.
    #[error("the message is larger than {limit_bytes} bytes")]
    TooLarge {
        /// How much is read.
        limit_bytes: usize,
    },
}

/// The envelope. Members that it does not know are passed over, as JSON-RPC wants.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    jsonrpc: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<ErrorObject<'a>>,
}

#[derive(Deserialize)]
struct ErrorObject<'a> {
    #[serde(borrow, default)]
    code: Option<&'a RawValue>,
    #[serde(borrow, default)]
    message: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

/// A member that is `null` is there; one that is absent is not.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl Incoming {
    /// Reads one message of at most `limit_bytes`.
    ///
    /// # Errors
    /// [`MessageError`]; nothing of the text is in it.
    pub fn parse(text: &[u8], limit_bytes: usize) -> Result<Self, MessageError> {
        if text.len() > limit_bytes {
            return Err(MessageError::TooLarge { limit_bytes });
        }
        // A list could be read as the members of the envelope in order.
        if !text.trim_ascii_start().starts_with(b"{") {
            return Err(not_a_message("it is no object"));
        }
        let envelope: Envelope<'_> =
            serde_json::from_slice(text).map_err(|source| MessageError::Malformed { source })?;
        if envelope.jsonrpc.as_deref() != Some("2.0") {
            return Err(not_a_message("`jsonrpc` is not \"2.0\""));
        }
        envelope.into_message()
    }

    /// Writes the message as one line, without a line break anywhere in it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Request { id, method, params } => request(id, method, params.as_deref()),
            Self::Notification { method, params } => notification(method, params.as_deref()),
            Self::Response { id, outcome } => response(id.as_ref(), outcome),
        }
    }
}

impl Envelope<'_> {
    fn into_message(self) -> Result<Incoming, MessageError> {
        let params = self.params.map(ToOwned::to_owned);
        let (id, is_named) = match self.id {
            None => (None, false),
            Some(id) => (Id::read(id.get())?, true),
        };
        match (self.method, self.result, self.error) {
            (Some(method), None, None) => {
                let method = method.into_owned().into_boxed_str();
                match id {
                    Some(id) => Ok(Incoming::Request { id, method, params }),
                    None if is_named => Err(not_a_message("the `id` of a request is null")),
                    None => Ok(Incoming::Notification { method, params }),
                }
            }
            (None, Some(result), None) if id.is_some() => Ok(Incoming::Response {
                id,
                outcome: Ok(result.to_owned()),
            }),
            (None, None | Some(_), Some(error)) => Ok(Incoming::Response {
                id,
                outcome: Err(error.into_owned()),
            }),
            (None, Some(_), None) => Err(not_a_message("a result names no request")),
            (None, None, None) => Err(not_a_message("it has no method, result or error")),
            (Some(_), ..) => Err(not_a_message("it is both a request and a response")),
        }
    }
}

impl ErrorObject<'_> {
    fn into_owned(self) -> RpcError {
        // Some servers give codes that are no integers: what they say about the failure still counts.
        let code = self.code.and_then(|code| code.get().parse().ok());
        RpcError {
            code: code.unwrap_or(INTERNAL_ERROR),
            message: self.message.map(Cow::into_owned).unwrap_or_default(),
            data: self.data.map(ToOwned::to_owned),
        }
    }
}

impl Id {
    /// Reads an id; nothing when it is `null`.
    pub(crate) fn read(text: &str) -> Result<Option<Self>, MessageError> {
        if text == "null" {
            return Ok(None);
        }
        if text.starts_with('"') {
            let text = serde_json::from_str::<Box<str>>(text);
            return text
                .map(|text| Some(Self::Text(text)))
                .map_err(|source| MessageError::Malformed { source });
        }
        text.parse()
            .map(|number| Some(Self::Number(number)))
            .map_err(|_| not_a_message("`id` is neither a text nor an integer"))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

impl RpcError {
    /// A failure without further data.
    #[must_use]
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            data: None,
        }
    }
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for RpcError {}

fn not_a_message(why: &'static str) -> MessageError {
    MessageError::NotAMessage { why }
}

#[cfg(test)]
mod tests;
