//! Keys are found at every moment of their way: in memory, while they get their places, and after; by who
//! knows the names and by who has to look; and after an end between any two steps.

use std::{
    ops::Range,
    path::{Path, PathBuf},
};

use nexus_core::{Backend, Clock, OnceEntry, OnceKey, Pages, Plan, Random, Seq, Wanted, sha256};
use sqlx::{AssertSqlSafe, Connection};

use super::{PLACES_PER_STEP, step};
use crate::{
    Damage, Error, Sqlite, SqliteOptions,
    sqlite::{SqliteBackend, SqlitePages, connect},
};

const PER_COMMIT: u64 = 100;
/// More than are placed in one step, so that an end can fall between two.
const WAITING: usize = 900;

fn database(folder: &Path) -> PathBuf {
    folder.join("nexus-log.db")
}

async fn open(folder: &Path) -> (SqliteBackend, SqlitePages) {
    let options = SqliteOptions::new(database(folder));
    let opened = Sqlite::open(options, Clock::System, Random::system()).await;
    let (mut backend, pages) = opened.unwrap();
    backend.once.waiting_min = WAITING;
    backend.reopen().await.unwrap();
    (backend, pages)
}

fn key(n: u64) -> OnceKey {
    sha256(&n.to_le_bytes())[..16].try_into().unwrap()
}

async fn commit_keys(backend: &mut SqliteBackend, numbers: Range<u64>) {
    let (head, _) = backend.begin(&Wanted::default()).await.unwrap();
    let mut plan = Plan::nothing(head);
    plan.once = numbers
        .map(|n| OnceEntry {
            key: key(n),
            fingerprint: Some([7; 32]),
            range: Some((Seq::new(n), Seq::new(n))),
            expires_us: None,
        })
        .collect();
    backend.commit(&plan).await.unwrap();
}

/// Adds keys, with what is done after each commit.
async fn add_keys(backend: &mut SqliteBackend, count: &mut u64) {
    commit_keys(backend, *count..*count + PER_COMMIT).await;
    *count += PER_COMMIT;
    backend.maintain().await.unwrap();
    // Those that sort need a thread, and those that gather a turn.
    tokio::task::yield_now().await;
}

/// Adds keys until something holds.
async fn add_keys_until(
    backend: &mut SqliteBackend,
    count: &mut u64,
    holds: impl Fn(&SqliteBackend) -> bool,
) {
    let end = *count + 1_000_000;
    while !holds(backend) {
        add_keys(backend, count).await;
        assert!(*count < end, "it never came");
    }
}

/// The numbers of the first `count` keys, as the writer and as readers find them, and of no other.
async fn check_keys(backend: &mut SqliteBackend, pages: &impl Pages, count: u64) {
    let wanted = Wanted {
        once: (0..=count).map(key).collect(),
        ..Wanted::default()
    };
    let (_, loaded) = backend.begin(&wanted).await.unwrap();
    assert_eq!(loaded.once.len() as u64, count);
    for n in [0, 1, count / 2, count - 1] {
        let found = Pages::once(pages, &key(n)).await.unwrap().unwrap();
        assert_eq!(found.range.unwrap().0, Seq::new(n));
        assert_eq!(loaded.once[&key(n)], found);
    }
    assert_eq!(Pages::once(pages, &key(count)).await.unwrap(), None);
}

