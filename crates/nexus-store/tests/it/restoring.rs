//! A backup becomes the log again: under a new epoch, with everything beside the events, and never in the place of
//! something that was not to go.

use std::{
    fs,
    os::unix::fs::{MetadataExt, chown},
    path::Path,
};

use nexus_core::{Change, Command, Epoch, Family, From, Key, Log, Once, PatternSet, Position};
use nexus_core::{Principal, Random, Recovery, Seq, Source};
use nexus_store::{Error, Restored, Sqlite};
use nexus_testkit::oracle::Oracle;

use super::{
    backup::{back_up, log_of, names},
    child::{Running, database, event, open, read_all},
};

async fn restore(from: &Path, folder: &Path, replace: bool) -> Result<Restored, Error> {
    Sqlite::restore(from, &database(folder), replace, &Random::system(), |_| {}).await
}

/// Works with the log in a folder.
async fn with_log<T>(folder: &Path, work: impl AsyncFnOnce(&Log) -> T) -> T {
    let (log, service) = open(folder).await;
    let service = tokio::spawn(service.run());
    let done = work(&log).await;
    log.close();
    drop(log);
    service.await.unwrap().unwrap();
    done
}

fn fact(log: &Log, token: &str) -> Command {
    Command {
        events: vec![event(log, token)],
        once: Some(Once::fact("test", token)),
        ..Command::default()
    }
}

#[tokio::test]
async fn a_restored_log_has_everything_and_another_epoch() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let backup = old.path().join("backup.db");
    let record = Key::new(Family::new("claim"), "work");
    let ana = Source::user("ana");
    let principal = Principal::nexus();
    let (before, kept) = with_log(old.path(), async |log| {
        for n in 0..20 {
            let receipt = log.submit(&principal, fact(log, &n.to_string())).await;
            receipt.unwrap();
        }
        let changes = vec![Change::put(record.clone(), "{}")];
        let command = Command {
            changes,
            ..Command::default()
        };
        log.submit(&principal, command).await.unwrap();
        log.acknowledge(&ana, "mail", log.position(Seq::new(7)))
            .await
            .unwrap();
        back_up(old.path(), &backup).await.unwrap();
        let kept = read_all(log).await;
        // What comes after the backup is not in it.
        for n in 20..25 {
            log.submit(&principal, fact(log, &n.to_string()))
                .await
                .unwrap();
        }
        (log.stored(), kept)
    })
    .await;

    let restored = restore(&backup, new.path(), false).await.unwrap();
    assert_eq!(restored.verified.last, Seq::new(20));
    assert_eq!(restored.epoch_before, before.epoch);
    assert_ne!(restored.verified.epoch, before.epoch);
    assert_eq!(restored.put_aside, None);
    assert_eq!(names(new.path()), ["nexus-log.db", "nexus.lock"]);

    with_log(new.path(), async |log| {
        assert_eq!(log.head().epoch, restored.verified.epoch);
        assert_eq!(read_all(log).await, kept);
        assert!(log.record(&record).await.unwrap().is_some());
        let cursor = log.durable_cursor(&ana, "mail").await.unwrap().unwrap();
        let seq = Seq::new(7);
        assert_eq!(cursor.position, Position { seq, ..before });
        // What happened once still did, and what was lost can happen again.
        let again = log.submit(&principal, fact(log, "3")).await.unwrap();
        assert_eq!(again.last, Seq::new(4));
        let lost = log.submit(&principal, fact(log, "22")).await.unwrap();
        assert_eq!(lost.last, Seq::new(21));
        // Whoever read on before is told, wherever that was.
        for seq in [1, 20, 21, 25] {
            let seq = Seq::new(seq);
            let from = From::After(Position { seq, ..before });
            let (_, start) = log.cursor(from, PatternSet::everything()).await.unwrap();
            assert_eq!(start.recovery, Recovery::OtherEpoch);
        }
    })
    .await;
    Sqlite::verify(&database(new.path())).await.unwrap();
}

