//! Topics as resources: `nexus://events/{pattern}` is the latest of what matches, and who is subscribed hears
//! when there is more.

use std::{borrow::Cow, collections::BTreeSet};

use nexus_core::{Pattern, PatternSet, Scope, Topic};
use nexus_hub::{
    CallError, INTERNAL_ERROR, INVALID_PARAMS, LIMITED, RESOURCE_NOT_FOUND, Raw, RpcError,
};
use serde::Deserialize;
use serde_json::json;

use super::{
    Context,
    publish::is_unknown,
    raw,
    read::{latest, told},
    watch::Watches,
};

/// What stands before a pattern.
pub(super) const PREFIX: &str = "nexus://events/";
/// Events of one resource.
const EVENTS_MAX: usize = 50;
/// Values that a completion has, as MCP bounds it.
const VALUES_MAX: usize = 100;

#[derive(Deserialize)]
pub(super) struct Resource {
    uri: String,
}

#[derive(Deserialize)]
pub(super) struct Completion {
    argument: Argument,
}

#[derive(Deserialize)]
struct Argument {
    name: String,
    value: String,
}

pub(super) async fn read(context: &Context<'_>, asked: &Resource) -> Result<Raw, CallError> {
    let pattern = pattern(context, &asked.uri)?;
    let patterns: PatternSet = pattern.into();
    let found = latest(context.log, context.caller, &patterns, EVENTS_MAX).await;
    let found = found.map_err(|error| {
        tracing::error!(
            error = crate::chain(&error),
            "a resource of the bus cannot be read"
        );
        CallError::Rpc(RpcError::new(INTERNAL_ERROR, error.to_string()))
    })?;
    let text = told(context.log, &found).to_string();
    Ok(raw(&json!({
        "contents": [{ "uri": asked.uri, "mimeType": "application/json", "text": text }],
    })))
}

pub(super) fn subscribe(
    context: &Context<'_>,
    watches: &Watches,
    asked: &Resource,
) -> Result<Raw, CallError> {
    let pattern = pattern(context, &asked.uri)?;
    if !may_follow(context, &pattern) {
        return Err(not_found(&asked.uri));
    }
    if !watches.begin(&asked.uri, pattern) {
        let limit = watches.max();
        let why = format!("{limit} patterns are followed already, and more cannot be");
        let mut error = RpcError::new(LIMITED, why);
        error.data = Some(raw(&json!({ "code": "too-many", "limit": limit })));
        return Err(CallError::Rpc(error));
    }
    Ok(raw(&json!({})))
}

pub(super) fn unsubscribe(watches: &Watches, asked: &Resource) -> Result<Raw, CallError> {
    watches.end(&asked.uri);
    Ok(raw(&json!({})))
}

/// The topics, and what they begin with, that a text begins.
pub(super) fn complete(context: &Context<'_>, asked: &Completion) -> Result<Raw, CallError> {
    if asked.argument.name != "pattern" {
        let why = format!("there is nothing to complete for {:?}", asked.argument.name);
        return Err(CallError::Rpc(RpcError::new(INVALID_PARAMS, why)));
    }
    let catalogue = context.log.catalogue();
    let readable = |topic: &&Topic| context.caller.readable().matches(topic);
    let topics = catalogue.types().iter().map(|event| &event.topic);
    let mut values = BTreeSet::new();
    for topic in topics.filter(readable) {
        let topic = topic.as_str();
        if let Some((first, _)) = topic.split_once('.') {
            values.insert(format!("{first}.*"));
        }
        values.insert(topic.to_owned());
    }
    values.retain(|value| value.starts_with(&asked.argument.value));
    let total = values.len();
    let values: Vec<String> = values.into_iter().take(VALUES_MAX).collect();
    Ok(raw(&json!({
        "completion": { "values": values, "total": total, "hasMore": total > VALUES_MAX },
    })))
}

/// The pattern that an address stands for, for somebody who may read.
fn pattern(context: &Context<'_>, uri: &str) -> Result<Pattern, CallError> {
    let text = uri.strip_prefix(PREFIX).map(decoded);
    let text = text.filter(|_| context.caller.scopes().has(Scope::Read));
    let text = text.ok_or_else(|| not_found(uri))?;
    let catalogue = context.log.catalogue();
    match catalogue.resolve_pattern(&text) {
        Ok((pattern, _)) => Ok(pattern),
        Err(error) if is_unknown(&error) => Err(not_found(uri)),
        Err(error) => Err(CallError::Rpc(RpcError::new(
            INVALID_PARAMS,
            error.to_string(),
        ))),
    }
}

/// Wildcards are not letters that an address has to have as they are.
fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut text = text.to_owned();
    for (written, meant) in [("%2A", "*"), ("%2a", "*"), ("%3E", ">"), ("%3e", ">")] {
        text = text.replace(written, meant);
    }
    Cow::Owned(text)
}

/// That something happened says something too: nobody follows what they may not read.
fn may_follow(context: &Context<'_>, pattern: &Pattern) -> bool {
    let readable = context.caller.readable();
    let is_readable = || {
        let topic = Topic::parse(pattern.as_str());
        topic.is_ok_and(|topic| readable.matches(&topic))
    };
    readable.is_everything() || readable.iter().any(|known| known == pattern) || is_readable()
}

fn not_found(uri: &str) -> CallError {
    let mut error = RpcError::new(RESOURCE_NOT_FOUND, "there is no such resource");
    error.data = Some(raw(&json!({ "uri": uri })));
    CallError::Rpc(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_may_be_escaped() {
        let cases = [
            ("payment.*", "payment.*"),
            ("payment.%2A", "payment.*"),
            ("%3e", ">"),
            ("a%20b", "a%20b"),
        ];
        for (written, meant) in cases {
            assert_eq!(decoded(written), meant);
        }
    }
}
