//! Opening: where a target goes on, and what the process before left behind.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use nexus_core::{
    Change, Family, Fence, From, Guard, Key, Log, Mode, PatternSet, Principal, ReactorOptions,
    Receipt, Record, Selector, Seq, SharedReactor,
};
use tokio::{
    sync::{broadcast, mpsc},
    task::JoinSet,
    time::Instant,
};

use super::{Command, Target, read::Reader, settle::Writing};
use crate::{
    EngineOptions, Error,
    alert::Alerts,
    attempt::Runner,
    backoff::Backoff,
    circuit::Circuit,
    delivery::{self, DEAD, DELIVERY, Delivery, WAITING},
    handle::TargetChange,
    lanes::{Lanes, OnceKeys},
    ledger::{Ledger, Wanted, Written},
    outcome::{OUTCOME, Outcome, Outcomes},
    pace::Pace,
    progress::{Found, Mark, Progress},
    replay::Replay,
    standing::{self, Standing},
    status::Status,
    waiting::{self, Waiting},
};

/// The family of cursor records.
const CURSOR: Family = Family::new("cursor");
/// A record that another engine is still writing is read again this often before giving up.
const CLAIMS_MAX: usize = 8;

/// The name of a reactor's cursor record.
pub(crate) fn cursor_key(name: &str) -> Key {
    Key::new(CURSOR, format!("reactor:{name}"))
}

/// What all targets of one engine share.
#[derive(Clone)]
pub(crate) struct Common {
    pub(crate) log: Log,
    pub(crate) options: EngineOptions,
    pub(crate) alerts: Alerts,
    pub(crate) engine: Arc<str>,
    pub(crate) changes: broadcast::Sender<TargetChange>,
}

impl Target {
    /// Takes over the reactor's cursor record, so that no other engine writes it any more, and loads
    /// the deliveries that wait.
    ///
    /// With a replay it is the same for a range that is shown again, under a name of its own.
    pub(crate) async fn open(
        common: Common,
        reactor: SharedReactor,
        replay: Option<Replay>,
        commands: mpsc::Receiver<Command>,
    ) -> Result<Self, Error> {
        let Common {
            log,
            options,
            alerts,
            engine,
            changes,
        } = common;
        let plan = Plan::new(&log, &options, reactor.options(), replay.as_ref());
        let backoff = Backoff::new(options.storage_retry, log.random().clone());
        let ledger = Ledger {
            log: log.clone(),
            principal: Principal::reactor(&plan.options.name),
            backoff: backoff.clone(),
        };
        let name = plan.name.clone();
        let cursor_key = cursor_key(&name);
        let standing = read_standing(&log, &name).await?;
        let claim = claim(&ledger, &cursor_key, &name, &engine, plan.begin).await?;
        let Found {
            mut progress,
            opened,
            failing_since_us,
        } = claim.found;
        let after = log.position(Seq::new(progress.position()));
        let selector = Selector {
            patterns: plan.options.on.clone(),
            filter: plan.options.filter.clone(),
        };
        let (cursor, start) = log.cursor(From::After(after), selector).await?;
        let scanned = start.position.seq.get();
        if scanned > progress.position() {
            tracing::warn!(reactor = %name, after = %after, "retention removed events before their turn");
            progress.settle(progress.position() + 1, scanned);
        }
        let mut target = Self {
            status: Arc::new(Status::new(name.clone(), plan.options.clone(), plan.mode)),
            circuit: Circuit::new(plan.options.breaker),
            pace: Pace::new(plan.options.rate_per_second),
            runner: Arc::new(Runner {
                log: log.clone(),
                reactor,
                scope: format!("reactor:{}", plan.options.name).into(),
                options: plan.options,
                name,
                mode: plan.mode,
                hops_max: options.hops_max,
                backoff,
                failpoints: options.failpoints.clone(),
            }),
            ledger,
            alerts,
            cursor_key,
            revision: claim.revision,
            engine,
            writes: 1,
            standing,
            unwritten_standing: None,
            changes,
            replay,
            written_position: progress.position(),
            progress,
            opened,
            suspect_through: opened.min(log.head().seq.get()),
            options,
            write: None,
            writing: Writing::default(),
            finished: Vec::new(),
            finished_since: None,
            emitters_max: usize::MAX,
            written_at: Instant::now(),
            is_ours: true,
            reader: Reader::new(cursor),
            scanned,
            read_again_at: None,
            ready: VecDeque::new(),
            resumed: VecDeque::new(),
            jobs: BTreeMap::new(),
            attempts: JoinSet::new(),
            lanes: Lanes::default(),
            once_keys: OnceKeys::default(),
            waiting: Waiting::default(),
            dead: 0,
            outcomes: Outcomes::default(),
            failing_since_us,
            written_failing_since_us: failing_since_us,
            commands,
            chores: JoinSet::new(),
            in_hand: BTreeSet::new(),
            suspect_running: None,
            retries_running: 0,
            retried_last: false,
        };
        let newest_failure_us = target.load().await?;
        target.pass_over_downtime(newest_failure_us);
        target.load_outcomes().await?;
        target.tell();
        Ok(target)
    }

