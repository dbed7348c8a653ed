//! One tool, resource, template or prompt of one server, as the catalogue has it.

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;
use nexus_core::{Json, RawObject, write_json_string};
use serde::{Deserialize, Serialize};

use crate::{
    Error,
    catalogue::{
        metadata::{Metadata, Overrides},
        review::Finding,
        server::HubServer,
    },
    fingerprint::Fingerprint,
};

/// An entry of a server's list that is larger than this is left out.
pub const ENTRY_BYTES_MAX: usize = 512 * 1024;
/// The name or address of an entry has at most this many bytes.
pub const ORIGINAL_BYTES_MAX: usize = 2_048;

/// What a server offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ItemKind {
    /// A tool, which is called.
    Tool,
    /// A resource, which is read.
    Resource,
    /// A template for addresses of resources.
    Template,
    /// A prompt, which is got.
    Prompt,
}

impl ItemKind {
    /// Every kind, in the order in which they are asked for.
    pub const ALL: [Self; 4] = [Self::Tool, Self::Resource, Self::Template, Self::Prompt];

    /// The kind as it is written in records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Resource => "resource",
            Self::Template => "template",
            Self::Prompt => "prompt",
        }
    }

    /// MCP's name for asking for the list.
    #[must_use]
    pub const fn list_method(self) -> &'static str {
        match self {
            Self::Tool => "tools/list",
            Self::Resource => "resources/list",
            Self::Template => "resources/templates/list",
            Self::Prompt => "prompts/list",
        }
    }

    /// The member of the answer that is the list.
    #[must_use]
    pub const fn list_member(self) -> &'static str {
        match self {
            Self::Tool => "tools",
            Self::Resource => "resources",
            Self::Template => "resourceTemplates",
            Self::Prompt => "prompts",
        }
    }

    /// The member of an entry by which it is asked for.
    #[must_use]
    pub const fn key_member(self) -> &'static str {
        match self {
            Self::Tool | Self::Prompt => "name",
            Self::Resource => "uri",
            Self::Template => "uriTemplate",
        }
    }

    /// Whether entries are given names of their own.
    pub(crate) const fn is_named(self) -> bool {
        matches!(self, Self::Tool | Self::Prompt)
    }

    /// The place in [`ItemKind::ALL`].
    pub(crate) const fn place(self) -> usize {
        match self {
            Self::Tool => 0,
            Self::Resource => 1,
            Self::Template => 2,
            Self::Prompt => 3,
        }
    }
}

/// An entry as its server wrote it, looked at.
#[derive(Debug, Clone)]
pub(crate) struct Offered {
    pub(crate) original: Arc<str>,
    pub(crate) text: Bytes,
}

impl Offered {
    /// Reads an entry of a list; nothing if it is none: it has no name, is too large, or is no object.
    pub(crate) fn read(kind: ItemKind, text: &str) -> Option<Self> {
        if text.len() > ENTRY_BYTES_MAX {
            return None;
        }
        // As strict as for anything that strangers send: two members of one name could be read differently
        // by who approves it and by who uses it.
        let json = Json::parse(text.as_bytes()).ok()?;
        let original = json.get(kind.key_member())?.as_str()?;
        let is_good = (1..=ORIGINAL_BYTES_MAX).contains(&original.len())
            && !original.chars().any(char::is_control);
        is_good.then(|| Self {
            original: original.into(),
            text: Bytes::copy_from_slice(text.as_bytes()),
        })
    }
}

/// What is kept of a tool that is not as it was approved.
#[derive(Debug, Clone)]
pub(crate) struct Pending {
    /// Its text now.
    pub(crate) text: Bytes,
    pub(crate) fingerprint: Fingerprint,
    /// What has changed.
    pub(crate) findings: Vec<Finding>,
}

/// One tool, resource, template or prompt of one server.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) kind: ItemKind,
    /// The name or address that the server gives it.
    pub(crate) original: Arc<str>,
    /// The name that it has among all others; for resources the address itself.
    pub(crate) exposed: Arc<str>,
    /// The text that may be shown, as the server wrote it. Of a tool that was never approved, what there is.
    pub(crate) text: Bytes,
    /// The same under its exposed name, and with where it comes from.
    pub(crate) shown: Bytes,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) metadata: Metadata,
    /// Name, title and description in lower case, for searching; of tools only.
    pub(crate) words: Box<str>,
    /// Whether an operator has switched it off.
    pub(crate) is_disabled: bool,
    pub(crate) standing: Standing,
}

impl Entry {
    /// Puts an entry together.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the text, which was looked at before it was kept, is not what it has to be.
    pub(crate) fn new(
        server: &HubServer,
        kind: ItemKind,
        exposed: Arc<str>,
        offered: Offered,
        standing: Standing,
    ) -> Result<Self, Error> {
        let Offered { original, text } = offered;
        let json = Json::parse(&text).map_err(|_| damaged(&original))?;
        let overrides = overrides(server, &original);
        let fingerprint = Fingerprint::of(&json);
        let is_tool = kind == ItemKind::Tool;
        let shown = if kind.is_named() {
            shown(server, &exposed, &original, fingerprint, &text)?
        } else {
            text.clone()
        };
        Ok(Self {
            kind,
            fingerprint,
            metadata: Metadata::of(&original, &json, &overrides),
            words: if is_tool {
                words(&exposed, &json)
            } else {
                Box::default()
            },
            is_disabled: overrides.disabled,
            standing,
            original,
            exposed,
            text,
            shown,
        })
    }

