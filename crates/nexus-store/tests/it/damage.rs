//! Bits flip in the file: it is noticed, or it does not matter; never is something wrong served.

use std::{fs, path::Path, sync::Arc};

use nexus_core::{Clock, Event, EventQuery, Pages, PatternSet, Random, Seq};
use nexus_store::{Sqlite, SqliteOptions};

use super::child::{database, event, open, read_all};

/// Wherever a bit flips or the file is cut, an event that is served is the one that was written, and when
/// verification finds nothing and the log opens, all of them are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_is_never_served() {
    let flips = if std::env::var_os("NEXUS_DEEP").is_some() {
        2_000
    } else {
        120
    };
    let folder = tempfile::tempdir().unwrap();
    let written = make(folder.path()).await;
    let whole = fs::read(database(folder.path())).unwrap();
    let seed = Random::system().number();
    println!("seed {seed}");
    let random = Random::seeded(seed);
    let (mut noticed, mut harmless) = (0, 0);
    for n in 0..flips {
        let mut file = whole.clone();
        let at = usize::try_from(random.number() % file.len() as u64).unwrap();
        if n % 10 == 9 {
            file.truncate(at);
        } else {
            file[at] ^= 1 << (random.number() % 8);
        }
        let life = tempfile::tempdir().unwrap();
        let path = database(life.path());
        fs::write(&path, &file).unwrap();
        let verified = Sqlite::verify(&path).await.is_ok();
        let served = serve(&path, &written).await;
        match (verified, served) {
            (true, Some(served)) => {
                assert_eq!(
                    served,
                    written.len(),
                    "verified, but not all is served (byte {at})"
                );
                harmless += 1;
            }
            // Reported, or refused at the door.
            (true, None) | (false, _) => noticed += 1,
        }
        assert!(path.exists(), "nothing is ever removed");
    }
    println!("{noticed} noticed, {harmless} without any effect");
    assert!(
        noticed > flips / 2,
        "most of the file is payload, keys and hashes"
    );
}

/// Makes a log of a few hundred events; gives them.
async fn make(folder: &Path) -> Vec<Arc<Event>> {
    let (log, service) = open(folder).await;
    let service = tokio::spawn(service.run());
    for batch in 0..30 {
        let events = (0..10).map(|n| event(&log, &format!("{batch}-{n}-{}", "x".repeat(300))));
        let command = nexus_core::Command {
            events: events.collect(),
            ..nexus_core::Command::default()
        };
        let receipt = log
            .submit(&nexus_core::Principal::nexus(), command)
            .await
            .unwrap();
        let mut head = log.head_changes();
        head.wait_for(|head| *head >= receipt.last).await.unwrap();
    }
    let events = read_all(&log).await;
    log.close();
    drop(log);
    service.await.unwrap().unwrap();
    events
}

/// Reads the log event by event; gives how many were served, and fails for one that is wrong. Nothing if
/// the log was refused.
async fn serve(path: &Path, written: &[Arc<Event>]) -> Option<usize> {
    let (backend, pages) = Sqlite::open(SqliteOptions::new(path), Clock::System, Random::system())
        .await
        .ok()?;
    let mut served = 0;
    for event in written {
        let query = EventQuery::page(event.seq.previous(), event.seq, PatternSet::everything());
        if let Ok(page) = pages.events(&query).await {
            for found in page.events {
                assert_eq!(found, *event, "a wrong event is served");
                served += 1;
            }
        }
    }
    let everything = EventQuery::page(Seq::ZERO, Seq::new(300), PatternSet::everything());
    if let Ok(page) = pages.events(&everything).await {
        for found in page.events {
            let n = usize::try_from(found.seq.get()).unwrap() - 1;
            assert_eq!(found, written[n], "a wrong event is served");
        }
    }
    drop((backend, pages));
    Some(served)
}
