//! Explain: what became of an event for every target, and why.
//!
//! An event that succeeds costs no row, so of most events the log knows no more than that they are settled. What
//! is told here is what can be known: the delivery that waits or was given up, the outcome if the target keeps
//! them, what followed under its `once` key, and else how far the target is and what it asks of an event.

use std::{collections::BTreeSet, sync::Arc};

use nexus_core::{Event, Once, Position, RecordQuery, RecordsBy, Seq, SharedReactor};
use uuid::Uuid;

use crate::{
    DeliveryId, DeliveryInfo, DeliveryState, Error, Handle, OutcomeInfo, OutcomeState, ReplayInfo,
    TargetInfo, TargetState,
    progress::{Found, Progress},
    target::cursor_key,
};

/// Outcomes are read in pages of this size when one is looked for.
const OUTCOMES_PAGE: usize = 200;
/// So many records are read at once when targets are looked for.
const RECORDS_PAGE: usize = 1_000;

/// What became of an event for one target.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// The target.
    pub target: Arc<str>,
    /// What became of it.
    pub fate: Fate,
    /// Where the target is: everything up to here is settled for it.
    pub position: Position,
    /// How many events the target is behind.
    pub lag: u64,
    /// Why the target does nothing now, if it is paused, disabled or has ended.
    pub halted: Option<Arc<str>>,
}

/// What became of an event for one target.
#[derive(Debug, Clone, PartialEq)]
pub enum Fate {
    /// Its topic matches none of the target's patterns.
    NotMatched,
    /// It does not meet the target's condition.
    Filtered {
        /// The text of the condition.
        filter: Arc<str>,
    },
    /// It was in the log before the target began, and the target began behind it.
    BeforeBeginning {
        /// Where the target began.
        began: Position,
    },
    /// Its turn has not come.
    NotReached,
    /// It is being tried, or comes next; how it ended is not written yet.
    Begun,
    /// It waits for another attempt.
    Waiting(Box<DeliveryInfo>),
    /// It was given up: a dead letter.
    Dead(Box<DeliveryInfo>),
    /// It was given up, and somebody discarded the dead letter.
    Discarded(Box<OutcomeInfo>),
    /// It succeeded, as the target's outcomes say.
    Succeeded(Box<OutcomeInfo>),
    /// It succeeded: what the target emitted is in the log.
    Emitted {
        /// The first event that it emitted.
        first: Position,
        /// The last.
        last: Position,
    },
    /// What it would have done was done before, for another event under the same `once` key.
    Already {
        /// The key.
        once: Arc<str>,
        /// The event that it was done for, if that can be known.
        by: Option<Uuid>,
    },
    /// It is settled, and nothing more is kept: it succeeded, or its dead letter was discarded.
    Settled,
}

impl Fate {
    /// That of an event with a delivery.
    fn of(delivery: DeliveryInfo) -> Self {
        match delivery.state {
            DeliveryState::Waiting => Self::Waiting(Box::new(delivery)),
            DeliveryState::Dead => Self::Dead(Box::new(delivery)),
        }
    }

    /// The name, `not_matched`.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::NotMatched => "not_matched",
            Self::Filtered { .. } => "filtered",
            Self::BeforeBeginning { .. } => "before_beginning",
            Self::NotReached => "not_reached",
            Self::Begun => "begun",
            Self::Waiting(_) => "waiting",
            Self::Dead(_) => "dead",
            Self::Discarded(_) => "discarded",
            Self::Succeeded(_) | Self::Emitted { .. } => "done",
            Self::Already { .. } => "already_done",
            Self::Settled => "settled",
        }
    }
}

/// What is known when a target's part in an event is explained.
struct Known<'a> {
    seq: Seq,
    /// Whether the target is trying something at all.
    is_busy: bool,
    matches: bool,
    /// The condition, if the event does not meet it.
    refused_by: Option<Arc<str>>,
    found: &'a Found,
    delivery: Option<DeliveryInfo>,
    outcome: Option<OutcomeInfo>,
}

