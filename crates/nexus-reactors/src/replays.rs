//! Replays: asked for, listed, cancelled; and what is kept of a target that is forgotten.

use std::sync::Arc;

use nexus_core::{
    Change, Command, Family, Guard, Log, Principal, Record, RecordQuery, RecordsBy, Seq,
};

use crate::{
    Error,
    delivery::DELIVERY,
    handle::{ReplayId, ReplayInfo, ReplayRequest, ReplayState},
    outcome::OUTCOME,
    registry::{Registry, not_found},
    replay::{self, REPLAY, Replay},
    standing, target,
};

/// At most this many replays that have ended are kept; then the oldest are forgotten.
const ENDED_MAX: usize = 100;
/// The fastest that a replay may be.
const RATE_MAX: f64 = 10_000.0;
/// This many records are read or removed at once.
const RECORDS_PAGE: usize = 250;

impl Registry {
    /// Begins to show a target a range of the log again.
    pub(crate) async fn replay(
        self: &Arc<Self>,
        mut request: ReplayRequest,
    ) -> Result<ReplayId, Error> {
        let log = &self.common.log;
        request.through = request.through.min(log.head().seq);
        request.after = request.after.max(log.pruned_through().await?);
        check(&request)?;
        let name = &request.target;
        let _turn = self.turns.change(name).await;
        let _beginning = self.beginning_replay.lock().await;
        let reactor = self.reactor(name).ok_or_else(|| not_found(name))?;
        if !request.outbound && !reactor.rehearses() {
            let what = format!("{name} cannot run without its calls: ask for a replay with them");
            return Err(Error::Conflict { what });
        }
        let limit = self.common.options.replays_max;
        if self.replays().len() >= limit {
            return Err(Error::Conflict {
                what: format!("{limit} replays run already"),
            });
        }
        forget_old(log).await?;
        let id = ReplayId(format!("{:016x}", log.random().number()).into());
        let replay = Replay::new(id.clone(), &request, log.clock().now_us());
        let command = Command {
            guards: vec![Guard::Absent(replay::key(&id))],
            changes: vec![replay.put()],
            ..Command::default()
        };
        log.submit(&Principal::nexus(), command).await?;
        self.run(self.open_one(reactor, Some(replay)).await?)?;
        Ok(id)
    }

    /// Ends a replay where it is.
    pub(crate) async fn cancel_replay(self: &Arc<Self>, id: &ReplayId) -> Result<(), Error> {
        let log = &self.common.log;
        let target = self.find_replay(id).await?.1.target;
        let _turn = self.turns.change(&target).await;
        // It may have ended while others had their turn.
        let (found, replay) = self.find_replay(id).await?;
        if replay.state != ReplayState::Running {
            return Err(Error::Conflict {
                what: format!("the replay {} has ended", id.as_str()),
            });
        }
        let name = replay.target_name();
        let status = self.status(&name);
        self.drain_one(&name).await;
        let (position, dead) = status.map_or((replay.position, 0), |status| {
            let now = status.get();
            (now.position, now.dead)
        });
        remove_all(log, DELIVERY, &name).await?;
        let now_us = log.clock().now_us();
        let ended = replay.ended(ReplayState::Cancelled, position, dead, now_us);
        let command = Command {
            // It may have come to its end just now.
            guards: vec![Guard::Revision(found.key, found.revision)],
            changes: vec![ended.put(), Change::Delete(target::cursor_key(&name))],
            ..Command::default()
        };
        log.submit(&Principal::nexus(), command).await?;
        Ok(())
    }

    async fn find_replay(&self, id: &ReplayId) -> Result<(Record, Replay), Error> {
        let found = self.common.log.record(&replay::key(id)).await?;
        let found = found.ok_or_else(|| Error::NotFound {
            what: "replay",
            name: id.as_str().to_owned(),
        })?;
        let replay = decode(&found)?;
        Ok((found, replay))
    }

