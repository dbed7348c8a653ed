//! What an endpoint is, checked: the one place where everything that somebody says of it is judged.

use std::{sync::Arc, time::Duration};

use http::HeaderMap;
use nexus_core::{
    Catalogue, Filter, Pattern, PatternSet, Position, RetrySchedule, parse_iso8601_us,
};
use nexus_expr::compile_filter_with;
use nexus_http::Fault;
use nexus_outbound::{Client, Trust};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::{
    EndpointsOptions, headers,
    input::{EndpointInput, Format, Ordering, Retry},
    options::{
        ATTEMPTS_MAX, CONCURRENCY_MAX, DESCRIPTION_CHARS_MAX, PATTERNS_MAX, RATE_MAX,
        TIMEOUT_MS_MAX, TIMEOUT_MS_MIN, URL_BYTES_MAX,
    },
};

/// A wait between two attempts is at most this long, in milliseconds.
const WAIT_MS_MAX: u64 = 86_400_000;
/// The first wait is at least this long, in milliseconds.
const WAIT_MS_MIN: u64 = 100;
/// Waits grow at most this fast.
const FACTOR_MAX: f64 = 10.0;
/// Of an endpoint that says only a part of its schedule.
const FIRST_MS_DEFAULT: u64 = 5_000;

/// What is kept of an endpoint that is no secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) url: Url,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    /// As topics and patterns, whatever names they were asked for by.
    pub(crate) patterns: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) filter: Option<String>,
    pub(crate) ordering: Ordering,
    pub(crate) format: Format,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) retry: Option<Retry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rate: Option<f64>,
    pub(crate) concurrency: usize,
    pub(crate) timeout_ms: u64,
}

/// Where an endpoint begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StartAt {
    Latest,
    Earliest,
    After(Position),
    Time(i64),
}

/// An endpoint that was asked for, understood.
pub(crate) struct Checked {
    pub(crate) settings: Settings,
    pub(crate) headers: HeaderMap,
    pub(crate) start: StartAt,
    pub(crate) is_enabled: bool,
    pub(crate) selection: Selection,
}

/// Which events an endpoint is about.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    pub(crate) patterns: PatternSet,
    pub(crate) filter: Option<Filter>,
}

/// What an endpoint is judged by.
pub(crate) struct Rules<'a> {
    pub(crate) catalogue: &'a Arc<Catalogue>,
    pub(crate) options: &'a EndpointsOptions,
    pub(crate) client: &'a Client,
    pub(crate) trust: Trust,
    pub(crate) now_us: i64,
}

/// Judges everything, and tells everything that is wrong.
pub(crate) fn check(input: &EndpointInput, rules: &Rules<'_>) -> Result<Checked, Vec<Fault>> {
    let mut faults = Vec::new();
    let url = check_url(input.url.as_deref(), rules, &mut faults);
    let patterns = check_patterns(input.patterns.as_deref(), rules, &mut faults);
    let filter = check_filter(input.filter.as_deref(), rules, &mut faults);
    let headers = headers::check(input.headers.as_ref(), &mut faults);
    let start = check_start(input.start.as_deref(), rules, &mut faults);
    check_retry(input.retry.as_ref(), &mut faults);
    if let Some(rate) = input.rate
        && !(rate > 0.0 && rate <= RATE_MAX)
    {
        faults.push(Fault::new(
            "/rate",
            format!("must be above 0, and at most {RATE_MAX}"),
        ));
    }
    let description = input.description.as_deref().unwrap_or_default();
    if description.chars().count() > DESCRIPTION_CHARS_MAX {
        let detail = format!("must have at most {DESCRIPTION_CHARS_MAX} characters");
        faults.push(Fault::new("/description", detail));
    }
    let concurrency = input.concurrency.unwrap_or(rules.options.concurrency);
    if !(1..=CONCURRENCY_MAX).contains(&concurrency) {
        let detail = format!("must be from 1 to {CONCURRENCY_MAX}");
        faults.push(Fault::new("/concurrency", detail));
    }
    let default_ms = u64::try_from(rules.options.timeout.as_millis()).unwrap_or(TIMEOUT_MS_MAX);
    let timeout_ms = input.timeout_ms.unwrap_or(default_ms);
    if !(TIMEOUT_MS_MIN..=TIMEOUT_MS_MAX).contains(&timeout_ms) {
        let detail = format!("must be from {TIMEOUT_MS_MIN} to {TIMEOUT_MS_MAX}");
        faults.push(Fault::new("/timeout_ms", detail));
    }
    let (Some(url), true) = (url, faults.is_empty()) else {
        return Err(faults);
    };
    let settings = Settings {
        url,
        description: input.description.clone(),
        patterns: patterns.iter().map(|one| one.as_str().to_owned()).collect(),
        filter: filter.as_ref().map(|filter| filter.text().to_owned()),
        ordering: input.ordering.unwrap_or_default(),
        format: input.format.unwrap_or_default(),
        retry: input.retry,
        rate: input.rate,
        concurrency,
        timeout_ms,
    };
    Ok(Checked {
        settings,
        headers,
        start,
        is_enabled: input.enabled.unwrap_or(true),
        selection: Selection { patterns, filter },
    })
}

fn check_url(text: Option<&str>, rules: &Rules<'_>, faults: &mut Vec<Fault>) -> Option<Url> {
    let Some(text) = text else {
        faults.push(Fault::new("/url", "is required"));
        return None;
    };
    let url = rules.client.read_address(text, URL_BYTES_MAX, rules.trust);
    url.map_err(|error| faults.push(Fault::new("/url", error.to_string())))
        .ok()
}

