//! How a connection begins in the era of `initialize`: 2025-11-25 and the revisions before it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::{
    About, CallError, ClientCapabilities, Request, Waited,
    calls::Calls,
    connection::{Wire, ask},
};
use crate::{UpstreamLimits, message};

/// The revision that is asked for.
const NEWEST: &str = "2025-11-25";
/// The revisions that are understood. They differ in what servers offer, not in how it is asked for.
const SPOKEN: [&str; 4] = [NEWEST, "2025-06-18", "2025-03-26", "2024-11-05"];

/// What Nexus says.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Hello<'a> {
    protocol_version: &'a str,
    capabilities: &'a RawValue,
    client_info: ClientInfo,
}

#[derive(Serialize)]
struct ClientInfo {
    name: &'static str,
    title: &'static str,
    version: &'static str,
}

/// What the server says.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Welcome {
    protocol_version: Arc<str>,
    #[serde(default)]
    capabilities: Option<Box<RawValue>>,
    #[serde(default)]
    server_info: Option<Box<RawValue>>,
    #[serde(default)]
    instructions: Option<Arc<str>>,
}

/// Greets a server that was just connected, until `deadline`.
pub(crate) async fn greet<W: Wire>(
    wire: &W,
    calls: &Arc<Calls>,
    capabilities: &ClientCapabilities,
    limits: &UpstreamLimits,
    deadline: Instant,
) -> Result<About, CallError> {
    let hello = Hello {
        protocol_version: NEWEST,
        capabilities: capabilities.raw(),
        client_info: ClientInfo {
            name: "nexus",
            title: "Nexus",
            version: env!("CARGO_PKG_VERSION"),
        },
    };
    let hello = serde_json::value::to_raw_value(&hello).map_err(CallError::not_connected)?;
    let request = Request::new("initialize", Some(hello), deadline);
    let welcome = match ask(wire, calls, request, limits).await {
        Err(CallError::Timeout { limit, .. }) => {
            let waited = Waited::Connecting;
            return Err(CallError::Timeout { waited, limit });
        }
        // It was asked nothing yet that could be done twice.
        Err(CallError::Gone { why }) => return Err(CallError::not_connected(why)),
        outcome => outcome?,
    };
    let welcome: Welcome = serde_json::from_str(welcome.get()).map_err(CallError::not_connected)?;
    if !SPOKEN.contains(&&*welcome.protocol_version) {
        let version = welcome
            .protocol_version
            .chars()
            .take(40)
            .collect::<String>();
        let why = format!("it speaks revision {version:?} of the protocol, which Nexus does not");
        return Err(CallError::not_connected(why));
    }
    Ok(About {
        protocol_version: welcome.protocol_version,
        capabilities: welcome
            .capabilities
            .unwrap_or_else(|| RawValue::NULL.to_owned())
            .into(),
        server_info: welcome.server_info.map(Arc::from),
        instructions: welcome.instructions,
    })
}

/// What is sent when the server's welcome was understood.
pub(crate) fn initialized() -> Vec<u8> {
    message::notification("notifications/initialized", None)
}
