//! What a request says: members of its body, or of its query.

use nexus_core::{Json, Seq};
use nexus_http::{Call, Problem};

use super::problem;
use crate::{SessionId, WorkId, number::whole};

/// The members of a request. What stands in the body goes before what stands in the query; what nobody knows
/// is passed over, as the clients of this face expect.
pub(super) struct Members<'a> {
    call: &'a Call,
    body: Option<Json<'a>>,
}

impl<'a> Members<'a> {
    pub(super) fn read(call: &'a Call) -> Result<Self, Problem> {
        let body = match call.body.trim_ascii() {
            [] => None,
            text => Some(Json::parse(text)?),
        };
        match body {
            None | Some(Json::Object(_)) => Ok(Self { call, body }),
            Some(_) => Err(Problem::invalid_request("the body must be an object")),
        }
    }

    /// A text; nothing if nobody said it.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, Problem> {
        match self.body.as_ref().and_then(|body| body.get(name)) {
            Some(Json::String(text)) => Ok(Some(text.to_string())),
            Some(_) => Err(Problem::invalid_request(format!(
                "`{name}` must be a string"
            ))),
            None => Ok(self.call.query(name).map(|text| text.into_owned())),
        }
    }

    /// A text in an object of the body; nothing if nobody said it.
    pub(super) fn nested_text(&self, object: &str, name: &str) -> Result<Option<String>, Problem> {
        let refuse =
            |name: &str, what| Problem::invalid_request(format!("`{name}` must be {what}"));
        let object = match self.body.as_ref().and_then(|body| body.get(object)) {
            Some(found @ Json::Object(_)) => found,
            Some(_) => return Err(refuse(object, "an object")),
            None => return Ok(None),
        };
        match object.get(name) {
            Some(Json::String(text)) => Ok(Some(text.to_string())),
            Some(_) => Err(refuse(name, "a string")),
            None => Ok(None),
        }
    }

    /// A whole number; nothing if nobody said it.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, Problem> {
        let refuse =
            || Problem::invalid_request(format!("`{name}` must be a whole number, not below zero"));
        match self.body.as_ref().and_then(|body| body.get(name)) {
            Some(Json::Number(number)) => whole(*number).map(Some).ok_or_else(refuse),
            Some(Json::String(text)) => text.parse().map(Some).map_err(|_| refuse()),
            Some(_) => Err(refuse()),
            None => match self.call.query(name) {
                Some(text) => text.parse().map(Some).map_err(|_| refuse()),
                None => Ok(None),
            },
        }
    }

    /// A list of texts; nothing if nobody said it.
    pub(super) fn texts(&self, name: &str) -> Result<Option<Vec<String>>, Problem> {
        let refuse = || Problem::invalid_request(format!("`{name}` must be an array of strings"));
        match self.body.as_ref().and_then(|body| body.get(name)) {
            None => Ok(None),
            Some(Json::Array(items)) => items
                .iter()
                .map(|item| item.as_str().map(str::to_owned).ok_or_else(refuse))
                .collect::<Result<_, _>>()
                .map(Some),
            Some(_) => Err(refuse()),
        }
    }

    pub(super) fn session_id(&self) -> Result<SessionId, Problem> {
        SessionId::parse(&required("session_id", self.text("session_id")?)?).map_err(problem)
    }

    pub(super) fn work_id(&self) -> Result<WorkId, Problem> {
        WorkId::parse(&required("work_id", self.text("work_id")?)?).map_err(problem)
    }

    pub(super) fn fencing_token(&self) -> Result<Option<Seq>, Problem> {
        Ok(self.number("fencing_token")?.map(Seq::new))
    }
}

pub(super) fn required<T>(name: &str, found: Option<T>) -> Result<T, Problem> {
    found.ok_or_else(|| Problem::invalid_request(format!("`{name}` is required")))
}