/// The log that was there is kept as it was, what was written ahead included, and can be put back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_there_is_put_aside_whole() {
    let folder = tempfile::tempdir().unwrap();
    let mut oracle = Oracle::default();
    let mut child = Running::start(folder.path(), "life", &[]);
    child.read_oks(&mut oracle, 600);
    let backup = folder.path().join("backup.db");
    let made = back_up(folder.path(), &backup).await.unwrap();
    let locked = restore(&backup, folder.path(), true).await;
    assert!(matches!(locked, Err(Error::Locked { .. })), "{locked:?}");
    child.read_oks(&mut oracle, 600);
    child.kill(&mut oracle);
    let killed = Sqlite::verify(&database(folder.path())).await.unwrap();
    assert!(killed.last > made.verified.last);

    let refused = restore(&backup, folder.path(), false).await;
    assert!(matches!(refused, Err(Error::Exists { .. })), "{refused:?}");
    assert_eq!(
        Sqlite::verify(&database(folder.path())).await.unwrap(),
        killed
    );
    let mut aside = Vec::new();
    for n in 1..=2 {
        let restored = restore(&backup, folder.path(), true).await.unwrap();
        assert_eq!(restored.verified.hash, made.verified.hash);
        let expected = folder
            .path()
            .join(format!("nexus-log.db.before-restore-{n}"));
        assert_eq!(restored.put_aside.as_ref(), Some(&expected));
        aside.push((expected, restored.verified.epoch));
    }
    // The first has what was acknowledged before the kill.
    let first = aside[0].0.join("nexus-log.db");
    assert_eq!(Sqlite::verify(&first).await.unwrap(), killed);
    let second = Sqlite::verify(&aside[1].0.join("nexus-log.db"))
        .await
        .unwrap();
    assert_eq!(second.epoch, aside[0].1);
    let back = restore(&first, folder.path(), true).await.unwrap();
    assert_eq!(
        (back.verified.last, back.verified.hash),
        (killed.last, killed.hash)
    );
    oracle
        .judge(
            &with_log(folder.path(), async |log| read_all(log).await).await,
            super::child::token_of,
        )
        .unwrap();
}

/// Everything in a folder, with who owns it.
fn owners(folder: &Path) -> Vec<(String, u32, u32)> {
    let mut owners = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let about = fs::symlink_metadata(&path).unwrap();
        if about.is_dir() {
            owners.extend(self::owners(&path));
        }
        owners.push((path.display().to_string(), about.uid(), about.gid()));
    }
    owners
}

/// Whoever restores as root leaves nothing behind that the daemon, which is not root, could not open.
#[tokio::test]
async fn what_root_restores_belongs_to_the_user_whose_log_it_is() {
    const DAEMON: (u32, u32) = (4_711, 4_712);
    const OTHER: (u32, u32) = (4_713, 4_714);
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    if chown(new.path(), Some(DAEMON.0), Some(DAEMON.1)).is_err() {
        eprintln!("nothing is tested: only root can give a file to another user");
        return;
    }
    log_of(old.path(), 30).await;
    let backup = old.path().join("backup.db");
    back_up(old.path(), &backup).await.unwrap();
    let wrong = |wanted: (u32, u32)| {
        let mut owners = owners(new.path());
        owners.retain(|(_, user, group)| (*user, *group) != wanted);
        owners
    };
    // Where there is no log yet, the owner of its folder is who will open it.
    restore(&backup, new.path(), false).await.unwrap();
    assert_eq!(names(new.path()), ["nexus-log.db", "nexus.lock"]);
    assert_eq!(wrong(DAEMON), []);
    // Else it is who has the log, whosever folder it is in.
    for name in names(new.path()) {
        chown(new.path().join(name), Some(OTHER.0), Some(OTHER.1)).unwrap();
    }
    let restored = restore(&backup, new.path(), true).await.unwrap();
    assert!(restored.put_aside.is_some());
    assert_eq!(wrong(OTHER), []);
    // What belongs to who restores stays theirs: the backup was only read.
    assert_eq!(
        fs::metadata(&backup).unwrap().uid(),
        fs::metadata(old.path()).unwrap().uid()
    );
}

