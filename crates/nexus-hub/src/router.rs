//! Passes calls on: to the server that a name leads to, as the client wrote them but for that name.

pub(crate) mod address;
pub(crate) mod asking;
pub(crate) mod params;
pub(crate) mod redaction;
pub(crate) mod search;
pub(crate) mod subscribing;
pub(crate) mod subscriptions;

use std::sync::Arc;

use nexus_core::RawObject;
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::{
    Call, Caller, Error, OWN_ALIAS, Raw, View,
    catalogue::{
        ServerCatalogue,
        entry::{Entry, ItemKind},
    },
    fingerprint::Fingerprint,
    handle::Shared,
    rate::Limits,
    router::{
        asking::{Asked, ask},
        params::{Members, Params},
        search::Own,
    },
    view::{Target, unknown},
};

/// Everything that a call is decided by.
pub(crate) struct Context<'c> {
    pub(crate) shared: &'c Arc<Shared>,
    pub(crate) caller: &'c Caller,
    pub(crate) view: &'c View,
    pub(crate) call: &'c Call,
    /// Whether what the call costs of the limits was taken before.
    is_paid: bool,
}

/// Takes what a call of a tool costs of the limits, for a call that is made later.
///
/// # Errors
/// [`Error::RateLimited`], and what the caller did wrong.
pub(crate) fn pay(
    shared: &Arc<Shared>,
    caller: &Caller,
    namespace: &str,
    call: &Call,
) -> Result<(), Error> {
    let view = shared.views.get(shared, caller, namespace)?;
    let params = Params::read(call.params.as_deref())?;
    let context = Context {
        shared,
        caller,
        view: &view,
        call,
        is_paid: false,
    };
    context.pay(&params)
}

/// Passes a call on and gives the answer. One that is paid for took what it costs of the limits before.
pub(crate) async fn call(
    shared: &Arc<Shared>,
    caller: &Caller,
    namespace: &str,
    call: Call,
    is_paid: bool,
) -> Result<Raw, Error> {
    let view = shared.views.get(shared, caller, namespace)?;
    let params = Params::read(call.params.as_deref())?;
    let context = Context {
        shared,
        caller,
        view: &view,
        call: &call,
        is_paid,
    };
    match &*call.method {
        "tools/call" => context.tool(&params).await,
        "prompts/get" => context.prompt(&params).await,
        "resources/read" => context.read(&params).await,
        "resources/subscribe" => context.subscribe(&params).await,
        "resources/unsubscribe" => context.unsubscribe(&params).await,
        "completion/complete" => context.complete(&params).await,
        "logging/setLevel" => context.set_level(&params).await,
        other => Err(unknown_method(other)),
    }
}

fn unknown_method(method: &str) -> Error {
    const TOLD_CHARS_MAX: usize = 64;
    Error::UnknownMethod {
        method: method.chars().take(TOLD_CHARS_MAX).collect(),
    }
}

