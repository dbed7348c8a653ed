//! Judges what was seen: what lasts that people should know of, and what is over. No time and no I/O.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use nexus_core::Health;

use super::AlertLimits;
use crate::{
    BreakerState, TargetInfo, TargetState,
    alert::{dead_letter_cause, full_cause, full_message},
};

/// How long the lag of a target has to grow, and within which time attempts are counted.
const GROWS_US: i64 = 60 * 1_000_000;
const WINDOW_US: i64 = 5 * 60 * 1_000_000;
/// A target is remembered as it was at most this often within the window.
const SAMPLE_US: i64 = 15 * 1_000_000;
/// Dead letters are over when there was no new one for this long, and something succeeded.
const CALM_US: i64 = 5 * 60 * 1_000_000;

/// The kinds of causes that are judged here.
const KINDS: [&str; 8] = [
    STORAGE,
    "disabled",
    "stopped",
    "full",
    "breaker",
    "lag",
    "errors",
    "dead-letter",
];
const STORAGE: &str = "storage";

/// A target as it was seen.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Look {
    pub(crate) name: Arc<str>,
    pub(crate) state: TargetState,
    pub(crate) why: Option<Arc<str>>,
    pub(crate) lag: u64,
    pub(crate) waiting: usize,
    pub(crate) dead: usize,
    pub(crate) is_full: bool,
    pub(crate) is_stopped: bool,
    /// Whether its receiver is left alone; nothing while that is being found out.
    pub(crate) is_broken: Option<bool>,
    /// How many attempts succeeded and failed since the process began.
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
}

impl From<&TargetInfo> for Look {
    fn from(info: &TargetInfo) -> Self {
        Self {
            name: info.name.clone(),
            state: info.state,
            why: info.why.clone(),
            lag: info.lag,
            waiting: info.waiting,
            dead: info.dead,
            is_full: info.is_full,
            is_stopped: info.is_stopped,
            is_broken: match info.breaker {
                BreakerState::Closed => Some(false),
                BreakerState::Open { .. } => Some(true),
                BreakerState::Probing => None,
            },
            succeeded: info.succeeded,
            failed: info.failed,
        }
    }
}

/// What people are to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// This lasts. Given at each look as long as it does.
    Lasts { cause: String, message: String },
    /// This is over. Given once.
    Over { cause: String, message: String },
}

/// What was seen before.
#[derive(Debug)]
pub(crate) struct Judge {
    limits: AlertLimits,
    /// The causes that last, and whose they are; those of the log have an empty name.
    lasting: HashMap<String, Arc<str>>,
    targets: HashMap<Arc<str>, Seen>,
}

/// What was seen of a target.
#[derive(Debug)]
struct Seen {
    /// Oldest first, not older than the window but for the first.
    samples: VecDeque<Sample>,
    dead: usize,
    /// Since the last new dead letter, if that is not over.
    trouble: Option<Trouble>,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    time_us: i64,
    lag: u64,
    succeeded: u64,
    failed: u64,
}

#[derive(Debug, Clone, Copy)]
struct Trouble {
    since_us: i64,
    succeeded: u64,
}

/// One thing that may last. `Some(true)`: it does; nothing: it cannot be told.
type Finding<'a> = (String, Option<bool>, Box<dyn Fn(bool) -> String + 'a>);

impl Judge {
    pub(crate) fn new(limits: AlertLimits) -> Self {
        Self {
            limits,
            lasting: HashMap::new(),
            targets: HashMap::new(),
        }
    }

    /// Learns what people believe to last, so that its end is seen. Causes of other kinds are left to those
    /// who raised them.
    pub(crate) fn learn(&mut self, raised: Vec<String>) {
        for cause in raised {
            let (kind, whose) = cause.split_once(':').unwrap_or((&cause, ""));
            if KINDS.contains(&kind) && !self.lasting.contains_key(&cause) {
                let whose = whose.into();
                self.lasting.insert(cause, whose);
            }
        }
    }

