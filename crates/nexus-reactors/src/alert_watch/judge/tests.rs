//! What is judged of what was seen, look by look.

use std::time::Duration;

use super::*;

const SECOND_US: i64 = 1_000_000;

fn limits() -> AlertLimits {
    AlertLimits {
        every: Duration::from_secs(5),
        lag_events: 1_000,
        error_rate: 0.5,
        attempts: 20,
    }
}

fn target() -> Look {
    Look {
        name: "mint".into(),
        state: TargetState::Running,
        why: None,
        lag: 0,
        waiting: 0,
        dead: 0,
        is_full: false,
        is_stopped: false,
        is_broken: Some(false),
        succeeded: 0,
        failed: 0,
    }
}

/// Looks once in so many seconds, and gives what begins and what ends: `+cause` and `-cause`.
struct Watch {
    judge: Judge,
    now_us: i64,
    on: Vec<String>,
}

impl Watch {
    fn new() -> Self {
        Self {
            judge: Judge::new(limits()),
            now_us: 0,
            on: Vec::new(),
        }
    }

    fn look(&mut self, seconds: i64, targets: &[Look]) -> Vec<String> {
        self.look_at(seconds, Health::Healthy, targets)
    }

    fn look_at(&mut self, seconds: i64, health: Health, targets: &[Look]) -> Vec<String> {
        self.now_us += seconds * SECOND_US;
        let mut news = Vec::new();
        for verdict in self.judge.look(self.now_us, health, targets) {
            match verdict {
                Verdict::Lasts { cause, message } => {
                    assert!(!message.is_empty());
                    if !self.on.contains(&cause) {
                        news.push(format!("+{cause}"));
                        self.on.push(cause);
                    }
                }
                Verdict::Over { cause, message } => {
                    assert!(!message.is_empty());
                    news.push(format!("-{cause}"));
                    self.on.retain(|on| *on != cause);
                }
            }
        }
        news
    }
}

#[test]
fn states_begin_and_end() {
    let mut watch = Watch::new();
    let with = |change: fn(&mut Look)| {
        let mut look = target();
        change(&mut look);
        look
    };
    assert!(watch.look(5, &[target()]).is_empty());
    for (cause, look) in [
        (
            "disabled:mint",
            with(|look| look.state = TargetState::Disabled),
        ),
        ("stopped:mint", with(|look| look.is_stopped = true)),
        ("full:mint", with(|look| look.is_full = true)),
        ("breaker:mint", with(|look| look.is_broken = Some(true))),
    ] {
        assert_eq!(
            watch.look(5, std::slice::from_ref(&look)),
            [format!("+{cause}")]
        );
        assert!(watch.look(5, &[look]).is_empty());
        assert_eq!(watch.look(5, &[target()]), [format!("-{cause}")]);
        assert!(watch.look(5, &[target()]).is_empty());
    }
    // Whoever paused it knows.
    let paused = with(|look| look.state = TargetState::Paused);
    assert!(watch.look(5, &[paused]).is_empty());
    // While it is tried whether it works again, it cannot be told.
    let broken = with(|look| look.is_broken = Some(true));
    let probing = with(|look| look.is_broken = None);
    assert_eq!(watch.look(5, &[broken]), ["+breaker:mint"]);
    assert!(watch.look(5, &[probing]).is_empty());
    assert_eq!(watch.look(5, &[target()]), ["-breaker:mint"]);
}

#[test]
fn the_storage_is_told_of() {
    let mut watch = Watch::new();
    assert!(watch.look_at(5, Health::Healthy, &[]).is_empty());
    assert_eq!(watch.look_at(5, Health::Full, &[]), ["+storage"]);
    assert!(watch.look_at(5, Health::Unavailable, &[]).is_empty());
    assert_eq!(watch.look_at(5, Health::Healthy, &[]), ["-storage"]);
    assert_eq!(watch.look_at(5, Health::Failed, &[]), ["+storage"]);
}

#[test]
fn a_lag_is_told_of_when_it_is_large_and_grows() {
    let mut watch = Watch::new();
    let mut look = target();
    let mut news = |lag, times| -> Vec<String> {
        look.lag = lag;
        (0..times)
            .flat_map(|_| watch.look(5, &[look.clone()]))
            .collect()
    };
    // Large, but it does not grow: it is being worked off, or nobody runs it.
    assert!(news(5_000, 60).is_empty());
    assert!(news(4_000, 60).is_empty());
    // It grows from minute to minute.
    assert_eq!(news(4_500, 13), ["+lag:mint"]);
    assert!(news(5_500, 1).is_empty());
    // Less, but still far behind: it is not over.
    assert!(news(900, 60).is_empty());
    assert_eq!(news(400, 1), ["-lag:mint"]);
    // Growing, but small.
    assert!(news(990, 60).is_empty());
}

