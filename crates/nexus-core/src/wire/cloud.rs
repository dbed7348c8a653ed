//! CloudEvents 1.0: an event written as one, and one read as an event.

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;

use super::{
    causes::RawCauses,
    read::{EVENT_ID_BYTES_MAX, NOT_A_TIME, check_text, is_rfc3339, is_traceparent, problem},
    text::{decimal_digits, write_json_string, write_time, write_uuid},
};
use crate::{
    Catalogue, Causes, Error, Event, Json, NewEvent, PayloadProblem, RawObject, Source,
    event_type::KEY_BYTES_MAX,
};

/// Writes an event as a CloudEvent in structured mode, one JSON object.
pub fn write_cloud_event(out: &mut Vec<u8>, event: &Event) {
    /// Everything that is not payload, causes, source or key, rounded up.
    const FIXED_BYTES: usize = 320;
    out.reserve(FIXED_BYTES + event.payload.len() + event.causes.len());
    out.extend_from_slice(b"{\"specversion\":\"1.0\",\"id\":\"");
    write_uuid(out, event.id);
    out.extend_from_slice(b"\",\"source\":\"");
    write_source(out, &event.source);
    out.extend_from_slice(b"\",\"type\":\"");
    out.extend_from_slice(event.topic.as_str().as_bytes());
    out.push(b'"');
    // An attribute is left out rather than empty.
    if let Some(key) = event.key.as_deref().filter(|key| !key.is_empty()) {
        out.extend_from_slice(b",\"subject\":");
        write_json_string(out, key);
    }
    out.extend_from_slice(b",\"time\":\"");
    write_time(out, event.time_us);
    out.extend_from_slice(b"\",\"datacontenttype\":\"application/json\",\"sequence\":\"");
    out.extend_from_slice(&decimal_digits(event.seq.get()).0);
    out.push(b'"');
    let causes = RawCauses::of(&event.causes);
    causes.write_correlation(out, b",\"correlationid\":", event.id);
    for (before, value) in [
        (&b",\"causationid\":"[..], causes.causation_id),
        (b",\"traceparent\":", causes.traceparent),
    ] {
        if let Some(value) = value {
            out.extend_from_slice(before);
            out.extend_from_slice(value);
        }
    }
    out.extend_from_slice(b",\"data\":");
    out.extend_from_slice(&event.payload);
    out.push(b'}');
}

/// Writes a source as a path: `node:flowpay` is `/nodes/flowpay`.
fn write_source(out: &mut Vec<u8>, source: &Source) {
    let (kind, name) = source.as_str().split_once(':').unwrap_or_default();
    let (collection, name) = match kind {
        "node" => ("/nodes/", name),
        "session" => ("/sessions/", name),
        "user" => ("/users/", name),
        "reactor" => ("/reactors/", name),
        _ => ("/", source.as_str()),
    };
    out.extend_from_slice(collection.as_bytes());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte) {
            out.push(byte);
        } else {
            let digit = |half: u8| b"0123456789ABCDEF"[usize::from(half & 0xf)];
            out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte)]);
        }
    }
}

/// A sender's source has at most this many bytes.
const SOURCE_BYTES_MAX: usize = 1_024;

/// Reads a CloudEvent in structured mode. Its `type` is any name of an event, its `data` the payload, its
/// `subject` the key; `id`, `time` and `source` are kept among the causes. Extensions are allowed, and
/// none but `traceparent` is kept.
///
/// # Errors
/// [`Error::InvalidEvent`] with every attribute that is not as it must be, its place a JSON Pointer from
/// the object; [`Error::UnknownEvent`] when the catalogue does not know the type.
pub fn read_cloud_event(object: &RawObject<'_>, catalogue: &Catalogue) -> Result<NewEvent, Error> {
    let mut attributes = Attributes::default();
    for (name, raw) in object.members() {
        match name {
            "data" => {}
            "data_base64" => {
                attributes.refuse(name, "is not taken: data has to be a JSON object");
            }
            // An attribute that is null is absent.
            _ if raw == "null" => {}
            _ => match Json::parse(raw.as_bytes()) {
                Ok(Json::String(text)) => attributes.take(name, text),
                Ok(Json::Array(_) | Json::Object(_)) | Err(_) => {
                    attributes.refuse(name, "must be a string, a number or a boolean");
                }
                Ok(_) if Attributes::is_text(name) => attributes.refuse(name, "must be a string"),
                Ok(_) => attributes.take(name, Cow::Borrowed("")),
            },
        }
    }
    attributes.into_event(object.get("data").map(str::as_bytes), catalogue)
}

/// Reads a CloudEvent in binary mode: its attributes as HTTP headers carry them, named without `ce-` in
/// lower case (`Content-Type` as `datacontenttype`), and the body as its data.
///
/// # Errors
/// As [`read_cloud_event`]; the place of a problem is `/` and the name of the attribute, or `/data`.
pub fn read_cloud_event_attributes<'h>(
    headers: impl IntoIterator<Item = (&'h str, &'h str)>,
    data: &[u8],
    catalogue: &Catalogue,
) -> Result<NewEvent, Error> {
    let mut attributes = Attributes::default();
    for (name, value) in headers {
        // Only what belongs to CloudEvents itself is escaped.
        let value = if name == CONTENT_TYPE {
            Some(Cow::Borrowed(value))
        } else {
            unescape(value)
        };
        match value {
            Some(value) => attributes.take(name, value),
            None => attributes.refuse(name, "is not UTF-8 in percent-encoding"),
        }
    }
    attributes.into_event(
        Some(data.trim_ascii()).filter(|data| !data.is_empty()),
        catalogue,
    )
}