/// Whatever is wrong with a file: it is refused, and the log stays as it is.
#[tokio::test]
async fn what_is_no_whole_backup_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    log_of(folder.path(), 30).await;
    let log = Sqlite::verify(&database(folder.path())).await.unwrap();
    let backup = folder.path().join("backup.db");
    back_up(folder.path(), &backup).await.unwrap();
    let bytes = fs::read(&backup).unwrap();
    let at = bytes
        .windows(8)
        .position(|window| window == b"event-17")
        .unwrap();
    let mut changed = bytes.clone();
    changed[at] ^= 0x20;
    let mut foreign = bytes.clone();
    foreign[68..72].copy_from_slice(b"ELSE");
    let wrong = [
        ("damaged", changed),
        ("cut", bytes[..bytes.len() / 2].to_vec()),
        ("foreign", foreign),
        ("text", b"these are somebody's notes".repeat(9)),
        ("empty", Vec::new()),
    ];
    let before = names(folder.path()).len() + wrong.len();
    for (name, bytes) in wrong {
        let path = folder.path().join(name);
        fs::write(&path, &bytes).unwrap();
        let refused = restore(&path, folder.path(), true).await;
        match name {
            "foreign" => assert!(matches!(refused, Err(Error::NotOurs { .. })), "{refused:?}"),
            "damaged" | "cut" => assert!(matches!(refused, Err(Error::Damaged(_))), "{refused:?}"),
            _ => assert!(
                matches!(refused, Err(Error::Unreadable { .. })),
                "{refused:?}"
            ),
        }
        assert_eq!(fs::read(&path).unwrap(), bytes, "{name}");
    }
    let itself = restore(&database(folder.path()), folder.path(), true).await;
    assert!(matches!(itself, Err(Error::Itself { .. })), "{itself:?}");
    let missing = restore(&folder.path().join("none"), folder.path(), true).await;
    assert!(matches!(missing, Err(Error::Missing { .. })), "{missing:?}");
    assert_eq!(Sqlite::verify(&database(folder.path())).await.unwrap(), log);
    assert_eq!(
        names(folder.path()).len(),
        before,
        "nothing is left: {:?}",
        names(folder.path())
    );
}

/// What is between two renamings is found by whoever opens the log next, and not read by anybody before.
#[tokio::test]
async fn a_restoration_that_was_interrupted_is_finished_by_whoever_opens_the_log() {
    let folder = tempfile::tempdir().unwrap();
    log_of(folder.path(), 30).await;
    let log = database(folder.path());
    let old = Sqlite::verify(&log).await.unwrap();
    let stage = folder.path().join("nexus-log.db.restore");
    // Before it was whole: it is as if nothing had been.
    fs::create_dir(&stage).unwrap();
    fs::write(stage.join("copy.db"), "half").unwrap();
    fs::write(stage.join("copy.db-journal"), "half").unwrap();
    assert_eq!(Sqlite::verify(&log).await.unwrap(), old);
    let head = with_log(folder.path(), async |log| log.head()).await;
    assert_eq!(head.seq, old.last);
    assert!(!stage.exists());
    // From then on: it will be the log, with or without the old one in the way.
    let whole = folder.path().join("whole.db");
    back_up(folder.path(), &whole).await.unwrap();
    for is_moved in [false, true] {
        fs::create_dir_all(stage.join("before")).unwrap();
        fs::copy(&whole, stage.join("whole.db")).unwrap();
        if is_moved {
            fs::rename(&log, stage.join("before/nexus-log.db")).unwrap();
        }
        let refused = Sqlite::verify(&log).await;
        assert!(
            matches!(refused, Err(Error::HalfRestored { .. })),
            "{refused:?}"
        );
        let refused = back_up(folder.path(), &folder.path().join("x.db")).await;
        assert!(
            matches!(refused, Err(Error::HalfRestored { .. })),
            "{refused:?}"
        );
        Sqlite::migrate(&log, None).await.unwrap();
        assert_eq!(Sqlite::verify(&log).await.unwrap(), old);
        assert!(!stage.exists());
    }
    for n in 1..=2 {
        let aside = folder
            .path()
            .join(format!("nexus-log.db.before-restore-{n}/nexus-log.db"));
        assert_eq!(Sqlite::verify(&aside).await.unwrap(), old);
    }
    assert_ne!(old.epoch, Epoch::new(0));
}
