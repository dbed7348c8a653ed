//! The end of a session: what it held is free in the same commit that tells that it is gone.

use std::collections::HashSet;

use nexus_core::{
    Catalogue, Change, Command, Error as LogError, Guard, Key, NewEvent, Principal, ProtocolEvent,
};
use serde::Serialize;
use tokio::time::Instant;

use super::{Handle, TRIES_MAX};
use crate::{
    Error, Presence, SessionId, WorkId,
    session::{
        activity::{ACTIVITY, Activity},
        inbox,
        kept::{Kept, key},
        presence::{Input, Told},
    },
    work::{Claim, Term, kept::json, rules::Ending, writing},
};

/// A commit has room for the ends of so many claims, and for that of their session.
const CLAIMS_PER_COMMIT: usize = 900;

/// Why a session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// It did not come back in time.
    Elapsed,
    /// Somebody signed it off.
    SignedOff,
    /// Nobody registered it, and nothing was heard of it for long.
    Forgotten,
}

#[derive(Serialize)]
struct Disconnected<'a> {
    session_id: &'a SessionId,
    role: &'a str,
    capabilities: &'a [String],
    reason: &'a str,
    released_work: Vec<&'a WorkId>,
}

impl Handle {
    /// Ends a session, if it is as `leaving` says.
    pub(crate) async fn leave(&self, id: &SessionId, leaving: Leaving) -> Result<(), Error> {
        self.session(id)?;
        let _gate = self.enter(id).await?;
        let input = match leaving {
            Leaving::Elapsed | Leaving::Forgotten => Input::Elapsed,
            Leaving::SignedOff => Input::SignOff,
        };
        let told = self.step(id, input)?;
        let is_due = match leaving {
            Leaving::Elapsed => told == Told::Disconnected,
            Leaving::SignedOff => true,
            // It may have come back since.
            Leaving::Forgotten => !self.session(id)?.presence.is_connected(),
        };
        if !is_due {
            return Ok(());
        }
        let mut gone = HashSet::new();
        for _ in 0..TRIES_MAX {
            let claims = self.abandoned(id, leaving, &gone);
            let mut kept = self.kept(id);
            kept.is_connected = false;
            let catalogue = self.log().catalogue();
            let mut command = Command::default();
            for claim in &claims {
                writing::end(&mut command, &catalogue, claim, Ending::Abandoned, 0);
            }
            if told == Told::Disconnected {
                command
                    .events
                    .push(disconnected(&catalogue, id, &kept, leaving, &claims));
            }
            match leaving {
                Leaving::Elapsed => {
                    command.changes.push(Activity::gone().put(id));
                    command.changes.push(kept.put(id));
                }
                Leaving::SignedOff | Leaving::Forgotten => {
                    let activity = Key::new(ACTIVITY, id.shared());
                    command.changes.push(Change::Delete(activity));
                    command.changes.push(Change::Delete(key(id)));
                    command.changes.push(Change::Delete(inbox::key(id)));
                }
            }
            match self.log().submit(&Principal::nexus(), command).await {
                Ok(receipt) => {
                    self.left(id, leaving, kept);
                    self.caught_up(receipt.last).await;
                    return Ok(());
                }
                // That claim ended by itself.
                Err(LogError::Refused {
                    guard: Guard::Fence(key, token),
                    ..
                }) => {
                    gone.insert((key.key, token));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Contended {
            what: id.to_string(),
        })
    }

    /// Forgets the sessions that nobody registered and of which nothing was heard for long; how many.
    pub(crate) async fn forget_strangers(&self) -> Result<usize, Error> {
        let strangers = {
            let state = self.board().lock();
            let stranger = state.options.stranger.as_micros();
            let stranger_us = i64::try_from(stranger).unwrap_or(i64::MAX);
            let now_us = self.log().clock().now_us();
            state.strangers(now_us.saturating_sub(stranger_us))
        };
        for id in &strangers {
            match self.leave(id, Leaving::Forgotten).await {
                Ok(()) | Err(Error::UnknownSession { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(strangers.len())
    }

    /// The claims that end with the session, as many as fit into a commit: of more, which only claims at one
    /// moment can come to, the rest runs out by itself. Those that it made without a connection have a time of their
    /// own, unless it is signed off.
    fn abandoned(
        &self,
        id: &SessionId,
        leaving: Leaving,
        gone: &HashSet<(std::sync::Arc<str>, nexus_core::Seq)>,
    ) -> Vec<Claim> {
        let state = self.board().lock();
        let work = state.claims.get(id).into_iter().flatten();
        work.filter_map(|work_id| state.work.get(work_id))
            .map(|held| &held.claim)
            .filter(|claim| leaving == Leaving::SignedOff || claim.term == Term::Connection)
            .filter(|claim| !gone.contains(&(claim.work_id.shared(), claim.token)))
            .take(CLAIMS_PER_COMMIT)
            .cloned()
            .collect()
    }

    fn left(&self, id: &SessionId, leaving: Leaving, kept: Kept) {
        let mut state = self.board().lock();
        match leaving {
            Leaving::Elapsed => {
                state.set_kept(id, kept);
                state.set_presence(id, Presence::Offline, Instant::now());
            }
            Leaving::SignedOff | Leaving::Forgotten => {
                // Without its token.
                state.set_kept(id, Kept::new(kept.registered_us));
                state.sessions.remove(id);
                state.rights_changed();
            }
        }
        drop(state);
        self.board().known.notify_one();
    }
}

fn disconnected(
    catalogue: &Catalogue,
    id: &SessionId,
    kept: &Kept,
    leaving: Leaving,
    claims: &[Claim],
) -> NewEvent {
    let payload = Disconnected {
        session_id: id,
        role: &kept.role,
        capabilities: &kept.capabilities,
        reason: match leaving {
            Leaving::Elapsed => "connection-lost",
            Leaving::SignedOff | Leaving::Forgotten => "signed-off",
        },
        released_work: claims.iter().map(|claim| &claim.work_id).collect(),
    };
    let known = catalogue.known_type(ProtocolEvent::SessionDisconnected);
    NewEvent::new(known, json(&payload))
}
