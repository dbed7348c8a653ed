//! Opening: where a target goes on, and what the process before left behind.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use nexus_core::{
    Change, Command, Family, Fence, From, Guard, Key, Log, Principal, Receipt, Record, RecordQuery,
    RecordsBy, Seq, SharedReactor,
};
use tokio::{task::JoinSet, time::Instant};

use super::{Target, settle::Writing};
use crate::{
    EngineOptions, Error,
    alert::Alerts,
    attempt::Runner,
    backoff::Backoff,
    delivery::{self, DEAD, DELIVERY, Delivery, WAITING},
    lanes::{Lanes, OnceKeys},
    ledger::{Ledger, Wanted, Written},
    progress::{Mark, Progress},
    status::Status,
    waiting::{self, Waiting},
};

/// The family of cursor records.
const CURSOR: Family = Family::new("cursor");
/// A record that another engine is still writing is read again this often before giving up.
const CLAIMS_MAX: usize = 8;
const RECORDS_PAGE: usize = 1_000;

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
}

impl Target {
    /// Takes over the reactor's cursor record, so that no other engine writes it any more, and loads
    /// the deliveries that wait.
    pub(crate) async fn open(common: Common, reactor: SharedReactor) -> Result<Self, Error> {
        let Common {
            log,
            options,
            alerts,
            engine,
        } = common;
        let reactor_options = reactor.options();
        let name = reactor_options.name.clone();
        let scope: Arc<str> = format!("reactor:{name}").into();
        let backoff = Backoff::new(options.storage_retry, log.random().clone());
        let ledger = Ledger {
            log: log.clone(),
            principal: Principal::reactor(&name),
            backoff: backoff.clone(),
        };
        let cursor_key = cursor_key(&name);
        let claim = claim(&ledger, &cursor_key, &name, &engine, options.begin).await?;
        let after = log.position(Seq::new(claim.progress.position()));
        let (cursor, start) = log
            .cursor(From::After(after), reactor_options.on.clone())
            .await?;
        let mut progress = claim.progress;
        let scanned = start.position.seq.get();
        if scanned > progress.position() {
            tracing::warn!(reactor = %name, after = %after, "retention removed events before their turn");
            progress.settle(progress.position() + 1, scanned);
        }
        let mut target = Self {
            status: Arc::new(Status::new(name)),
            runner: Arc::new(Runner {
                log: log.clone(),
                reactor,
                options: reactor_options,
                scope,
                hops_max: options.hops_max,
                backoff,
            }),
            ledger,
            alerts,
            cursor_key,
            revision: claim.revision,
            engine,
            writes: 1,
            written_position: progress.position(),
            progress,
            opened: claim.opened,
            suspect_through: claim.opened.min(log.head().seq.get()),
            options,
            write: None,
            writing: Writing::default(),
            finished: Vec::new(),
            finished_since: None,
            emitters_max: usize::MAX,
            written_at: Instant::now(),
            is_ours: true,
            cursor,
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
            suspect_running: None,
            retries_running: 0,
            retried_last: false,
        };
        target.load().await?;
        target.tell();
        Ok(target)
    }

    pub(crate) fn status(&self) -> Arc<Status> {
        self.status.clone()
    }

    /// Loads the deliveries: those that wait with their times and keys, of the dead only how many.
    async fn load(&mut self) -> Result<(), Error> {
        let mut query = RecordQuery {
            family: DELIVERY,
            by: RecordsBy::Scope(self.status.name.clone()),
            after_key: None,
            records_max: RECORDS_PAGE,
        };
        loop {
            let records = self.ledger.log.records(&query).await?;
            let Some(last) = records.last() else {
                return Ok(());
            };
            query.after_key = Some(last.key.key.clone());
            for record in &records {
                match &*record.state {
                    WAITING => self.load_one(record).await?,
                    DEAD => self.dead += 1,
                    state => {
                        tracing::error!(record = %record.key, state, "a delivery is in no known state");
                    }
                }
            }
        }
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
            self.lanes.block(key, seq);
        }
        // Records come in the order of their numbers, so the first of a key is its head.
        if delivery
            .key
            .as_ref()
            .is_none_or(|key| self.lanes.head(key) == Some(seq))
        {
            self.waiting.arm(seq);
        }
        Ok(())
    }

    /// Gives up an event during which the process ended too often.
    async fn park(&mut self, delivery: &mut Delivery, revision: u64) -> Result<(), Error> {
        delivery.park(self.runner.log.clock().now_us());
        let command = Command {
            changes: vec![delivery.put(&self.status.name, None)],
            ..Command::default()
        };
        let key = delivery::key(&self.status.name, delivery.seq);
        let wanted = Wanted::Body(delivery.encode());
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

/// A cursor record that is ours now.
struct Claim {
    progress: Progress,
    opened: u64,
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
        let (progress, opened, guard) = match ledger.log.record(key).await? {
            Some(record) => {
                let (progress, opened) =
                    Progress::decode(&record.body).ok_or_else(|| Error::Damaged {
                        record: key.to_string(),
                    })?;
                (
                    progress,
                    opened,
                    Guard::Revision(key.clone(), record.revision),
                )
            }
            None => {
                let (_, start) = ledger
                    .log
                    .cursor(begin, nexus_core::PatternSet::default())
                    .await?;
                let position = start.position.seq.get();
                (Progress::at(position), position, Guard::Absent(key.clone()))
            }
        };
        let mark = Mark {
            engine: engine.clone(),
            write: 1,
        };
        let command = Command {
            guards: vec![guard],
            changes: vec![Change::Put {
                key: key.clone(),
                owner: None,
                scope: name.clone(),
                state: "".into(),
                due_us: None,
                fence: Fence::Keep,
                body: progress.encode(u64::MAX, opened, &mark),
            }],
            ..Command::default()
        };
        match ledger.log.submit(&ledger.principal, command).await {
            Ok(Receipt { revision, .. }) => {
                return Ok(Claim {
                    progress,
                    opened,
                    revision,
                });
            }
            // The engine before had a write under way.
            Err(nexus_core::Error::Refused { .. } | nexus_core::Error::OutcomeUnknown) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::TakenOver {
        name: name.to_string(),
    })
}
