//! Durable cursors: what was acknowledged under a name is still there after a restart.

use nexus_core::{
    CURSOR_NAME_BYTES_MAX, CURSORS_PER_OWNER_MAX, Catalogue, Change, Clock, Command, Epoch, Error,
    Family, Fatal, From, Key, Log, LogOptions, Memory, PatternSet, Position, Principal, Publish,
    Random, Recovery, SOURCE_BYTES_MAX, Scopes, Seq, Source,
};
use tokio::task::JoinHandle;

use crate::helpers::{payment, publish};

async fn open(memory: &Memory) -> (Log, JoinHandle<Result<(), Fatal>>) {
    let clock = Clock::manual(1_763_704_800_000_000);
    let options = LogOptions::default();
    let (log, service) = Log::open(
        memory.clone(),
        memory.clone(),
        Catalogue::known(),
        options,
        clock,
        Random::seeded(7),
    )
    .await
    .unwrap();
    (log, tokio::spawn(service.run()))
}

async fn log_of(events: usize) -> (Log, Memory) {
    let memory = Memory::new(&Random::seeded(1));
    let (log, _) = open(&memory).await;
    for n in 0..events {
        publish(&log, n).await.unwrap();
    }
    (log, memory)
}

async fn at(log: &Log, owner: &Source, name: &str) -> Option<u64> {
    let cursor = log.durable_cursor(owner, name).await.unwrap();
    cursor.map(|cursor| cursor.position.seq.get())
}

#[tokio::test]
async fn an_acknowledgement_outlives_a_restart_and_never_moves_back() {
    let memory = Memory::new(&Random::seeded(1));
    let (log, service) = open(&memory).await;
    for n in 0..10 {
        publish(&log, n).await.unwrap();
    }
    let ana = Source::user("ana");
    let position = |seq| log.position(Seq::new(seq));
    assert_eq!(at(&log, &ana, "mail").await, None);
    log.acknowledge(&ana, "mail", position(4)).await.unwrap();
    log.acknowledge(&ana, "mail", position(7)).await.unwrap();
    log.acknowledge(&ana, "mail", position(5)).await.unwrap();
    log.acknowledge(&ana, "other", position(1)).await.unwrap();
    assert_eq!(at(&log, &ana, "mail").await, Some(7));
    assert_eq!(
        at(&log, &Source::user("ben"), "mail").await,
        None,
        "a name is its owner's"
    );
    log.close();
    service.await.unwrap().unwrap();

    let (log, _) = open(&memory).await;
    let cursor = log.durable_cursor(&ana, "mail").await.unwrap().unwrap();
    let (mut reader, start) = log
        .cursor(From::After(cursor.position), PatternSet::everything())
        .await
        .unwrap();
    assert_eq!(start.recovery, Recovery::Recovered);
    let page = reader.next().await.unwrap();
    assert_eq!(
        page.events[0].seq,
        Seq::new(8),
        "it goes on where it acknowledged"
    );
    log.reset_durable_cursor(&ana, "mail", log.position(Seq::new(2)))
        .await
        .unwrap();
    assert_eq!(at(&log, &ana, "mail").await, Some(2));
    let cursors = log.durable_cursors().await.unwrap();
    let cursors: Vec<_> = cursors
        .iter()
        .map(|named| {
            (
                named.owner.as_str(),
                &*named.name,
                named.cursor.position.seq.get(),
            )
        })
        .collect();
    assert_eq!(cursors, [("user:ana", "mail", 2), ("user:ana", "other", 1)]);
    log.remove_durable_cursor(&ana, "mail").await.unwrap();
    log.remove_durable_cursor(&ana, "mail").await.unwrap();
    assert_eq!(at(&log, &ana, "mail").await, None);
}

