//! A body of events in each of the forms that are taken: one, an array, lines, or CloudEvents.
//!
//! [`Body::read`] is the hot path: one pass, borrowing, and it stops at the first thing that is wrong.
//! [`Body::items`] takes the same body apart item by item, for when something is.

use http::{HeaderName, header};
use nexus_core::{
    Catalogue, Error, Json, NewEvent, PayloadProblem, RawObject, read_cloud_event,
    read_cloud_event_attributes, read_event,
};
use nexus_http::Call;
use serde_json::value::RawValue;

const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";
const CLOUD_EVENT: &str = "application/cloudevents+json";
pub(super) const CLOUD_EVENTS: &str = "application/cloudevents-batch+json";

/// What a body may be.
pub(super) const MEDIA_TYPES: &[&str] = &[JSON, LINES, CLOUD_EVENT, CLOUD_EVENTS];

/// The attributes that every CloudEvent has; a header for any of them says that the body is the data of
/// one.
const REQUIRED_ATTRIBUTES: [HeaderName; 4] = [
    HeaderName::from_static("ce-specversion"),
    HeaderName::from_static("ce-id"),
    HeaderName::from_static("ce-source"),
    HeaderName::from_static("ce-type"),
];

/// How a body holds its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// One object.
    Object,
    /// An array of objects.
    Array,
    /// An object on each line.
    Lines,
    /// The data of a CloudEvent; its attributes are headers.
    Headers,
}

/// How a single event is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Own,
    CloudEvents,
}

/// A body, and what it is.
pub(super) struct Body<'c> {
    call: &'c Call,
    form: Form,
    dialect: Dialect,
}

/// One event of a body, as it was sent.
pub(super) struct Item<'c> {
    /// Which of the list it is, counted from 0, where there is one; of lines, those that are not empty count.
    index: Option<usize>,
    /// The line it stands on, counted from 1, where there are lines.
    pub(super) line: Option<usize>,
    text: &'c [u8],
}

impl Item<'_> {
    /// Where it is in the body, as a JSON Pointer.
    pub(super) fn pointer(&self) -> String {
        self.index.map_or_else(String::new, |n| format!("/{n}"))
    }
}

impl<'c> Body<'c> {
    /// What the headers and the first byte say that the body is.
    pub(super) fn of(call: &'c Call) -> Self {
        let stated = call.headers.get(header::CONTENT_TYPE);
        let stated = stated.map_or(&b""[..], |value| value.as_bytes());
        let essence = stated.split(|byte| *byte == b';').next();
        let essence = essence.unwrap_or_default().trim_ascii();
        let is = |media_type: &str| essence.eq_ignore_ascii_case(media_type.as_bytes());
        let (form, dialect) = if is(CLOUD_EVENT) {
            (Form::Object, Dialect::CloudEvents)
        } else if is(CLOUD_EVENTS) {
            (Form::Array, Dialect::CloudEvents)
        } else if is(LINES) {
            (Form::Lines, Dialect::Own)
        } else if REQUIRED_ATTRIBUTES
            .iter()
            .any(|name| call.headers.contains_key(name))
        {
            (Form::Headers, Dialect::CloudEvents)
        } else if call.body.trim_ascii_start().starts_with(b"[") {
            (Form::Array, Dialect::Own)
        } else {
            (Form::Object, Dialect::Own)
        };
        Self {
            call,
            form,
            dialect,
        }
    }

    /// Whether it is one event and not a list of them.
    pub(super) fn is_one(&self) -> bool {
        matches!(self.form, Form::Object | Form::Headers)
    }

    /// Reads every event, up to the first that cannot be read.
    pub(super) fn read(&self, catalogue: &Catalogue) -> Result<Vec<NewEvent>, Error> {
        let body = &*self.call.body;
        match self.form {
            Form::Headers => self.read_headers(catalogue).map(|event| vec![event]),
            Form::Object => self.read_object(body, catalogue).map(|event| vec![event]),
            Form::Lines => lines(body)
                .map(|(_, line)| self.read_object(line, catalogue))
                .collect(),
            Form::Array => {
                let objects: Vec<RawObject<'_>> =
                    serde_json::from_slice(body).map_err(Error::malformed_json)?;
                let events = objects.iter().map(|object| self.event(object, catalogue));
                events.collect()
            }
        }
    }

