//! What the tests of the daemon share.

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/http.rs"]
mod http;
#[path = "support/mcp_server.rs"]
mod mcp_server;
#[path = "support/process.rs"]
mod process;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/reader.rs"]
mod reader;
#[path = "support/signing.rs"]
mod signing;
#[path = "support/slow_server.rs"]
mod slow_server;
#[path = "support/stub.rs"]
mod stub;
#[path = "support/tools.rs"]
mod tools;

pub(crate) use daemon::{Daemon, DaemonOptions, SECRET, nexusd};
pub(crate) use http::{Answer, end_of_head, get, header, post, request};
pub(crate) use mcp_server::mcp_server;
pub(crate) use process::Process;
pub(crate) use proxy::Proxy;
pub(crate) use reader::{By, Reader};
pub(crate) use signing::{hmac_hex, is_signed_standard, sign};
pub(crate) use slow_server::SlowServer;
pub(crate) use stub::{Received, Respond, Stub};
pub(crate) use tools::{CLIENTS, Tool, need, newer_node, node_modules, server_modules, tool};

use std::time::{Duration, Instant};

/// How long anything may take that the tests wait for. Only a failing test waits that long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Asks until there is an answer.
///
/// # Panics
/// When there is none in time.
#[track_caller]
pub(crate) fn until<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    until_within(PATIENCE, what, ask)
}

/// Asks until there is an answer, for what may take longer than usual.
///
/// # Panics
/// When there is none in time.
#[track_caller]
pub(crate) fn until_within<T>(
    patience: Duration,
    what: &str,
    mut ask: impl FnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "in vain waited for: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
