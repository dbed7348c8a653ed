//! Making, changing and deleting endpoints, and whether they are sent anything.

use std::sync::Arc;

use arc_swap::ArcSwap;
use nexus_auth::Secret;
use nexus_core::{Change, Command, Position, Principal, ProtocolEvent, Receipt};
use nexus_http::Fault;
use nexus_outbound::Trust;
use nexus_reactors::TargetState;
use serde_json::json;

use super::{
    Endpoints, Live, Operator, Origin,
    store::{ToSeal, sealed_fields},
    view::EndpointView,
};

use crate::{
    Error,
    delivery::target_name,
    headers,
    input::{EndpointInput, EndpointPatch},
    record::{self, Kept, SealedHeaders, SecretEntry},
    settings::{Checked, StartAt},
};

/// Whoever changes an address does not get to see there what somebody else has sealed.
const HEADERS_OF_ANOTHER: &str = "must be given again, or be null, when the address leads to another host: their values are secret";
/// Why an endpoint is paused that was never enabled.
const MADE_DISABLED: &str = "it was made disabled";

/// An endpoint that was made.
#[derive(Debug)]
pub struct Created {
    /// The endpoint.
    pub endpoint: EndpointView,
    /// Its secret, which is shown this once.
    pub secret: Secret,
}

impl Endpoints {
    /// Makes an endpoint. It begins where it was asked to, and gets every event from there on that matches
    /// and that who made it may read.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::TooMany`], [`Error::Vault`] when there is no key to seal its secret with,
    /// and what the log and the engine say.
    pub async fn create(
        &self,
        operator: &Operator<'_>,
        input: &EndpointInput,
    ) -> Result<Created, Error> {
        let checked = self.check(input, Trust::Foreign)?;
        let begin = self.begin(checked.start).await?;
        let _making = self.0.making.lock().await;
        self.check_room()?;
        let id: Arc<str> = self.0.ids.next().to_string().into();
        // It is listed before it runs: who deletes it then waits until it does.
        let _turn = self.0.turns.change(&id).await;
        let secret = Secret::generate_standard(self.log().random());
        let kept = self.first(operator.principal, &checked, begin);
        let mut sealed = ToSeal {
            secret: Some((1, &secret)),
            headers: kept
                .headers
                .as_ref()
                .map(|of| (of.version, &checked.headers)),
            ..ToSeal::default()
        };
        if !checked.is_enabled {
            let engine = &self.0.parts.engine;
            sealed.paused = Some(engine.paused(&target_name(&id), MADE_DISABLED));
        }
        let told = self.event(ProtocolEvent::EndpointCreated, &id, operator, []);
        let receipt = self.keep(&id, None, sealed, told, kept.put(&id)).await?;
        let live = Live {
            keys: Arc::new(ArcSwap::from_pointee(
                self.load_keys(&id, &kept.secrets).await?,
            )),
            id,
            origin: Origin::Api,
            kept,
            revision: receipt.revision,
            headers: checked.headers,
            problem: None,
        };
        let live = self.put(live);
        self.run(&live).await?;
        Ok(Created {
            endpoint: self.view(&live),
            secret,
        })
    }

    /// What is kept of an endpoint at first.
    fn first(&self, owner: &Principal, checked: &Checked, begin: Position) -> Kept {
        let now_us = self.now_us();
        Kept {
            settings: checked.settings.clone(),
            owner: owner.source().as_str().into(),
            reads: reads(owner),
            begin: begin.to_string(),
            secrets: vec![SecretEntry {
                number: 1,
                created_us: now_us,
                expires_us: None,
            }],
            headers: (!checked.headers.is_empty()).then(|| SealedHeaders {
                version: 1,
                names: headers::names(&checked.headers),
            }),
            created_us: now_us,
            changed_us: now_us,
        }
    }