    /// Judges what is seen now.
    pub(crate) fn look(&mut self, now_us: i64, health: Health, targets: &[Look]) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        let nobody: Arc<str> = "".into();
        self.weigh(&nobody, storage(health), &mut verdicts);
        for target in targets {
            let seen = self.targets.entry(target.name.clone());
            let seen = seen.or_insert_with(|| Seen::new(target));
            if self.lasting.contains_key(&dead_letter_cause(&target.name)) {
                seen.worry(now_us, target);
            }
            let findings = seen.findings(now_us, target, &self.limits);
            for finding in findings {
                self.weigh(&target.name, finding, &mut verdicts);
            }
        }
        self.forget_others(targets, &mut verdicts);
        verdicts
    }

    fn weigh(&mut self, whose: &Arc<str>, finding: Finding<'_>, verdicts: &mut Vec<Verdict>) {
        let (cause, lasts, message) = finding;
        match lasts {
            Some(true) => {
                let message = message(true);
                self.lasting.insert(cause.clone(), whose.clone());
                verdicts.push(Verdict::Lasts { cause, message });
            }
            Some(false) if self.lasting.remove(&cause).is_some() => {
                let message = message(false);
                verdicts.push(Verdict::Over { cause, message });
            }
            _ => {}
        }
    }

    /// A target that is gone has no trouble any more.
    fn forget_others(&mut self, targets: &[Look], verdicts: &mut Vec<Verdict>) {
        let names: HashSet<_> = targets.iter().map(|target| &target.name).collect();
        self.targets.retain(|name, _| names.contains(name));
        self.lasting.retain(|cause, whose| {
            let stays = whose.is_empty() || names.contains(whose);
            if !stays {
                verdicts.push(Verdict::Over {
                    cause: cause.clone(),
                    message: format!("{whose} was removed"),
                });
            }
            stays
        });
    }
}

fn storage(health: Health) -> Finding<'static> {
    let message = move |_| match health {
        Health::Healthy => "events are stored again",
        Health::Full => "no event can be stored: the disk is full",
        Health::Unavailable => "no event can be stored: the storage cannot be reached",
        Health::Failed => "no event can be stored any more: the process ends",
    };
    (
        STORAGE.to_owned(),
        Some(health != Health::Healthy),
        Box::new(move |lasts| message(lasts).to_owned()),
    )
}

impl Seen {
    /// What is there at first is nothing new.
    fn new(target: &Look) -> Self {
        Self {
            samples: VecDeque::new(),
            dead: target.dead,
            trouble: None,
        }
    }

    /// From now on it is watched when its dead letters are over.
    fn worry(&mut self, now_us: i64, target: &Look) {
        self.trouble.get_or_insert(Trouble {
            since_us: now_us,
            succeeded: target.succeeded,
        });
    }