async fn execute(folder: &Path, sql: &str) {
    let mut connection = connect::writer(&database(folder), false).await.unwrap();
    sqlx::query(AssertSqlSafe(sql))
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn keys_are_found_before_while_and_after_they_get_their_places() {
    let folder = tempfile::tempdir().unwrap();
    let (mut backend, pages) = open(folder.path()).await;
    let mut count = 0_u64;
    let mut failures_while_placing = 0;
    while !backend.once.has_placed() || !count.is_multiple_of(5_000) {
        add_keys(&mut backend, &mut count).await;
        assert!(count < 1_000_000, "nothing was ever placed");
        if count.is_multiple_of(700) {
            check_keys(&mut backend, &pages, count).await;
        }
        if backend.once.is_placing() && failures_while_placing < 3 {
            failures_while_placing += 1;
            backend.reopen().await.unwrap();
            check_keys(&mut backend, &pages, count).await;
        }
    }
    check_keys(&mut backend, &pages, count).await;
    backend.connection = None;
    backend.reopen().await.unwrap();
    check_keys(&mut backend, &pages, count).await;
    Sqlite::verify(&database(folder.path())).await.unwrap();
}

/// A key that expired, and came again before it was swept, has two rows, of which only the later gets a place.
#[tokio::test]
async fn a_key_that_came_again_while_it_waited_is_found_and_is_no_damage() {
    let folder = tempfile::tempdir().unwrap();
    let (mut backend, pages) = open(folder.path()).await;
    commit_keys(&mut backend, 0..1).await;
    let mut count = 0_u64;
    add_keys_until(&mut backend, &mut count, |backend| {
        backend.once.has_placed()
    })
    .await;
    check_keys(&mut backend, &pages, count).await;
    backend.close().await;
    drop((backend, pages));
    Sqlite::verify(&database(folder.path())).await.unwrap();
}

/// A log that began without keys knows all names, also while their number grows far beyond what there was
/// room for.
#[tokio::test]
async fn who_knows_the_names_knows_them_also_when_there_are_many_more() {
    let folder = tempfile::tempdir().unwrap();
    let (mut backend, pages) = open(folder.path()).await;
    let mut count = 0_u64;
    add_keys_until(&mut backend, &mut count, |backend| {
        backend.once.has_placed()
    })
    .await;
    assert!(backend.once.knows_all());
    let mut gathered = 0;
    while gathered < 3 {
        add_keys_until(&mut backend, &mut count, |backend| {
            backend.once.is_gathering()
        })
        .await;
        assert!(
            backend.once.knows_all(),
            "the smaller filter serves until then"
        );
        check_keys(&mut backend, &pages, count).await;
        add_keys_until(&mut backend, &mut count, |backend| {
            !backend.once.is_gathering()
        })
        .await;
        check_keys(&mut backend, &pages, count).await;
        gathered += 1;
    }
    assert!(count > 8 * WAITING as u64, "it grew only to {count}");
}

/// After a clean end the names are known with the first key; after any other they are gathered, and until
/// that is done keys are looked up.
#[tokio::test]
async fn names_are_known_at_once_after_a_clean_end_and_later_after_another() {
    let folder = tempfile::tempdir().unwrap();
    let mut count = 0_u64;
    for life in 0..6 {
        let (mut backend, pages) = open(folder.path()).await;
        assert!(!backend.once.knows_all(), "without keys it takes no memory");
        if count > 0 {
            check_keys(&mut backend, &pages, count).await;
            add_keys(&mut backend, &mut count).await;
            // The life before ended cleanly if its number was even.
            assert_eq!(backend.once.knows_all(), life % 2 == 1, "life {life}");
            check_keys(&mut backend, &pages, count).await;
            add_keys_until(&mut backend, &mut count, |backend| backend.once.knows_all()).await;
        }
        let through = count + 4 * WAITING as u64;
        while count < through || !backend.once.has_placed() {
            add_keys(&mut backend, &mut count).await;
        }
        check_keys(&mut backend, &pages, count).await;
        if life % 2 == 0 {
            backend.close().await;
        }
        drop((backend, pages));
        Sqlite::verify(&database(folder.path())).await.unwrap();
    }
}

/// What lies on the disk between any two steps is enough for the next life to find every key: when that
/// begins, while it places and gathers, and after it.
#[tokio::test]
async fn every_key_is_found_after_an_end_between_any_two_steps() {
    let folder = tempfile::tempdir().unwrap();
    let (mut backend, pages) = open(folder.path()).await;
    let mut count = 0_u64;
    let mut is_before_a_clean_end = false;
    while count < 2_500 {
        commit_keys(&mut backend, count..count + PER_COMMIT).await;
        count += PER_COMMIT;
        for step in ["committed", "maintained"] {
            let copy = tempfile::tempdir().unwrap();
            for file in ["nexus-log.db", "nexus-log.db-wal"] {
                std::fs::copy(folder.path().join(file), copy.path().join(file)).unwrap();
            }
            let mut copied = count;
            // The second life leaves its filter to the third, or does not.
            is_before_a_clean_end = !is_before_a_clean_end;
            for _ in 0..2 {
                let (mut next, pages) = open(copy.path()).await;
                check_keys(&mut next, &pages, copied).await;
                for _ in 0..3 {
                    add_keys(&mut next, &mut copied).await;
                }
                check_keys(&mut next, &pages, copied).await;
                if is_before_a_clean_end {
                    next.close().await;
                }
            }
            let verified = Sqlite::verify(&database(copy.path())).await;
            assert!(verified.is_ok(), "{step} with {count}: {verified:?}");
            if step == "committed" {
                backend.maintain().await.unwrap();
                tokio::task::yield_now().await;
            }
        }
    }
    check_keys(&mut backend, &pages, count).await;
    assert!(backend.once.has_placed());
}

/// A filter that was changed, cut or is of another moment is not believed: its keys would count twice.
#[tokio::test]
async fn a_filter_that_is_not_what_was_kept_is_not_believed() {
    const ZEROED: &str = "UPDATE once_filter SET bits = zeroblob(length(bits))";
    for (change, is_found) in [
        (ZEROED, true),
        ("UPDATE once_filter SET placed = placed + 1", true),
        ("UPDATE meta SET once_placed = once_placed - 1", false),
        ("DELETE FROM once_filter", false),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (mut backend, pages) = open(folder.path()).await;
        let mut count = 0_u64;
        add_keys_until(&mut backend, &mut count, |backend| {
            backend.once.has_placed()
        })
        .await;
        backend.close().await;
        drop((backend, pages));
        Sqlite::verify(&database(folder.path())).await.unwrap();
        execute(folder.path(), change).await;
        let verified = Sqlite::verify(&database(folder.path())).await;
        let damage = matches!(verified, Err(Error::Damaged(Damage::Once)));
        assert_eq!(damage, is_found, "{change}: {verified:?}");
        let (mut backend, pages) = open(folder.path()).await;
        add_keys(&mut backend, &mut count).await;
        assert!(!backend.once.knows_all(), "{change}");
        check_keys(&mut backend, &pages, count).await;
        add_keys_until(&mut backend, &mut count, |backend| backend.once.knows_all()).await;
        check_keys(&mut backend, &pages, count).await;
    }
}

/// Lives that each end before all that waits has its place do not begin again where the one before began.
#[tokio::test]
async fn lives_that_are_short_leave_no_more_waiting_than_a_long_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut count = 0;
    let mut waiting_max = 0;
    for life in 0..30 {
        let (mut backend, pages) = open(folder.path()).await;
        waiting_max = waiting_max.max(backend.once.waiting_rows());
        // Fewer than half of what is placed at once.
        for _ in 0..4 {
            add_keys(&mut backend, &mut count).await;
            while backend.once.is_sorting() {
                backend.maintain().await.unwrap();
                tokio::task::yield_now().await;
            }
        }
        check_keys(&mut backend, &pages, count).await;
        if life % 3 == 0 {
            backend.close().await;
        }
    }
    assert!(count > 10 * WAITING as u64);
    assert!(waiting_max < 4 * WAITING, "{waiting_max} of {count} wait");
}