    pub(crate) fn status(&self) -> Arc<Status> {
        self.status.clone()
    }

    /// Loads the deliveries: those that wait with their times and keys, of the dead only how many. Gives when the
    /// newest failure was that they know of.
    async fn load(&mut self) -> Result<Option<i64>, Error> {
        let mut newest_failure_us = None;
        let scope = Some(self.status.name.clone());
        let mut pages = self.ledger.log.all_records(DELIVERY, scope);
        while let Some(page) = pages.next().await? {
            for record in &page {
                match &*record.state {
                    WAITING => self.load_one(record).await?,
                    DEAD => self.dead += 1,
                    state => {
                        tracing::error!(record = %record.key, state, "a delivery is in no known state");
                    }
                }
                newest_failure_us = newest_failure_us.max(delivery::failed_us(record));
            }
        }
        Ok(newest_failure_us)
    }

    /// Time in which nothing could be attempted is not held against the receiver: what counts goes from the first
    /// failure to the last one before the end, and on from now.
    fn pass_over_downtime(&mut self, newest_failure_us: Option<i64>) {
        let Some(since_us) = self.failing_since_us else {
            return;
        };
        let failed_for_us = newest_failure_us.map_or(0, |us| us.saturating_sub(since_us).max(0));
        let now_us = self.runner.log.clock().now_us();
        self.failing_since_us = Some(now_us.saturating_sub(failed_for_us).max(since_us));
    }

    /// Which outcomes there are.
    async fn load_outcomes(&mut self) -> Result<(), Error> {
        let scope = Some(self.status.name.clone());
        let mut pages = self.ledger.log.all_records(OUTCOME, scope);
        while let Some(page) = pages.next().await? {
            for record in page {
                let outcome = Outcome::decode(&record);
                if self.replay.is_some() && outcome.as_ref().is_some_and(Outcome::is_dead) {
                    self.dead += 1;
                }
                // What cannot be understood goes first.
                let time_us = outcome.map_or(i64::MIN, |outcome| outcome.time_us());
                self.outcomes.push_oldest(time_us, record.key);
            }
        }
        Ok(())
    }

    async fn load_one(&mut self, record: &Record) -> Result<(), Error> {
        let Some(delivery) = Delivery::decode(record) else {
            tracing::error!(record = %record.key, "a delivery record is damaged");
            return Ok(());
        };
        let mut delivery = delivery.recovered();
        if delivery.crashes >= self.options.crashes_max {
            return self.park(&mut delivery, record.revision).await;
        }
        let seq = delivery.seq;
        let entry = waiting::Entry {
            due_us: record.due_us.unwrap_or_default(),
            created_us: delivery.created_us,
            key: delivery.key.clone(),
            once: delivery.once.clone(),
            is_suspect: delivery.crashes > 0,
        };
        self.waiting.put(seq, entry);
        if let Some(key) = &delivery.key {
            self.lanes.block(key, seq, delivery.has_failed());
        }
        // Records come in the order of their numbers, so the first of a key is its head.
        if delivery
            .key
            .as_ref()
            .is_none_or(|key| self.lanes.turn(key) == Some(seq))
        {
            self.waiting.arm(seq);
        }
        Ok(())
    }

