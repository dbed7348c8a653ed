//! The hub's own tools: finding one among many, and calling one that is not in the list.

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
};

use bytes::Bytes;
use nexus_core::{Json, RawObject};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    Error, Raw, View,
    catalogue::metadata::{Category, EstimatedDuration, Metadata, PRIORITY_MAX},
    router::params::{self, Members},
    view::{Item, Target, ToolFilter, search_words},
};

/// A tool of the hub itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Own {
    /// Finds tools.
    Search,
    /// Calls a tool by its name.
    Call,
}

/// The name of the tool that finds tools.
pub(crate) const SEARCH: &str = "nexus_search_tools";
const CALL: &str = "nexus_call_tool";

const SEARCH_JSON: &str = r#"{"name":"nexus_search_tools","title":"Search tools","description":"Finds tools by what they do, among all that can be used here. Gives their names, descriptions and input schemas, the best first. A tool that is found and is not in the list can be called with nexus_call_tool.","inputSchema":{"type":"object","properties":{"query":{"type":"string","description":"Words of what the tool should do."},"category":{"type":"string","enum":["search","code","automation","data","other"]},"tags":{"type":"array","items":{"type":"string"}},"limit":{"type":"integer","minimum":1,"maximum":50,"default":10}},"additionalProperties":false},"outputSchema":{"type":"object","properties":{"tools":{"type":"array","items":{"type":"object","properties":{"name":{"type":"string"},"description":{"type":"string"},"inputSchema":{"type":"object"}},"required":["name","inputSchema"]}},"total":{"type":"integer"}},"required":["tools","total"]},"annotations":{"readOnlyHint":true,"idempotentHint":true,"openWorldHint":false}}"#;

const CALL_JSON: &str = r#"{"name":"nexus_call_tool","title":"Call a tool","description":"Calls a tool that nexus_search_tools found, by its name.","inputSchema":{"type":"object","properties":{"name":{"type":"string","description":"The name of the tool."},"arguments":{"type":"object","description":"Its arguments, as its input schema says."}},"required":["name"],"additionalProperties":false}}"#;

const LIMIT_DEFAULT: usize = 10;
const LIMIT_MAX: usize = 50;

/// Whether a name is that of a tool of the hub itself.
pub(crate) fn is_own_name(name: &str) -> bool {
    name == SEARCH || name == CALL
}

impl Own {
    /// The tool as views have it.
    pub(crate) fn item(self) -> Item {
        let (name, json) = match self {
            Self::Search => (SEARCH, SEARCH_JSON),
            Self::Call => (CALL, CALL_JSON),
        };
        Item {
            name: name.into(),
            json: Bytes::from_static(json.as_bytes()),
            target: Target::Own(self),
        }
    }

