//! The action API: one address, and a body that says what is wanted.

use std::borrow::Cow;

use ::http::StatusCode;
use nexus_core::{Json, Kind, RawObject, iso8601_ms};
use nexus_http::{Access, Call, Form, Problem, Reply, Route};
use serde::de::DeserializeOwned;
use serde_json::{json, value::RawValue};

use super::{Answered, Api};
use crate::{Caller, Raw};

/// Where the clients of the documents look for it, and where it is among the other routes.
const PATHS: [&str; 2] = ["/functions/v1/nexus-hub", "/api/hub"];

/// Every action.
pub(super) const ACTIONS: [&str; 16] = [
    "list_tools",
    "list_resources",
    "list_prompts",
    "invoke",
    "get_resource",
    "get_prompt",
    "health",
    "health_check",
    "add_server",
    "update_server",
    "delete_server",
    "list_servers",
    "sync_tools",
    "set_tool_permission",
    "get_job_status",
    "cancel_job",
];

pub(super) fn routes(api: &Api) -> Vec<Route> {
    let route = |path: &str| {
        let api = api.clone();
        Route::post(path, Access::Read, move |call| {
            let api = api.clone();
            async move { api.act(&call).await }
        })
        .form(Form::Hub)
    };
    PATHS.into_iter().map(route).collect()
}

/// What is wanted. Members that are not known are passed over, as clients of other versions send more.
pub(super) struct Asked<'a> {
    json: Json<'a>,
    raw: RawObject<'a>,
}

impl<'a> Asked<'a> {
    fn read(body: &'a [u8]) -> Result<Self, Problem> {
        let json = Json::parse(body)?;
        let raw = RawObject::parse(body)?;
        let raw = raw.ok_or_else(|| Problem::invalid_request("the body must be an object"))?;
        Ok(Self { json, raw })
    }

    /// A member that is there. Clients write `null` for what they have not got.
    fn given(&self, name: &str) -> Option<&Json<'a>> {
        self.json
            .get(name)
            .filter(|value| !matches!(value, Json::Null))
    }

    /// The text of a member, if it is there.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, Problem> {
        match self.given(name) {
            None => Ok(None),
            Some(Json::String(text)) if !text.is_empty() => Ok(Some(text)),
            Some(_) => Err(must(name, "be a text")),
        }
    }

    /// The text of a member that has to be there.
    pub(super) fn needed(&self, name: &str) -> Result<&str, Problem> {
        let text = self.text(name)?;
        text.ok_or_else(|| must(name, "be given"))
    }

    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, Problem> {
        match self.given(name) {
            None => Ok(None),
            Some(Json::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(must(name, "be true or false")),
        }
    }

    /// The texts of a member: one, or a list.
    pub(super) fn texts(&self, name: &str) -> Result<Vec<Cow<'_, str>>, Problem> {
        let wrong = || must(name, "be a list of texts");
        match self.given(name) {
            None => Ok(Vec::new()),
            Some(Json::String(text)) => Ok(vec![Cow::Borrowed(text)]),
            Some(Json::Array(items)) => items
                .iter()
                .map(|item| item.as_str().map(Cow::Borrowed).ok_or_else(wrong))
                .collect(),
            Some(_) => Err(wrong()),
        }
    }

    /// An object that is passed on as it was written.
    pub(super) fn object(&self, name: &str) -> Result<Option<Raw>, Problem> {
        let text = match (self.given(name), self.raw.get(name)) {
            (None, _) | (_, None) => return Ok(None),
            (Some(Json::Object(_)), Some(text)) => text,
            (Some(_), Some(_)) => return Err(must(name, "be an object")),
        };
        let raw = RawValue::from_string(text.to_owned());
        raw.map(Some)
            .map_err(|error| nexus_core::Error::malformed_json(error).into())
    }

    /// An object that is read strictly.
    pub(super) fn config<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        const NAME: &str = "config";
        let Some(config) = self.object(NAME)? else {
            return Err(must(NAME, "be given"));
        };
        let mut reader = serde_json::Deserializer::from_str(config.get());
        serde_path_to_error::deserialize(&mut reader).map_err(|error| {
            // Where the reader was is not where the client wrote it.
            let what = error.inner().to_string();
            let what = what
                .split(" at line ")
                .next()
                .unwrap_or_default()
                .to_owned();
            let path = error.path().to_string();
            Problem::invalid_request(format!("`{NAME}` is wrong at {path}: {what}"))
        })
    }
}

fn must(name: &str, rule: &str) -> Problem {
    Problem::invalid_request(format!("`{name}` must {rule}"))
}