const CONTENT_TYPE: &str = "datacontenttype";

/// Takes back what a header does to an attribute: quotes around it, then percent-encoding.
fn unescape(value: &str) -> Option<Cow<'_, str>> {
    let quoted = value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    if quoted.is_none() && !value.contains('%') {
        return Some(Cow::Borrowed(value));
    }
    let mut decoded = Vec::with_capacity(value.len());
    let mut bytes = quoted.unwrap_or(value).bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' if quoted.is_some() => decoded.push(bytes.next()?),
            b'%' => {
                let mut half = || char::from(bytes.next()?).to_digit(16);
                let byte = half()? * 16 + half()?;
                decoded.push(u8::try_from(byte).ok()?);
            }
            _ => decoded.push(byte),
        }
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

/// The attributes that matter here, and what is wrong with any.
#[derive(Default)]
struct Attributes<'a> {
    specversion: Option<Cow<'a, str>>,
    id: Option<Cow<'a, str>>,
    source: Option<Cow<'a, str>>,
    event_type: Option<Cow<'a, str>>,
    subject: Option<Cow<'a, str>>,
    time: Option<Cow<'a, str>>,
    content_type: Option<Cow<'a, str>>,
    traceparent: Option<Cow<'a, str>>,
    problems: Vec<PayloadProblem>,
}

impl<'a> Attributes<'a> {
    fn refuse(&mut self, name: &str, detail: impl Into<String>) {
        self.problems.push(problem(name, detail));
    }

    fn slot(&mut self, name: &str) -> Option<&mut Option<Cow<'a, str>>> {
        Some(match name {
            "specversion" => &mut self.specversion,
            "id" => &mut self.id,
            "source" => &mut self.source,
            "type" => &mut self.event_type,
            "subject" => &mut self.subject,
            "time" => &mut self.time,
            CONTENT_TYPE => &mut self.content_type,
            "traceparent" => &mut self.traceparent,
            _ => return None,
        })
    }

    /// Whether the attribute is a string by its definition.
    fn is_text(name: &str) -> bool {
        Self::default().slot(name).is_some()
    }

    fn take(&mut self, name: &str, value: Cow<'a, str>) {
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        match self.slot(name) {
            Some(slot) => {
                if slot.replace(value).is_some() {
                    self.refuse(name, "is given twice");
                }
            }
            None if !name.is_empty() && name.bytes().all(is_name) => {}
            None => self.refuse(name, "is not the name of an attribute: a-z and 0-9"),
        }
    }

    fn into_event(mut self, data: Option<&[u8]>, catalogue: &Catalogue) -> Result<NewEvent, Error> {
        self.check(data);
        let (Some(name), Some(data), true) = (&self.event_type, data, self.problems.is_empty())
        else {
            return Err(Error::InvalidEvent {
                problems: self.problems,
            });
        };
        let event_type = catalogue.resolve(name)?.event_type;
        Ok(NewEvent {
            event_type,
            payload: Bytes::copy_from_slice(data),
            key: self.subject.map(Arc::from),
            causes: Causes {
                origin_id: self.id.map(Cow::into_owned),
                origin_source: self.source.map(Cow::into_owned),
                occurred_at: self.time.map(Cow::into_owned),
                // A trace context that is not well formed is to be ignored.
                traceparent: self
                    .traceparent
                    .filter(|text| is_traceparent(text))
                    .map(Cow::into_owned),
                ..Causes::default()
            },
        })
    }

    fn check(&mut self, data: Option<&[u8]>) {
        let mut problems = Vec::new();
        for (name, value, bytes_max) in [
            ("specversion", &self.specversion, usize::MAX),
            ("id", &self.id, EVENT_ID_BYTES_MAX),
            ("source", &self.source, SOURCE_BYTES_MAX),
            ("type", &self.event_type, usize::MAX),
        ] {
            match value {
                Some(value) => problems.extend(refused(name, value, bytes_max)),
                None => problems.push(problem(name, "is required")),
            }
        }
        if let Some(subject) = &self.subject {
            problems.extend(refused("subject", subject, KEY_BYTES_MAX));
        }
        if self
            .specversion
            .as_deref()
            .is_some_and(|version| version != "1.0")
        {
            problems.push(problem("specversion", "must be 1.0"));
        }
        if self.time.as_deref().is_some_and(|time| !is_rfc3339(time)) {
            problems.push(problem("time", NOT_A_TIME));
        }
        if self
            .content_type
            .as_deref()
            .is_some_and(|value| !is_json(value))
        {
            problems.push(problem(CONTENT_TYPE, "must be application/json"));
        }
        match data {
            Some([b'{', ..]) => {}
            Some(_) => problems.push(problem("data", "must be a JSON object")),
            None => problems.push(problem("data", "is required")),
        }
        self.problems.append(&mut problems);
    }
}

fn refused(name: &str, value: &str, bytes_max: usize) -> Option<PayloadProblem> {
    let detail = check_text(value, bytes_max).err()?;
    Some(problem(name, detail))
}

/// Whether a media type says that the content is JSON.
fn is_json(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    matches!(essence.as_str(), "application/json" | "text/json") || essence.ends_with("+json")
}

#[cfg(test)]
mod tests;
