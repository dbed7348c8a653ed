//! What the engine is told of a rule: bounds are checked here.

use std::time::Duration;

use nexus_core::{
    Blocked, Breaker, Catalogue, From, Ordering, PatternSet, Position, ReactorOptions,
    RetrySchedule,
};

use super::{
    config::{BlockedConfig, OneOrMany, OrderingConfig, RetryConfig, RuleConfig},
    problem::Problems,
};

/// What an attempt may take beyond its call: to look the receiver up in the directory.
const BESIDE_CALL_MS: u64 = 12_000;
/// What an attempt may take that calls nobody.
const ATTEMPT_MS: u64 = 30_000;
const TIMEOUT_MS_MAX: u64 = 600_000;
const ATTEMPTS_MAX: u32 = 100;
const FIRST_MS_MAX: u64 = 24 * 3_600_000;
const FACTOR_MAX: f64 = 10.0;
const CONCURRENCY_MAX: usize = 1_024;
const NAME_BYTES_MAX: usize = 100;
/// Names of targets that are no rules begin so.
const FOREIGN_PREFIXES: [&str; 2] = ["endpoint-", "replay-"];

/// The options of a rule, but for its condition.
pub(super) fn options(
    config: &RuleConfig,
    catalogue: &Catalogue,
    problems: &mut Problems,
) -> Option<ReactorOptions> {
    check_name(&config.name, problems);
    let on = patterns(&config.on, catalogue, problems);
    let retry = retry(config.retry, problems);
    let call_ms = match (&config.http, &config.webhook) {
        (Some(http), _) => Some(("http.timeout_ms", http.timeout_ms)),
        (None, Some(webhook)) => Some(("webhook.timeout_ms", webhook.timeout_ms)),
        (None, None) => None,
    };
    let mut is_good = true;
    let mut check_ms = |place: &str, timeout_ms: u64| {
        if !(1..=TIMEOUT_MS_MAX).contains(&timeout_ms) {
            problems.add(place, format!("is from 1 to {TIMEOUT_MS_MAX}"));
            is_good = false;
        }
    };
    if let Some((place, call_ms)) = call_ms {
        check_ms(place, call_ms);
    }
    if let Some(timeout_ms) = config.timeout_ms {
        check_ms("timeout_ms", timeout_ms);
    }
    let timeout_ms = config
        .timeout_ms
        .unwrap_or_else(|| call_ms.map_or(ATTEMPT_MS, |(_, ms)| ms.saturating_add(BESIDE_CALL_MS)));
    if call_ms.is_some_and(|(_, ms)| ms > timeout_ms) {
        problems.add("timeout_ms", "is not shorter than that of the call");
    }
    let concurrency = concurrency(config, problems);
    let begin = begin(config, problems);
    let breaker = breaker(config, problems);
    if let Some(rate) = config.rate_per_second
        && !(rate.is_finite() && rate > 0.0)
    {
        problems.add("rate_per_second", "is a number above 0");
    }
    let mut options = ReactorOptions::new(&config.name, on?);
    options.timeout = Duration::from_millis(timeout_ms);
    options.retry = retry?;
    options.ordering = match config.ordering {
        OrderingConfig::None => Ordering::None,
        OrderingConfig::Key => Ordering::Key,
        OrderingConfig::All => Ordering::All,
    };
    options.on_blocked = match config.on_blocked {
        BlockedConfig::Wait => Blocked::Wait,
        BlockedConfig::Park => Blocked::Park,
    };
    options.concurrency = concurrency.unwrap_or(options.concurrency);
    options.begin = begin?;
    options.rate_per_second = config.rate_per_second;
    options.breaker = breaker;
    is_good.then_some(options)
}

fn check_name(name: &str, problems: &mut Problems) {
    let is_name = !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && name
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'));
    if !is_name {
        let what = format!("a name is 1 to {NAME_BYTES_MAX} of a-z, 0-9, - and _");
        problems.add("name", what);
    }
    if let Some(prefix) = FOREIGN_PREFIXES
        .iter()
        .find(|prefix| name.starts_with(*prefix))
    {
        problems.add(
            "name",
            format!("the name of a rule does not begin with {prefix}"),
        );
    }
}

fn patterns(
    on: &OneOrMany<String>,
    catalogue: &Catalogue,
    problems: &mut Problems,
) -> Option<PatternSet> {
    if on.is_empty() {
        problems.add("on", "names no event");
        return None;
    }
    let mut patterns = Vec::with_capacity(on.0.len());
    for (n, text) in on.0.iter().enumerate() {
        match catalogue.resolve_pattern(text) {
            Ok((pattern, _)) => patterns.push(pattern),
            Err(_) => problems.add(
                format!("on[{n}]"),
                format!("{text:?} is no known event and no pattern"),
            ),
        }
    }
    (patterns.len() == on.0.len()).then(|| patterns.into_iter().collect())
}

fn retry(config: RetryConfig, problems: &mut Problems) -> Option<RetrySchedule> {
    let mut is_good = true;
    let mut check = |holds: bool, member: &str, what: String| {
        if !holds {
            problems.add(format!("retry.{member}"), what);
            is_good = false;
        }
    };
    check(
        (1..=ATTEMPTS_MAX).contains(&config.attempts),
        "attempts",
        format!("is from 1 to {ATTEMPTS_MAX}; the first counts"),
    );
    check(
        (1..=FIRST_MS_MAX).contains(&config.first_ms),
        "first_ms",
        format!("is from 1 to {FIRST_MS_MAX}"),
    );
    check(
        (1.0..=FACTOR_MAX).contains(&config.factor),
        "factor",
        format!("is from 1 to {FACTOR_MAX}"),
    );
    check(
        (0.0..=1.0).contains(&config.jitter),
        "jitter",
        "is from 0 to 1".to_owned(),
    );
    is_good.then(|| RetrySchedule {
        attempts: config.attempts,
        first: Duration::from_millis(config.first_ms),
        factor: config.factor,
        jitter: config.jitter,
        ..RetrySchedule::default()
    })
}

fn concurrency(config: &RuleConfig, problems: &mut Problems) -> Option<usize> {
    let concurrency = config.concurrency?;
    if !(1..=CONCURRENCY_MAX).contains(&concurrency) {
        problems.add("concurrency", format!("is from 1 to {CONCURRENCY_MAX}"));
    }
    Some(concurrency)
}

/// Nothing when it is a mistake; within, nothing when nothing is said.
fn begin(config: &RuleConfig, problems: &mut Problems) -> Option<Option<From>> {
    let Some(begin) = &config.begin else {
        return Some(None);
    };
    let from = match begin.0.as_str() {
        "latest" => From::Latest,
        "earliest" => From::Earliest,
        position => match position.parse::<Position>() {
            Ok(position) => From::After(position),
            Err(_) => {
                problems.add("begin", "is latest, earliest or a position");
                return None;
            }
        },
    };
    Some(Some(from))
}

fn breaker(config: &RuleConfig, problems: &mut Problems) -> Option<Breaker> {
    let breaker = config.breaker?;
    if breaker.failures == 0 {
        problems.add("breaker.failures", "is at least 1");
    }
    if !(1..=FIRST_MS_MAX).contains(&breaker.open_ms) {
        problems.add("breaker.open_ms", format!("is from 1 to {FIRST_MS_MAX}"));
    }
    Some(Breaker {
        failures: breaker.failures,
        open: Duration::from_millis(breaker.open_ms),
    })
}