    /// The body taken apart.
    pub(super) fn items(&self) -> Result<Vec<Item<'c>>, Error> {
        let body: &'c [u8] = &self.call.body;
        let whole = || Item {
            index: None,
            line: None,
            text: body,
        };
        Ok(match self.form {
            Form::Headers | Form::Object => vec![whole()],
            Form::Lines => lines(body)
                .enumerate()
                .map(|(n, (line, text))| Item {
                    index: Some(n),
                    line: Some(line),
                    text,
                })
                .collect(),
            Form::Array => {
                let read = serde_json::from_slice::<Vec<&'c RawValue>>(body);
                match read {
                    Ok(items) => items
                        .into_iter()
                        .enumerate()
                        .map(|(n, item)| Item {
                            index: Some(n),
                            line: None,
                            text: item.get().as_bytes(),
                        })
                        .collect(),
                    Err(error) if error.is_data() => {
                        // It is JSON, but no array; or it is not, further on.
                        Json::parse(body)?;
                        return Err(not_an("array of events"));
                    }
                    Err(error) => return Err(Error::malformed_json(error)),
                }
            }
        })
    }

    /// Reads one event of a body that was taken apart.
    pub(super) fn read_item(
        &self,
        item: &Item<'_>,
        catalogue: &Catalogue,
    ) -> Result<NewEvent, Error> {
        match self.form {
            Form::Headers => self.read_headers(catalogue),
            _ => self.read_object(item.text, catalogue),
        }
    }

    /// The member that the payload is, as the end of a JSON Pointer; of a CloudEvent whose attributes are
    /// headers the body is the payload.
    pub(super) fn payload_member(&self) -> &'static str {
        match (self.form, self.dialect) {
            (Form::Headers, _) => "",
            (_, Dialect::CloudEvents) => "/data",
            (_, Dialect::Own) => "/payload",
        }
    }

    /// The member that names the event.
    pub(super) fn name_member(&self, item: &Item<'_>) -> &'static str {
        if self.dialect == Dialect::CloudEvents {
            return "/type";
        }
        let object = RawObject::parse(item.text).ok().flatten();
        match object {
            Some(object) if object.get("event").is_some() => "/event",
            _ => "/topic",
        }
    }

    /// The header that a problem of a CloudEvent's attribute is about, where attributes are headers.
    pub(super) fn header_of(&self, pointer: &str) -> Option<String> {
        let name = pointer.strip_prefix('/')?;
        if self.form != Form::Headers || name == "data" || name.starts_with("data/") {
            return None;
        }
        Some(match name {
            "datacontenttype" => header::CONTENT_TYPE.as_str().to_owned(),
            attribute => format!("ce-{attribute}"),
        })
    }

    fn event(&self, object: &RawObject<'_>, catalogue: &Catalogue) -> Result<NewEvent, Error> {
        match self.dialect {
            Dialect::Own => read_event(object, catalogue),
            Dialect::CloudEvents => read_cloud_event(object, catalogue),
        }
    }

    fn read_object(&self, text: &[u8], catalogue: &Catalogue) -> Result<NewEvent, Error> {
        let object = RawObject::parse(text)?.ok_or_else(|| not_an("object"))?;
        self.event(&object, catalogue)
    }

    fn read_headers(&self, catalogue: &Catalogue) -> Result<NewEvent, Error> {
        // Whatever it is, it has to be JSON, if it is there.
        if !self.call.body.is_empty() {
            Json::parse(&self.call.body)?;
        }
        read_cloud_event_attributes(self.attributes(), &self.call.body, catalogue)
    }

    /// The attributes that are headers, by their names without `ce-`. What is not ASCII breaks the rules of
    /// the binding and is refused as a value that is not well formed.
    fn attributes(&self) -> impl Iterator<Item = (&'c str, &'c str)> {
        const NOT_WELL_FORMED: &str = "%";
        self.call.headers.iter().filter_map(|(name, value)| {
            let name = match name.as_str() {
                "content-type" => "datacontenttype",
                name => name.strip_prefix("ce-")?,
            };
            Some((name, value.to_str().unwrap_or(NOT_WELL_FORMED)))
        })
    }
}

/// The lines that are not empty, with their numbers, counted from 1.
fn lines(body: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    body.split(|byte| *byte == b'\n')
        .zip(1..)
        .map(|(line, number)| (number, line.trim_ascii()))
        .filter(|(_, line)| !line.is_empty())
}

fn not_an(what: &str) -> Error {
    let problem = PayloadProblem {
        pointer: String::new(),
        detail: format!("must be an {what}"),
    };
    Error::InvalidEvent {
        problems: vec![problem],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_in_any_way_and_may_be_empty() {
        let numbered = |text: &'static str| lines(text.as_bytes()).collect::<Vec<_>>();
        let two = [(1, &b"a"[..]), (2, b"b")];
        for text in ["a\nb", "a\nb\n", "a\r\nb\r\n", " a \n\tb\n\n\r\n"] {
            assert_eq!(numbered(text), two, "{text:?}");
        }
        assert_eq!(numbered("\n\na\n\nb"), [(3, &b"a"[..]), (5, b"b")]);
        for text in ["", "\n", "\r\n \n"] {
            assert_eq!(numbered(text), [], "{text:?}");
        }
    }
}
