//! The disk is full: writing stops, reading goes on, and writing resumes when there is space again.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use nexus_core::{Change, Error, EventQuery, Family, Health, Key, Log, PatternSet, Principal, Seq};
use nexus_testkit::oracle::{Journal, Oracle};
use tempfile::TempDir;

use super::child::{judge, open, publish, read_all, skip};

const DISK_MIB: u64 = 96;

/// A small disk, mounted in a folder as long as this lives.
pub(crate) struct SmallDisk(TempDir);

impl SmallDisk {
    pub(crate) fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={DISK_MIB}m");
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(folder.path())
            .stderr(std::process::Stdio::null())
            .status();
        status
            .is_ok_and(|status| status.success())
            .then(|| Self(folder))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Fills it to the last byte; gives the file that does.
    pub(crate) fn fill(&self) -> PathBuf {
        let path = self.path().join("filler");
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .unwrap();
        for block in [1 << 20, 4 << 10, 1] {
            fill_in(&mut file, &vec![b'x'; block]);
        }
        path
    }
}

fn fill_in(file: &mut File, block: &[u8]) {
    while file.write_all(block).is_ok() {}
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

/// Several times over: full, seen at once, read on, healed without a restart, nothing lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_writing_until_space_returns() {
    let Some(disk) = SmallDisk::mount() else {
        skip("a disk cannot be mounted here");
        return;
    };
    let cycles = if std::env::var_os("NEXUS_DEEP").is_some() {
        20
    } else {
        3
    };
    let journal = Journal::new(Vec::new());
    let (log, service) = open(disk.path()).await;
    let service = tokio::spawn(service.run());
    let mut tokens = (0..).map(|n| format!("full-{n}"));
    for _ in 0..cycles {
        for token in tokens.by_ref().take(400) {
            let failed = publish(&log, &journal, &token).await;
            assert!(failed.is_none(), "there is space: {failed:?}");
        }
        let filler = disk.fill();
        let filled = Instant::now();
        until_full(&log, &journal, &mut tokens).await;
        println!("stopped {:?} after the disk was full", filled.elapsed());
        let refused = Instant::now();
        let failed = publish(&log, &journal, &tokens.next().unwrap()).await;
        assert!(matches!(failed, Some(Error::StorageFull)), "{failed:?}");
        println!("refused in {:?}", refused.elapsed());
        reads_and_small_changes_go_on(&log).await;
        std::fs::remove_file(filler).unwrap();
        let freed = Instant::now();
        let mut health = log.health_changes();
        let healed = health.wait_for(|health| *health == Health::Healthy);
        let healed = tokio::time::timeout(Duration::from_secs(60), healed).await;
        assert!(healed.is_ok(), "it heals by itself");
        drop(healed);
        println!("healed {:?} after there was space", freed.elapsed());
    }
    log.close();
    drop(log);
    service.await.unwrap().unwrap();
    let mut oracle = Oracle::default();
    let lines = String::from_utf8(journal.into_inner()).unwrap();
    lines.lines().for_each(|line| oracle.line(line).unwrap());
    let judged = judge(disk.path(), &mut oracle).await;
    println!("{judged:?}");
    assert!(judged.failed >= cycles);
}

/// Publishes until the log says that the disk is full, and nothing else. What little space is left is used
/// up first, but that is soon.
async fn until_full(
    log: &Log,
    journal: &Journal<Vec<u8>>,
    tokens: &mut impl Iterator<Item = String>,
) {
    const KEPT_MAX: usize = 10_000;
    for _ in 0..KEPT_MAX {
        match publish(log, journal, &tokens.next().unwrap()).await {
            None => {}
            Some(Error::StorageFull) => return,
            Some(error) => panic!("a full disk is told as one, not as {error:?}"),
        }
    }
    panic!("{KEPT_MAX} events were kept on a full disk");
}

async fn reads_and_small_changes_go_on(log: &Log) {
    let head = log.head().seq;
    let events = read_all(log).await;
    assert_eq!(events.len() as u64, head.get());
    let first = EventQuery::page(Seq::ZERO, head, PatternSet::everything());
    assert!(!log.events(&first).await.unwrap().events.is_empty());
    let key = Key::new(Family::new("claim"), "given back");
    let command = nexus_core::Command {
        changes: vec![Change::put(key.clone(), "{}")],
        ..nexus_core::Command::default()
    };
    log.submit(&Principal::nexus(), command).await.unwrap();
    assert!(log.record(&key).await.unwrap().is_some());
}

/// Also when it is pruning that finds no space: nothing is removed in part, and it goes on when there is
/// space again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_pruning_and_harms_nothing() {
    let Some(disk) = SmallDisk::mount() else {
        skip("a disk cannot be mounted here");
        return;
    };
    let journal = Journal::new(Vec::new());
    let (log, service) = open(disk.path()).await;
    let service = tokio::spawn(service.run());
    for n in 0..1_200 {
        let failed = publish(&log, &journal, &format!("old-{n}")).await;
        assert!(failed.is_none(), "there is space: {failed:?}");
    }
    log.close();
    drop(log);
    service.await.unwrap().unwrap();
    // After a clean end there is no write-ahead log whose room could be used again.
    let (log, service) = open(disk.path()).await;
    let service = tokio::spawn(service.run());
    let filler = disk.fill();
    for _ in 0..3 {
        let refused = log.prune(Seq::new(1_000)).await;
        assert!(matches!(refused, Err(Error::StorageFull)), "{refused:?}");
    }
    assert_eq!(read_all(&log).await.len(), 1_200);
    std::fs::remove_file(filler).unwrap();
    let mut health = log.health_changes();
    let healed = health.wait_for(|health| *health == Health::Healthy);
    let healed = tokio::time::timeout(Duration::from_secs(60), healed).await;
    assert!(healed.is_ok(), "it heals by itself");
    drop(healed);
    assert_eq!(log.prune(Seq::new(1_000)).await.unwrap(), Seq::new(1_000));
    log.close();
    drop(log);
    service.await.unwrap().unwrap();
    let mut oracle = Oracle::default();
    let lines = String::from_utf8(journal.into_inner()).unwrap();
    lines.lines().for_each(|line| oracle.line(line).unwrap());
    let judged = judge(disk.path(), &mut oracle).await;
    assert_eq!(judged.ok, 1_200);
}
