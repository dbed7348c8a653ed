//! Many want the same work at once: each item is won once.

use std::collections::HashMap;

use nexus_agents::Error;
use nexus_core::{Catalogue, Clock, Log, LogOptions, Random};
use nexus_store::{Sqlite, SqliteOptions};

use crate::support::{World, options, session, work};

const CONTENDERS: usize = 64;
const ITEMS: usize = 1_000;

async fn sqlite_log(folder: &std::path::Path) -> Log {
    let (clock, random) = (Clock::System, Random::system());
    let options = SqliteOptions::new(folder.join("nexus-log.db"));
    let (backend, pages) = Sqlite::open(options, clock.clone(), random.clone())
        .await
        .unwrap();
    let catalogue = Catalogue::known();
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
    tokio::spawn(service.run());
    log
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_contenders_one_wins_each_item() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::over(sqlite_log(folder.path()).await, options()).await;
    let mut contenders = tokio::task::JoinSet::new();
    for n in 0..CONTENDERS {
        let agents = world.agents.clone();
        contenders.spawn(async move {
            let me = session(&format!("session-{n}"));
            let mut won = Vec::new();
            for item in 0..ITEMS {
                let item = work(&format!("item-{item}"));
                match agents.claim(&me, &item, "d", None).await {
                    Ok(granted) => {
                        let token = granted.claim.token;
                        agents.complete(&me, &item, Some(token)).await.unwrap();
                        won.push((item, token));
                    }
                    Err(Error::WorkHeld { claimed_by, .. }) => assert_ne!(claimed_by, me),
                    Err(Error::WorkCompleted { completed_by, .. }) => assert_ne!(completed_by, me),
                    Err(error) => panic!("{error}"),
                }
            }
            won
        });
    }
    let mut winners = HashMap::new();
    for (item, token) in contenders.join_all().await.into_iter().flatten() {
        assert_eq!(
            winners.insert(item.clone(), token),
            None,
            "{item} was won twice"
        );
    }
    assert_eq!(winners.len(), ITEMS);
    for (topic, of_claim) in [("work.claimed", true), ("work.completed", false)] {
        let events = world.events(&[topic]).await;
        assert_eq!(events.len(), ITEMS, "only the winners are in the log");
        assert!(events.iter().all(|event| {
            let item = work(event.key.as_deref().unwrap());
            !of_claim || winners[&item] == event.seq
        }));
    }
    assert!(world.agents.claims(None).is_empty());
    world.log.close();
}
