//! Writes messages, each as one line without a line break anywhere in it.

use bytes::Bytes;
use nexus_core::write_json_string;
use serde_json::value::RawValue;

use super::{Id, Raw, RpcError};

/// A request as one line.
#[must_use]
pub fn request(id: &Id, method: &str, params: Option<&RawValue>) -> Vec<u8> {
    let mut out = begin(params);
    out.extend_from_slice(b",\"id\":");
    write_id(id, &mut out);
    write_call(method, params, &mut out);
    out
}

/// A notification as one line.
#[must_use]
pub fn notification(method: &str, params: Option<&RawValue>) -> Vec<u8> {
    let mut out = begin(params);
    write_call(method, params, &mut out);
    out
}

/// An answer as one line.
#[must_use]
pub fn response(id: Option<&Id>, outcome: &Result<Raw, RpcError>) -> Vec<u8> {
    let mut out = begin(outcome.as_deref().ok());
    out.extend_from_slice(b",\"id\":");
    match id {
        Some(id) => write_id(id, &mut out),
        None => out.extend_from_slice(b"null"),
    }
    match outcome {
        Ok(result) => {
            out.extend_from_slice(b",\"result\":");
            write_line(result, &mut out);
        }
        Err(error) => write_error(error, &mut out),
    }
    out.push(b'}');
    out
}

/// An answer that is not put together before it is sent: what is its request's alone, and what all are answered
/// who ask the same, written once for all of them.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) own: Vec<u8>,
    pub(crate) shared: Bytes,
}

impl Response {
    /// The answer to a request with a result that was written before. `ending` is that result in one line, and
    /// the brace behind it that ends the answer.
    pub(crate) fn ending_with(id: &Id, ending: Bytes) -> Self {
        let mut own = begin(None);
        own.extend_from_slice(b",\"id\":");
        write_id(id, &mut own);
        own.extend_from_slice(b",\"result\":");
        Self {
            own,
            shared: ending,
        }
    }

    /// How long it is, in bytes.
    pub(crate) fn len(&self) -> usize {
        self.own.len() + self.shared.len()
    }

    /// It as one text.
    pub(crate) fn whole(self) -> Vec<u8> {
        let mut whole = self.own;
        whole.extend_from_slice(&self.shared);
        whole
    }
}

impl From<Vec<u8>> for Response {
    fn from(own: Vec<u8>) -> Self {
        Self {
            own,
            shared: Bytes::new(),
        }
    }
}

/// The envelope around what a message carries, rounded up.
const ENVELOPE_BYTES: usize = 96;
const BEGINNING: &[u8] = b"{\"jsonrpc\":\"2.0\"";

/// The beginning, with room for what follows.
fn begin(carried: Option<&RawValue>) -> Vec<u8> {
    let carried = carried.map_or(0, |carried| carried.get().len());
    let mut out = Vec::with_capacity(ENVELOPE_BYTES + carried);
    out.extend_from_slice(BEGINNING);
    out
}

fn write_call(method: &str, params: Option<&RawValue>, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"method\":");
    write_json_string(out, method);
    if let Some(params) = params {
        out.extend_from_slice(b",\"params\":");
        write_line(params, out);
    }
    out.push(b'}');
}

fn write_error(error: &RpcError, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"error\":{\"code\":");
    out.extend_from_slice(error.code.to_string().as_bytes());
    out.extend_from_slice(b",\"message\":");
    write_json_string(out, &error.message);
    if let Some(data) = &error.data {
        out.extend_from_slice(b",\"data\":");
        write_line(data, out);
    }
    out.push(b'}');
}

/// Writes JSON in one line.
fn write_line(json: &RawValue, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(json.get().as_bytes());
    in_one_line(&mut out[start..]);
}

/// Puts JSON into one line. A line break in JSON is space between its parts: in a text it is escaped.
pub(crate) fn in_one_line(json: &mut [u8]) {
    let mut rest = json;
    while let Some(at) = memchr::memchr2(b'\n', b'\r', rest) {
        rest[at] = b' ';
        rest = &mut rest[at + 1..];
    }
}

fn write_id(id: &Id, out: &mut Vec<u8>) {
    match id {
        Id::Number(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Id::Text(text) => write_json_string(out, text),
    }
}
