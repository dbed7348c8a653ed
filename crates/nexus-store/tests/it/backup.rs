//! Copies of a log that is in use: what is in them, and what is left when there can be none.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use nexus_core::{Log, Random, Seq};
use nexus_store::{Backup, Error, Progress, Sqlite};
use nexus_testkit::oracle::Journal;
use tokio::task::JoinHandle;

use super::{
    child::{database, event, open, publish, read_all, skip},
    disk_full::SmallDisk,
};

const PUBLISHERS: usize = 8;

pub(crate) async fn back_up(folder: &Path, to: &Path) -> Result<Backup, Error> {
    let told = |_: Progress| {};
    Sqlite::backup(&database(folder), to, false, &Random::system(), told).await
}

/// What is in a folder beside what was there.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
    let mut names: Vec<_> = entries
        .map(|entry| name(entry).into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A closed log of some events.
pub(crate) async fn log_of(folder: &Path, events: usize) {
    let (log, service) = open(folder).await;
    let service = tokio::spawn(service.run());
    let journal = Journal::new(Vec::new());
    for n in 0..events {
        let failed = publish(&log, &journal, &format!("event-{n}")).await;
        assert!(failed.is_none(), "{failed:?}");
    }
    log.close();
    drop(log);
    service.await.unwrap().unwrap();
}

/// Publishes until it is told to end; counts what was acknowledged.
struct Busy {
    ends: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    publishers: Vec<JoinHandle<()>>,
}

impl Busy {
    fn start(log: &Log) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(AtomicU64::new(0));
        let publisher = |publisher: usize| {
            let (log, ends, acknowledged) = (log.clone(), ends.clone(), acknowledged.clone());
            tokio::spawn(async move {
                let mut n = 0;
                while !ends.load(Ordering::Relaxed) {
                    let event = event(&log, &format!("{publisher}-{n}"));
                    let principal = nexus_core::Principal::nexus();
                    let receipt = log.dispatch(&principal, event).await.unwrap();
                    acknowledged.fetch_max(receipt.last.get(), Ordering::SeqCst);
                    n += 1;
                }
            })
        };
        Self {
            publishers: (0..PUBLISHERS).map(publisher).collect(),
            ends,
            acknowledged,
        }
    }

    /// The last event that somebody was told is kept.
    fn acknowledged(&self) -> Seq {
        Seq::new(self.acknowledged.load(Ordering::SeqCst))
    }

    /// Waits until so many more events were acknowledged.
    async fn until_more(&self, more: u64) {
        let enough = self.acknowledged().plus(more);
        let waiting = async {
            while self.acknowledged() < enough {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(60), waiting).await;
        waited.expect("events are acknowledged");
    }

    async fn end(self) {
        self.ends.store(true, Ordering::Relaxed);
        for publisher in self.publishers {
            publisher.await.unwrap();
        }
    }
}

/// One after the other, while the log grows: each has all that was acknowledged before it began, is the
/// beginning of the log, and its chain holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_busy_log_has_what_was_acknowledged_before_it_began() {
    let backups = if std::env::var_os("NEXUS_DEEP").is_some() {
        100
    } else {
        6
    };
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (log, service) = open(folder.path()).await;
    let service = tokio::spawn(service.run());
    let busy = Busy::start(&log);
    let mut made: Vec<(PathBuf, Backup)> = Vec::new();
    for n in 0..backups {
        busy.until_more(150).await;
        let acknowledged = busy.acknowledged();
        // Each in a folder of its own, so that it can be opened as a log.
        let to = other.path().join(n.to_string());
        fs::create_dir(&to).unwrap();
        let to = database(&to);
        let backup = back_up(folder.path(), &to).await;
        let backup = backup.unwrap();
        assert!(backup.verified.last >= acknowledged, "{backup:?}");
        assert_eq!(backup.verified.epoch, log.head().epoch);
        assert_eq!(fs::metadata(&to).unwrap().len(), backup.bytes);
        made.push((to, backup));
    }
    // And it goes on.
    busy.until_more(150).await;
    busy.end().await;
    let all = read_all(&log).await;
    log.close();
    drop(log);
    service.await.unwrap().unwrap();
    Sqlite::verify(&database(folder.path())).await.unwrap();
    for (path, backup) in made {
        assert_eq!(Sqlite::verify(&path).await.unwrap(), backup.verified);
        let (copy, service) = open(path.parent().unwrap()).await;
        let service = tokio::spawn(service.run());
        let kept = read_all(&copy).await;
        assert_eq!(kept.len() as u64, backup.verified.last.get());
        assert!(kept.iter().zip(&all).all(|(kept, event)| kept == event));
        copy.close();
        drop(copy);
        service.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_backup_is_one_file_for_its_owner_alone() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    log_of(folder.path(), 3).await;
    let to = other.path().join("backup.db");
    let mut told = Vec::new();
    let (log, random) = (database(folder.path()), Random::system());
    let hear = |progress| told.push(progress);
    let backup = Sqlite::backup(&log, &to, false, &random, hear)
        .await
        .unwrap();
    assert_eq!(backup.verified.last, Seq::new(3));
    assert_eq!(told.last(), Some(&Progress::Checking));
    assert_eq!(names(other.path()), ["backup.db"]);
    let mode = fs::metadata(&to).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "{mode:o}");
    // It needs no other file, so that it can be read where nothing can be written.
    let header = fs::read(&to).unwrap();
    assert_eq!(header[18..20], [1, 1], "the rollback journal");
    assert_eq!(Sqlite::verify(&to).await.unwrap(), backup.verified);
    assert_eq!(names(other.path()), ["backup.db"]);
}