#[test]
fn a_rate_of_errors_counts_over_five_minutes_and_enough_attempts() {
    let mut watch = Watch::new();
    let mut look = target();
    let mut news = |succeeded, failed, times| -> Vec<String> {
        (0..times)
            .flat_map(|_| {
                look.succeeded += succeeded;
                look.failed += failed;
                watch.look(5, &[look.clone()])
            })
            .collect()
    };
    assert!(news(0, 1, 15).is_empty(), "too few to tell");
    assert!(news(20, 1, 60).is_empty());
    assert_eq!(news(1, 9, 60), ["+errors:mint"]);
    assert!(
        news(0, 0, 200).is_empty(),
        "nothing is tried: it cannot be told"
    );
    assert_eq!(news(10, 0, 60), ["-errors:mint"]);
    // One in three is too much for the end, and too little for a beginning.
    assert!(news(2, 1, 200).is_empty());
}

#[test]
fn dead_letters_are_over_when_there_are_no_new_ones_and_something_succeeds() {
    let mut watch = Watch::new();
    let mut look = target();
    // Those of before are no news.
    look.dead = 3;
    assert!(watch.look(5, &[look.clone()]).is_empty());
    look.dead = 4;
    assert_eq!(watch.look(5, &[look.clone()]), ["+dead-letter:mint"]);
    for _ in 0..120 {
        assert!(
            watch.look(5, &[look.clone()]).is_empty(),
            "nothing succeeded"
        );
    }
    look.succeeded = 1;
    assert_eq!(watch.look(5, &[look.clone()]), ["-dead-letter:mint"]);
    // A new one, and successes beside it: it takes five minutes without another.
    look.dead = 5;
    assert_eq!(watch.look(5, &[look.clone()]), ["+dead-letter:mint"]);
    for _ in 0..59 {
        look.succeeded += 1;
        assert!(watch.look(5, &[look.clone()]).is_empty());
    }
    look.dead = 6;
    for _ in 0..60 {
        look.succeeded += 1;
        assert!(watch.look(5, &[look.clone()]).is_empty());
    }
    look.succeeded += 1;
    assert_eq!(watch.look(5, &[look.clone()]), ["-dead-letter:mint"]);
    // When all were retried or discarded, it is over at once.
    look.dead = 7;
    assert_eq!(watch.look(5, &[look.clone()]), ["+dead-letter:mint"]);
    look.dead = 0;
    assert_eq!(watch.look(5, &[look]), ["-dead-letter:mint"]);
}

#[test]
fn a_target_that_is_gone_has_no_trouble_any_more() {
    let mut watch = Watch::new();
    let mut full = target();
    full.is_full = true;
    let mut other = target();
    other.name = "other".into();
    assert_eq!(watch.look(5, &[full, other.clone()]), ["+full:mint"]);
    assert_eq!(watch.look(5, &[other]), ["-full:mint"]);
    assert_eq!(watch.judge.targets.len(), 1);
}

#[test]
fn what_another_raised_is_over_when_it_is() {
    let mine = ["full:mint", "storage", "dead-letter:mint", "lag:gone"];
    let others = ["rule:gone", "rule:mint", "something"];
    let mut watch = Watch::new();
    watch.judge.learn(mine.map(String::from).to_vec());
    watch.judge.learn(others.map(String::from).to_vec());
    let mut look = target();
    look.is_full = true;
    look.dead = 2;
    let mut news = watch.look_at(5, Health::Full, &[look]);
    news.sort();
    assert_eq!(
        news,
        ["+dead-letter:mint", "+full:mint", "+storage", "-lag:gone"],
        "what lasts goes on, and who is gone has no trouble"
    );
    let mut news = watch.look(5, &[target()]);
    news.sort();
    assert_eq!(news, ["-dead-letter:mint", "-full:mint", "-storage"]);
}

#[test]
fn what_is_remembered_of_a_target_is_bounded() {
    let mut watch = Watch::new();
    for _ in 0..10_000 {
        watch.look(1, &[target()]);
    }
    let seen = &watch.judge.targets["mint"];
    assert!(seen.samples.len() <= 22, "{}", seen.samples.len());
}
