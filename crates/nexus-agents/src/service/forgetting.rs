//! Forgetting: work that was completed, sessions that never came back, and what somebody does who never came.

use std::{collections::HashMap, time::Duration};

use nexus_core::{
    Change, Command, Error as LogError, Guard, Key, Log, Principal, RecordQuery, RecordsBy,
};

use crate::{Error, Handle, SessionId, board::Board, session::activity::ACTIVITY, work::kept};

/// How often it is looked for what may be forgotten: work that was completed, sessions that never came back.
const FORGET_INTERVAL: Duration = Duration::from_secs(3_600);
/// So many records are forgotten at once.
const PAGE_RECORDS: usize = 500;

pub(super) async fn forget_again_and_again(log: &Log, handle: &Handle) {
    let mut seen = HashMap::new();
    loop {
        tokio::time::sleep(FORGET_INTERVAL).await;
        for forgotten in [
            forget(log).await,
            handle.forget_strangers().await,
            forget_activities(log, handle.board(), &mut seen).await,
        ] {
            if let Err(error) = forgotten {
                handle.failed();
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "what was long ago could not be forgotten; it is tried again"
                );
            }
        }
    }
}

/// Forgets completed work whose time is over; how much.
async fn forget(log: &Log) -> Result<usize, Error> {
    let mut forgotten = 0;
    loop {
        let query = RecordQuery {
            family: kept::COMPLETED,
            by: RecordsBy::Due(kept::COMPLETED_STATE.into(), log.clock().now_us()),
            after_key: None,
            records_max: PAGE_RECORDS,
        };
        let due = log.records(&query).await?;
        if due.is_empty() {
            return Ok(forgotten);
        }
        forgotten += due.len();
        let mut command = Command::default();
        for record in due {
            // It may have been claimed and completed again since it was read.
            command.guards.push(Guard::AbsentOrDue(record.key.clone()));
            command.changes.push(Change::Delete(record.key));
        }
        log.submit(&Principal::nexus(), command).await?;
    }
}

/// Forgets what somebody does of whom nothing else is known: who only ever told it, and never came. `seen` is
/// what was there the last time: what was told since is kept. How much.
async fn forget_activities(
    log: &Log,
    board: &Board,
    seen: &mut HashMap<Key, u64>,
) -> Result<usize, Error> {
    let (mut old, mut new) = (Vec::new(), HashMap::new());
    for record in log.all_records(ACTIVITY, None).collect().await? {
        let is_known = SessionId::read(&record.key.key).is_ok_and(|id| {
            let state = board.lock();
            state.sessions.contains_key(&id) || state.claims_of(&id) > 0
        });
        if is_known {
            continue;
        }
        if seen.get(&record.key) == Some(&record.revision) {
            old.push((record.key, record.revision));
        } else {
            new.insert(record.key, record.revision);
        }
    }
    *seen = new;
    for some in old.chunks(PAGE_RECORDS) {
        let mut command = Command::default();
        for (key, revision) in some {
            let guard = Guard::Revision(key.clone(), *revision);
            command.guards.push(guard);
            command.changes.push(Change::Delete(key.clone()));
        }
        match log.submit(&Principal::nexus(), command).await {
            // Somebody of them told something in this moment: all are looked at again.
            Ok(_) | Err(LogError::Refused { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(old.len())
}

#[cfg(test)]
mod tests {
    use nexus_core::{Catalogue, Clock, LogOptions, Memory, NewEvent, ProtocolEvent, Random};

    use super::*;
    use crate::{AgentsOptions, Profile, Service, WorkId};

    const MONTH_US: i64 = 30 * 86_400 * 1_000_000;

    #[tokio::test]
    async fn what_was_long_ago_is_forgotten_and_nothing_else() {
        let (clock, random) = (Clock::manual(MONTH_US), Random::seeded(7));
        let memory = Memory::new(&random);
        let (log, writer) = Log::open(
            memory.clone(),
            memory,
            Catalogue::known(),
            LogOptions::default(),
            clock.clone(),
            random,
        )
        .await
        .unwrap();
        tokio::spawn(writer.run());
        let options = AgentsOptions {
            grace: Duration::ZERO,
            ..AgentsOptions::default()
        };
        let (agents, service) = Service::open(log.clone(), options).await.unwrap();
        tokio::spawn(service.run());
        let id = |name| SessionId::parse(name).unwrap();
        let (stranger, known, there) = (id("stranger"), id("known"), id("there"));
        drop(agents.connect(&stranger, Profile::default()).await.unwrap());
        agents.register(&known, Profile::default()).await.unwrap();
        let _connection = agents.connect(&there, Profile::default()).await.unwrap();
        let work = WorkId::parse("w").unwrap();
        agents.claim(&known, &work, "d", None).await.unwrap();
        agents.complete(&known, &work, None).await.unwrap();
        let is_gone = || !agents.session(&stranger).unwrap().presence.is_connected();
        let gone = async {
            while !is_gone() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), gone)
            .await
            .unwrap();

        assert_eq!(forget(&log).await.unwrap(), 0);
        assert_eq!(agents.forget_strangers().await.unwrap(), 0);
        clock.advance_us(MONTH_US + 1_000_000);
        assert_eq!(forget(&log).await.unwrap(), 1);
        assert_eq!(agents.forget_strangers().await.unwrap(), 1);
        assert!(
            log.record(&kept::completed_key(&work))
                .await
                .unwrap()
                .is_none()
        );
        assert!(matches!(
            agents.session(&stranger),
            Err(Error::UnknownSession { .. })
        ));
        assert_eq!(agents.sessions().len(), 2);
    }

    #[tokio::test]
    async fn what_somebody_does_who_never_came_is_forgotten() {
        let random = Random::seeded(7);
        let memory = Memory::new(&random);
        let opened = Log::open(
            memory.clone(),
            memory,
            Catalogue::known(),
            LogOptions::default(),
            Clock::System,
            random,
        );
        let (log, writer) = opened.await.unwrap();
        tokio::spawn(writer.run());
        let opened = Service::open(log.clone(), AgentsOptions::default()).await;
        let (agents, service) = opened.unwrap();
        tokio::spawn(service.run());
        let id = |name| SessionId::parse(name).unwrap();
        let (known, holder, stranger) = (id("known"), id("holder"), id("stranger"));
        agents.register(&known, Profile::default()).await.unwrap();
        let tell = async |id: &SessionId| {
            let status = log.catalogue().known_type(ProtocolEvent::StatusUpdate);
            let event = NewEvent::new(status, r#"{"status":"idle"}"#);
            agents.publish(id, event).await.unwrap();
        };
        for id in [&known, &holder, &stranger] {
            tell(id).await;
        }
        let work = WorkId::parse("w").unwrap();
        agents.claim(&holder, &work, "d", None).await.unwrap();

        let mut seen = HashMap::new();
        let mut again = async || {
            let forgotten = forget_activities(&log, agents.board(), &mut seen).await;
            forgotten.unwrap()
        };
        assert_eq!(again().await, 0, "it was told lately");
        tell(&stranger).await;
        assert_eq!(again().await, 0, "it was told since");
        assert_eq!(again().await, 1);
        let left = log.all_records(ACTIVITY, None).collect().await.unwrap();
        let left: Vec<_> = left.iter().map(|record| &*record.key.key).collect();
        assert_eq!(left, ["holder", "known"]);
    }
}
