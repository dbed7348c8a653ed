//! The machine's clock is set while work is held: leases last as long as they would have.

use std::{
    fs,
    path::{Path, PathBuf},
};

use nexus_core::parse_iso8601_us;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Bus, Identity, Mode, Socket};
use crate::support::{Tool, need, tool, until};

const HOUR_US: i64 = 3_600_000_000;
/// What a clock that was set may be off by, for all the time that a test takes.
const ROUGHLY_US: i64 = 300_000_000;

/// A daemon whose clock is the machine's and so many seconds.
struct Shifted {
    bus: Bus,
    file: PathBuf,
    /// Where the clock began.
    began_us: i64,
}

/// Says by how much the clock of whoever reads the file is off. It is read at each look at the clock, so it is
/// replaced in one step.
fn write_shift(file: &Path, seconds: i64) {
    let new = file.with_extension("new");
    fs::write(&new, format!("{seconds:+}\n")).unwrap();
    fs::rename(new, file).unwrap();
}

impl Shifted {
    fn start() -> Self {
        let folder: TempDir = tempfile::tempdir().unwrap();
        let file = folder.path().join("shift");
        write_shift(&file, 0);
        let library = tool(Tool::Clock).expect("asked for before");
        let options = Bus::options(Mode::Open)
            .env("LD_PRELOAD", library.to_str().unwrap())
            .env("FAKETIME_TIMESTAMP_FILE", file.to_str().unwrap())
            .env("FAKETIME_NO_CACHE", "1")
            // A clock that is set changes what time it is, not how long a second lasts.
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("DONT_FAKE_MONOTONIC", "1");
        let bus = Bus::within(Mode::Open, options, folder);
        let mut shifted = Self {
            bus,
            file,
            began_us: 0,
        };
        shifted.began_us = shifted.now_us();
        shifted
    }

    /// What time the daemon says it is.
    fn now_us(&self) -> i64 {
        time_us(&self.bus.read("/health")["timestamp"])
    }

    /// Sets the clock, and waits until the daemon sees it.
    #[track_caller]
    fn set(&self, hours: i64) {
        write_shift(&self.file, hours * 3_600);
        let expected_us = self.began_us + hours * HOUR_US;
        until("the daemon to see another time", || {
            ((self.now_us() - expected_us).abs() < ROUGHLY_US).then_some(())
        });
    }

    /// Work is held as before, and renewed for as long as it would have been.
    #[track_caller]
    fn assert_held(&self, by: &Identity, work_id: &str, lease_us: i64) {
        let other = json!({ "session_id": "other", "work_id": work_id });
        let stranger = self.bus.identity("other");
        let (status, refused) = self.bus.post(&stranger, "/work/claim", &other);
        assert_eq!((status, &refused["code"]), (409, &json!("work-held")));
        assert_eq!(refused["claimed_by"], by.id.as_str());
        let body = json!({ "session_id": by.id, "work_id": work_id });
        let (status, renewed) = self.bus.post(by, "/work/renew", &body);
        assert_eq!(status, 200, "{renewed}");
        let left_us = time_us(&renewed["lease_expires_at"]) - self.now_us();
        let least_us = lease_us - ROUGHLY_US.min(lease_us / 2);
        assert!((least_us..=lease_us).contains(&left_us), "{renewed}");
    }
}

#[track_caller]
fn time_us(value: &Value) -> i64 {
    parse_iso8601_us(value.as_str().unwrap()).unwrap()
}

#[test]
fn a_clock_that_is_set_by_an_hour_changes_no_lease() {
    if !need(&[Tool::Clock]) {
        return;
    }
    let world = Shifted::start();
    let bus = &world.bus;
    let (absent, present) = (bus.identity("absent"), bus.identity("present"));
    let mut socket = Socket::of(bus, &present);
    let claim = |by: &Identity, work_id: &str, lease_s: Option<u64>| {
        let mut body = json!({ "session_id": by.id, "work_id": work_id });
        if let Some(lease_s) = lease_s {
            body["lease_seconds"] = json!(lease_s);
        }
        let (status, claimed) = bus.post(by, "/work/claim", &body);
        assert_eq!(status, 200, "{claimed}");
    };
    claim(&absent, "timed", Some(600));
    let answer = socket.ask(json!({ "action": "claim", "work_id": "bound" }));
    assert_eq!(answer["status"], "claimed", "{answer}");

    for (hours, short) in [(1, "short-1"), (-1, "short-2"), (0, "short-3")] {
        claim(&absent, short, Some(5));
        world.set(hours);
        world.assert_held(&absent, "timed", 600_000_000);
        world.assert_held(&present, "bound", 30_000_000);
        // A short one ends in time: it lasts neither shorter nor an hour longer.
        until("the end of a short lease", || {
            (bus.fate(short).len() == 2).then_some(())
        });
    }
    let expired: Vec<Value> = bus.history("work.expired");
    let of = |event: &Value| event["payload"]["work_id"].clone();
    let expired: Vec<Value> = expired.iter().map(of).collect();
    assert_eq!(expired, ["short-1", "short-2", "short-3"]);
}