impl Handle {
    /// The names of the targets that there are, and of those that once were and have a place in the log still;
    /// in their order.
    ///
    /// # Errors
    /// [`Error::Log`] when the log cannot be read.
    pub async fn known_targets(&self) -> Result<Vec<Arc<str>>, Error> {
        let running = self.targets().into_iter().map(|info| info.name);
        let mut names: BTreeSet<Arc<str>> = running.collect();
        let prefix = cursor_key("");
        let mut query = RecordQuery {
            family: prefix.family,
            by: RecordsBy::All,
            after_key: Some(prefix.key.clone()),
            records_max: RECORDS_PAGE,
        };
        loop {
            let records = self.log().records(&query).await?;
            for record in &records {
                // Other cursors are of the same family, and keys are in their order.
                let Some(name) = record.key.key.strip_prefix(&*prefix.key) else {
                    return Ok(names.into_iter().collect());
                };
                let is_target = !name.contains(['/', ':']);
                names.extend(is_target.then(|| name.into()));
            }
            match records.last() {
                Some(last) if records.len() == query.records_max => {
                    query.after_key = Some(last.key.key.clone());
                }
                _ => return Ok(names.into_iter().collect()),
            }
        }
    }

    /// What became of an event for one target. Of a target that does not run only its delivery is known;
    /// without one there is nothing to tell.
    ///
    /// What the target asks of events, its patterns and its condition, is told as it is now; it may have been
    /// something else when the event had its turn.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the target's record cannot be understood, and [`Error::Log`] when the log cannot
    /// be read.
    pub async fn explain(&self, target: &str, event: &Event) -> Result<Option<Explanation>, Error> {
        let (Some(reactor), Some(info)) = (self.reactor(target), self.target(target)) else {
            return self.explain_absent(target, event).await;
        };
        let halted = halted(&info);
        let is_busy = halted.is_none() && info.running > 0;
        let fate = self.fate(&reactor, is_busy, event).await?;
        Ok(Some(Explanation {
            fate,
            position: info.position,
            lag: info.lag,
            halted,
            target: info.name,
        }))
    }

    /// The same for a target that does not run.
    async fn explain_absent(
        &self,
        target: &str,
        event: &Event,
    ) -> Result<Option<Explanation>, Error> {
        let id = DeliveryId::new(target, event.seq);
        let Some(delivery) = self.delivery(&id.record()).await? else {
            return Ok(None);
        };
        let position = match self.progress_of(target).await? {
            Some(found) => found.progress.position(),
            None => 0,
        };
        let head = self.log().head();
        Ok(Some(Explanation {
            fate: Fate::of(delivery),
            position: self.log().position(Seq::new(position)),
            lag: head.seq.get().saturating_sub(position),
            halted: Some("it does not run here".into()),
            target: id.target,
        }))
    }

    /// The replays that an event is in, and how far each is.
    ///
    /// # Errors
    /// [`Error::Log`] when the log cannot be read.
    pub async fn replays_of(&self, event: &Event) -> Result<Vec<ReplayInfo>, Error> {
        let mut replays = self.replays().await?;
        replays.retain(|info| info.request.after < event.seq && event.seq <= info.request.through);
        Ok(replays)
    }

    async fn fate(
        &self,
        reactor: &SharedReactor,
        is_busy: bool,
        event: &Event,
    ) -> Result<Fate, Error> {
        let options = reactor.options();
        let id = DeliveryId::new(options.name.clone(), event.seq);
        // Read before the delivery: what is settled meanwhile is then found there.
        let found = self.progress_of(&options.name).await?;
        let found = found.ok_or_else(|| Error::Damaged {
            record: cursor_key(&options.name).to_string(),
        })?;
        let matches = options.on.matches(&event.topic);
        let filter = options.filter.as_ref();
        let refused_by = filter
            .filter(|filter| matches && !filter.matches(event))
            .map(|filter| filter.text().into());
        let mut known = Known {
            seq: event.seq,
            is_busy,
            matches,
            refused_by,
            found: &found,
            delivery: self.delivery(&id.record()).await?,
            outcome: None,
        };
        if known.delivery.is_none() && options.keeps_outcomes {
            known.outcome = self.outcome_of(&options.name, event).await?;
        }
        match judge(known, self.log().head()) {
            Fate::Settled => self.settled(reactor, &options.name, event).await,
            fate => Ok(fate),
        }
    }

