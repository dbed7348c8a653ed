//! Writes messages, each as one line without a line break anywhere in it.

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

/// The same for a result that was written before: JSON text that is not looked into again.
#[must_use]
pub(crate) fn response_of(id: &Id, result: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(ENVELOPE_BYTES + result.len());
    out.extend_from_slice(BEGINNING);
    out.extend_from_slice(b",\"id\":");
    write_id(id, &mut out);
    out.extend_from_slice(b",\"result\":");
    let start = out.len();
    out.extend_from_slice(result);
    break_no_line(&mut out[start..]);
    out.push(b'}');
    out
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

/// Writes JSON in one line. A line break in JSON is space between its parts: in a text it is escaped.
fn write_line(json: &RawValue, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(json.get().as_bytes());
    break_no_line(&mut out[start..]);
}

fn break_no_line(json: &mut [u8]) {
    let is_break = |byte: &u8| matches!(byte, b'\n' | b'\r');
    for byte in json.iter_mut().filter(|byte| is_break(byte)) {
        *byte = b' ';
    }
}

fn write_id(id: &Id, out: &mut Vec<u8>) {
    match id {
        Id::Number(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Id::Text(text) => write_json_string(out, text),
    }
}
