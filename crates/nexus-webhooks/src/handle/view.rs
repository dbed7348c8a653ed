//! What people are told of an endpoint: everything but its secrets.

use std::sync::Arc;

use nexus_core::{Position, iso8601};
use nexus_reactors::{TargetInfo, TargetState};
use serde::Serialize;

use super::{Endpoints, Live, Origin};
use crate::{
    Error,
    delivery::target_name,
    input::{Format, Ordering, Retry},
    record::SecretEntry,
};

/// An endpoint as people see it.
#[derive(Debug, Clone, Serialize)]
pub struct EndpointView {
    /// Its id: a UUID, or its name in the configuration.
    pub id: Arc<str>,
    /// Where events are sent.
    pub url: String,
    /// What it is for.
    pub description: Option<String>,
    /// The patterns of its events.
    pub patterns: Vec<String>,
    /// Their condition.
    pub filter: Option<String>,
    /// Which wait for which.
    pub ordering: Ordering,
    /// What bodies look like.
    pub format: Format,
    /// When a failed delivery is tried again; nothing is the schedule of Standard Webhooks.
    pub retry: Option<Retry>,
    /// How many attempts are begun in a second at most.
    pub rate: Option<f64>,
    /// How many deliveries run at once.
    pub concurrency: usize,
    /// How long the receiver is given, in milliseconds.
    pub timeout_ms: u64,
    /// The names of its own headers. Their values are never shown.
    pub header_names: Vec<String>,
    /// Whether it is sent anything.
    pub enabled: bool,
    /// `running`; `paused` by somebody; `disabled`, because its receiver is gone or everything failed.
    pub state: &'static str,
    /// Why it is sent nothing.
    pub why: Option<Arc<str>>,
    /// Since when.
    pub since: Option<String>,
    /// `api` or `configuration`.
    pub origin: &'static str,
    /// Whose rights it has.
    pub owner: Arc<str>,
    /// The position behind which it began.
    pub start: String,
    /// Every event up to here is settled for it.
    pub position: Option<Position>,
    /// How many events follow that.
    pub lag: Option<u64>,
    /// How many deliveries wait for another attempt.
    pub waiting: usize,
    /// How many deliveries were given up and are kept.
    pub dead_letters: usize,
    /// Its secrets, newest first.
    pub secrets: Vec<SecretView>,
    /// When it was made.
    pub created_at: Option<String>,
    /// When it was changed last.
    pub changed_at: Option<String>,
    /// Which version of it this is.
    #[serde(skip)]
    pub revision: u64,
}

/// A secret as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SecretView {
    /// Which one it is.
    pub number: u64,
    /// When it was made.
    pub created_at: Option<String>,
    /// Until when it signs; nothing for the newest.
    pub expires_at: Option<String>,
}

impl Endpoints {
    /// Every endpoint, by its id.
    #[must_use]
    pub fn list(&self) -> Vec<EndpointView> {
        let all: Vec<Arc<Live>> = self.0.live.read().values().cloned().collect();
        let targets = self.0.parts.engine.targets();
        all.iter()
            .map(|live| {
                let name = target_name(&live.id);
                let target = targets.iter().find(|target| *target.name == *name);
                self.view_of(live, target)
            })
            .collect()
    }

    /// One endpoint.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn get(&self, id: &str) -> Result<EndpointView, Error> {
        Ok(self.view(&*self.live(id)?))
    }

    pub(super) fn view(&self, live: &Live) -> EndpointView {
        self.view_of(live, self.target(live).as_ref())
    }

    /// Whether it runs, as the engine says.
    pub(super) fn state(&self, live: &Live) -> TargetState {
        let target = self.target(live);
        target.map_or(TargetState::Disabled, |target| target.state)
    }

    fn target(&self, live: &Live) -> Option<TargetInfo> {
        self.0.parts.engine.target(&target_name(&live.id))
    }

    fn view_of(&self, live: &Live, target: Option<&TargetInfo>) -> EndpointView {
        let kept = &live.kept;
        let settings = kept.settings.clone();
        let now_us = self.now_us();
        let state = target.map_or(TargetState::Disabled, |target| target.state);
        let problem = live.problem.as_deref().map(Arc::from);
        let time = |time_us: i64| (time_us > 0).then(|| iso8601(time_us));
        EndpointView {
            id: live.id.clone(),
            url: settings.url.into(),
            description: settings.description,
            patterns: settings.patterns,
            filter: settings.filter,
            ordering: settings.ordering,
            format: settings.format,
            retry: settings.retry,
            rate: settings.rate,
            concurrency: settings.concurrency,
            timeout_ms: settings.timeout_ms,
            header_names: crate::headers::names(&live.headers),
            enabled: state == TargetState::Running,
            state: state.as_str(),
            why: problem.or_else(|| target.and_then(|target| target.why.clone())),
            since: target.and_then(|target| target.since_us).map(iso8601),
            origin: match live.origin {
                Origin::Api => "api",
                Origin::Configuration => "configuration",
            },
            owner: kept.owner.clone(),
            start: kept.begin.clone(),
            position: target.map(|target| target.position),
            lag: target.map(|target| target.lag),
            waiting: target.map_or(0, |target| target.waiting),
            dead_letters: target.map_or(0, |target| target.dead),
            secrets: kept
                .secrets
                .iter()
                .filter(|entry| entry.is_live(now_us))
                .map(SecretView::from)
                .collect(),
            created_at: time(kept.created_us),
            changed_at: time(kept.changed_us),
            revision: live.revision,
        }
    }
}

impl From<&SecretEntry> for SecretView {
    fn from(entry: &SecretEntry) -> Self {
        Self {
            number: entry.number,
            created_at: (entry.created_us > 0).then(|| iso8601(entry.created_us)),
            expires_at: entry.expires_us.map(iso8601),
        }
    }
}