/// What failed to be sorted is sorted again, and nobody stops for it.
#[tokio::test]
async fn names_whose_sorting_failed_are_sorted_again() {
    let folder = tempfile::tempdir().unwrap();
    let (mut backend, pages) = open(folder.path()).await;
    let mut count = 0;
    add_keys_until(&mut backend, &mut count, |backend| {
        let placing = backend.once.placing.as_ref();
        placing.is_some_and(|placing| placing.done == 0)
    })
    .await;
    let placing = backend.once.placing.as_mut().unwrap();
    placing.places = None;
    placing.sorting = tokio::spawn(std::future::pending());
    placing.sorting.abort();
    while !backend.once.placing.as_ref().unwrap().sorting.is_finished() {
        tokio::task::yield_now().await;
    }
    backend.maintain().await.unwrap();
    assert!(backend.once.is_sorting());
    check_keys(&mut backend, &pages, count).await;
    add_keys_until(&mut backend, &mut count, |backend| {
        backend.once.has_placed()
    })
    .await;
    check_keys(&mut backend, &pages, count).await;
    backend.close().await;
    drop((backend, pages));
    Sqlite::verify(&database(folder.path())).await.unwrap();
}

#[test]
fn a_step_does_not_end_between_two_rows_with_one_name() {
    let mut places: Vec<_> = (0..2_000).map(|n| (n, n)).collect();
    assert_eq!(step(&places), PLACES_PER_STEP);
    assert_eq!(step(&places[..7]), 7);
    assert_eq!(step(&[]), 0);
    for place in &mut places[PLACES_PER_STEP - 3..PLACES_PER_STEP + 3] {
        place.0 = -1;
    }
    assert_eq!(step(&places), PLACES_PER_STEP - 3);
    assert_eq!(step(&places[..PLACES_PER_STEP]), PLACES_PER_STEP);
}
