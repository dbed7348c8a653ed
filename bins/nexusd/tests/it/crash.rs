//! The daemon is killed under load, again and again, and goes on; and what the tests of its other ends share.

#[path = "crash/connection.rs"]
mod connection;
#[path = "crash/judge.rs"]
mod judge;
#[path = "crash/load.rs"]
mod load;
#[path = "crash/publisher.rs"]
mod publisher;
#[path = "crash/reader.rs"]
mod reader;
#[path = "crash/record.rs"]
mod record;
#[path = "crash/stopping.rs"]
mod stopping;
#[path = "crash/sync_failure.rs"]
mod sync_failure;

pub(crate) use load::Load;
pub(crate) use sync_failure::can_trace;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use nexus_core::Random;

use crate::support::{Daemon, DaemonOptions};

pub(crate) const PUBLISHERS: usize = 64;
pub(crate) const READERS: usize = 8;
/// The moments of a run that is not told another seed.
const SEED: u64 = 20_251_121;

/// A daemon whose data outlives it, and which takes as much as it can.
pub(crate) fn loaded(data: &Path) -> DaemonOptions {
    DaemonOptions::serve()
        .env("DATA_DIR", data.to_str().unwrap())
        .env("NEXUS__LIMITS__NODE_EVENTS_PER_SECOND", "0")
}

/// Whether a run is to be long.
pub(crate) fn is_deep() -> bool {
    is_set("NEXUS_DEEP")
}

/// Says why a test is left out; where everything was asked for, that is a failure.
#[track_caller]
pub(crate) fn skip(why: &str) {
    assert!(
        !is_set("NEXUS_REQUIRE_ALL"),
        "nothing may be left out: {why}"
    );
    println!("skipped: {why}");
}

fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| value == "1")
}

/// Ends a daemon in order.
#[track_caller]
pub(crate) fn stop(daemon: Daemon) {
    daemon.terminate();
    let (status, ..) = daemon.end();
    assert_eq!(status.code(), Some(0), "{status}");
}

/// The seed of what a test leaves to chance: that of `NEXUS_TEST_SEED`.
pub(crate) fn seed() -> u64 {
    let seed = std::env::var("NEXUS_TEST_SEED");
    let seed = seed.map_or(SEED, |seed| {
        seed.parse().expect("NEXUS_TEST_SEED: a number")
    });
    println!("the moments are those of NEXUS_TEST_SEED={seed}");
    seed
}

/// When to kill, counted from ready.
struct Moments(Random);

impl Moments {
    /// As `NEXUS_TEST_SEED` says.
    fn seeded() -> Self {
        Self(Random::seeded(seed()))
    }

    fn next(&mut self) -> Duration {
        let random = u64::from_le_bytes(self.0.bytes());
        Duration::from_millis(50 + random % 1_451)
    }
}

/// Nothing that was acknowledged is lost, nothing that was seen changes, and whoever was in the middle of
/// something goes on where it was.
#[test]
fn nothing_acknowledged_is_lost_when_the_daemon_is_killed() {
    let kills = if is_deep() { 300 } else { 20 };
    let started = Instant::now();
    let data = tempfile::tempdir().unwrap();
    let mut load = Load::new(PUBLISHERS, READERS);
    let mut moments = Moments::seeded();
    let mut ready_after = Duration::ZERO;
    for _ in 0..kills {
        let daemon = loaded(data.path()).start();
        ready_after = ready_after.max(daemon.ready_after);
        load.begin(daemon.address());
        // Any moment is as good as any other: this wait chooses one, and nothing depends on it.
        std::thread::sleep(moments.next());
        // SIGKILL is how a daemon ends that is not ended in order.
        drop(daemon);
        load.end();
    }
    let daemon = loaded(data.path()).start();
    load.settle(&daemon);
    stop(daemon);
    let verdict = load.judge(data.path());
    println!(
        "{kills} kills in {:.1} s, ready after {} ms at most: {verdict}",
        started.elapsed().as_secs_f64(),
        ready_after.as_millis(),
    );
    assert_eq!(verdict.seen, verdict.events, "readers saw everything");
    assert!(verdict.sent_again > 0, "kills left nothing open");
}
