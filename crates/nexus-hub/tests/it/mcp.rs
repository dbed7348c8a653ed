//! The MCP endpoint over real HTTP, before a hub with a server within the test.

#[path = "mcp/calls.rs"]
mod calls;
#[path = "mcp/client.rs"]
pub(crate) mod client;
#[path = "mcp/doors.rs"]
mod doors;
#[path = "mcp/sessions.rs"]
mod sessions;
#[path = "mcp/streams.rs"]
mod streams;
#[path = "mcp/talking.rs"]
mod talking;
#[path = "mcp/tasks.rs"]
mod tasks;
#[path = "mcp/toy.rs"]
mod toy;
