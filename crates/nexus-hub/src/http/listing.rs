//! How tools, resources and prompts are shown: what their servers said, and what the hub knows beside it.

use ::http::StatusCode;
use bytes::Bytes;
use nexus_core::{iso8601_ms, write_json_string};
use nexus_http::Reply;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Api;
use crate::{Item, Listing, Metadata};

/// A tool as it is shown.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ToolView<'a> {
    name: &'a str,
    #[serde(flatten)]
    said: Said<'a>,
    metadata: Metadata,
    /// Whose it is; nothing for the hub's own.
    server_id: Option<&'a str>,
}

/// What of a tool's text is shown, as its server wrote it.
#[derive(Default)]
struct Said<'a>(Vec<(&'static str, &'a RawValue)>);

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Text<'a> {
    #[serde(borrow)]
    title: Option<&'a RawValue>,
    #[serde(borrow)]
    description: Option<&'a RawValue>,
    #[serde(borrow)]
    input_schema: Option<&'a RawValue>,
    #[serde(borrow)]
    output_schema: Option<&'a RawValue>,
    #[serde(borrow)]
    annotations: Option<&'a RawValue>,
}

impl Serialize for Said<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

impl<'a> ToolView<'a> {
    pub(super) fn new(item: &'a Item) -> Self {
        // The catalogue has read it before.
        let text: Text<'_> = serde_json::from_slice(item.json()).unwrap_or_default();
        let members = [
            ("title", text.title),
            ("description", text.description),
            ("inputSchema", text.input_schema),
            ("outputSchema", text.output_schema),
            ("annotations", text.annotations),
        ];
        let said = members
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        Self {
            name: item.name(),
            said: Said(said.collect()),
            metadata: item.metadata(),
            server_id: item.server().map(crate::ServerId::as_str),
        }
    }

    pub(super) fn name(&self) -> &str {
        self.name
    }
}

/// Items as their servers wrote them, as a JSON array.
pub(super) fn write_items<'a>(items: impl Iterator<Item = &'a Item>, out: &mut Vec<u8>) {
    out.push(b'[');
    for (n, item) in items.enumerate() {
        if n > 0 {
            out.push(b',');
        }
        out.extend_from_slice(item.json());
    }
    out.push(b']');
}

impl Api {
    /// A whole list, as the action API gives it: under its name, and that it comes from the catalogue.
    pub(super) fn whole_list(&self, member: &str, list: &Listing) -> Reply {
        let bytes: usize = list.items().iter().map(|item| item.json().len() + 1).sum();
        let mut out = Vec::with_capacity(bytes + 128);
        out.push(b'{');
        write_json_string(&mut out, member);
        out.push(b':');
        write_items(list.items().iter().map(AsRef::as_ref), &mut out);
        self.end_list(out)
    }

    /// What every list of the action API ends with.
    pub(super) fn end_list(&self, mut out: Vec<u8>) -> Reply {
        out.extend_from_slice(b",\"cached\":true,\"timestamp\":");
        write_json_string(&mut out, &iso8601_ms(self.clock().now_us()));
        out.push(b'}');
        Reply::bytes(StatusCode::OK, "application/json", Bytes::from(out))
    }
}
