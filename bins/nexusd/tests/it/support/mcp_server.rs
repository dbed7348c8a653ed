//! A server of MCP that a test plays itself: one tool over HTTP, and no streams.

use serde_json::{Value, json};

use super::{Received, Respond, Stub};

/// Starts one. `call` answers the calls of its tool, and may take its time.
pub(crate) fn mcp_server(
    tool: Value,
    call: impl Fn(&Received) -> Value + Send + Sync + 'static,
) -> Stub {
    Stub::start(move |request| {
        let message: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let Some(id) = message.get("id") else {
            return Respond::With(202, String::new(), String::new());
        };
        let result = match message["method"].as_str().unwrap_or_default() {
            "initialize" => json!({
                "protocolVersion": message["params"]["protocolVersion"],
                "capabilities": { "tools": {} },
                "serverInfo": { "name": "stub", "version": "1.0.0" },
            }),
            "tools/list" => json!({ "tools": [tool] }),
            "tools/call" => call(request),
            _ => json!({}),
        };
        let answer = json!({ "jsonrpc": "2.0", "id": id, "result": result });
        Respond::json(200, answer.to_string())
    })
}
