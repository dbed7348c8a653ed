//! A server of MCP whose one tool takes until a test lets it go on.

use std::{
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::json;

use super::{PATIENCE, Stub, mcp_server};

/// How long a call waits to go on: longer than the test that began it waits for anything.
const HELD_MAX: Duration = Duration::from_secs(2 * PATIENCE.as_secs());

/// One with the tool `report`.
pub(crate) struct SlowServer {
    stub: Stub,
    gate: Arc<(Mutex<bool>, Condvar)>,
    calls: Arc<AtomicUsize>,
}

impl SlowServer {
    pub(crate) fn start() -> Self {
        let gate = Arc::<(Mutex<bool>, Condvar)>::default();
        let calls = Arc::<AtomicUsize>::default();
        let (opened, counted) = (gate.clone(), calls.clone());
        let tool = json!({
            "name": "report",
            "inputSchema": { "type": "object" },
            "_meta": { "estimatedDuration": "slow" },
        });
        let stub = mcp_server(tool, move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            let (is_open, changed) = &*opened;
            let closed = is_open.lock().unwrap();
            drop(changed.wait_timeout_while(closed, HELD_MAX, |is_open| !*is_open));
            json!({ "content": [{ "type": "text", "text": "done" }] })
        });
        Self { stub, gate, calls }
    }

    pub(crate) fn url(&self) -> String {
        format!("{}/mcp", self.stub.url())
    }

    /// How many calls have come.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// Lets the calls go on: those that wait, and all that come.
    pub(crate) fn go_on(&self) {
        let (is_open, changed) = &*self.gate;
        *is_open.lock().unwrap() = true;
        changed.notify_all();
    }
}

impl Drop for SlowServer {
    fn drop(&mut self) {
        // Whoever still waits ends with the test.
        self.go_on();
    }
}