impl Context<'_> {
    async fn tool(&self, params: &Params<'_>) -> Result<Raw, Error> {
        let name = params.text("name")?;
        match &self.view.tool(&name)?.target {
            Target::Server { server, entry } => self.call_tool(server, entry, &name, params).await,
            Target::Own(own) => self.call_own(*own, params).await,
        }
    }

    fn pay(&self, params: &Params<'_>) -> Result<(), Error> {
        let name = params.text("name")?;
        match &self.view.tool(&name)?.target {
            Target::Server { server, entry } => self.take_rate(Some(server), &entry.original),
            Target::Own(Own::Search) => self.take_rate(None, search::SEARCH),
            Target::Own(Own::Call) => {
                let wanted = search::wanted(params.get("arguments"))?;
                let name = Params::read(Some(&wanted))?.text("name")?.into_owned();
                match &self.view.tool(&name)?.target {
                    Target::Server { server, entry } => {
                        self.take_rate(Some(server), &entry.original)
                    }
                    Target::Own(_) => Err(unknown(ItemKind::Tool, &name)),
                }
            }
        }
    }

    async fn call_own(&self, own: Own, params: &Params<'_>) -> Result<Raw, Error> {
        let arguments = params.get("arguments");
        match own {
            Own::Search => {
                self.take_rate(None, search::SEARCH)?;
                search::search(self.view, arguments)
            }
            Own::Call => {
                let wanted = search::wanted(arguments)?;
                let inner = Params::read(Some(&wanted))?;
                let name = inner.text("name")?;
                match &self.view.tool(&name)?.target {
                    Target::Server { server, entry } => {
                        // What the client said about the call, its progress token above all, goes with it.
                        let whole = inner.with_meta_of(params);
                        let whole = Params::read(Some(&whole))?;
                        self.call_tool(server, entry, &name, &whole).await
                    }
                    Target::Own(_) => Err(unknown(ItemKind::Tool, &name)),
                }
            }
        }
    }

    async fn call_tool(
        &self,
        server: &ServerCatalogue,
        entry: &Entry,
        name: &str,
        params: &Params<'_>,
    ) -> Result<Raw, Error> {
        // A client that says which text it has read is not given another tool of that name.
        if let Some(read) = params.meta_text("nexus/fingerprint")
            && Fingerprint::parse(&read) != Some(entry.fingerprint)
        {
            return Err(Error::StaleFingerprint { name: name.into() });
        }
        self.take_rate(Some(server), &entry.original)?;
        let params = renamed(params, "name", name, &entry.original);
        let asked = Asked {
            method: self.call.method.clone(),
            params: Some(params),
            // What a stranger's server says of its tools is no reason to do anything twice.
            may_repeat: server.server.owner.is_none() && is_repeatable(entry),
        };
        ask(self, server, asked).await
    }

    async fn prompt(&self, params: &Params<'_>) -> Result<Raw, Error> {
        let name = params.text("name")?;
        match &self.view.prompt(&name)?.target {
            Target::Server { server, entry } => {
                self.take_rate(Some(server), "")?;
                let params = renamed(params, "name", &name, &entry.original);
                ask(self, server, Asked::again("prompts/get", params)).await
            }
            Target::Own(_) => Err(unknown(ItemKind::Prompt, &name)),
        }
    }

    async fn read(&self, params: &Params<'_>) -> Result<Raw, Error> {
        let uri = params.text("uri")?;
        let place = address::find(self.view, &uri)?;
        self.take_rate(Some(place.server), "")?;
        let params = renamed(params, "uri", &uri, &place.original);
        let answer = ask(self, place.server, Asked::again("resources/read", params)).await?;
        if *uri == *place.original {
            return Ok(answer);
        }
        Ok(readdressed(&answer, &place.original, &uri).unwrap_or(answer))
    }

    /// Completes an argument of a prompt or of a template.
    async fn complete(&self, params: &Params<'_>) -> Result<Raw, Error> {
        let reference = params.get("ref").unwrap_or("{}");
        let reference = serde_json::from_str::<&RawValue>(reference).ok();
        let reference = Params::read(reference)?;
        let (server, original, member, name) = match &*reference.text("type")? {
            "ref/prompt" => {
                let name = reference.text("name")?;
                match &self.view.prompt(&name)?.target {
                    Target::Server { server, entry } => {
                        let original: Box<str> = entry.original.as_ref().into();
                        (server, original, "name", name)
                    }
                    Target::Own(_) => return Err(unknown(ItemKind::Prompt, &name)),
                }
            }
            "ref/resource" => {
                let uri = reference.text("uri")?;
                let place = address::find(self.view, &uri)?;
                (place.server, place.original, "uri", uri)
            }
            _ => {
                return Err(Error::Invalid {
                    what: "ref",
                    why: "must be of type ref/prompt or ref/resource",
                });
            }
        };
        if !server.features.completions {
            return Err(unknown_method(&self.call.method));
        }
        self.take_rate(Some(server), "")?;
        let reference = renamed(&reference, member, &name, &original);
        let params = if *name == *original {
            params.rewritten(&[])
        } else {
            params.rewritten(&[("ref", reference.get().as_bytes())])
        };
        ask(self, server, Asked::again("completion/complete", params)).await
    }

    /// Where one server is shown as itself it is told; among many, how much a client is told is a matter of its
    /// own session.
    async fn set_level(&self, params: &Params<'_>) -> Result<Raw, Error> {
        params.text("level")?;
        match (self.view.is_single, self.view.servers.first()) {
            (true, Some(server)) if server.features.logging => {
                self.take_rate(Some(server), "")?;
                let params = params.rewritten(&[]);
                ask(self, server, Asked::again("logging/setLevel", params)).await
            }
            // Servers come and go: it is taken also while none is there that has a log.
            (false, _) => Ok(params::empty().to_owned()),
            (true, _) => Err(unknown_method(&self.call.method)),
        }
    }

    /// Takes what a call costs of the caller's limits and the server's.
    fn take_rate(&self, server: Option<&ServerCatalogue>, tool: &str) -> Result<(), Error> {
        // Nexus's own tools take what they cost of the limits that hold for it over every face.
        let is_own = server.is_some_and(|server| server.server.alias.as_str() == OWN_ALIAS);
        if is_own || self.is_paid {
            return Ok(());
        }
        let options = &self.shared.options;
        let id = server.map_or("", |server| server.server.id.as_str());
        let limits = Limits {
            user: options.user_calls_per_minute,
            tool: if tool.is_empty() {
                0
            } else {
                options.tool_calls_per_minute
            },
            server: server.map_or(0, |server| server.server.calls_per_minute),
        };
        self.shared
            .rates
            .take(limits, &self.caller.user, id, tool, Instant::now())
    }
}