    fn check_room(&self) -> Result<(), Error> {
        let limit = self.0.options.endpoints_max;
        let all = self.0.live.read();
        let of_api = all.values().filter(|live| live.origin == Origin::Api);
        if of_api.count() < limit {
            return Ok(());
        }
        Err(Error::TooMany {
            what: "endpoints",
            limit,
        })
    }

    /// The position behind which an endpoint begins.
    pub(super) async fn begin(&self, start: StartAt) -> Result<Position, Error> {
        let log = self.log();
        let stored = log.stored();
        let pruned = log.pruned_through().await?;
        let seq = match start {
            StartAt::Latest => stored.seq,
            StartAt::Earliest => pruned,
            StartAt::Time(time_us) => {
                let before = log.last_before(time_us.saturating_sub(1)).await?;
                before.max(pruned)
            }
            // Never a gap that nobody is told of.
            StartAt::After(position) => {
                if position.epoch != stored.epoch || position.seq > stored.seq {
                    let end = stored;
                    return Err(nexus_core::Error::UnknownPosition { position, end }.into());
                }
                if position.seq < pruned {
                    let through = log.position(pruned);
                    return Err(nexus_core::Error::Pruned { through }.into());
                }
                position.seq
            }
        };
        Ok(log.position(seq))
    }

    /// Changes an endpoint of which `seen` is the revision that the caller knows. It goes on where it is.
    /// From then on it has the rights of who changed it.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::ReadOnly`], [`Error::Stale`], [`Error::Invalid`], and what the vault,
    /// the log and the engine say.
    pub async fn change(
        &self,
        operator: &Operator<'_>,
        id: &str,
        seen: u64,
        patch: EndpointPatch,
    ) -> Result<EndpointView, Error> {
        let _turn = self.0.turns.change(id).await;
        let live = self.of_api(id)?;
        if live.revision != seen {
            return Err(Error::Stale);
        }
        let mut input = live.kept.settings.input();
        let changed = patch.apply(&mut input);
        let checked = self.check(&input, live.trust())?;
        let has_moved = checked.settings.url.origin() != live.kept.settings.url.origin();
        if has_moved && live.kept.has_headers() && !changed.contains(&"headers") {
            return Err(Error::Invalid {
                faults: vec![Fault::new("/headers", HEADERS_OF_ANOTHER)],
            });
        }
        if changed.is_empty() {
            return Ok(self.view(&live));
        }
        let new_headers = changed.contains(&"headers").then_some(&checked.headers);
        let mut kept = Kept {
            settings: checked.settings.clone(),
            owner: operator.principal.source().as_str().into(),
            reads: reads(operator.principal),
            changed_us: self.now_us(),
            ..live.kept.clone()
        };
        let mut sealed = ToSeal::default();
        if let Some(headers) = new_headers {
            let version = kept.headers.as_ref().map_or(1, |of| of.version + 1);
            kept.headers = Some(SealedHeaders {
                version,
                names: headers::names(headers),
            });
            sealed.headers = Some((version, headers));
        }
        let more = [("changed", json!(changed))];
        let told = self.event(ProtocolEvent::EndpointChanged, id, operator, more);
        let receipt = self
            .keep(id, Some(seen), sealed, told, kept.put(id))
            .await?;
        let live = self.replaced(&live, kept, &receipt, new_headers.cloned());
        // What it cannot sign must not be tried until it is given up.
        if live.problem.is_none() {
            self.run(&live).await?;
        }
        Ok(self.view(&live))
    }

    /// The endpoint as it is now, in the place of what it was.
    pub(super) fn replaced(
        &self,
        live: &Live,
        kept: Kept,
        receipt: &Receipt,
        headers: Option<http::HeaderMap>,
    ) -> Arc<Live> {
        self.put(Live {
            id: live.id.clone(),
            origin: live.origin,
            kept,
            revision: receipt.revision,
            headers: headers.unwrap_or_else(|| live.headers.clone()),
            keys: live.keys.clone(),
            // Only a new secret helps where those that it had are lost.
            problem: live.problem.clone().filter(|_| live.keys.load().is_empty()),
        })
    }

