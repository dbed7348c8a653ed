//! A backup or a restoration is killed at each of its steps: at every call that changes a name or waits for the disk.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
};

use nexus_store::{Sqlite, Verified};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::{done, run, text, vote};
use crate::{
    crash::{can_trace, skip},
    support::{DaemonOptions, Process, nexusd},
};

/// The calls at which it is killed, each kind counted by itself.
const CALLS: [&str; 3] = [
    "rename,renameat,renameat2,mkdir,mkdirat,rmdir",
    "fsync,fdatasync",
    "unlink,unlinkat,openat",
];
/// More calls of a kind than there are.
const CALLS_MAX: usize = 400;
/// Files are opened often, and mostly to be read: of those only some calls are tried.
const STEP: usize = 2;

/// A log that a killed daemon left, with what was written ahead, and a backup of its beginning.
struct World {
    folder: TempDir,
    runtime: Runtime,
    old: Verified,
    backup: Verified,
}

impl World {
    fn new() -> Self {
        let daemon = DaemonOptions::serve().start();
        for n in 0..20 {
            assert_eq!(daemon.publish(&vote(&n.to_string())).status, 200);
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("backup.db");
        done(run(daemon.folder(), &["backup", text(&file)]));
        for n in 20..30 {
            assert_eq!(daemon.publish(&vote(&n.to_string())).status, 200);
        }
        daemon.process().kill();
        let (_, _, killed) = daemon.end();
        let data = folder.path().join("template");
        fs::create_dir(&data).unwrap();
        for name in ["nexus-log.db", "nexus-log.db-wal"] {
            fs::copy(killed.path().join("data").join(name), data.join(name)).unwrap();
        }
        let runtime = Runtime::new().unwrap();
        let backup = runtime.block_on(Sqlite::verify(&file)).unwrap();
        let log = data.join("nexus-log.db");
        let old = runtime.block_on(Sqlite::verify(&log)).unwrap();
        assert!(old.last > backup.last);
        Self {
            folder,
            runtime,
            old,
            backup,
        }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("backup.db")
    }

    /// A folder with the log as it was left.
    fn fresh(&self) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        for name in ["nexus-log.db", "nexus-log.db-wal"] {
            fs::copy(
                self.folder.path().join("template").join(name),
                data.join(name),
            )
            .unwrap();
        }
        folder
    }

    fn verify(&self, path: &Path) -> Verified {
        let verified = self.runtime.block_on(Sqlite::verify(path));
        verified.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// The log is the old one or the new one, whole, as soon as it is opened; gives which.
    fn is_restored(&self, data: &Path) -> bool {
        let log = data.join("nexus-log.db");
        let opened = self.runtime.block_on(Sqlite::migrate(&log, None));
        opened.unwrap_or_else(|error| panic!("it cannot be opened: {error}"));
        let now = self.verify(&log);
        let aside = data.join("nexus-log.db.before-restore-1/nexus-log.db");
        if now == self.old {
            assert!(!aside.exists());
            return false;
        }
        assert_eq!((now.last, now.hash), (self.backup.last, self.backup.hash));
        assert_ne!(now.epoch, self.old.epoch);
        assert_eq!(self.verify(&aside), self.old);
        assert!(!data.join("nexus-log.db.restore").exists());
        true
    }
}

/// Runs a command that is killed at the `when`-th call of a kind, counted in each thread.
fn killed_at(folder: &Path, arguments: &[&str], calls: &str, when: usize) -> ExitStatus {
    let own = nexusd(folder, arguments);
    let mut command = Command::new("strace");
    command
        .args(["-f", "-qq", "-o", "/dev/null", "-e"])
        .arg(format!("trace={calls}"))
        .arg("-e")
        .arg(format!("inject={calls}:signal=SIGKILL:when={when}"))
        .arg(own.get_program())
        .args(own.get_args())
        .current_dir(folder)
        .env_clear();
    let environment = own.get_envs();
    command.envs(environment.filter_map(|(name, value)| Some((name, value?))));
    Process::run(&mut command).0
}

/// Runs it once for each call that it makes, killed there; gives how often that was.
fn kill_everywhere(mut round: impl FnMut(&str, usize) -> ExitStatus) -> usize {
    let mut kills = 0;
    for calls in CALLS {
        let step = if calls.contains("openat") { STEP } else { 1 };
        let ended = (1..CALLS_MAX).step_by(step).find(|when| {
            let status = round(calls, *when);
            kills += usize::from(!status.success());
            status.success()
        });
        assert!(ended.is_some(), "{calls}: there are more");
    }
    kills
}

#[test]
fn whenever_a_restoration_is_killed_the_old_log_or_the_new_one_is_there() {
    if !can_trace() {
        return skip("strace is not installed, or may not trace");
    }
    let world = World::new();
    let file = world.file();
    let restore = ["restore", text(&file), "--force"];
    let (mut old, mut new) = (0, 0);
    let kills = kill_everywhere(|calls, when| {
        let folder = world.fresh();
        let data = folder.path().join("data");
        let status = killed_at(folder.path(), &restore, calls, when);
        let is_restored = world.is_restored(&data);
        assert!(is_restored || !status.success(), "{calls} {when}");
        if status.success() {
            return status;
        }
        *if is_restored { &mut new } else { &mut old } += 1;
        // Whoever asks again gets it.
        done(run(folder.path(), &restore));
        let now = world.verify(&data.join("nexus-log.db"));
        assert_eq!((now.last, now.hash), (world.backup.last, world.backup.hash));
        status
    });
    println!("killed {kills} times: {old} times the old log was there, {new} times the new one");
    assert!(old > 5 && new > 5, "{old} {new}");
}

#[test]
fn whenever_a_backup_is_killed_there_is_a_whole_one_or_none() {
    if !can_trace() {
        return skip("strace is not installed, or may not trace");
    }
    let world = World::new();
    let folder = world.fresh();
    let to = folder.path().join("to/backup.db");
    let backup = ["backup", text(&to), "--force"];
    let kills = kill_everywhere(|calls, when| {
        let _ = fs::remove_dir_all(folder.path().join("to"));
        fs::create_dir(folder.path().join("to")).unwrap();
        let status = killed_at(folder.path(), &backup, calls, when);
        if to.exists() {
            assert_eq!(world.verify(&to), world.old, "{calls} {when}");
        }
        assert!(to.exists() || !status.success(), "{calls} {when}");
        // The next one leaves nothing of the one before.
        done(run(folder.path(), &backup));
        assert_eq!(world.verify(&to), world.old);
        let left = fs::read_dir(folder.path().join("to")).unwrap().count();
        assert_eq!(left, 1, "{calls} {when}");
        status
    });
    println!("killed {kills} times");
    assert!(kills > 5, "{kills}");
    assert_eq!(
        world.verify(&folder.path().join("data/nexus-log.db")),
        world.old
    );
}
