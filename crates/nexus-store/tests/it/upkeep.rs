//! What the store does besides writing and reading: checkpoints, expired keys, somebody else's lock.

use std::fs;

use nexus_core::{
    Catalogue, Clock, Command, Error, EventQuery, Log, LogOptions, Once, PatternSet, Principal,
    Random, Seq, Source,
};
use nexus_store::{Sqlite, SqliteOptions};
use sqlx::{Connection, Executor, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::task::JoinSet;

use super::child::{database, event, open, read_all};

/// However long writing goes on beside reading, the write-ahead log stays near its bound: where the writer
/// copies it, because the bound is met before a copy beside it is worth while …
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_write_ahead_log_stays_small_under_load() {
    let load = Load {
        wal_bytes_max: 2 << 20,
        batches: 250,
        payload_bytes: 300,
        readers: 3,
    };
    let (largest, database) = load.run().await;
    assert!(database > 8 << 20, "enough was written to need it");
    // What one checkpoint interval adds, and the batch that was being written.
    assert!(largest < 10 << 20, "{largest} bytes");
}

/// … and where most of it is copied beside the writer, and the file begins again long before it is cut.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_write_ahead_log_stays_small_when_it_is_copied_beside_the_writer() {
    let wal_bytes_max = SqliteOptions::new("").wal_bytes_max;
    let load = Load {
        wal_bytes_max,
        batches: 300,
        payload_bytes: 2_000,
        readers: 0,
    };
    let (largest, database) = load.run().await;
    assert!(database > wal_bytes_max, "enough was written to need it");
    assert!(largest > 4 << 20, "{largest} bytes are less than one copy");
    assert!(largest < wal_bytes_max, "{largest} bytes");
}

/// Batches that are written while pages are read.
struct Load {
    wal_bytes_max: u64,
    batches: usize,
    payload_bytes: usize,
    readers: usize,
}

impl Load {
    /// Gives the largest size of the write-ahead log, and the database's size at the end, in bytes.
    async fn run(self) -> (u64, u64) {
        let folder = tempfile::tempdir().unwrap();
        let (clock, random) = (Clock::System, Random::system());
        let options = SqliteOptions {
            wal_bytes_max: self.wal_bytes_max,
            ..SqliteOptions::new(database(folder.path()))
        };
        let (backend, pages) = Sqlite::open(options, clock.clone(), random.clone())
            .await
            .unwrap();
        let catalogue = Catalogue::new(Vec::new(), true).unwrap();
        let (log, service) = Log::open(
            backend,
            pages,
            catalogue,
            LogOptions::default(),
            clock,
            random,
        )
        .await
        .unwrap();
        let service = tokio::spawn(service.run());
        let first = event(&log, "first");
        log.dispatch(&Principal::nexus(), first).await.unwrap();
        let mut readers = JoinSet::new();
        for _ in 0..self.readers {
            let log = log.clone();
            readers.spawn(async move {
                loop {
                    let page =
                        EventQuery::page(Seq::ZERO, log.head().seq, PatternSet::everything());
                    log.events(&page).await.unwrap();
                    tokio::task::yield_now().await;
                }
            });
        }
        let mut wal = database(folder.path()).into_os_string();
        wal.push("-wal");
        let mut largest = 0;
        for n in 0..self.batches {
            let events = vec![event(&log, &format!("{n}{}", "x".repeat(self.payload_bytes))); 100];
            let command = Command {
                events,
                ..Command::default()
            };
            log.submit(&Principal::nexus(), command).await.unwrap();
            largest = largest.max(fs::metadata(&wal).unwrap().len());
        }
        readers.shutdown().await;
        let written = fs::metadata(database(folder.path())).unwrap().len();
        println!("{largest} bytes at most, for a database of {written}");
        log.close();
        drop(log);
        service.await.unwrap().unwrap();
        (largest, written)
    }
}