    /// All replays that are kept, newest first.
    pub(crate) async fn list_replays(&self) -> Result<Vec<ReplayInfo>, Error> {
        let running = self.replays();
        let mut found = Vec::new();
        for replay in all(&self.common.log).await? {
            let mut info = replay.into_info();
            if let Some(status) = running.get(&info.id)
                && info.state == ReplayState::Running
            {
                let now = status.get();
                info.position = Seq::new(now.position).min(info.request.through);
                info.waiting = now.waiting;
                info.dead = now.dead;
            }
            found.push(info);
        }
        found.sort_by_key(|info| std::cmp::Reverse(info.created_us));
        Ok(found)
    }
}

fn check(request: &ReplayRequest) -> Result<(), Error> {
    let invalid = |detail: String| Err(Error::Invalid { detail });
    if request.after >= request.through {
        return invalid(format!(
            "there is no event behind {} and up to {}",
            request.after, request.through
        ));
    }
    let rate = request.rate_per_second;
    if !(rate > 0.0 && rate <= RATE_MAX) {
        return invalid(format!(
            "a replay needs a rate above 0 and up to {RATE_MAX} a second"
        ));
    }
    Ok(())
}

/// The replays to a target that have not ended.
pub(crate) async fn running(log: &Log, target: &Arc<str>) -> Result<Vec<Replay>, Error> {
    let mut replays = all(log).await?;
    replays.retain(|replay| replay.target == *target && replay.state == ReplayState::Running);
    Ok(replays)
}

async fn all(log: &Log) -> Result<Vec<Replay>, Error> {
    let mut pages = log.all_records(REPLAY, None);
    let mut found = Vec::new();
    while let Some(page) = pages.next().await? {
        for record in &page {
            found.push(decode(record)?);
        }
    }
    Ok(found)
}

fn decode(record: &Record) -> Result<Replay, Error> {
    Replay::decode(record).ok_or_else(|| Error::Damaged {
        record: record.key.to_string(),
    })
}

/// Forgets the oldest of those that have ended, when there are too many.
async fn forget_old(log: &Log) -> Result<(), Error> {
    let mut ended = all(log).await?;
    ended.retain(|replay| replay.state != ReplayState::Running);
    ended.sort_by_key(|replay| std::cmp::Reverse(replay.created_us));
    for replay in ended.iter().skip(ENDED_MAX - 1) {
        forget_replay(log, replay).await?;
    }
    Ok(())
}

async fn forget_replay(log: &Log, replay: &Replay) -> Result<(), Error> {
    let name = replay.target_name();
    remove_all(log, OUTCOME, &name).await?;
    remove_all(log, DELIVERY, &name).await?;
    let command = Command {
        changes: vec![
            Change::Delete(target::cursor_key(&name)),
            Change::Delete(replay::key(&replay.id)),
        ],
        ..Command::default()
    };
    log.submit(&Principal::nexus(), command).await?;
    Ok(())
}

/// Removes everything that is kept of a target, its place in the log last: whoever is interrupted asks
/// again.
pub(crate) async fn forget_target(log: &Log, name: &str) -> Result<(), Error> {
    for replay in all(log).await? {
        if &*replay.target == name {
            forget_replay(log, &replay).await?;
        }
    }
    for family in [OUTCOME, DELIVERY] {
        remove_all(log, family, name).await?;
    }
    let command = Command {
        changes: vec![
            Change::Delete(standing::key(name)),
            Change::Delete(target::cursor_key(name)),
        ],
        ..Command::default()
    };
    log.submit(&Principal::nexus(), command).await?;
    Ok(())
}

async fn remove_all(log: &Log, family: Family, scope: &str) -> Result<(), Error> {
    let query = RecordQuery {
        family,
        by: RecordsBy::Scope(scope.into()),
        after_key: None,
        records_max: RECORDS_PAGE,
    };
    loop {
        let records = log.records(&query).await?;
        if records.is_empty() {
            return Ok(());
        }
        let gone = records.into_iter().map(|record| Change::Delete(record.key));
        let command = Command {
            changes: gone.collect(),
            ..Command::default()
        };
        log.submit(&Principal::nexus(), command).await?;
    }
}
