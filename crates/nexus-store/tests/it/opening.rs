//! What is opened and what is refused, untouched.

use std::{fs, path::Path};

use nexus_core::{Clock, PatternSet, Principal, Random};
use nexus_store::{Error, Sqlite, SqliteBackend, SqliteOptions, SqlitePages};
use sqlx::{Connection, Executor, SqliteConnection, sqlite::SqliteConnectOptions};

use super::child::{database, event, open, read_all};

async fn try_open(path: &Path) -> Result<(SqliteBackend, SqlitePages), Error> {
    Sqlite::open(SqliteOptions::new(path), Clock::System, Random::system()).await
}

/// Makes a small log, closed cleanly.
async fn make(folder: &Path) {
    let (log, service) = open(folder).await;
    let service = tokio::spawn(service.run());
    for n in 0..10 {
        let event = event(&log, &n.to_string());
        log.dispatch(&Principal::nexus(), event).await.unwrap();
    }
    log.close();
    drop(log);
    service.await.unwrap().unwrap();
}

async fn execute(path: &Path, sql: &'static str) {
    let options = SqliteConnectOptions::new().filename(path);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    connection.execute(sql).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_second_opener_is_refused_until_the_first_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(folder.path());
    let first = try_open(&path).await.unwrap();
    assert!(matches!(try_open(&path).await, Err(Error::Locked { .. })));
    assert!(matches!(
        Sqlite::migrate(&path, None).await,
        Err(Error::Locked { .. })
    ));
    drop(first);
    try_open(&path).await.unwrap();
}

#[tokio::test]
async fn a_folder_that_is_made_for_a_log_lets_only_its_owner_in() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    make(&data).await;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    // One that is there keeps the rights that it was given.
    let given = folder.path().join("given");
    std::fs::create_dir(&given).unwrap();
    std::fs::set_permissions(&given, std::fs::Permissions::from_mode(0o750)).unwrap();
    make(&given).await;
    assert_eq!(mode(&given), 0o750);
}

#[tokio::test]
async fn a_clean_end_leaves_one_file_of_the_database() {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path()).await;
    let mut names: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["nexus-log.db", "nexus.ballast", "nexus.lock"]);
}

#[tokio::test]
async fn what_is_not_ours_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(folder.path());
    let other = folder.path().join("other.db");
    execute_new(&other).await;
    let foreign = fs::read(&other).unwrap();
    let files: [(&[u8], bool); 5] = [
        (&foreign, true),
        (b"", false),
        (b"SQLite format 3\0", false),
        (b"some text", false),
        (&[0; 4096], false),
    ];
    for (contents, is_database) in files {
        fs::write(&path, contents).unwrap();
        let error = try_open(&path).await.err().unwrap();
        if is_database {
            assert!(matches!(error, Error::NotOurs { .. }), "{error}");
        } else {
            assert!(matches!(error, Error::Unreadable { .. }), "{error}");
        }
        assert!(Sqlite::migrate(&path, None).await.is_err());
        assert!(Sqlite::verify(&path).await.is_err());
        assert_eq!(fs::read(&path).unwrap(), contents, "it is untouched");
    }
}

/// A database of somebody else.
async fn execute_new(path: &Path) {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    connection.execute("CREATE TABLE theirs (x)").await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn an_unfinished_creation_is_begun_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(folder.path());
    for suffix in [".new", ".new-wal", ".new-shm"] {
        let mut name = path.clone().into_os_string();
        name.push(suffix);
        fs::write(name, "half of it").unwrap();
    }
    make(folder.path()).await;
    assert_eq!(Sqlite::verify(&path).await.unwrap().last.get(), 10);
}

#[tokio::test]
async fn migrations_go_down_and_up_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(folder.path());
    let missing = Sqlite::migrate(&path, None).await;
    assert!(matches!(missing, Err(Error::Missing { .. })));
    make(folder.path()).await;
    let before = Sqlite::verify(&path).await.unwrap();
    assert_eq!(Sqlite::migrate(&path, None).await.unwrap(), 2);
    assert_eq!(
        Sqlite::verify(&path).await.unwrap(),
        before,
        "up to date: nothing changes"
    );
    let unknown = Sqlite::migrate(&path, Some(99)).await;
    assert!(matches!(
        unknown,
        Err(Error::NoSuchMigration {
            version: 99,
            newest: 2
        })
    ));
    assert_eq!(Sqlite::migrate(&path, Some(1)).await.unwrap(), 1);
    assert_eq!(Sqlite::migrate(&path, None).await.unwrap(), 2);
    assert_eq!(
        Sqlite::verify(&path).await.unwrap(),
        before,
        "only what can be made again is gone"
    );
    assert_eq!(Sqlite::migrate(&path, Some(0)).await.unwrap(), 0);
    assert_eq!(Sqlite::migrate(&path, Some(1)).await.unwrap(), 1);
    let (log, service) = open(folder.path()).await;
    assert_eq!(log.head().seq.get(), 0);
    assert_ne!(
        log.head().epoch,
        before.epoch,
        "another log, so another life"
    );
    drop((log, service));
}

#[tokio::test]
async fn a_log_of_a_newer_version_is_refused_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(folder.path());
    make(folder.path()).await;
    execute(
        &path,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (3, 'later', 1, x'00', 0)",
    )
    .await;
    let before = fs::read(&path).unwrap();
    assert!(matches!(
        try_open(&path).await,
        Err(Error::TooNew { version: 3 })
    ));
    assert!(matches!(
        Sqlite::migrate(&path, None).await,
        Err(Error::TooNew { version: 3 })
    ));
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn an_end_that_does_not_hold_together_is_refused() {
    for damage in [
        "UPDATE batches SET hash = zeroblob(32) WHERE last = 10",
        "UPDATE events SET payload = '{}' WHERE seq = 10",
        "DELETE FROM events WHERE seq = 10",
        "DELETE FROM batches WHERE last = 10",
        "UPDATE topics SET name = 'test.other'",
        "DELETE FROM sources",
        "DELETE FROM meta",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = database(folder.path());
        make(folder.path()).await;
        execute(&path, damage).await;
        let opened = try_open(&path).await.map(|_| ());
        if damage.contains("meta") {
            // A log without its description is described as a new life, and then it is still whole.
            assert!(opened.is_ok());
        } else {
            assert!(
                matches!(opened, Err(Error::Damaged(_))),
                "{damage}: {opened:?}"
            );
        }
    }
}

#[tokio::test]
async fn what_was_read_before_a_reopening_is_read_after_it() {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path()).await;
    let (log, service) = open(folder.path()).await;
    let service = tokio::spawn(service.run());
    assert_eq!(read_all(&log).await.len(), 10);
    let everything = log.cursor(nexus_core::From::Latest, PatternSet::everything());
    assert_eq!(everything.await.unwrap().1.position.seq.get(), 10);
    log.close();
    drop(log);
    service.await.unwrap().unwrap();
}