    /// What a target's cursor record says; nothing when there is none.
    async fn progress_of(&self, name: &str) -> Result<Option<Found>, Error> {
        let key = cursor_key(name);
        let Some(record) = self.log().record(&key).await? else {
            return Ok(None);
        };
        let found = Progress::decode(&record.body);
        found.map(Some).ok_or_else(|| Error::Damaged {
            record: key.to_string(),
        })
    }

    /// What is known of an event that is settled and left neither delivery nor outcome.
    async fn settled(
        &self,
        reactor: &SharedReactor,
        name: &str,
        event: &Event,
    ) -> Result<Fate, Error> {
        // A reactor that panics over its key has a dead letter, or had one.
        let key = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| reactor.once(event)));
        let Some(once) = key.unwrap_or_default() else {
            return Ok(Fate::Settled);
        };
        let entry = self
            .log()
            .once(&Once::fact(format!("reactor:{name}"), once.as_str()))
            .await?;
        let Some(entry) = entry else {
            return Ok(Fate::Settled);
        };
        let once = once.into();
        let Some((first, last)) = entry.range else {
            return Ok(Fate::Settled);
        };
        let emitted = self.log().event(first).await?;
        let by = emitted.and_then(|emitted| emitted.causes().causation_id);
        Ok(if by == Some(event.id) {
            Fate::Emitted {
                first: self.log().position(first),
                last: self.log().position(last),
            }
        } else {
            Fate::Already { once, by }
        })
    }

    /// The outcome of an event, if the target keeps it still. They are listed newest first, and none is older
    /// than its event.
    async fn outcome_of(&self, target: &str, event: &Event) -> Result<Option<OutcomeInfo>, Error> {
        let mut after = None;
        loop {
            let page = self
                .outcomes(target, after.as_deref(), OUTCOMES_PAGE)
                .await?;
            for outcome in page.items {
                if outcome.seq == event.seq {
                    return Ok(Some(outcome));
                }
                if outcome.time_us < event.time_us {
                    return Ok(None);
                }
            }
            if page.next.is_none() {
                return Ok(None);
            }
            after = page.next;
        }
    }
}

/// Why a target does nothing now.
fn halted(info: &TargetInfo) -> Option<Arc<str>> {
    let why = || info.why.clone();
    match info.state {
        TargetState::Running if info.is_stopped => Some("its loop has ended".into()),
        TargetState::Running if info.is_full => Some(
            "it takes no new events: too many deliveries wait, or are dead letters to be retried or discarded"
                .into(),
        ),
        TargetState::Running => None,
        TargetState::Paused => Some(why().unwrap_or_else(|| "it is paused".into())),
        TargetState::Disabled => Some(why().unwrap_or_else(|| "it is disabled".into())),
    }
}

/// What became of an event, of what is known. What is written counts before what would be expected: a rule may
/// have been another when the event had its turn.
fn judge(known: Known<'_>, head: Position) -> Fate {
    if let Some(delivery) = known.delivery {
        return Fate::of(delivery);
    }
    if let Some(outcome) = known.outcome {
        return match outcome.state {
            OutcomeState::Dead => Fate::Discarded(Box::new(outcome)),
            OutcomeState::Done | OutcomeState::Already => Fate::Succeeded(Box::new(outcome)),
        };
    }
    if !known.matches {
        return Fate::NotMatched;
    }
    if let Some(filter) = known.refused_by {
        return Fate::Filtered { filter };
    }
    let (seq, progress) = (known.seq.get(), &known.found.progress);
    if seq <= progress.began() {
        let seq = Seq::new(progress.began());
        let began = Position { seq, ..head };
        return Fate::BeforeBeginning { began };
    }
    if progress.is_settled(seq) {
        Fate::Settled
    } else if known.is_busy && seq <= known.found.opened {
        Fate::Begun
    } else {
        Fate::NotReached
    }
}