    /// Deletes an endpoint, with its secrets, its deliveries and its place in the log.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::ReadOnly`], [`Error::Stale`], and what the log and the engine say.
    pub async fn delete(
        &self,
        operator: &Operator<'_>,
        id: &str,
        seen: Option<u64>,
    ) -> Result<(), Error> {
        let _turn = self.0.turns.change(id).await;
        let live = self.of_api(id)?;
        if seen.is_some_and(|seen| seen != live.revision) {
            return Err(Error::Stale);
        }
        let sealed = ToSeal {
            forgotten: sealed_fields(&live.kept),
            ..ToSeal::default()
        };
        let told = self.event(ProtocolEvent::EndpointDeleted, id, operator, []);
        // First that it is gone, then its place in the log: the other way round, a crash between them
        // would have it begin anew.
        let put = live.kept.put_deleted(id);
        self.keep(id, Some(live.revision), sealed, told, put)
            .await?;
        self.0.live.write().remove(id);
        self.forget(id).await
    }

    /// Lets the engine forget an endpoint that was deleted, and then the log.
    pub(super) async fn forget(&self, id: &str) -> Result<(), Error> {
        self.0.parts.engine.remove(&target_name(id), true).await?;
        let command = Command {
            changes: vec![Change::Delete(record::key(id))],
            ..Command::default()
        };
        self.log().submit(&Principal::nexus(), command).await?;
        Ok(())
    }

    /// Sends an endpoint nothing any more, until it is enabled: what happens meanwhile waits in the log.
    /// Nothing happens when it is disabled already.
    ///
    /// # Errors
    /// [`Error::NotFound`], and what the log and the engine say.
    pub async fn disable(&self, operator: &Operator<'_>, id: &str) -> Result<EndpointView, Error> {
        let _turn = self.0.turns.change(id).await;
        let live = self.live(id)?;
        if self.state(&live) == TargetState::Running {
            let why = format!("disabled by {}", operator.principal.source());
            self.0.parts.engine.pause(&target_name(id), &why).await?;
            let told = self.event(ProtocolEvent::EndpointDisabled, id, operator, []);
            self.log().dispatch(&Principal::nexus(), told).await?;
        }
        Ok(self.view(&live))
    }

    /// Goes on where an endpoint stopped. Nothing happens when it is enabled already.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Broken`], and what the log and the engine say.
    pub async fn enable(&self, operator: &Operator<'_>, id: &str) -> Result<EndpointView, Error> {
        let _turn = self.0.turns.change(id).await;
        let live = self.live(id)?;
        if let Some(why) = &live.problem {
            return Err(Error::Broken {
                id: id.to_owned(),
                why: why.clone(),
            });
        }
        if self.state(&live) != TargetState::Running {
            self.0.parts.engine.resume(&target_name(id)).await?;
            let told = self.event(ProtocolEvent::EndpointEnabled, id, operator, []);
            self.log().dispatch(&Principal::nexus(), told).await?;
        }
        Ok(self.view(&live))
    }

    /// Judges what is asked for and counts the events that it would begin with; makes nothing.
    ///
    /// # Errors
    /// [`Error::Invalid`], and what the log says.
    pub async fn dry_run(
        &self,
        operator: &Operator<'_>,
        input: &EndpointInput,
    ) -> Result<super::Backlog, Error> {
        let checked = self.check(input, Trust::Foreign)?;
        let begin = self.begin(checked.start).await?;
        let readable = operator.principal.readable();
        self.backlog(begin, checked.selection, readable).await
    }
}

/// What somebody may read, to be kept.
fn reads(principal: &Principal) -> Vec<String> {
    let patterns = principal.readable().iter();
    patterns.map(|one| one.as_str().to_owned()).collect()
}
