//! What verification finds: every change that can be made through SQL, and no erasure.

use std::path::Path;

use nexus_core::{
    Change, Command, EventQuery, Family, Key, Once, PatternSet, Principal, RecordQuery, RecordsBy,
    Seq,
};
use nexus_store::{Damage, Error, Sqlite};
use sqlx::{Connection, Executor, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

use super::child::{database, event, open};

const FAMILY: Family = Family::new("thing");

/// A log of 40 batches of three events each, with keys and records.
async fn make() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (log, service) = open(folder.path()).await;
    let service = tokio::spawn(service.run());
    for n in 0..40 {
        let mut third = event(&log, &format!("{n}c"));
        third.key = Some("key".into());
        let command = Command {
            events: vec![
                event(&log, &format!("{n}a")),
                event(&log, &format!("{n}b")),
                third,
            ],
            once: Some(Once::fact("test", n.to_string())),
            changes: vec![Change::put(Key::new(FAMILY, format!("{n:02}")), "{}")],
            ..Command::default()
        };
        log.submit(&Principal::nexus(), command).await.unwrap();
    }
    log.close();
    drop(log);
    service.await.unwrap().unwrap();
    folder
}

async fn execute(folder: &Path, sql: &'static str) {
    let options = SqliteConnectOptions::new()
        .filename(database(folder))
        .foreign_keys(false);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let changed = connection.execute(sql).await.unwrap();
    assert!(changed.rows_affected() > 0, "{sql} changes something");
    connection.close().await.unwrap();
}

