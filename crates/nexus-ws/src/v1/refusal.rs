//! Why a client of face v1 is not served, as it is told; its connection stays open.

use std::sync::Arc;

use nexus_core::{Coded, Error, PayloadProblem};
use nexus_expr::FilterError;
use serde::Serialize;
use serde_json::value::RawValue;

/// What a refusal answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum About {
    /// A message that could not be told from others.
    Nothing,
    /// A subscription.
    Id(Arc<str>),
    /// A message with a reference, as JSON.
    Ref(Box<str>),
}

/// Why a client is not served.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) about: About,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    /// Where in a filter: line and column, from 1.
    place: Option<(usize, usize)>,
    /// What is wrong with an event, by JSON Pointer.
    errors: Vec<PayloadProblem>,
    /// After how many seconds asking again may help.
    retry_after_s: Option<u32>,
}

impl Refusal {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            about: About::Nothing,
            code,
            message: message.into(),
            place: None,
            errors: Vec::new(),
            retry_after_s: None,
        }
    }

    /// What the log says.
    pub(crate) fn of(error: &Error) -> Self {
        let mut refusal = Self::new(error.code(), error.to_string());
        refusal.retry_after_s = error.retry_after_s();
        if let Error::InvalidPayload { problems } | Error::InvalidEvent { problems } = error {
            refusal.errors.clone_from(problems);
        }
        refusal
    }

    /// What is wrong with a filter, and where.
    pub(crate) fn of_filter(error: FilterError) -> Self {
        let mut refusal = Self::new(error.code(), error.message);
        refusal.place = Some((error.line, error.column));
        refusal
    }

    /// Nobody is known who may ask.
    pub(crate) fn of_auth(error: &nexus_auth::Error) -> Self {
        Self::new(error.code(), error.to_string())
    }

    /// The same, with when asking again may help.
    pub(crate) fn after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// The same in answer to something.
    pub(crate) fn about(mut self, about: About) -> Self {
        self.about = about;
        self
    }

    /// The frame.
    pub(crate) fn to_json(&self) -> String {
        #[derive(Serialize)]
        struct Frame<'a> {
            r#type: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            r#ref: Option<&'a RawValue>,
            #[serde(skip_serializing_if = "Option::is_none")]
            id: Option<&'a str>,
            #[serde(flatten)]
            details: Details<'a>,
        }
        let (id, reference) = match &self.about {
            About::Nothing => (None, None),
            About::Id(id) => (Some(&**id), None),
            About::Ref(reference) => (None, serde_json::from_str(reference).ok()),
        };
        super::answers::json(&Frame {
            r#type: "error",
            r#ref: reference,
            id,
            details: self.details(),
        })
    }

    /// What is told of it, whatever it answers.
    pub(crate) fn details(&self) -> Details<'_> {
        Details {
            code: self.code,
            message: &self.message,
            line: self.place.map(|(line, _)| line),
            column: self.place.map(|(_, column)| column),
            errors: &self.errors,
            retry_after: self.retry_after_s,
        }
    }
}

/// What is told of a refusal.
#[derive(Debug, Serialize)]
pub(crate) struct Details<'a> {
    code: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    #[serde(skip_serializing_if = "<[PayloadProblem]>::is_empty")]
    errors: &'a [PayloadProblem],
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u32>,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn frame(refusal: &Refusal) -> Value {
        serde_json::from_str(&refusal.to_json()).unwrap()
    }

    #[test]
    fn a_refusal_says_what_it_answers_and_where_it_went_wrong() {
        let refusal = Refusal::new("not-found", "no such subscription");
        let expected =
            json!({"type": "error", "code": "not-found", "message": "no such subscription"});
        assert_eq!(frame(&refusal), expected);
        let filter = nexus_expr::compile_filter("payload.a >\n  >").unwrap_err();
        let refusal = Refusal::of_filter(filter.clone()).about(About::Id("a".into()));
        let frame_of_filter = frame(&refusal);
        assert_eq!(frame_of_filter["id"], "a");
        assert_eq!(frame_of_filter["line"], filter.line);
        assert_eq!(frame_of_filter["column"], filter.column);
        let problems = vec![PayloadProblem {
            pointer: "/payload".into(),
            detail: "is required".into(),
        }];
        let refusal = Refusal::of(&Error::InvalidEvent { problems }).about(About::Ref("7".into()));
        assert_eq!(frame(&refusal)["ref"], 7);
        assert_eq!(frame(&refusal)["errors"][0]["pointer"], "/payload");
    }
}