#[tokio::test]
async fn a_position_that_is_not_of_this_log_is_refused() {
    let (log, _) = log_of(3).await;
    let ana = Source::user("ana");
    let here = log.position(Seq::new(3));
    let elsewhere = Position {
        epoch: Epoch::new(!here.epoch.get()),
        seq: Seq::new(2),
    };
    for position in [elsewhere, log.position(Seq::new(4))] {
        let refused = log.acknowledge(&ana, "mail", position).await;
        let Err(Error::UnknownPosition {
            position: named,
            end,
        }) = refused
        else {
            panic!("{refused:?}")
        };
        assert_eq!((named, end), (position, here));
    }
    assert_eq!(at(&log, &ana, "mail").await, None);
    // A cursor from before the log was restored is still there, and moves into the new life.
    let key = Key::new(Family::new("durable_cursor"), "user:ana/mail");
    let command = Command {
        changes: vec![Change::put(key, format!(r#"{{"position":"{elsewhere}"}}"#))],
        ..Command::default()
    };
    log.submit(&Principal::nexus(), command).await.unwrap();
    let old = log.durable_cursor(&ana, "mail").await.unwrap().unwrap();
    assert_eq!(old.position, elsewhere);
    log.acknowledge(&ana, "mail", log.position(Seq::new(1)))
        .await
        .unwrap();
    assert_eq!(at(&log, &ana, "mail").await, Some(1));
}

#[tokio::test]
async fn names_of_cursors_are_plain() {
    let (log, _) = log_of(1).await;
    let ana = Source::user("ana");
    let longest = "n".repeat(CURSOR_NAME_BYTES_MAX);
    for name in ["a", "A-b_c.9", &longest] {
        log.acknowledge(&ana, name, log.head()).await.unwrap();
    }
    for name in ["", "a/b", "a b", "é", &format!("{longest}n")] {
        let refused = log.acknowledge(&ana, name, log.head()).await;
        assert!(
            matches!(refused, Err(Error::InvalidName { .. })),
            "{name:?}"
        );
    }
}

/// Whoever has a name that could not be read again leaves nothing that others would stumble over.
#[tokio::test]
async fn an_owner_that_could_not_be_read_again_is_refused() {
    let (log, _) = log_of(1).await;
    let nameless = Source::user(&"n".repeat(SOURCE_BYTES_MAX));
    let refused = log.acknowledge(&nameless, "mail", log.head()).await;
    assert!(matches!(refused, Err(Error::InvalidName { .. })));
    assert_eq!(log.durable_cursors().await.unwrap(), []);
    let principal = Principal::new(nameless, Publish::Unreserved, Scopes::all());
    let refused = log.dispatch(&principal, payment(&log, 1)).await;
    assert!(matches!(refused, Err(Error::InvalidName { .. })));
}

#[tokio::test]
async fn an_owner_has_only_so_many_cursors() {
    let (log, _) = log_of(1).await;
    let ana = Source::user("ana");
    for n in 0..CURSORS_PER_OWNER_MAX {
        log.acknowledge(&ana, &n.to_string(), log.head())
            .await
            .unwrap();
    }
    let refused = log.acknowledge(&ana, "more", log.head()).await;
    assert!(matches!(refused, Err(Error::TooMany { .. })), "{refused:?}");
    log.acknowledge(&ana, "7", log.head()).await.unwrap();
    log.acknowledge(&Source::user("ben"), "more", log.head())
        .await
        .unwrap();
}

#[tokio::test]
async fn acknowledgements_at_once_leave_the_furthest() {
    let (log, _) = log_of(50).await;
    let acknowledging: Vec<_> = (1..=50)
        .map(|n| {
            let log = log.clone();
            tokio::spawn(async move {
                let position = log.position(Seq::new(n * 37 % 51));
                log.acknowledge(&Source::user("ana"), "mail", position)
                    .await
            })
        })
        .collect();
    for acknowledged in acknowledging {
        acknowledged.await.unwrap().unwrap();
    }
    assert_eq!(at(&log, &Source::user("ana"), "mail").await, Some(50));
}