/// Keys that have expired do not pile up.
#[tokio::test]
async fn expired_keys_are_removed_as_new_ones_come() {
    const PER_ROUND: u64 = 1_024;
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::manual(1_763_704_800_000_000);
    let random = Random::system();
    let options = SqliteOptions::new(database(folder.path()));
    let (backend, pages) = Sqlite::open(options, clock.clone(), random.clone())
        .await
        .unwrap();
    let (log, service) = Log::open(
        backend,
        pages,
        Catalogue::known(),
        LogOptions::default(),
        clock.clone(),
        random,
    )
    .await
    .unwrap();
    let service = tokio::spawn(service.run());
    let sender = Source::node("shop");
    for round in 0..10 {
        let expires_us = clock.now_us() + 1_000_000;
        let mut requests = JoinSet::new();
        for n in 0..PER_ROUND {
            let log = log.clone();
            let once = Once::request(&sender, &format!("{round}-{n}"), [0; 32], expires_us);
            let command = Command {
                once: Some(once),
                ..Command::default()
            };
            requests.spawn(async move { log.submit(&Principal::nexus(), command).await.unwrap() });
        }
        requests.join_all().await;
        clock.advance_us(2_000_000);
    }
    log.submit(
        &Principal::nexus(),
        Command {
            once: Some(Once::fact("kept", "for ever")),
            ..Command::default()
        },
    )
    .await
    .unwrap();
    log.close();
    drop(log);
    service.await.unwrap().unwrap();
    let path = database(folder.path());
    let mut connection =
        SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(path))
            .await
            .unwrap();
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM once")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    println!("{left} keys are left of {}", PER_ROUND * 10);
    assert!(left < 4 * PER_ROUND.cast_signed(), "{left} keys");
}

/// Somebody else's program locks the database: writing waits, says that it was not stored, and goes on by
/// itself when the lock is gone. Reading does not notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_lock_is_waited_for_and_survived() {
    let folder = tempfile::tempdir().unwrap();
    let (log, service) = open(folder.path()).await;
    let service = tokio::spawn(service.run());
    log.dispatch(&Principal::nexus(), event(&log, "before"))
        .await
        .unwrap();
    let options = SqliteConnectOptions::new().filename(database(folder.path()));
    let mut foreign = SqliteConnection::connect_with(&options).await.unwrap();
    foreign.execute("BEGIN IMMEDIATE").await.unwrap();
    let nexus = Principal::nexus();
    let refused = log.dispatch(&nexus, event(&log, "during"));
    let (refused, read) = tokio::join!(refused, read_all(&log));
    assert!(
        matches!(refused, Err(Error::NotStored { .. })),
        "{refused:?}"
    );
    assert_eq!(read.len(), 1);
    foreign.execute("ROLLBACK").await.unwrap();
    let after = log
        .dispatch(&Principal::nexus(), event(&log, "after"))
        .await;
    assert_eq!(after.unwrap().first, Seq::new(2));
    log.close();
    drop(log);
    service.await.unwrap().unwrap();
    foreign.close().await.unwrap();
    let verified = Sqlite::verify(&database(folder.path())).await.unwrap();
    assert_eq!(verified.last, Seq::new(2));
}

/// Something goes wrong between the link of a batch and its events: whether SQLite then takes the whole
/// transaction back by itself or leaves it open, nothing of it is kept, and writing goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_fails_in_the_middle_is_not_stored() {
    let folder = tempfile::tempdir().unwrap();
    let (log, service) = open(folder.path()).await;
    let service = tokio::spawn(service.run());
    let nexus = Principal::nexus();
    let options = SqliteConnectOptions::new().filename(database(folder.path()));
    let mut foreign = SqliteConnection::connect_with(&options).await.unwrap();
    let mut last = 0;
    for end in ["ABORT", "ROLLBACK", "FAIL"] {
        // Alone, and with something beside it, which is another way of writing.
        for once in [None, Some(Once::fact("test", end))] {
            log.dispatch(&nexus, event(&log, "before")).await.unwrap();
            last += 1;
            let trigger = format!(
                "CREATE TRIGGER stop BEFORE INSERT ON events BEGIN SELECT RAISE({end}, 'no'); END"
            );
            foreign.execute(sqlx::AssertSqlSafe(trigger)).await.unwrap();
            let command = || Command {
                events: vec![event(&log, "during"); 3],
                once: once.clone(),
                ..Command::default()
            };
            let refused = log.submit(&nexus, command()).await;
            assert!(
                matches!(refused, Err(Error::NotStored { .. })),
                "{end}: {refused:?}"
            );
            foreign.execute("DROP TRIGGER stop").await.unwrap();
            let receipt = log.submit(&nexus, command()).await.unwrap();
            assert_eq!(receipt.first, Seq::new(last + 1), "{end}");
            assert!(!receipt.replayed);
            last += 3;
        }
    }
    foreign.close().await.unwrap();
    log.close();
    drop(log);
    service.await.unwrap().unwrap();
    let verified = Sqlite::verify(&database(folder.path())).await.unwrap();
    assert_eq!(verified.last, Seq::new(last));
}