#[tokio::test]
async fn a_backup_replaces_nothing_unless_it_may() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    log_of(folder.path(), 3).await;
    let to = other.path().join("backup.db");
    fs::write(&to, "somebody's").unwrap();
    // What one left that was killed.
    fs::write(other.path().join("backup.db.0a1b2c3d.partial"), "half").unwrap();
    fs::write(other.path().join("backup.db.partial"), "not ours").unwrap();
    let refused = back_up(folder.path(), &to).await;
    assert!(matches!(refused, Err(Error::Exists { .. })), "{refused:?}");
    assert_eq!(fs::read(&to).unwrap(), b"somebody's");
    let (log, random) = (database(folder.path()), Random::system());
    let made = Sqlite::backup(&log, &to, true, &random, |_| {}).await;
    assert_eq!(made.unwrap().verified.last, Seq::new(3));
    assert_eq!(names(other.path()), ["backup.db", "backup.db.partial"]);
    // SQLite would read it with the copy, as if it were a part of it.
    let ahead = other.path().join("backup.db-wal");
    fs::write(&ahead, "of another").unwrap();
    let refused = Sqlite::backup(&log, &to, true, &random, |_| {}).await;
    assert!(matches!(refused, Err(Error::Exists { .. })), "{refused:?}");
    fs::remove_file(&ahead).unwrap();

    let refused = back_up(folder.path(), other.path()).await;
    assert!(matches!(refused, Err(Error::File { .. })), "{refused:?}");
    let nowhere = other.path().join("none/backup.db");
    let refused = back_up(folder.path(), &nowhere).await;
    assert!(matches!(refused, Err(Error::File { .. })), "{refused:?}");
}

/// Also with leave to replace, and however it is written.
#[tokio::test]
async fn a_backup_is_never_written_into_the_log_itself() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    log_of(folder.path(), 3).await;
    let log = database(folder.path());
    let linked = other.path().join("linked.db");
    fs::hard_link(&log, &linked).unwrap();
    let link = other.path().join("link");
    symlink(folder.path(), &link).unwrap();
    let before = fs::read(&log).unwrap();
    for to in [
        log.clone(),
        linked,
        link.join("nexus-log.db"),
        link.join("nexus-log.db-wal"),
        folder.path().join("nexus-log.db-shm"),
        folder.path().join("nexus.lock"),
    ] {
        let refused = Sqlite::backup(&log, &to, true, &Random::system(), |_| {}).await;
        assert!(
            matches!(refused, Err(Error::Itself { .. })),
            "{}: {refused:?}",
            to.display()
        );
    }
    assert_eq!(fs::read(&log).unwrap(), before);
}

#[tokio::test]
async fn a_log_that_is_damaged_is_not_backed_up() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    log_of(folder.path(), 30).await;
    let log = database(folder.path());
    let mut bytes = fs::read(&log).unwrap();
    let at = bytes.windows(8).position(|window| window == b"event-17");
    bytes[at.expect("the event is in the file")] ^= 0x20;
    fs::write(&log, bytes).unwrap();
    let to = other.path().join("backup.db");
    let refused = back_up(folder.path(), &to).await;
    assert!(matches!(refused, Err(Error::Damaged(_))), "{refused:?}");
    assert_eq!(names(other.path()), [""; 0]);

    fs::write(&log, "no database").unwrap();
    let refused = back_up(folder.path(), &to).await;
    assert!(matches!(refused, Err(Error::Damaged(_))), "{refused:?}");
    fs::remove_file(&log).unwrap();
    let refused = back_up(folder.path(), &to).await;
    assert!(matches!(refused, Err(Error::Missing { .. })), "{refused:?}");
    assert_eq!(names(other.path()), [""; 0]);
}

#[tokio::test]
async fn a_disk_without_space_keeps_nothing_of_a_backup() {
    let Some(disk) = SmallDisk::mount() else {
        skip("a disk cannot be mounted here");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    log_of(folder.path(), 300).await;
    disk.fill();
    let to = disk.path().join("backup.db");
    let refused = back_up(folder.path(), &to).await;
    assert!(matches!(refused, Err(Error::NoSpace { .. })), "{refused:?}");
    assert_eq!(names(disk.path()), ["filler"]);

    let database = disk.path().join("restored/nexus-log.db");
    let from = folder.path().join("backup.db");
    back_up(folder.path(), &from).await.unwrap();
    let refused = Sqlite::restore(&from, &database, false, &Random::system(), |_| {}).await;
    assert!(refused.is_err(), "{refused:?}");
    assert!(!database.exists());
}

/// On the log's own disk the log is left some of what is free.
#[tokio::test]
async fn a_backup_beside_the_log_leaves_it_space() {
    let Some(disk) = SmallDisk::mount() else {
        skip("a disk cannot be mounted here");
        return;
    };
    log_of(disk.path(), 300).await;
    let filler = disk.fill();
    // Much more than the copy needs, and less than the log is left.
    let size = fs::metadata(&filler).unwrap().len();
    let file = fs::OpenOptions::new().write(true).open(&filler).unwrap();
    file.set_len(size - (24 << 20)).unwrap();
    drop(file);
    let to = disk.path().join("backup.db");
    let refused = back_up(disk.path(), &to).await;
    assert!(matches!(refused, Err(Error::NoSpace { .. })), "{refused:?}");
    fs::remove_file(filler).unwrap();
    back_up(disk.path(), &to).await.unwrap();
}
