//! Somebody simple who coordinates sessions: everybody may come who is not on the list, and what is said is
//! published.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use futures_util::future::BoxFuture;
use nexus_auth::Grant;
use nexus_core::{Kind, Log, NewEvent, Position, Principal, Publish, Receipt, Scopes, Seq, Source};
use nexus_http::{Call, Problem};
use nexus_ws::{Coordinator, Done, SessionAct, SessionConnection, Standing};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};

/// Who may not come.
pub(super) const STRANGER: &str = "stranger";
/// Work that another has.
pub(super) const HELD: &str = "held";
/// Work that takes until it is let go on.
pub(super) const SLOW: &str = "slow";

/// What is known of all sessions.
pub(super) struct Shared {
    log: Log,
    received: Mutex<HashMap<String, Position>>,
    standings: Mutex<HashMap<String, Standing>>,
    changes: watch::Sender<u64>,
    pub(super) heard: AtomicU64,
    pub(super) connected: AtomicUsize,
    /// What is slow takes one of these.
    pub(super) goes_on: Semaphore,
}

pub(super) struct Sessions(pub(super) Arc<Shared>);

pub(super) struct Connected {
    shared: Arc<Shared>,
    name: String,
    received: Position,
}

impl Shared {
    pub(super) fn new(log: Log) -> Self {
        Self {
            log,
            received: Mutex::default(),
            standings: Mutex::default(),
            changes: watch::Sender::new(0),
            heard: AtomicU64::new(0),
            connected: AtomicUsize::new(0),
            goes_on: Semaphore::new(0),
        }
    }

    pub(super) fn set_standing(&self, session: &str, standing: Standing) {
        self.standings.lock().insert(session.to_owned(), standing);
        self.changes.send_modify(|changes| *changes += 1);
    }

    pub(super) fn received(&self, session: &str) -> Seq {
        let received = self.received.lock().get(session).copied();
        received.map_or(Seq::ZERO, |position| position.seq)
    }
}

impl Coordinator for Sessions {
    type Connection = Connected;

    async fn connect(&self, call: &Call) -> Result<Connected, Problem> {
        let name = call.param("session_id").unwrap().to_owned();
        if name == STRANGER {
            return Err(nexus_auth::Error::Unauthorized.into());
        }
        let shared = self.0.clone();
        shared.connected.fetch_add(1, Ordering::SeqCst);
        let kept = shared.received.lock().get(&name).copied();
        Ok(Connected {
            received: kept.unwrap_or_else(|| shared.log.position(Seq::ZERO)),
            shared,
            name,
        })
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.shared.connected.fetch_sub(1, Ordering::SeqCst);
    }
}

impl SessionConnection for Connected {
    fn grant(&self) -> Option<Grant> {
        None
    }

    fn standing(&self) -> Standing {
        let standing = self.shared.standings.lock().get(&self.name).copied();
        standing.unwrap_or(Standing::Holds)
    }

    fn heard(&self) {
        self.shared.heard.fetch_add(1, Ordering::SeqCst);
    }

    fn act(&self, act: SessionAct) -> BoxFuture<'static, Result<Done, Problem>> {
        let (shared, name) = (self.shared.clone(), self.name.clone());
        Box::pin(async move { shared.act(&name, act).await })
    }

    fn received(&self) -> Position {
        self.received
    }

    fn keep_received(&self, through: Position) -> BoxFuture<'static, Result<(), Problem>> {
        let (shared, name) = (self.shared.clone(), self.name.clone());
        Box::pin(async move {
            let mut received = shared.received.lock();
            let kept = received.entry(name).or_insert(through);
            kept.seq = kept.seq.max(through.seq);
            Ok(())
        })
    }
}

impl Shared {
    async fn act(&self, name: &str, act: SessionAct) -> Result<Done, Problem> {
        let (status, work_id) = match act {
            SessionAct::Publish {
                event_type,
                payload,
                ..
            } => {
                let receipt = self.publish(name, &event_type, payload.into()).await?;
                // As work is: told by others.
                let is_verbatim = !event_type.starts_with("work.");
                return Ok(Done {
                    status: "published",
                    payload: json!({ "event_id": receipt.first_id, "seq": receipt.first.get() }),
                    said: is_verbatim.then_some(receipt.first),
                });
            }
            SessionAct::Claim { work_id, .. } => {
                if work_id == HELD {
                    let problem = Problem::new(Kind::Conflict, "work-held", "it is held");
                    return Err(problem.with("claimed_by", "other"));
                }
                if work_id == SLOW {
                    self.goes_on.acquire().await.unwrap().forget();
                }
                let payload = json!({ "work_id": work_id }).to_string();
                self.publish(name, "work.claimed", payload.into()).await?;
                ("claimed", work_id)
            }
            SessionAct::Renew(claim) => ("renewed", claim.work_id),
            SessionAct::Release(claim) => ("released", claim.work_id),
            SessionAct::Complete(claim) => ("completed", claim.work_id),
        };
        Ok(Done {
            status,
            payload: Value::from_iter([("work_id", work_id)]),
            said: None,
        })
    }

    async fn publish(
        &self,
        name: &str,
        event_type: &str,
        payload: Vec<u8>,
    ) -> Result<Receipt, Problem> {
        let named = self.log.catalogue().resolve(event_type)?;
        let publish = if event_type.starts_with("work.") {
            Publish::Anything
        } else {
            Publish::Unreserved
        };
        let principal = Principal::new(Source::session(name), publish, Scopes::NONE);
        let event = NewEvent::new(named.event_type, payload);
        Ok(self.log.dispatch(&principal, event).await?)
    }
}
