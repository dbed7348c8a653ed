//! The call of a job: its parameters, the task that it runs in, and how that ended.

use std::sync::Arc;

use serde_json::value::RawValue;
use tokio::task::{JoinError, JoinHandle};

use crate::{
    Call, CallError, Caller, Error, Hub, Raw,
    message::meta::{token_of, with_text_token},
};

/// By which the progress of a job is told apart from that of nothing: its server is told that somebody
/// wants to hear of it.
const PROGRESS_TOKEN: &str = "job";

/// A call, by the names of a namespace.
pub(super) struct Wanted {
    pub(super) namespace: Arc<str>,
    pub(super) call: Call,
    /// Whether what it costs of the limits was taken before.
    pub(super) is_paid: bool,
}

impl Wanted {
    /// By the names that everything has.
    pub(super) fn of_all(call: Call) -> Self {
        Self {
            namespace: "".into(),
            call,
            is_paid: false,
        }
    }
}

/// A call that runs in a task of its own.
pub(super) type Calling = JoinHandle<Result<Raw, Error>>;

pub(super) fn spawn(hub: &Hub, caller: &Caller, wanted: Wanted) -> Calling {
    let (hub, caller) = (hub.clone(), caller.clone());
    let Wanted {
        namespace,
        call,
        is_paid,
    } = wanted;
    tokio::spawn(async move {
        match is_paid {
            true => hub.call_paid(&caller, &namespace, call).await,
            false => hub.call(&caller, &namespace, call).await,
        }
    })
}

pub(super) fn result(ended: Result<Result<Raw, Error>, JoinError>) -> Result<Raw, Error> {
    unless_panicked(ended)?
}

pub(super) fn unless_panicked<T>(ended: Result<T, JoinError>) -> Result<T, Error> {
    match ended {
        Ok(value) => Ok(value),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(CallError::Cancelled.into()),
        },
    }
}

/// The call ended in a way that it must not, inside Nexus.
pub(super) fn panicked() -> Error {
    Error::Damaged {
        what: "the call".into(),
    }
}

/// The same, with a token if it has none: the progress of a job is of interest to whoever looks at it.
pub(super) fn with_token_if_none(params: Raw) -> Option<Raw> {
    if token_of(Some(&params)).is_some() {
        return Some(params);
    }
    with_text_token(&params, PROGRESS_TOKEN).or(Some(params))
}

/// The parameters of a call whose progress is of interest.
pub(super) fn params(tool: &str, arguments: Option<&RawValue>) -> Option<Raw> {
    #[derive(serde::Serialize)]
    struct Params<'a> {
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        arguments: Option<&'a RawValue>,
        #[serde(rename = "_meta")]
        meta: Meta,
    }
    #[derive(serde::Serialize)]
    struct Meta {
        #[serde(rename = "progressToken")]
        progress_token: &'static str,
    }
    let params = Params {
        name: tool,
        arguments,
        meta: Meta {
            progress_token: PROGRESS_TOKEN,
        },
    };
    serde_json::value::to_raw_value(&params).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_passed_on_as_they_were_written() {
        let arguments = RawValue::from_string(r#"{"a": 1.50,"b":[ ]}"#.into()).unwrap();
        let written = params("t\"", Some(&arguments)).unwrap();
        let text =
            r#"{"name":"t\"","arguments":{"a": 1.50,"b":[ ]},"_meta":{"progressToken":"job"}}"#;
        assert_eq!(written.get(), text);
        let without = params("t", None).unwrap();
        assert_eq!(
            without.get(),
            r#"{"name":"t","_meta":{"progressToken":"job"}}"#
        );
    }
}
