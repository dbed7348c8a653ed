//! What a request says: members of its body, or of its query.

use nexus_core::{Json, Seq};
use nexus_http::{Call, Problem};

use super::problem;
use crate::{SessionId, WorkId};

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

/// A number as it is counted with; nothing of one that has a part, a sign, or more digits than it can say.
pub(super) fn whole(number: f64) -> Option<u64> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    let is_whole = number.fract() == 0.0 && (0.0..=EXACT_MAX).contains(&number);
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it was checked to be a whole number within what a double counts exactly"
    )]
    is_whole.then_some(number as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_counted_is_a_whole_number() {
        assert_eq!(whole(0.0), Some(0));
        assert_eq!(whole(1_042.0), Some(1_042));
        for number in [-1.0, 0.5, 1e300, f64::NAN, f64::INFINITY] {
            assert_eq!(whole(number), None, "{number}");
        }
    }
}
