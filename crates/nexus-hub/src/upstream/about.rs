//! What the two sides of a connection say they are and can do.

use std::{fmt, sync::Arc};

use nexus_core::RawObject;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::Raw;

/// What a server said about itself when it was connected.
#[derive(Debug, Clone)]
pub struct About {
    /// The revision of the protocol that is spoken, `2025-11-25`.
    pub protocol_version: Arc<str>,
    /// What the server can do, as it said it.
    pub capabilities: Arc<RawValue>,
    /// Name and version of the server, as it said them.
    pub server_info: Option<Arc<RawValue>>,
    /// How the server wants to be used.
    pub instructions: Option<Arc<str>>,
}

impl About {
    /// What is known before anything was said.
    pub(crate) fn unknown() -> Self {
        Self {
            protocol_version: "".into(),
            capabilities: RawValue::NULL.to_owned().into(),
            server_info: None,
            instructions: None,
        }
    }

    /// Whether the server declared a capability: `tools`, `resources`, `prompts`, `completions`, `logging`.
    #[must_use]
    pub fn can(&self, capability: &str) -> bool {
        let capabilities = RawObject::parse(self.capabilities.get().as_bytes());
        matches!(capabilities, Ok(Some(object)) if object.get(capability).is_some())
    }

    /// Whether the server declared that of a capability, as `listChanged` of `tools`.
    #[must_use]
    pub fn can_also(&self, capability: &str, detail: &str) -> bool {
        let outer = RawObject::parse(self.capabilities.get().as_bytes());
        let Ok(Some(outer)) = outer else {
            return false;
        };
        let inner = outer.get(capability).map(str::as_bytes);
        matches!(inner.map(RawObject::parse), Some(Ok(Some(inner))) if inner.get(detail) == Some("true"))
    }
}

/// What a client declared it can do, as it wrote it and as far as Nexus asks about it.
#[derive(Clone)]
pub struct ClientCapabilities {
    raw: Arc<RawValue>,
    flags: Flags,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Flags {
    roots: bool,
    sampling: bool,
    elicitation_form: bool,
    elicitation_url: bool,
}

#[derive(Deserialize, Default)]
struct Declared {
    #[serde(default)]
    roots: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    sampling: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    elicitation: Option<Elicitation>,
}

#[derive(Deserialize, Default)]
struct Elicitation {
    #[serde(default)]
    form: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    url: Option<serde::de::IgnoredAny>,
}

impl ClientCapabilities {
    /// Reads a declaration; what is not understood of it counts as not declared.
    #[must_use]
    pub fn new(raw: Raw) -> Self {
        let declared: Declared = serde_json::from_str(raw.get()).unwrap_or_default();
        let elicitation = declared.elicitation;
        let flags = Flags {
            roots: declared.roots.is_some(),
            sampling: declared.sampling.is_some(),
            // An empty object is what revisions before 2025-11-25 wrote: they knew forms alone.
            elicitation_form: elicitation
                .as_ref()
                .is_some_and(|modes| modes.form.is_some() || modes.url.is_none()),
            elicitation_url: elicitation.is_some_and(|modes| modes.url.is_some()),
        };
        Self {
            raw: raw.into(),
            flags,
        }
    }

    /// A client that can be asked nothing.
    #[must_use]
    pub fn none() -> Self {
        Self::fixed("{}")
    }

    /// All that Nexus can pass on to a client that can do it too: roots, sampling, elicitation.
    #[must_use]
    pub fn all() -> Self {
        Self::fixed(
            r#"{"roots":{"listChanged":true},"sampling":{"context":{},"tools":{}},"elicitation":{"form":{},"url":{}}}"#,
        )
    }

    fn fixed(text: &str) -> Self {
        // The texts are written above and are JSON.
        let raw = RawValue::from_string(text.to_owned());
        Self::new(raw.unwrap_or_else(|_| RawValue::NULL.to_owned()))
    }

    /// The declaration as it was written.
    #[must_use]
    pub fn raw(&self) -> &RawValue {
        &self.raw
    }

    /// Whether the client says which folders a server may use.
    #[must_use]
    pub fn has_roots(&self) -> bool {
        self.flags.roots
    }

    /// Whether the client samples a model for a server.
    #[must_use]
    pub fn has_sampling(&self) -> bool {
        self.flags.sampling
    }

    /// Whether the client lets a server ask a person to fill in a form.
    #[must_use]
    pub fn has_form_elicitation(&self) -> bool {
        self.flags.elicitation_form
    }

    /// Whether the client lets a server ask a person to visit an address.
    #[must_use]
    pub fn has_url_elicitation(&self) -> bool {
        self.flags.elicitation_url
    }
}

impl Default for ClientCapabilities {
    fn default() -> Self {
        Self::none()
    }
}

impl fmt::Debug for ClientCapabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.flags.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(text: &str) -> ClientCapabilities {
        ClientCapabilities::new(RawValue::from_string(text.to_owned()).unwrap())
    }

    #[test]
    fn a_declaration_is_kept_as_it_was_written_and_read_as_far_as_it_goes() {
        let text = r#"{"sampling": {"tools":{}},"x-own":[1.50]}"#;
        let capabilities = declared(text);
        assert_eq!(capabilities.raw().get(), text);
        assert!(capabilities.has_sampling() && !capabilities.has_roots());
        assert!(!capabilities.has_form_elicitation() && !capabilities.has_url_elicitation());
    }

    #[test]
    fn elicitation_without_a_mode_means_forms() {
        let old = declared(r#"{"elicitation":{}}"#);
        assert!(old.has_form_elicitation() && !old.has_url_elicitation());
        let url = declared(r#"{"elicitation":{"url":{}}}"#);
        assert!(!url.has_form_elicitation() && url.has_url_elicitation());
        let both = ClientCapabilities::all();
        assert!(both.has_form_elicitation() && both.has_url_elicitation());
    }

    #[test]
    fn what_cannot_be_understood_is_not_declared() {
        for text in ["null", "[]", "7", r#"{"elicitation":true}"#] {
            assert!(!declared(text).has_form_elicitation(), "{text}");
        }
    }

    #[test]
    fn a_server_can_what_it_declared() {
        let about = About {
            protocol_version: "2025-11-25".into(),
            capabilities: RawValue::from_string(
                r#"{"tools":{"listChanged":true},"resources":{},"prompts":null}"#.to_owned(),
            )
            .unwrap()
            .into(),
            server_info: None,
            instructions: None,
        };
        assert!(about.can("tools") && about.can("resources"));
        assert!(!about.can("prompts") && !about.can("logging"));
        assert!(about.can_also("tools", "listChanged"));
        assert!(!about.can_also("resources", "subscribe"));
    }
}
