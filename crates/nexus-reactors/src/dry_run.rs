//! Dry runs: what a reactor would do for past events, without doing it, and how a proposed one differs.

mod rehearsal;

use std::{sync::Arc, time::Duration};

use nexus_core::{Event, EventQuery, Log, PatternSet, Seq, SharedReactor};
use tokio::time::Instant;

pub use self::rehearsal::{Emitted, Rehearsal};
use self::rehearsal::{Meets, Subject};
use crate::Error;

/// A dry run looks at no more than this many events …
pub const DRY_RUN_EXAMINED_MAX: u64 = 100_000;
/// … tries at most this many of them …
pub const DRY_RUN_RESULTS_MAX: usize = 1_000;
/// … keeps about this many bytes of what they come to …
const RESULT_BYTES_MAX: usize = 4 << 20;
/// … and takes about this long.
const TIME_MAX: Duration = Duration::from_secs(5);

/// What is to be tried.
#[derive(Clone)]
pub struct DryRun {
    /// The reactor that runs.
    pub running: SharedReactor,
    /// One that somebody proposes in its place.
    pub proposed: Option<SharedReactor>,
    /// The events behind this one …
    pub after: Seq,
    /// … up to and including this one.
    pub through: Seq,
    /// At most this many events are tried.
    pub results_max: usize,
}

/// What a dry run came to.
#[derive(Debug, Default)]
pub struct DryRunReport {
    /// How many events were looked at.
    pub examined: u64,
    /// What the running reactor would do, in numbers.
    pub running: Counts,
    /// What the proposed one would do.
    pub proposed: Option<Counts>,
    /// How they differ.
    pub difference: Option<Difference>,
    /// The events that either would run for: the first of them, with what would be done.
    pub results: Vec<DryRunResult>,
    /// Every event up to here has its result among them.
    pub tried_through: Seq,
    /// Every event up to here is in the numbers.
    pub counted_through: Seq,
}

/// How many events meet what a reactor asks of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// The topic matches and the condition is met: it would run.
    pub runs: u64,
    /// The topic matches and the condition is not met.
    pub filtered: u64,
}

/// How two reactors differ over the events of a range.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Difference {
    /// Only the running one would run.
    pub only_running: u64,
    /// Only the proposed one would.
    pub only_proposed: u64,
    /// Both would.
    pub both: u64,
    /// Of those of both that were tried: how many would come to something else.
    pub changed: u64,
}

/// What would be done for one event.
#[derive(Debug)]
pub struct DryRunResult {
    /// The event.
    pub event: Arc<Event>,
    /// What the running reactor would do.
    pub running: Rehearsal,
    /// What the proposed one would do.
    pub proposed: Option<Rehearsal>,
}

impl DryRunResult {
    /// Whether the proposed reactor would do something else.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        self.proposed
            .as_ref()
            .is_some_and(|proposed| !proposed.is_like(&self.running))
    }
}

/// A dry run under way.
struct Running {
    log: Log,
    running: Subject,
    proposed: Option<Subject>,
    results_max: usize,
    results_bytes: usize,
    ends_at: Instant,
    report: DryRunReport,
}

/// Tries a reactor, and one that is proposed, on past events. Nothing is sent and nothing stored.
///
/// It is bounded in events, bytes and time: the report says how far it came, and the next one may go on from
/// there.
///
/// # Errors
/// [`Error::Log`] when the log cannot be read.
pub async fn dry_run(log: &Log, asked: DryRun) -> Result<DryRunReport, Error> {
    let proposed = asked.proposed.map(Subject::new);
    let mut run = Running {
        report: DryRunReport {
            proposed: proposed.as_ref().map(|_| Counts::default()),
            difference: proposed.as_ref().map(|_| Difference::default()),
            tried_through: asked.after,
            counted_through: asked.after,
            ..DryRunReport::default()
        },
        log: log.clone(),
        running: Subject::new(asked.running),
        proposed,
        results_max: asked.results_max.min(DRY_RUN_RESULTS_MAX),
        results_bytes: 0,
        ends_at: Instant::now() + TIME_MAX,
    };
    let through = asked.through.min(asked.after.plus(DRY_RUN_EXAMINED_MAX));
    let mut query = EventQuery::page(asked.after, through, run.patterns());
    loop {
        let page = run.log.events(&query).await?;
        for event in &page.events {
            if !run.take(event).await? {
                return Ok(run.end(asked.after));
            }
        }
        run.passed(page.reached);
        if page.done || Instant::now() >= run.ends_at {
            return Ok(run.end(asked.after));
        }
        query.after = page.reached;
    }
}

impl Running {
    /// What either asks for.
    fn patterns(&self) -> PatternSet {
        let subjects = std::iter::once(&self.running).chain(&self.proposed);
        subjects
            .flat_map(|subject| subject.options.on.iter().cloned())
            .collect()
    }

    /// Every event up to here that either asks for was taken.
    fn passed(&mut self, through: Seq) {
        if self.may_try() {
            self.report.tried_through = through;
        }
        self.report.counted_through = through;
    }

    fn may_try(&self) -> bool {
        self.report.results.len() < self.results_max && self.results_bytes < RESULT_BYTES_MAX
    }

    /// Counts an event, and tries it if there is room for its result. Gives whether there is time for more.
    async fn take(&mut self, event: &Arc<Event>) -> Result<bool, Error> {
        if Instant::now() >= self.ends_at {
            return Ok(false);
        }
        let running = self.running.meets(event);
        let proposed = self.proposed.as_ref().map(|proposed| proposed.meets(event));
        let would_run = running == Meets::Runs || proposed == Some(Meets::Runs);
        if would_run && self.may_try() {
            let result = DryRunResult {
                running: self.running.rehearse(&self.log, event, running).await?,
                proposed: match (&self.proposed, proposed) {
                    (Some(subject), Some(meets)) => {
                        Some(subject.rehearse(&self.log, event, meets).await?)
                    }
                    _ => None,
                },
                event: event.clone(),
            };
            self.keep(result);
        }
        self.count(running, proposed);
        self.passed(event.seq);
        Ok(true)
    }

    fn keep(&mut self, result: DryRunResult) {
        let of_both = matches!(
            (&result.running, &result.proposed),
            (running, Some(proposed)) if running.is_run() && proposed.is_run()
        );
        if of_both
            && result.is_changed()
            && let Some(difference) = &mut self.report.difference
        {
            difference.changed += 1;
        }
        let proposed = result.proposed.as_ref().map_or(0, Rehearsal::weight);
        self.results_bytes += result.running.weight() + proposed;
        // What is full with this result still holds it.
        self.report.tried_through = result.event.seq;
        self.report.results.push(result);
    }

    fn count(&mut self, running: Meets, proposed: Option<Meets>) {
        let count = |counts: &mut Counts, meets| match meets {
            Meets::Runs => counts.runs += 1,
            Meets::Filtered => counts.filtered += 1,
            Meets::NotMatched => {}
        };
        count(&mut self.report.running, running);
        let (Some(meets), Some(counts)) = (proposed, &mut self.report.proposed) else {
            return;
        };
        count(counts, meets);
        if let Some(difference) = &mut self.report.difference {
            match (running == Meets::Runs, meets == Meets::Runs) {
                (true, true) => difference.both += 1,
                (true, false) => difference.only_running += 1,
                (false, true) => difference.only_proposed += 1,
                (false, false) => {}
            }
        }
    }

    fn end(mut self, after: Seq) -> DryRunReport {
        let through = self.report.counted_through.get();
        self.report.examined = through.saturating_sub(after.get());
        self.report
    }
}