/// The parameters with a name as the server knows it.
fn renamed(params: &Params<'_>, member: &str, name: &str, original: &str) -> Raw {
    if name == original {
        params.rewritten(&[])
    } else {
        params.rewritten(&[(member, &params::json_text(original))])
    }
}

/// Whether calling a tool twice is as good as once, by what was approved of it.
fn is_repeatable(entry: &Entry) -> bool {
    let annotations = RawObject::parse(&entry.text).ok().flatten();
    let annotations = annotations.and_then(|tool| tool.get("annotations"));
    let object = annotations.and_then(|text| RawObject::parse(text.as_bytes()).ok()?);
    object.is_some_and(|hints| {
        hints.get("readOnlyHint") == Some("true") || hints.get("idempotentHint") == Some("true")
    })
}

/// What was read, under the address by which it was asked for.
fn readdressed(answer: &RawValue, original: &str, uri: &str) -> Option<Raw> {
    let object = RawObject::parse(answer.get().as_bytes()).ok()??;
    let contents: Vec<&RawValue> = serde_json::from_str(object.get("contents")?).ok()?;
    let mut list = vec![b'['];
    for (n, content) in contents.into_iter().enumerate() {
        if n > 0 {
            list.push(b',');
        }
        let text = content.get().as_bytes();
        let read = RawObject::parse(text).ok()??;
        if read.text("uri").ok()?.as_deref() == Some(original) {
            list.extend_from_slice(&params::with_text(text, "uri", uri)?);
        } else {
            list.extend_from_slice(text);
        }
    }
    list.push(b']');
    let mut out = Vec::with_capacity(answer.get().len() + uri.len());
    let mut members = Members::begin(&mut out);
    for (name, value) in object.members() {
        if name == "contents" {
            members.put(name, &list);
        } else {
            members.put(name, value.as_bytes());
        }
    }
    members.end();
    params::raw(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_has_the_address_by_which_it_was_asked_for() {
        let answer =
            r#"{"contents":[{"uri":"a://b","text":"x"},{"uri":"a://c","n":1.0}],"_meta":{}}"#;
        let answer = RawValue::from_string(answer.into()).unwrap();
        assert_eq!(
            readdressed(&answer, "a://b", "s+a://b").unwrap().get(),
            r#"{"contents":[{"uri":"s+a://b","text":"x"},{"uri":"a://c","n":1.0}],"_meta":{}}"#
        );
        let other = RawValue::from_string(r#"{"contents":1}"#.into()).unwrap();
        assert!(readdressed(&other, "a", "b").is_none());
    }
}
