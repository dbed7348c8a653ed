//! `/api/v1/resources` and `/api/v1/prompts`: what servers have to read, as they give it.

use ::http::{Method, StatusCode};
use nexus_http::{Call, Problem, Reply, Route};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Answered, Api, listing::write_items, looking::is_object};
use crate::{Item, ItemKind, Raw};

const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1_000;

pub(super) fn routes(api: &Api) -> Vec<Route> {
    let list = |path: &str, kind: ItemKind| {
        api.route(Method::GET, path, move |api, call| async move {
            api.list(&call, kind)
        })
    };
    vec![
        list("/api/v1/resources", ItemKind::Resource),
        list("/api/v1/resources/templates", ItemKind::Template),
        list("/api/v1/prompts", ItemKind::Prompt),
        api.route(
            Method::POST,
            "/api/v1/resources/read",
            |api, call| async move { api.read(&call).await },
        ),
        api.route(
            Method::POST,
            "/api/v1/prompts/{name}",
            |api, call| async move { api.prompt_of(&call).await },
        ),
    ]
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reading {
    uri: String,
}

impl Api {
    /// A page of what the caller may use of a kind, as the servers wrote it.
    fn list(&self, call: &Call, kind: ItemKind) -> Answered {
        let caller = self.caller(call)?;
        call.refuse_unknown_query(&["limit", "cursor", "server"])?;
        let limit = call.limit(LIMIT_DEFAULT, LIMIT_MAX)?;
        let after = call.place()?;
        let server = call.query("server");
        let view = self.view(&caller)?;
        let is_of = |item: &&Item| match &server {
            Some(server) => item.server().is_some_and(|of| of.as_str() == &**server),
            None => true,
        };
        let items: Vec<&Item> = view
            .list(kind)
            .items()
            .iter()
            .map(AsRef::as_ref)
            .filter(|item: &&Item| after.as_deref().is_none_or(|after| item.name() > after))
            .filter(is_of)
            .take(limit + 1)
            .collect();
        let has_more = items.len() > limit;
        let shown = &items[..items.len().min(limit)];
        let next = shown.last().filter(|_| has_more).map(|item| item.name());
        let mut data = Vec::new();
        write_items(shown.iter().copied(), &mut data);
        let data = raw(&data)?;
        Ok(Reply::page_to(call, self.clock(), &data, next))
    }

    async fn read(&self, call: &Call) -> Answered {
        let caller = self.caller(call)?;
        call.refuse_unknown_query(&[])?;
        let asked: Reading = call.json()?;
        let result = self.read_resource(&caller, &asked.uri).await?;
        Ok(self.answered(&result))
    }

    async fn prompt_of(&self, call: &Call) -> Answered {
        let caller = self.caller(call)?;
        call.refuse_unknown_query(&[])?;
        let arguments = object_member(call, "arguments")?;
        let name = call.param("name").unwrap_or_default();
        let result = self.prompt(&caller, name, arguments.as_deref()).await?;
        Ok(self.answered(&result))
    }

    /// What a server wrote, in the envelope.
    pub(super) fn answered(&self, result: &RawValue) -> Reply {
        let text = result.get().as_bytes();
        let write = |out: &mut Vec<u8>| out.extend_from_slice(text);
        Reply::enveloped_raw(StatusCode::OK, self.clock(), text.len(), write, None)
    }
}

fn raw(text: &[u8]) -> Result<&RawValue, Problem> {
    serde_json::from_slice(text).map_err(super::looking::internal)
}

/// The one member that a body may have: an object, as it was written.
pub(super) fn object_member(call: &Call, name: &'static str) -> Result<Option<Raw>, Problem> {
    let (found, rest) = members(call, &[name])?;
    if let Some(other) = rest {
        return Err(Problem::invalid_request(format!(
            "the body is wrong: it may have `{name}`, and not {other:?}"
        )));
    }
    Ok(found.into_iter().next().flatten())
}

/// The raw members of a body by their names, and the first that has another one. Those that are there have to
/// be objects.
fn members(call: &Call, names: &[&str]) -> Result<(Vec<Option<Raw>>, Option<String>), Problem> {
    if call.body.trim_ascii().is_empty() {
        return Ok((names.iter().map(|_| None).collect(), None));
    }
    // As strict as every body: no two members of one name, and not too deep.
    nexus_core::Json::parse(&call.body)?;
    let object = nexus_core::RawObject::parse(&call.body)?;
    let object =
        object.ok_or_else(|| Problem::invalid_request("the body is wrong: must be an object"))?;
    let mut found = Vec::with_capacity(names.len());
    for name in names {
        let raw = object
            .get(name)
            .map(|text| RawValue::from_string(text.to_owned()));
        let raw = raw.transpose().map_err(nexus_core::Error::malformed_json)?;
        if raw.as_deref().is_some_and(|raw| !is_object(raw)) {
            return Err(Problem::invalid_request(format!(
                "`{name}` must be an object"
            )));
        }
        found.push(raw);
    }
    let mut others = object.members().map(|(name, _)| name);
    let other = others.find(|name| !names.contains(name));
    Ok((found, other.map(|name| name.chars().take(64).collect())))
}