/// Gives the space that is free in the file back, as an operator does while nothing runs.
async fn make_small(folder: &Path) {
    let options = SqliteConnectOptions::new().filename(database(folder));
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    connection.execute("VACUUM").await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn every_change_of_the_chain_is_found() {
    let event = |seq| Damage::Event { seq };
    for (change, expected) in [
        (
            "UPDATE events SET payload = '{\"token\":\"9\"}' WHERE seq = 50",
            event(50),
        ),
        (
            "UPDATE events SET causes = '{\"hops\":1}' WHERE seq = 50",
            event(50),
        ),
        ("UPDATE events SET key = 'other' WHERE seq = 51", event(51)),
        ("UPDATE events SET key = NULL WHERE seq = 51", event(51)),
        (
            "UPDATE events SET salt = zeroblob(16) WHERE seq = 50",
            event(50),
        ),
        (
            "UPDATE events SET commitment = zeroblob(32) WHERE seq = 50",
            event(50),
        ),
        (
            "UPDATE events SET id = zeroblob(16) WHERE seq = 50",
            event(50),
        ),
        (
            "UPDATE events SET time_us = time_us + 1 WHERE seq = 50",
            event(50),
        ),
        (
            "UPDATE events SET seal = seal + 1 WHERE seq = 50",
            event(50),
        ),
        ("UPDATE events SET topic = 77 WHERE seq = 50", event(50)),
        ("UPDATE events SET source = 77 WHERE seq = 50", event(50)),
        ("UPDATE events SET payload = NULL WHERE seq = 50", event(50)),
        ("UPDATE topics SET name = 'test.other'", event(1)),
        ("UPDATE sources SET name = 'user:ana'", event(1)),
        (
            "DELETE FROM events WHERE seq = 50",
            Damage::Missing { seq: 50 },
        ),
        (
            "DELETE FROM events WHERE seq = 51",
            Damage::Missing { seq: 51 },
        ),
        (
            "UPDATE events SET seq = 1000 WHERE seq = 120",
            Damage::Missing { seq: 120 },
        ),
        (
            "DELETE FROM batches WHERE last = 120",
            Damage::Unchained { seq: 118 },
        ),
        (
            "DELETE FROM batches WHERE last = 51",
            Damage::Gap {
                last: 54,
                expected: 49,
            },
        ),
        (
            "UPDATE batches SET first = 50 WHERE last = 51",
            Damage::Gap {
                last: 51,
                expected: 49,
            },
        ),
        (
            "UPDATE batches SET hash = zeroblob(32) WHERE last = 51",
            Damage::Chain { last: 51 },
        ),
        ("UPDATE meta SET pruned_hash = x'00'", Damage::Meta),
    ] {
        let folder = make().await;
        execute(folder.path(), change).await;
        let found = Sqlite::verify(&database(folder.path())).await;
        match found {
            Err(Error::Damaged(found)) => assert_eq!(found, expected, "{change}"),
            found => panic!("{change}: {found:?}"),
        }
    }
}

#[tokio::test]
async fn every_change_beside_the_chain_is_found() {
    for change in [
        "UPDATE records SET body = 'x' WHERE key = '07'",
        "UPDATE records SET revision = revision + 1 WHERE key = '07'",
        "UPDATE records SET family = 'other' WHERE key = '07'",
        "UPDATE records SET due_us = 0 WHERE key = '07'",
        "UPDATE once SET first = 1, last = 1 WHERE first = 50 OR first = 49",
        "UPDATE once SET expires_us = 0 WHERE first = 49",
        "UPDATE _sqlx_migrations SET checksum = x'00'",
    ] {
        let folder = make().await;
        execute(folder.path(), change).await;
        let found = Sqlite::verify(&database(folder.path())).await;
        let expected = match change.split(' ').nth(1) {
            Some("records") => matches!(found, Err(Error::Damaged(Damage::Record { .. }))),
            Some("once") => matches!(found, Err(Error::Damaged(Damage::Once))),
            _ => matches!(found, Err(Error::Migration { .. })),
        };
        assert!(expected, "{change}: {found:?}");
    }
}

#[tokio::test]
async fn what_was_changed_is_not_served() {
    let folder = make().await;
    execute(
        folder.path(),
        "UPDATE events SET payload = '{}' WHERE seq = 50",
    )
    .await;
    execute(
        folder.path(),
        "UPDATE records SET body = 'x' WHERE key = '07'",
    )
    .await;
    let (log, _service) = open(folder.path()).await;
    let page = |after, through| {
        EventQuery::page(Seq::new(after), Seq::new(through), PatternSet::everything())
    };
    assert!(log.events(&page(0, 120)).await.is_err());
    assert!(log.events(&page(49, 50)).await.is_err());
    assert_eq!(log.events(&page(0, 49)).await.unwrap().events.len(), 49);
    assert_eq!(log.events(&page(50, 120)).await.unwrap().events.len(), 70);
    assert!(log.record(&Key::new(FAMILY, "07")).await.is_err());
    assert!(log.record(&Key::new(FAMILY, "08")).await.unwrap().is_some());
    let all = RecordQuery {
        family: FAMILY,
        by: RecordsBy::All,
        after_key: None,
        records_max: 100,
    };
    assert!(log.records(&all).await.is_err());
}

/// Takes the content of an event away, and leaves its commitment.
async fn erase(folder: &Path, seq: i64) {
    const CONTENT: &str = "SELECT salt, key, causes, payload FROM events WHERE seq = ?1";
    const ERASE: &str = "UPDATE events SET commitment = ?2, salt = NULL, key = NULL, causes = NULL, \
        payload = NULL WHERE seq = ?1";
    let options = SqliteConnectOptions::new().filename(database(folder));
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    type Content = (Vec<u8>, Option<String>, Vec<u8>, Vec<u8>);
    let (salt, key, causes, payload): Content = sqlx::query_as(CONTENT)
        .bind(seq)
        .fetch_one(&mut connection)
        .await
        .unwrap();
    let salt = salt.try_into().unwrap();
    let commitment = nexus_core::commitment(&salt, key.as_deref(), &causes, &payload);
    sqlx::query(ERASE)
        .bind(seq)
        .bind(commitment.as_slice())
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn an_erased_payload_keeps_the_chain_whole() {
    let folder = make().await;
    let before = Sqlite::verify(&database(folder.path())).await.unwrap();
    assert_eq!((before.last.get(), before.batches), (120, 40));
    erase(folder.path(), 51).await;
    erase(folder.path(), 120).await;
    assert_eq!(
        Sqlite::verify(&database(folder.path())).await.unwrap(),
        before
    );
    let (log, _service) = open(folder.path()).await;
    let erased = log.event(Seq::new(51)).await.unwrap().unwrap();
    assert_eq!((&erased.payload[..], &erased.key), (&b"null"[..], &None));
    assert_eq!(erased.causes(), Default::default());
}

#[tokio::test]
async fn a_log_that_retention_has_cut_is_proved_from_the_cut_on() {
    let folder = make().await;
    let before = Sqlite::verify(&database(folder.path())).await.unwrap();
    let (log, service) = open(folder.path()).await;
    let service = tokio::spawn(service.run());
    assert_eq!(log.prune(Seq::new(62)).await.unwrap(), Seq::new(60));
    log.close();
    drop(log);
    service.await.unwrap().unwrap();
    make_small(folder.path()).await;
    let after = Sqlite::verify(&database(folder.path())).await.unwrap();
    assert_eq!((after.pruned_through.get(), after.hash), (60, before.hash));
    assert_eq!(after.batches, 20);
    let (log, _service) = open(folder.path()).await;
    assert_eq!(log.pruned_through().await.unwrap(), Seq::new(60));
    let (mut cursor, start) = log
        .cursor(nexus_core::From::Earliest, PatternSet::everything())
        .await
        .unwrap();
    assert_eq!(start.position.seq, Seq::new(60));
    let page = cursor.try_next().await.unwrap().unwrap();
    assert_eq!(page.events[0].seq, Seq::new(61));
}
