//! A JSON body as face v1 reads it: strictly, and with the place of what is wrong.

use nexus_core::Json;
use serde::de::DeserializeOwned;
use serde_json::json;
use serde_path_to_error::{Path, Segment};

use crate::{Call, Problem};

impl Call {
    /// The body, an object. Give the type `deny_unknown_fields`: a member that was misspelt and passed over
    /// would do what nobody asked for.
    ///
    /// # Errors
    /// `malformed-json` when it is not JSON, too deep, or has two members of one name; `invalid-request` with
    /// `errors` when it says something else than it may.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        // A derived reader takes an array for an object.
        let Json::Object(_) = Json::parse(&self.body)? else {
            return Err(wrong("", "must be an object"));
        };
        let mut reader = serde_json::Deserializer::from_slice(&self.body);
        serde_path_to_error::deserialize(&mut reader)
            .map_err(|error| wrong(&pointer(error.path()), &without_place(error.inner())))
    }

    /// The same where everything in the body may be left out, and so may the body.
    ///
    /// # Errors
    /// As for [`Call::json`], if there is a body.
    pub fn json_or_default<T: DeserializeOwned + Default>(&self) -> Result<T, Problem> {
        if self.body.trim_ascii().is_empty() {
            return Ok(T::default());
        }
        self.json()
    }
}

fn wrong(pointer: &str, detail: &str) -> Problem {
    let told = match pointer {
        "" => format!("the body is wrong: {detail}"),
        place => format!("the body is wrong at {place}: {detail}"),
    };
    Problem::invalid_request(told).with("errors", json!([{ "pointer": pointer, "detail": detail }]))
}

/// What is wrong, without the line and column that serde says: the pointer says where.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((what, _)) => what.to_owned(),
        None => text,
    }
}

fn pointer(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } => {
                pointer.push('/');
                pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
            // The variant is said by a member that has its own segment.
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    pointer
}
