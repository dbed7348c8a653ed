//! The actions that only look: lists, what servers have to read, how servers and jobs are.

use std::sync::Arc;

use ::http::StatusCode;
use bytes::Bytes;
use nexus_core::Json;
use nexus_http::{Problem, Reply};
use serde_json::{json, value::RawValue};

use super::{Answered, Api, action::Asked, listing::ToolView, problem};
use crate::{Call, Caller, Category, Health, Raw, ServerView, ToolFilter, View};

impl Api {
    /// Everything that the caller may use.
    pub(super) fn view(&self, caller: &Caller) -> Result<Arc<View>, Problem> {
        self.hub().view(caller, "").map_err(problem)
    }

    pub(super) fn list_tools(&self, caller: &Caller, asked: &Asked<'_>) -> Answered {
        let view = self.view(caller)?;
        let tags = asked.texts("tags")?;
        let filter = ToolFilter {
            category: category(asked.text("category")?)?,
            tags: tags.iter().map(|tag| Arc::from(&**tag)).collect(),
            query: asked.text("q")?.map(str::to_owned),
        };
        let items = view.tools().items().iter();
        let tools: Vec<ToolView<'_>> = items
            .filter(|item| filter.is_empty() || filter.matches(item))
            .map(|item| ToolView::new(item))
            .collect();
        let mut out = b"{\"tools\":".to_vec();
        // What was read as JSON is written as JSON.
        serde_json::to_writer(&mut out, &tools).map_err(internal)?;
        Ok(self.end_list(out))
    }

    pub(super) fn list_servers(&self, caller: &Caller) -> Reply {
        let servers = self.registry.list(caller);
        Reply::json(StatusCode::OK, &json!({ "servers": servers }))
    }

    /// How servers are, as far as is known; one that is named is asked now.
    pub(super) async fn health_check(&self, caller: &Caller, asked: &Asked<'_>) -> Answered {
        let servers = match asked.text("serverId")? {
            None => self.registry.list(caller),
            Some(id) => vec![self.registry.ask(caller, id).await.map_err(problem)?],
        };
        let checked: Vec<_> = servers.iter().map(told).collect();
        Ok(Reply::json(StatusCode::OK, &json!({ "servers": checked })))
    }

    pub(super) async fn job_status(&self, caller: &Caller, asked: &Asked<'_>) -> Answered {
        let id = asked.needed("jobId")?;
        let job = self.jobs.get(caller, id).await.map_err(problem)?;
        Ok(Reply::json(StatusCode::OK, &job))
    }

    pub(super) async fn get_resource(&self, caller: &Caller, asked: &Asked<'_>) -> Answered {
        let uri = asked.needed("resourceUri")?;
        let result = self.read_resource(caller, uri).await?;
        Ok(with_result(&result, b"}"))
    }

    pub(super) async fn get_prompt(&self, caller: &Caller, asked: &Asked<'_>) -> Answered {
        let name = asked.needed("promptName")?;
        let arguments = asked.object("params")?;
        let result = self.prompt(caller, name, arguments.as_deref()).await?;
        Ok(with_result(&result, b"}"))
    }

    /// A resource, as its server gives it.
    pub(super) async fn read_resource(&self, caller: &Caller, uri: &str) -> Result<Raw, Problem> {
        let params = serde_json::value::to_raw_value(&json!({ "uri": uri })).map_err(internal)?;
        let call = Call::new("resources/read", Some(params));
        self.hub().call(caller, "", call).await.map_err(problem)
    }

    /// A prompt, as its server gives it.
    pub(super) async fn prompt(
        &self,
        caller: &Caller,
        name: &str,
        arguments: Option<&RawValue>,
    ) -> Result<Raw, Problem> {
        #[derive(serde::Serialize)]
        struct Params<'a> {
            name: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            arguments: Option<&'a RawValue>,
        }
        let params = Params { name, arguments };
        let params = serde_json::value::to_raw_value(&params).map_err(internal)?;
        let call = Call::new("prompts/get", Some(params));
        self.hub().call(caller, "", call).await.map_err(problem)
    }
}

/// How a server is, in two words.
fn told(server: &ServerView) -> serde_json::Value {
    let is_healthy = server.health == Health::Healthy;
    let message = match (&server.message, is_healthy) {
        (Some(message), _) => message.clone(),
        (None, true) => "it answers".into(),
        (None, false) => format!(
            "it is {}",
            json!(server.health).as_str().unwrap_or_default()
        ),
    };
    json!({
        "id": server.id,
        "healthy": is_healthy,
        "health": server.health,
        "message": message,
    })
}

pub(super) fn category(text: Option<&str>) -> Result<Option<Category>, Problem> {
    let Some(text) = text else {
        return Ok(None);
    };
    let category = Category::parse(text);
    category.map(Some).ok_or_else(|| {
        let known: Vec<&str> = Category::ALL.into_iter().map(Category::as_str).collect();
        Problem::invalid_request(format!("`category` must be one of: {}", known.join(", ")))
    })
}

/// `{"result":…` with what a server wrote, and what follows it.
pub(super) fn with_result(result: &RawValue, rest: &[u8]) -> Reply {
    let text = result.get().as_bytes();
    let mut out = Vec::with_capacity(text.len() + rest.len() + 16);
    out.extend_from_slice(b"{\"result\":");
    out.extend_from_slice(text);
    out.extend_from_slice(rest);
    Reply::bytes(StatusCode::OK, "application/json", Bytes::from(out))
}

/// What cannot be written as JSON, though it was read as JSON.
#[allow(
    clippy::needless_pass_by_value,
    reason = "the shape that `map_err` wants"
)]
pub(super) fn internal(error: serde_json::Error) -> Problem {
    tracing::error!(%error, "an answer cannot be written as JSON");
    Problem::new(
        nexus_core::Kind::Internal,
        "internal",
        "the answer cannot be written",
    )
}

/// Whether a raw text is an object.
pub(super) fn is_object(raw: &RawValue) -> bool {
    matches!(Json::parse(raw.get().as_bytes()), Ok(Json::Object(_)))
}
