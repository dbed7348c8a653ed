//! The faces of the hub that are not MCP, on a real server: servers, tools, jobs and the actions.

#[path = "faces/canary.rs"]
mod canary;
#[path = "faces/isolation.rs"]
mod isolation;
#[path = "faces/jobs.rs"]
mod jobs;
#[path = "faces/programs.rs"]
mod programs;
#[path = "faces/reviews.rs"]
mod reviews;
#[path = "faces/servers.rs"]
mod servers;
#[path = "faces/stub.rs"]
mod stub;
#[path = "faces/support.rs"]
mod support;