    /// Gives up an event during which the process ended too often.
    async fn park(&mut self, delivery: &mut Delivery, revision: u64) -> Result<(), Error> {
        delivery.park(self.runner.log.clock().now_us());
        let key = delivery::key(&self.status.name, delivery.seq);
        let (change, wanted) = if self.runner.keeps_dead_letters() {
            let change = delivery.put(&self.status.name, None);
            (change, Wanted::Body(delivery.encode()))
        } else {
            (Change::Delete(key.clone()), Wanted::Gone)
        };
        let outcome = Outcome::dead(delivery).put(&self.status.name);
        let outcome = Some(outcome).filter(|_| self.runner.keeps_outcomes());
        let command = nexus_core::Command {
            changes: outcome.into_iter().chain([change]).collect(),
            ..Default::default()
        };
        match self.ledger.write(command, &key, revision, &wanted).await {
            Written::Stored(_) => {
                self.died(delivery);
                Ok(())
            }
            Written::Closed => Err(Error::Log(nexus_core::Error::Closed)),
            _ => Err(Error::TakenOver {
                name: self.status.name.to_string(),
            }),
        }
    }
}

/// What a target is: a reactor that follows the log, or one that is shown a part of it again.
struct Plan {
    /// What its records are kept under.
    name: Arc<str>,
    options: ReactorOptions,
    mode: Mode,
    begin: From,
}

impl Plan {
    fn new(
        log: &Log,
        engine: &EngineOptions,
        mut options: ReactorOptions,
        replay: Option<&Replay>,
    ) -> Self {
        let Some(replay) = replay else {
            return Self {
                name: options.name.clone(),
                mode: Mode::Live,
                begin: options.begin.unwrap_or(engine.begin),
                options,
            };
        };
        options.rate_per_second = Some(replay.rate_per_second);
        options.gives_up_after = None;
        Self {
            name: replay.target_name(),
            mode: replay.mode(),
            begin: From::After(log.position(Seq::new(replay.after))),
            options,
        }
    }
}

/// Whether the target runs, as it was left.
async fn read_standing(log: &Log, name: &Arc<str>) -> Result<Standing, Error> {
    let key = standing::key(name);
    let Some(record) = log.record(&key).await? else {
        return Ok(Standing::default());
    };
    Standing::decode(&record.body).ok_or_else(|| Error::Damaged {
        record: key.to_string(),
    })
}

/// A cursor record that is ours now.
struct Claim {
    found: Found,
    revision: u64,
}

/// Writes our name into the cursor record, or makes one.
async fn claim(
    ledger: &Ledger,
    key: &Key,
    name: &Arc<str>,
    engine: &Arc<str>,
    begin: From,
) -> Result<Claim, Error> {
    for _ in 0..CLAIMS_MAX {
        let (found, guard) = match ledger.log.record(key).await? {
            Some(record) => {
                let found = Progress::decode(&record.body).ok_or_else(|| Error::Damaged {
                    record: key.to_string(),
                })?;
                (found, Guard::Revision(key.clone(), record.revision))
            }
            None => {
                let (_, start) = ledger.log.cursor(begin, PatternSet::default()).await?;
                let position = start.position.seq.get();
                let found = Found {
                    progress: Progress::at(position),
                    opened: position,
                    failing_since_us: None,
                };
                (found, Guard::Absent(key.clone()))
            }
        };
        let mark = Mark {
            engine: engine.clone(),
            write: 1,
            failing_since_us: found.failing_since_us,
        };
        let command = nexus_core::Command {
            guards: vec![guard],
            changes: vec![Change::Put {
                key: key.clone(),
                owner: None,
                scope: name.clone(),
                state: "".into(),
                due_us: None,
                fence: Fence::Keep,
                body: found.progress.encode(u64::MAX, found.opened, &mark),
            }],
            ..Default::default()
        };
        match ledger.log.submit(&ledger.principal, command).await {
            Ok(Receipt { revision, .. }) => return Ok(Claim { found, revision }),
            // The engine before had a write under way.
            Err(nexus_core::Error::Refused { .. } | nexus_core::Error::OutcomeUnknown) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::TakenOver {
        name: name.to_string(),
    })
}