    /// The tool of a name. Views that list neither of them have them too: a client that asked for some tools
    /// alone was shown them.
    pub(crate) fn named(name: &str) -> Option<&'static Arc<Item>> {
        static ALL: LazyLock<[Arc<Item>; 2]> =
            LazyLock::new(|| [Own::Search, Own::Call].map(|own| Arc::new(own.item())));
        ALL.iter().find(|item| item.name() == name)
    }

    /// What is known of the tool.
    pub(crate) fn metadata(self) -> Metadata {
        let (category, estimated_duration) = match self {
            Self::Search => (Category::Search, EstimatedDuration::Fast),
            Self::Call => (Category::Automation, EstimatedDuration::Medium),
        };
        Metadata {
            category,
            priority: PRIORITY_MAX,
            tags: BTreeSet::new(),
            estimated_duration,
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Arguments {
    query: Option<String>,
    category: Option<Category>,
    tags: Vec<Arc<str>>,
    limit: Option<usize>,
}

/// Finds tools, as the result of a call.
///
/// # Errors
/// [`Error::Invalid`].
pub(crate) fn search(view: &View, arguments: Option<&str>) -> Result<Raw, Error> {
    let arguments: Arguments =
        serde_json::from_str(arguments.unwrap_or("{}")).map_err(|_| Error::Invalid {
            what: "arguments",
            why: "must be as the input schema of nexus_search_tools says",
        })?;
    let limit = arguments.limit.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_MAX);
    let filter = ToolFilter {
        category: arguments.category,
        tags: arguments.tags,
        query: None,
    };
    let words: Vec<String> = search_words(&arguments.query.unwrap_or_default()).collect();
    let mut found: Vec<(u32, &Arc<Item>)> = view
        .tools()
        .items()
        .iter()
        .filter(|item| matches!(item.target, Target::Server { .. }) && filter.matches(item))
        .filter_map(|item| Some((score(item, &words)?, item)))
        .collect();
    // The list is sorted by name, and stays so among equals.
    found.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
    let total = found.len();
    let tools: Vec<&Arc<Item>> = found
        .into_iter()
        .take(limit)
        .map(|(_, item)| item)
        .collect();
    Ok(result(&tools, total))
}

/// How well a tool fits; nothing when none of the words is in it.
fn score(item: &Item, words: &[String]) -> Option<u32> {
    let metadata = item.metadata();
    let priority = u32::from(metadata.priority);
    if words.is_empty() {
        return Some(priority);
    }
    // The first line is the name, the second the title or the beginning of the description.
    let text = item.words();
    let name = text.lines().next().unwrap_or_default();
    let fit: u32 = words
        .iter()
        .map(|word| {
            let in_name = u32::from(name.contains(word.as_str())) * 4;
            let in_tags = u32::from(metadata.tags.iter().any(|tag| **tag == **word)) * 3;
            in_name + in_tags + u32::from(text.contains(word.as_str()))
        })
        .sum();
    (fit > 0).then_some(fit * 16 + priority)
}

fn result(tools: &[&Arc<Item>], total: usize) -> Raw {
    let mut list = vec![b'['];
    for (n, item) in tools.iter().enumerate() {
        if n > 0 {
            list.push(b',');
        }
        list.extend_from_slice(&short(item));
    }
    list.push(b']');
    let mut structured = Vec::new();
    let mut members = Members::begin(&mut structured);
    members.put("tools", &list);
    members.put("total", total.to_string().as_bytes());
    members.end();
    // A client that does not read structured content reads the same as text.
    let text = params::json_text(&String::from_utf8_lossy(&structured));
    let mut out = b"{\"content\":[{\"type\":\"text\",\"text\":".to_vec();
    out.extend_from_slice(&text);
    out.extend_from_slice(b"}],\"structuredContent\":");
    out.extend_from_slice(&structured);
    out.extend_from_slice(b",\"isError\":false}");
    params::raw(out).unwrap_or_else(|| params::empty().to_owned())
}

/// What is needed to call a tool.
fn short(item: &Item) -> Vec<u8> {
    let mut out = Vec::new();
    let mut members = Members::begin(&mut out);
    if let Ok(Some(object)) = RawObject::parse(&item.json) {
        for member in ["name", "title", "description", "inputSchema", "annotations"] {
            if let Some(value) = object.get(member) {
                members.put(member, value.as_bytes());
            }
        }
    }
    members.end();
    out
}

/// What `nexus_call_tool` is to call: a name and arguments.
///
/// # Errors
/// [`Error::Invalid`].
pub(crate) fn wanted(arguments: Option<&str>) -> Result<Raw, Error> {
    let invalid = |why| Error::Invalid {
        what: "arguments",
        why,
    };
    let object = RawObject::parse(arguments.unwrap_or("{}").as_bytes());
    let object = object.ok().flatten().ok_or(invalid("must be an object"))?;
    let name = object.text("name").ok().flatten();
    let name = name.ok_or(invalid("must have the name of a tool"))?;
    let inner = match object.get("arguments") {
        None => None,
        Some(inner) => {
            let is_object = matches!(Json::parse(inner.as_bytes()), Ok(Json::Object(_)));
            if !is_object {
                return Err(invalid("must have the tool's arguments as an object"));
            }
            serde_json::from_str::<&RawValue>(inner).ok()
        }
    };
    Ok(params::tool_call(&name, inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hubs_own_tools_are_tools() {
        for own in [Own::Search, Own::Call] {
            let item = own.item();
            let json = Json::parse(&item.json).unwrap();
            assert_eq!(json.get("name").and_then(Json::as_str), Some(item.name()));
            assert!(is_own_name(item.name()));
            assert!(matches!(json.get("inputSchema"), Some(Json::Object(_))));
        }
    }

    #[test]
    fn what_is_to_be_called_has_a_name_and_an_object() {
        let call = wanted(Some(r#"{"name":"a_b","arguments":{"x": 1.0}}"#)).unwrap();
        assert_eq!(call.get(), r#"{"name":"a_b","arguments":{"x": 1.0}}"#);
        for text in [
            "{}",
            r#"{"name":1}"#,
            r#"{"name":"a","arguments":[]}"#,
            "[]",
        ] {
            assert!(wanted(Some(text)).is_err(), "{text}");
        }
    }
}