fn check_patterns(
    texts: Option<&[String]>,
    rules: &Rules<'_>,
    faults: &mut Vec<Fault>,
) -> PatternSet {
    let texts = texts.unwrap_or_default();
    if !(1..=PATTERNS_MAX).contains(&texts.len()) {
        let detail = format!("must have 1 to {PATTERNS_MAX} names, topics or patterns");
        faults.push(Fault::new("/patterns", detail));
        return PatternSet::default();
    }
    let mut patterns: Vec<Pattern> = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        match rules.catalogue.resolve_pattern(text) {
            Ok((pattern, _)) => patterns.push(pattern),
            Err(error) => faults.push(Fault::new(format!("/patterns/{index}"), error.to_string())),
        }
    }
    patterns.into_iter().collect()
}

fn check_filter(text: Option<&str>, rules: &Rules<'_>, faults: &mut Vec<Fault>) -> Option<Filter> {
    let filter = compile_filter_with(text?, rules.catalogue);
    filter
        .map_err(|error| faults.push(Fault::new("/filter", error.to_string())))
        .ok()
}

fn check_start(text: Option<&str>, rules: &Rules<'_>, faults: &mut Vec<Fault>) -> StartAt {
    let text = text.unwrap_or("latest");
    let wrong = match text {
        "latest" => return StartAt::Latest,
        "earliest" => return StartAt::Earliest,
        _ => match (text.parse::<Position>(), parse_iso8601_us(text)) {
            (Ok(position), _) => return StartAt::After(position),
            (_, Some(time_us)) if time_us <= rules.now_us => return StartAt::Time(time_us),
            (_, Some(_)) => "must not lie in the future",
            _ => "must be `latest`, `earliest`, a position or a time as RFC 3339 writes it",
        },
    };
    faults.push(Fault::new("/start", wrong));
    StartAt::Latest
}

fn check_retry(retry: Option<&Retry>, faults: &mut Vec<Fault>) {
    let Some(retry) = retry else { return };
    let mut refuse = |is_wrong: bool, member: &str, detail: String| {
        if is_wrong {
            faults.push(Fault::new(format!("/retry/{member}"), detail));
        }
    };
    let attempts = 1..=ATTEMPTS_MAX;
    let is_wrong = retry.attempts.is_some_and(|n| !attempts.contains(&n));
    refuse(
        is_wrong,
        "attempts",
        format!("must be from 1 to {ATTEMPTS_MAX}"),
    );
    let waits = WAIT_MS_MIN..=WAIT_MS_MAX;
    let is_wrong = retry.first_ms.is_some_and(|ms| !waits.contains(&ms));
    let detail = format!("must be from {WAIT_MS_MIN} to {WAIT_MS_MAX}");
    refuse(is_wrong, "first_ms", detail);
    let factors = 1.0..=FACTOR_MAX;
    let is_wrong = retry
        .factor
        .is_some_and(|factor| !factors.contains(&factor));
    refuse(
        is_wrong,
        "factor",
        format!("must be from 1 to {FACTOR_MAX}"),
    );
    let is_wrong = retry
        .jitter
        .is_some_and(|part| !(0.0..=1.0).contains(&part));
    refuse(is_wrong, "jitter", "must be from 0 to 1".into());
}

impl Settings {
    /// What would have to be asked for to get this, without its headers.
    pub(crate) fn input(&self) -> EndpointInput {
        let own = self.clone();
        EndpointInput {
            url: Some(own.url.into()),
            patterns: Some(own.patterns),
            filter: own.filter,
            ordering: Some(own.ordering),
            retry: own.retry,
            rate: own.rate,
            format: Some(own.format),
            description: own.description,
            concurrency: Some(own.concurrency),
            timeout_ms: Some(own.timeout_ms),
            ..EndpointInput::default()
        }
    }

    /// Which events it is about, for an endpoint that was checked when it was kept.
    pub(crate) fn selection(&self, catalogue: &Arc<Catalogue>) -> Result<Selection, String> {
        let patterns = PatternSet::parse(self.patterns.iter().map(String::as_str));
        let filter = self.filter.as_deref();
        let filter = filter.map(|text| compile_filter_with(text, catalogue));
        Ok(Selection {
            patterns: patterns.map_err(|error| error.to_string())?,
            filter: filter.transpose().map_err(|error| error.to_string())?,
        })
    }

    /// The address for people: without its query, which may hold a secret.
    pub(crate) fn shown_url(&self) -> String {
        let mut url = self.url.clone();
        url.set_query(None);
        url.into()
    }

    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// When a delivery that failed is tried again.
    pub(crate) fn schedule(&self) -> RetrySchedule {
        let retry = self.retry.unwrap_or_default();
        let standard = RetrySchedule::standard_webhooks();
        let attempts = retry.attempts.unwrap_or(standard.attempts);
        if retry.first_ms.is_none() && retry.factor.is_none() {
            return RetrySchedule {
                attempts,
                jitter: retry.jitter.unwrap_or(standard.jitter),
                ..standard
            };
        }
        let default = RetrySchedule::default();
        RetrySchedule {
            attempts,
            first: Duration::from_millis(retry.first_ms.unwrap_or(FIRST_MS_DEFAULT)),
            factor: retry.factor.unwrap_or(default.factor),
            jitter: retry.jitter.unwrap_or(default.jitter),
            steps: None,
        }
    }

    /// The order in the words of the engine.
    pub(crate) fn engine_ordering(&self) -> nexus_core::Ordering {
        match self.ordering {
            Ordering::None => nexus_core::Ordering::None,
            Ordering::Key => nexus_core::Ordering::Key,
            Ordering::All => nexus_core::Ordering::All,
        }
    }
}
