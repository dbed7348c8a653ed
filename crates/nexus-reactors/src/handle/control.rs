//! Control from outside: which targets there are, whether they run, dead letters, replays.

use std::sync::Arc;

use nexus_core::{Change, Principal, SharedReactor};
use tokio::sync::broadcast;

use super::{Handle, ReplayId, ReplayInfo, ReplayRequest, TargetChange, TargetInfo, TargetState};
use crate::{
    Error,
    backoff::Backoff,
    delivery,
    ledger::Ledger,
    registry::not_found,
    standing::Standing,
    target::{self, Command},
};

impl Handle {
    /// Begins to follow the log with a reactor, and returns when it has its place in the log. A reactor of
    /// the same name is drained first; the new one goes on where it was.
    ///
    /// What was begun goes on when the caller goes away.
    ///
    /// # Errors
    /// [`Error::InvalidName`], [`Error::Damaged`], [`Error::TakenOver`], [`Error::Ended`], and what the log
    /// says; one of the same name then runs on.
    pub async fn add(&self, reactor: SharedReactor) -> Result<(), Error> {
        let registry = self.registry.clone();
        let operation = async move { registry.add(reactor).await };
        self.registry.operate(operation).await
    }

    /// Drains a reactor and follows the log with it no more. With `forget` its place in the log, its
    /// deliveries and dead letters, outcomes and replays are removed as well, also if it does not run;
    /// whoever is interrupted asks again.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none and nothing is to be forgotten, [`Error::Ended`], and what the
    /// log says.
    pub async fn remove(&self, name: &str, forget: bool) -> Result<(), Error> {
        let (registry, name) = (self.registry.clone(), name.to_owned());
        let operation = async move { registry.remove(&name, forget).await };
        self.registry.operate(operation).await
    }

    /// Begins no attempts any more, until [`Handle::resume`], also after a restart. What runs may end.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotRunning`].
    pub async fn pause(&self, name: &str, why: &str) -> Result<(), Error> {
        self.stand(name, TargetState::Paused, Some(why)).await
    }

    /// The change by which a target that does not run yet is paused from its first moment on: for the command
    /// of whoever keeps something that is added as a target afterwards.
    #[must_use]
    pub fn paused(&self, name: &str, why: &str) -> Change {
        let now_us = self.log().clock().now_us();
        let standing = Standing::new(TargetState::Paused, Some(why.into()), now_us);
        standing.put(&name.into())
    }

    /// As [`Handle::pause`], said by the system rather than by a person.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotRunning`].
    pub async fn disable(&self, name: &str, why: &str) -> Result<(), Error> {
        self.stand(name, TargetState::Disabled, Some(why)).await
    }

    /// Goes on where it was, whether it was paused or disabled.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotRunning`].
    pub async fn resume(&self, name: &str) -> Result<(), Error> {
        self.stand(name, TargetState::Running, None).await
    }

    async fn stand(&self, name: &str, state: TargetState, why: Option<&str>) -> Result<(), Error> {
        let why = why.filter(|why| !why.is_empty()).map(Arc::from);
        self.registry.stand(name, state, why).await
    }

