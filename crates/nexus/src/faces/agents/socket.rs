//! Sessions over their WebSocket: what the live edge asks, the agents answer.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use nexus_agents::http::{Answer, Guest, Guests, Stay};
use nexus_auth::Grant;
use nexus_core::Position;
use nexus_http::{Call, Problem};
use nexus_ws::{Coordinator, Done, SessionAct, SessionConnection, Standing};
use tokio::sync::watch;

/// Lets sessions in.
pub(super) struct Sessions(pub(super) Guests);

/// A session that was let in.
pub(super) struct Session {
    guest: Arc<Guest>,
    /// How far it had received its messages when it came.
    received: Position,
}

impl Coordinator for Sessions {
    type Connection = Session;

    async fn connect(&self, call: &Call) -> Result<Session, Problem> {
        let guest = self.0.admit(call).await?;
        let received = guest.received().await?;
        Ok(Session {
            guest: Arc::new(guest),
            received,
        })
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes()
    }
}

impl SessionConnection for Session {
    fn grant(&self) -> Option<Grant> {
        self.guest.grant()
    }

    fn standing(&self) -> Standing {
        match self.guest.stay() {
            Stay::Granted => Standing::Holds,
            Stay::Revoked => Standing::Revoked,
            Stay::SignedOff => Standing::SignedOff,
        }
    }

    fn heard(&self) {
        self.guest.heard();
    }

    fn act(&self, act: SessionAct) -> BoxFuture<'static, Result<Done, Problem>> {
        let guest = self.guest.clone();
        Box::pin(async move { answer(&guest, act).await.map(done) })
    }

    fn received(&self) -> Position {
        self.received
    }

    fn keep_received(&self, through: Position) -> BoxFuture<'static, Result<(), Problem>> {
        let guest = self.guest.clone();
        Box::pin(async move { guest.keep_received(through).await })
    }
}

async fn answer(guest: &Guest, act: SessionAct) -> Result<Answer, Problem> {
    match act {
        SessionAct::Publish {
            event_type,
            payload,
            ttl_s,
        } => guest.publish(&event_type, payload, ttl_s).await,
        SessionAct::Claim {
            work_id,
            description,
            lease_s,
        } => guest.claim(&work_id, description.as_deref(), lease_s).await,
        SessionAct::Renew(claim) => guest.renew(&claim.work_id, claim.fencing_token).await,
        SessionAct::Release(claim) => guest.release(&claim.work_id, claim.fencing_token).await,
        SessionAct::Complete(claim) => guest.complete(&claim.work_id, claim.fencing_token).await,
    }
}

fn done(answer: Answer) -> Done {
    Done {
        status: answer.status,
        payload: answer.body,
        said: answer.said,
    }
}