    fn findings<'a>(
        &mut self,
        now_us: i64,
        target: &'a Look,
        limits: &AlertLimits,
    ) -> [Finding<'a>; 7] {
        let Look { name, .. } = target;
        let why = target.why.as_deref().unwrap_or("nobody said why");
        let is_disabled = target.state == TargetState::Disabled;
        let trouble = self.trouble(now_us, target);
        let growing = self.is_growing(now_us, target, limits);
        let (rate, failing) = self.is_failing(now_us, target, limits);
        self.sample(now_us, target);
        [
            finding(
                "disabled",
                name,
                Some(is_disabled),
                move |lasts| match lasts {
                    true => format!("{name} is disabled: {why}"),
                    false => format!("{name} runs again"),
                },
            ),
            finding(
                "stopped",
                name,
                Some(target.is_stopped),
                move |lasts| match lasts {
                    true => format!("{name} has ended and takes no events"),
                    false => format!("{name} runs again"),
                },
            ),
            (
                full_cause(name),
                Some(target.is_full),
                Box::new(move |lasts| match lasts {
                    true => full_message(name, target.waiting, target.dead),
                    false => format!("{name} takes new events again"),
                }),
            ),
            finding(
                "breaker",
                name,
                target.is_broken,
                move |lasts| match lasts {
                    true => {
                        format!("{name} is left alone for a while: its last attempts all failed")
                    }
                    false => format!("{name} succeeds again"),
                },
            ),
            finding("lag", name, growing, move |lasts| match lasts {
                true => format!("{name} falls behind: {} events wait for it", target.lag),
                false => format!("{name} is only {} events behind", target.lag),
            }),
            finding("errors", name, failing, move |lasts| match lasts {
                true => format!("{name} fails at {rate:.0} % of its attempts"),
                false => format!("{name} fails at {rate:.0} % of its attempts now"),
            }),
            (
                dead_letter_cause(name),
                trouble,
                Box::new(move |lasts| match (lasts, target.dead) {
                    (true, dead) => format!("{name} gives up on events; dead letters: {dead}"),
                    (false, 0) => format!("{name} has no dead letters any more"),
                    (false, dead) => format!("{name} succeeds again; dead letters kept: {dead}"),
                }),
            ),
        ]
    }

    /// Whether dead letters are a thing of the past. That there are new ones is told by the engine.
    fn trouble(&mut self, now_us: i64, target: &Look) -> Option<bool> {
        if target.dead > self.dead {
            self.trouble = None;
            self.worry(now_us, target);
        }
        self.dead = target.dead;
        let trouble = self.trouble?;
        let is_calm = now_us.saturating_sub(trouble.since_us) >= CALM_US;
        let is_over = target.dead == 0 || (is_calm && target.succeeded > trouble.succeeded);
        if is_over {
            self.trouble = None;
        }
        Some(!is_over)
    }

    /// Whether a target falls behind: nothing while it is far behind, but not more than a minute ago.
    fn is_growing(&self, now_us: i64, target: &Look, limits: &AlertLimits) -> Option<bool> {
        if target.lag < limits.lag_events.div_ceil(2) {
            return Some(false);
        }
        let before = self
            .samples
            .iter()
            .rev()
            .find(|sample| now_us.saturating_sub(sample.time_us) >= GROWS_US)?;
        let grows = target.lag >= limits.lag_events && target.lag > before.lag;
        grows.then_some(true)
    }

    /// Which part of the attempts failed within the window, in per cent, and whether that is too much.
    fn is_failing(&self, now_us: i64, target: &Look, limits: &AlertLimits) -> (f64, Option<bool>) {
        let oldest = self
            .samples
            .iter()
            .find(|sample| now_us.saturating_sub(sample.time_us) <= WINDOW_US);
        let Some(oldest) = oldest else {
            return (0.0, None);
        };
        let failed = target.failed.saturating_sub(oldest.failed);
        let attempts = target.succeeded.saturating_sub(oldest.succeeded) + failed;
        if attempts == 0 {
            return (0.0, None);
        }
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = failed as f64 / attempts as f64;
        let lasts = if rate < limits.error_rate / 2.0 {
            Some(false)
        } else {
            (attempts >= limits.attempts && rate >= limits.error_rate).then_some(true)
        };
        (rate * 100.0, lasts)
    }

    fn sample(&mut self, now_us: i64, target: &Look) {
        // Samples of a time that has not come are from before the clock was set back.
        self.samples.retain(|sample| sample.time_us <= now_us);
        let is_due = self
            .samples
            .back()
            .is_none_or(|last| now_us.saturating_sub(last.time_us) >= SAMPLE_US);
        if !is_due {
            return;
        }
        self.samples.push_back(Sample {
            time_us: now_us,
            lag: target.lag,
            succeeded: target.succeeded,
            failed: target.failed,
        });
        let is_old = |sample: &Sample| now_us.saturating_sub(sample.time_us) > WINDOW_US;
        while self.samples.front().is_some_and(is_old) {
            self.samples.pop_front();
        }
    }
}

fn finding<'a>(
    kind: &str,
    name: &str,
    lasts: Option<bool>,
    message: impl Fn(bool) -> String + 'a,
) -> Finding<'a> {
    (format!("{kind}:{name}"), lasts, Box::new(message))
}

#[cfg(test)]
mod tests;