    /// Tells when a target is paused, resumed or disabled, after it was kept. Whoever listens too slowly
    /// misses the oldest changes and is told so; [`Handle::targets`] says how all stand.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<TargetChange> {
        self.registry.common.changes.subscribe()
    }

    /// How the targets that follow the log stand, by name.
    #[must_use]
    pub fn targets(&self) -> Vec<TargetInfo> {
        let statuses = self.registry.statuses();
        statuses
            .iter()
            .map(|status| status.info(self.log()))
            .collect()
    }

    /// How one target stands.
    #[must_use]
    pub fn target(&self, name: &str) -> Option<TargetInfo> {
        self.registry.reactor(name)?;
        self.registry
            .status(name)
            .map(|status| status.info(self.log()))
    }

    /// The reactor of a target, for those who want to know what it would do.
    #[must_use]
    pub fn reactor(&self, name: &str) -> Option<SharedReactor> {
        self.registry.reactor(name)
    }

    /// Makes all attempts at a dead letter again, named `<target>/<seq>`; the first at once, or when those
    /// before it with its key are done.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Conflict`] when it is not a dead letter any more, [`Error::NotRunning`]
    /// when its target is not there to make them, [`Error::Full`], and what the log says.
    pub async fn retry(&self, delivery_id: &str) -> Result<(), Error> {
        let (target, seq) = self.parse(delivery_id)?;
        if self.registry.reactor(target).is_none() {
            // So that whoever asks for what is not there is told that, and not of its target.
            return match self.delivery(delivery_id).await? {
                Some(_) => Err(Error::NotRunning {
                    name: target.to_owned(),
                }),
                None => Err(no_letter(delivery_id)),
            };
        }
        self.registry
            .ask(target, |done| Command::Retry(seq, done))
            .await
    }

    /// Removes a dead letter, also one of a target that does not run.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Conflict`] when it is not a dead letter any more, and what the log says.
    pub async fn discard(&self, delivery_id: &str) -> Result<(), Error> {
        let (target, seq) = self.parse(delivery_id)?;
        // The target is not opened meanwhile, which would count it; many are discarded at once.
        let _kept = self.registry.turns.keep(target).await;
        if self.registry.reactor(target).is_some() {
            let asked = self
                .registry
                .ask(target, |done| Command::Discard(seq, done));
            match asked.await {
                // Its loop has ended: nobody counts.
                Err(Error::NotRunning { .. }) => {}
                answer => return answer,
            }
        }
        let options = &self.registry.common.options;
        let ledger = Ledger {
            log: self.log().clone(),
            principal: Principal::nexus(),
            backoff: Backoff::new(options.storage_retry, self.log().random().clone()),
        };
        target::discard(&ledger, &target.into(), seq).await
    }

    fn parse<'a>(&self, delivery_id: &'a str) -> Result<(&'a str, u64), Error> {
        delivery::parse_id(delivery_id).ok_or_else(|| no_letter(delivery_id))
    }

    /// Shows a target a range of the log again, marked as a replay: durable, at a pace, beside what it does
    /// otherwise. Ends by itself. What a `once` key stands for and was done is not done again. Without
    /// `outbound` nothing is called and nothing is emitted: outcomes say what would have been sent.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the target does not run, [`Error::Invalid`] for an empty range or a rate that
    /// is none, [`Error::Conflict`] when too many run already, or when it is to run without calls and cannot
    /// ([`Reactor::rehearses`](nexus_core::Reactor::rehearses)), and what the log says.
    pub async fn replay(&self, request: ReplayRequest) -> Result<ReplayId, Error> {
        if self.registry.reactor(&request.target).is_none() {
            return Err(not_found(&request.target));
        }
        let registry = self.registry.clone();
        let operation = async move { registry.replay(request).await };
        self.registry.operate(operation).await
    }

    /// The replays that run, and the last of those that have ended, newest first.
    ///
    /// # Errors
    /// What the log says.
    pub async fn replays(&self) -> Result<Vec<ReplayInfo>, Error> {
        self.registry.list_replays().await
    }

    /// Ends a replay where it is.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Conflict`] when it has ended, and what the log says.
    pub async fn cancel_replay(&self, id: &ReplayId) -> Result<(), Error> {
        let (registry, id) = (self.registry.clone(), id.clone());
        let operation = async move { registry.cancel_replay(&id).await };
        self.registry.operate(operation).await
    }

    /// How the events of a replay ended, newest first.
    ///
    /// # Errors
    /// As [`Handle::outcomes`].
    pub async fn replay_outcomes(
        &self,
        id: &ReplayId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<super::Page<super::OutcomeInfo>, Error> {
        let name = crate::replay::target_name(id);
        self.outcomes(&name, after, limit).await
    }
}

fn no_letter(id: &str) -> Error {
    Error::NotFound {
        what: "dead letter",
        name: id.to_owned(),
    }
}