    /// The same for a server of which an operator says something else now.
    pub(crate) fn renewed(&self, server: &HubServer) -> Result<Self, Error> {
        let offered = Offered {
            original: self.original.clone(),
            text: self.text.clone(),
        };
        let standing = self.standing.clone();
        Self::new(server, self.kind, self.exposed.clone(), offered, standing)
    }

    /// Whether somebody who may use it can.
    pub(crate) fn is_usable(&self) -> bool {
        self.standing.is_listed && !self.standing.is_waiting && !self.is_disabled
    }
}

/// How far an entry was looked at.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    /// Whether its server still offers it. What is gone keeps its name and what was approved of it.
    pub(crate) is_listed: bool,
    /// Whether its text was ever approved.
    pub(crate) is_approved: bool,
    /// Whether it is hidden until somebody has looked at `pending`.
    pub(crate) is_waiting: bool,
    /// What is offered now, if that is not as it was approved.
    pub(crate) pending: Option<Pending>,
}

impl Standing {
    /// It is as it should be.
    pub(crate) const APPROVED: Self = Self {
        is_listed: true,
        is_approved: true,
        is_waiting: false,
        pending: None,
    };
}

fn overrides(server: &HubServer, original: &str) -> Overrides {
    let of = |name| server.overrides.get(name).cloned().unwrap_or_default();
    of("").and(&of(original))
}

pub(crate) fn damaged(original: &str) -> Error {
    Error::Damaged {
        what: format!("the text of {original:?}"),
    }
}

/// The text with the exposed name, and in `_meta` the server, the original name, the category and the
/// fingerprint.
fn shown(
    server: &HubServer,
    exposed: &str,
    original: &str,
    fingerprint: Fingerprint,
    text: &[u8],
) -> Result<Bytes, Error> {
    let object = RawObject::parse(text)
        .ok()
        .flatten()
        .ok_or_else(|| damaged(original))?;
    let mut out = Vec::with_capacity(text.len() + 256);
    out.extend_from_slice(b"{\"name\":");
    write_json_string(&mut out, exposed);
    for (member, value) in object.members() {
        if member != "name" && member != "_meta" {
            out.push(b',');
            write_json_string(&mut out, member);
            out.push(b':');
            out.extend_from_slice(value.as_bytes());
        }
    }
    out.extend_from_slice(b",\"_meta\":{");
    for (member, value) in [
        ("nexus/server", Cow::Borrowed(server.alias.as_str())),
        ("nexus/name", Cow::Borrowed(original)),
        ("nexus/fingerprint", Cow::Owned(fingerprint.to_hex())),
    ] {
        if member != "nexus/server" {
            out.push(b',');
        }
        write_json_string(&mut out, member);
        out.push(b':');
        write_json_string(&mut out, &value);
    }
    let meta = object.get("_meta").unwrap_or("{}");
    if let Ok(Some(meta)) = RawObject::parse(meta.as_bytes()) {
        // What a server says in Nexus's name is not passed on.
        for (member, value) in meta.members().filter(|(m, _)| !m.starts_with("nexus/")) {
            out.push(b',');
            write_json_string(&mut out, member);
            out.push(b':');
            out.extend_from_slice(value.as_bytes());
        }
    }
    out.extend_from_slice(b"}}");
    Ok(out.into())
}

fn words(exposed: &str, tool: &Json<'_>) -> Box<str> {
    let mut words = exposed.to_lowercase();
    for member in ["title", "description"] {
        if let Some(text) = tool.get(member).and_then(Json::as_str) {
            words.push('\n');
            words.push_str(&text.to_lowercase());
        }
    }
    words.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::testing;

    #[test]
    fn only_what_can_be_asked_for_is_an_entry() {
        let read = |text: &str| Offered::read(ItemKind::Tool, text).map(|offered| offered.original);
        assert_eq!(read(r#"{"name":"a"}"#).as_deref(), Some("a"));
        for text in [
            "1",
            "{}",
            r#"{"name":1}"#,
            r#"{"name":""}"#,
            r#"{"name":"a\nb"}"#,
            r#"{"name":"a","name":"b"}"#,
            r#"{"uri":"a"}"#,
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        assert!(
            read(&format!(
                r#"{{"name":"{}"}}"#,
                "a".repeat(ORIGINAL_BYTES_MAX)
            ))
            .is_some()
        );
        assert!(
            read(&format!(
                r#"{{"name":"{}"}}"#,
                "a".repeat(ORIGINAL_BYTES_MAX + 1)
            ))
            .is_none()
        );
        let resource = Offered::read(ItemKind::Resource, r#"{"uri":"file:///a"}"#).unwrap();
        assert_eq!(&*resource.original, "file:///a");
    }

    #[test]
    fn a_tool_is_shown_under_its_name_with_all_that_its_server_said() {
        let server = testing::server("s", "brave");
        let text = r#"{"name":"x","execution":{"taskSupport":"optional"},"_meta":{"a":1.50,"nexus/server":"no"}}"#;
        let offered = Offered::read(ItemKind::Tool, text).unwrap();
        let entry = Entry::new(
            &server,
            ItemKind::Tool,
            "brave_x".into(),
            offered,
            Standing::APPROVED,
        )
        .unwrap();
        let shown = String::from_utf8(entry.shown.to_vec()).unwrap();
        let fingerprint = entry.fingerprint.to_hex();
        assert_eq!(
            shown,
            format!(
                r#"{{"name":"brave_x","execution":{{"taskSupport":"optional"}},"_meta":{{"nexus/server":"brave","nexus/name":"x","nexus/fingerprint":"{fingerprint}","a":1.50}}}}"#
            )
        );
        assert_eq!(entry.text, text.as_bytes());
    }
}