impl Api {
    async fn act(&self, call: &Call) -> Answered {
        // Who it is, before anything is said about what they sent.
        let caller = self.caller(call)?;
        let asked = Asked::read(&call.body)?;
        let action = asked.needed("action")?;
        let caller = acting_for(caller, &asked)?;
        match action {
            "list_tools" => self.list_tools(&caller, &asked),
            "list_resources" => {
                let view = self.view(&caller)?;
                Ok(self.whole_list("resources", view.resources()))
            }
            "list_prompts" => {
                let view = self.view(&caller)?;
                Ok(self.whole_list("prompts", view.prompts()))
            }
            "health" => Ok(self.health()),
            "health_check" => self.health_check(&caller, &asked).await,
            "list_servers" => Ok(self.list_servers(&caller)),
            "get_job_status" => self.job_status(&caller, &asked).await,
            "get_resource" => self.get_resource(&caller, &asked).await,
            "get_prompt" => self.get_prompt(&caller, &asked).await,
            "invoke"
            | "add_server"
            | "update_server"
            | "delete_server"
            | "sync_tools"
            | "set_tool_permission"
            | "cancel_job" => {
                self.auth
                    .require(&caller.principal, nexus_core::Scope::Publish)?;
                self.change(&caller, action, &asked, call).await
            }
            other => Err(unknown(other)),
        }
    }

    fn health(&self) -> Reply {
        let timestamp = iso8601_ms(self.clock().now_us());
        Reply::json(
            StatusCode::OK,
            &json!({ "status": "healthy", "timestamp": timestamp }),
        )
    }
}

/// Operators may act for somebody else; for everybody else the user is who their token says.
fn acting_for(caller: Caller, asked: &Asked<'_>) -> Result<Caller, Problem> {
    const NAME: &str = "userId";
    if !caller.is_operator {
        return Ok(caller);
    }
    match asked.text(NAME)? {
        None => Ok(caller),
        Some(user) => as_user(caller, NAME, user),
    }
}

/// An operator, acting for the user that a member names.
pub(super) fn as_user(operator: Caller, member: &str, user: &str) -> Result<Caller, Problem> {
    match !user.is_empty() && crate::caller::source_of(user).is_ok() {
        true => Ok(operator.acting_for(user)),
        false => Err(must(member, "be the name of a user")),
    }
}

fn unknown(action: &str) -> Problem {
    const TOLD_CHARS_MAX: usize = 64;
    let told: String = action.chars().take(TOLD_CHARS_MAX).collect();
    Problem::new(
        Kind::Malformed,
        "unknown-action",
        format!("there is no action {told:?}"),
    )
    .with("actions", json!(ACTIONS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_is_read_strictly_where_it_is_known() {
        let body =
            br#"{"action":"invoke","toolName":"","params":[1],"async":"x","tags":["a",1],"x":{}}"#;
        let asked = Asked::read(body).unwrap();
        assert_eq!(asked.needed("action").unwrap(), "invoke");
        assert!(asked.text("toolName").is_err());
        assert!(asked.object("params").is_err());
        assert!(asked.flag("async").is_err());
        assert!(asked.texts("tags").is_err());
        assert!(asked.needed("serverId").is_err());
        for wrong in [&b""[..], b"[]", b"{", br#"{"action":"a","action":"b"}"#] {
            assert!(Asked::read(wrong).is_err());
        }
    }

    #[test]
    fn what_is_null_is_not_given() {
        let body = br#"{"toolName":null,"params":null,"async":null,"tags":null,"config":null}"#;
        let asked = Asked::read(body).unwrap();
        assert_eq!(asked.text("toolName").unwrap(), None);
        assert!(asked.object("params").unwrap().is_none());
        assert_eq!(asked.flag("async").unwrap(), None);
        assert!(asked.texts("tags").unwrap().is_empty());
        assert!(asked.needed("toolName").is_err());
        assert!(asked.config::<crate::ServerInput>().is_err());
    }

    #[test]
    fn parameters_are_passed_on_as_they_were_written() {
        let asked = Asked::read(br#"{"params":{"a": 1.50, "b":"\u0041"}}"#).unwrap();
        let params = asked.object("params").unwrap().unwrap();
        assert_eq!(params.get(), r#"{"a": 1.50, "b":"\u0041"}"#);
        assert!(asked.object("absent").unwrap().is_none());
    }

    #[test]
    fn a_wrong_configuration_is_told_with_its_place() {
        let asked = Asked::read(br#"{"config":{"name":"a","headers":{"x":1}}}"#).unwrap();
        let refused = asked.config::<crate::ServerInput>().unwrap_err();
        assert!(refused.detail.contains("headers.x"), "{}", refused.detail);
        let asked = Asked::read(br#"{"config":{"naem":"a"}}"#).unwrap();
        let refused = asked.config::<crate::ServerInput>().unwrap_err();
        assert!(refused.detail.contains("naem"), "{}", refused.detail);
    }
}
