//! The disk of the daemon is full: publishing stops, reading goes on, and publishing resumes when there is
//! space again, in the same process.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use serde_json::json;
use tempfile::TempDir;

use crate::{
    crash::{Load, is_deep, loaded, skip, stop},
    support::{Daemon, SECRET, get, until},
};

const DISK_MIB: u64 = 96;
const PUBLISHERS: usize = 16;
const READERS: usize = 2;

/// A small disk, mounted in a folder as long as this lives.
pub(crate) struct SmallDisk(TempDir);

impl SmallDisk {
    /// Nothing, where this user may not mount.
    pub(crate) fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={DISK_MIB}m"), "tmpfs"])
            .arg(folder.path())
            .stderr(Stdio::null())
            .status();
        let mounted = status.is_ok_and(|status| status.success());
        mounted.then(|| Self(folder))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes every byte that is left; gives the file that does.
    pub(crate) fn fill(&self) -> PathBuf {
        let path = self.path().join("filler");
        let mut options = OpenOptions::new();
        let mut file = options.create(true).append(true).open(&path).unwrap();
        for block_bytes in [1 << 20, 4 << 10, 1] {
            let block = vec![b'x'; block_bytes];
            while file.write_all(&block).is_ok() {}
        }
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

#[test]
fn a_full_disk_stops_publishing_until_space_returns() {
    let Some(disk) = SmallDisk::mount() else {
        return skip("a disk cannot be mounted here");
    };
    let cycles = if is_deep() { 20 } else { 3 };
    let data = disk.path().join("data");
    let daemon = loaded(&data).start();
    let mut load = Load::new(PUBLISHERS, READERS);
    load.begin(daemon.address());
    for _ in 0..cycles {
        load.until_read(500);
        let filler = disk.fill();
        load.until_refused();
        is_told_to_everyone(&daemon);
        fs::remove_file(filler).unwrap();
        let freed = Instant::now();
        load.until_oks(500);
        println!(
            "500 events {} ms after there was space",
            freed.elapsed().as_millis()
        );
        assert_eq!(get(daemon.address(), "/health/ready", &[]).status, 200);
    }
    stop(daemon);
    load.end();
    let daemon = loaded(&data).start();
    load.settle(&daemon);
    stop(daemon);
    let verdict = load.judge(&data);
    println!("full {cycles} times: {verdict}");
    assert_eq!(verdict.seen, verdict.events, "readers saw everything");
    assert!(verdict.refused() >= cycles);
    assert_eq!(verdict.open_kept(), 0);
}

/// A publisher is refused and told when to come back, a probe sees it, and readers do not notice.
fn is_told_to_everyone(daemon: &Daemon) {
    let vote = json!({
        "event": "VOTE_CAST",
        "payload": { "proposalId": "crash", "voterId": "refused", "decision": "against" },
    });
    let refused = daemon.publish(&vote);
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert_eq!(refused.json()["code"], "storage-full");
    let after_s: u32 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!(after_s > 0);
    until("the probe", || {
        let ready = get(daemon.address(), "/health/ready", &[]);
        (ready.status == 503 && ready.json()["reason"] == "storage-full").then_some(())
    });
    assert_eq!(get(daemon.address(), "/health/live", &[]).status, 200);
    let log = daemon.read("/events/log?limit=1000", SECRET);
    let events = log["events"].as_array().unwrap();
    assert!(events.len() >= 500, "{}", events.len());
}
