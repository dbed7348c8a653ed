//! `/api/v1/reactors/{name}/dry-run`: what would be done over a past range, and by a rule that is proposed.

use ::http::{Method, StatusCode};
use nexus_core::{Kind, Principal, Scope};
use nexus_http::{Call, Problem, Reply, Route};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    Answered, TargetApi, place,
    targets::{name, no_target},
    view::{EventView, ExchangeView},
};
use crate::dry_run::{
    Counts, DRY_RUN_RESULTS_MAX, Difference, DryRun, DryRunReport, DryRunResult, Rehearsal, dry_run,
};

const LIMIT_DEFAULT: usize = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    from: String,
    through: Option<String>,
    limit: Option<usize>,
    rule: Option<Box<RawValue>>,
}

pub(super) fn routes(api: &TargetApi) -> Vec<Route> {
    vec![api.route(
        Method::POST,
        "/api/v1/reactors/{name}/dry-run",
        |api, call| async move { api.dry_run(&call, name(&call)).await },
    )]
}

#[derive(Serialize)]
struct ReportView<'a> {
    reactor: &'a str,
    from: String,
    through: String,
    examined: u64,
    running: CountsView,
    proposed: Option<CountsView>,
    difference: Option<DifferenceView>,
    results: Vec<ResultView<'a>>,
    /// Every event up to here has its result among them: go on from here for more.
    tried_through: String,
    /// Every event up to here is in the numbers.
    counted_through: String,
    has_more: bool,
}

#[derive(Serialize)]
struct CountsView {
    runs: u64,
    filtered: u64,
}

impl From<Counts> for CountsView {
    fn from(counts: Counts) -> Self {
        let Counts { runs, filtered } = counts;
        Self { runs, filtered }
    }
}

#[derive(Serialize)]
struct DifferenceView {
    only_running: u64,
    only_proposed: u64,
    both: u64,
    changed: u64,
}

impl From<Difference> for DifferenceView {
    fn from(difference: Difference) -> Self {
        Self {
            only_running: difference.only_running,
            only_proposed: difference.only_proposed,
            both: difference.both,
            changed: difference.changed,
        }
    }
}

#[derive(Serialize)]
struct ResultView<'a> {
    event: EventView<'a>,
    running: RehearsalView<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proposed: Option<RehearsalView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    changed: Option<bool>,
}

/// What a reactor would do for an event.
#[derive(Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum RehearsalView<'a> {
    NotMatched,
    Filtered,
    Runs {
        request: Option<ExchangeView<'a>>,
        emits: Vec<EmittedView<'a>>,
        already_done: bool,
    },
    Fails {
        error: &'a str,
    },
    Unknown,
}

#[derive(Serialize)]
struct EmittedView<'a> {
    topic: &'a str,
    payload: Option<&'a RawValue>,
}

impl<'a> RehearsalView<'a> {
    fn new(rehearsal: &'a Rehearsal) -> Self {
        match rehearsal {
            Rehearsal::NotMatched => Self::NotMatched,
            Rehearsal::Filtered => Self::Filtered,
            Rehearsal::Unknown => Self::Unknown,
            Rehearsal::Fails { error } => Self::Fails { error },
            Rehearsal::Runs {
                request,
                emits,
                is_done,
            } => Self::Runs {
                request: request.as_ref().map(ExchangeView::new),
                emits: emits
                    .iter()
                    .map(|emitted| EmittedView {
                        topic: emitted.topic.as_str(),
                        payload: serde_json::from_slice(&emitted.payload).ok(),
                    })
                    .collect(),
                already_done: *is_done,
            },
        }
    }
}

impl TargetApi {
    /// `POST`: what the target would do for past events, without doing it, and what a proposed rule would do
    /// otherwise.
    ///
    /// # Errors
    /// `not-found`; `invalid-request` for a body, range or rule that is wrong; `epoch`, `ahead` or `pruned`
    /// for a place that cannot be begun from; what [`TargetApi::operator`] and the log say.
    pub async fn dry_run(&self, call: &Call, target: &str) -> Answered {
        let caller = self.operator(call)?;
        call.refuse_unknown_query(&[])?;
        let asked: Asked = call.json()?;
        let limit = asked.limit.unwrap_or(LIMIT_DEFAULT);
        if !(1..=DRY_RUN_RESULTS_MAX).contains(&limit) {
            let detail = format!("`limit` must be a number from 1 to {DRY_RUN_RESULTS_MAX}");
            return Err(Problem::invalid_request(detail));
        }
        let Some(running) = self.handle.reactor(target) else {
            return Err(no_target());
        };
        let run = DryRun {
            running,
            proposed: match &asked.rule {
                // It is a configuration that may come.
                Some(rule) => {
                    self.auth.require(&caller, Scope::Admin)?;
                    Some(self.proposed(target, rule)?)
                }
                None => None,
            },
            after: place::after(self.log(), &asked.from).await?,
            through: place::through(self.log(), asked.through.as_deref()).await?,
            results_max: limit,
        };
        let (after, through) = (run.after, run.through);
        let report = dry_run(self.log(), run).await?;
        let position = |seq| self.log().position(seq).to_string();
        let view = ReportView {
            reactor: target,
            from: position(after),
            through: position(through),
            examined: report.examined,
            running: report.running.into(),
            proposed: report.proposed.map(Into::into),
            difference: report.difference.map(Into::into),
            results: self.results(&caller, &report),
            tried_through: position(report.tried_through),
            counted_through: position(report.counted_through),
            has_more: report.tried_through < through,
        };
        let clock = self.log().clock();
        Ok(Reply::enveloped(StatusCode::OK, clock, &view, None::<&()>))
    }

    /// What the caller may see of the results.
    fn results<'a>(&self, caller: &Principal, report: &'a DryRunReport) -> Vec<ResultView<'a>> {
        let readable = report.results.iter();
        readable
            .filter(|result| caller.may_read(&result.event))
            .map(|result| self.result(result))
            .collect()
    }

    fn result<'a>(&self, result: &'a DryRunResult) -> ResultView<'a> {
        let event = &result.event;
        ResultView {
            event: EventView {
                id: event.id.to_string(),
                position: self.log().position(event.seq).to_string(),
                seq: event.seq.get(),
                topic: event.topic.as_str(),
            },
            running: RehearsalView::new(&result.running),
            proposed: result.proposed.as_ref().map(RehearsalView::new),
            changed: result.proposed.as_ref().map(|_| result.is_changed()),
        }
    }

    /// The rule that somebody proposes.
    fn proposed(
        &self,
        target: &str,
        rule: &RawValue,
    ) -> Result<nexus_core::SharedReactor, Problem> {
        let Some(propose) = &self.propose else {
            let detail = "rules cannot be proposed here";
            return Err(Problem::new(Kind::Unprocessable, "unprocessable", detail));
        };
        propose(target, rule.get())
    }
}
