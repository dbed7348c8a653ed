//! Claiming work, and what follows: decided by the table on the board, and by the log's conditions when it
//! is written.

use nexus_core::{Command, Error as LogError, Record, Seq};
use tokio::time::Instant;

use super::{Handle, TRIES_MAX};
use crate::{
    Error, SessionId, WorkId,
    options::{LEASE_S_MAX, LEASE_S_MIN},
    session::kept::text,
    work::{
        Claim, Standing,
        kept::{self, completed_key},
        rules::{Action, Ending, Refusal, Ruling, rule},
        writing,
    },
};

/// A claim, and how long it is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// The claim.
    pub claim: Claim,
    /// Until when it is held, as far as is known now, in microseconds since 1970.
    pub lease_expires_us: i64,
}

/// A claim that its holder ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The work.
    pub work_id: WorkId,
    /// The claim that it was held by.
    pub token: Seq,
    /// The event that tells it; nothing if it was told before.
    pub told: Option<Seq>,
}

/// What somebody wants of one work item.
struct Wish<'a> {
    action: Action,
    by: &'a SessionId,
    work_id: &'a WorkId,
    token: Option<Seq>,
}

/// What was known of the work when it was ruled on.
enum Seen {
    Standing(Standing),
    /// It is about to run out: whether it does is known in a moment.
    Ending(Standing),
}

impl Handle {
    /// Claims work; a claim that the session has already is given again. A session that is connected holds
    /// it as long as it is; another for `lease_s` seconds.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::WorkHeld`], [`Error::WorkCompleted`], [`Error::TooMany`],
    /// [`Error::Contended`], and what the log says.
    pub async fn claim(
        &self,
        by: &SessionId,
        work_id: &WorkId,
        description: &str,
        lease_s: Option<u64>,
    ) -> Result<Granted, Error> {
        text("work_description", Some(description))?;
        if lease_s.is_some_and(|lease| !(LEASE_S_MIN..=LEASE_S_MAX).contains(&lease)) {
            return Err(Error::Invalid {
                what: "lease_seconds",
                why: "must be 5 to 86400",
            });
        }
        let wish = Wish {
            action: Action::Claim,
            by,
            work_id,
            token: None,
        };
        let began = Instant::now();
        self.up_to_date().await;
        let mut found = None;
        for _ in 0..TRIES_MAX {
            // Whether it was completed is a condition of the command: it need not be read before.
            let seen = self.seen(work_id, found.take().as_deref());
            match self.ruling(&seen, &wish)? {
                Ruling::Grant => {}
                Ruling::Same | Ruling::Extend | Ruling::End(..) | Ruling::Done => match seen {
                    Seen::Standing(Standing::Held(claim)) => {
                        self.caught_up(claim.token).await;
                        return Ok(self.granted(claim));
                    }
                    _ => {
                        self.changed().await;
                        continue;
                    }
                },
            }
            let (mut claim, lease_expires_us) = self.new_claim(&wish, description, lease_s)?;
            let command = writing::grant(&self.log().catalogue(), &claim, lease_expires_us);
            match self.log().submit(&Self::telling_of(by), command).await {
                Ok(receipt) => {
                    claim.token = receipt.first;
                    self.delivered(receipt.last, began).await;
                    return Ok(Granted {
                        claim,
                        lease_expires_us,
                    });
                }
                Err(LogError::Refused { found: record, .. }) => found = record,
                Err(error) => return Err(error.into()),
            }
        }
        Err(contended(work_id))
    }

    /// Holds a claim for as long again; until when.
    ///
    /// # Errors
    /// [`Error::UnknownWork`], [`Error::StaleClaim`], [`Error::WorkCompleted`], [`Error::Contended`], and what
    /// the log says.
    pub async fn renew(
        &self,
        by: &SessionId,
        work_id: &WorkId,
        token: Option<Seq>,
    ) -> Result<Granted, Error> {
        let wish = Wish {
            action: Action::Renew,
            by,
            work_id,
            token,
        };
        self.up_to_date().await;
        for _ in 0..TRIES_MAX {
            let seen = self.seen_whole(work_id, None).await?;
            self.ruling(&seen, &wish)?;
            if let Seen::Standing(Standing::Held(claim)) = seen
                && let Some(granted) = self.extend(&claim)
            {
                return Ok(granted);
            }
            self.changed().await;
        }
        Err(contended(work_id))
    }

    /// Gives work back, so that others can claim it.
    ///
    /// # Errors
    /// As [`Handle::renew`].
    pub async fn release(
        &self,
        by: &SessionId,
        work_id: &WorkId,
        token: Option<Seq>,
    ) -> Result<Ended, Error> {
        self.end(&Wish {
            action: Action::Release,
            by,
            work_id,
            token,
        })
        .await
    }

    /// Says that work is done; nobody can claim it again until that is forgotten.
    ///
    /// # Errors
    /// As [`Handle::renew`].
    pub async fn complete(
        &self,
        by: &SessionId,
        work_id: &WorkId,
        token: Option<Seq>,
    ) -> Result<Ended, Error> {
        self.end(&Wish {
            action: Action::Complete,
            by,
            work_id,
            token,
        })
        .await
    }

    /// Every claim that is held, of one session or of all, the oldest first.
    #[must_use]
    pub fn claims(&self, by: Option<&SessionId>) -> Vec<Granted> {
        let state = self.board().lock();
        let held = state.work.values();
        let held = held.filter(|held| by.is_none_or(|by| held.claim.claimed_by == *by));
        let mut claims: Vec<Granted> = held
            .map(|held| Granted {
                claim: held.claim.clone(),
                lease_expires_us: self.wall_us(state.held_until(held)),
            })
            .collect();
        drop(state);
        claims.sort_by_key(|granted| granted.claim.token);
        claims
    }

    async fn end(&self, wish: &Wish<'_>) -> Result<Ended, Error> {
        let began = Instant::now();
        self.up_to_date().await;
        let mut found = None;
        for _ in 0..TRIES_MAX {
            let (Seen::Standing(standing) | Seen::Ending(standing)) =
                self.seen_whole(wish.work_id, found.take()).await?;
            let seen = Seen::Standing(standing);
            let ruling = self.ruling(&seen, wish)?;
            let Seen::Standing(standing) = seen else {
                continue;
            };
            let (ending, claim) = match (ruling, standing) {
                (Ruling::End(_, ending), Standing::Held(claim)) => (ending, claim),
                (_, Standing::Completed { token, .. }) => return Ok(ended(wish, token, None)),
                _ => return Err(contended(wish.work_id)),
            };
            match self.submit_end(&claim, ending).await {
                Ok(through) => {
                    self.delivered(through, began).await;
                    return Ok(ended(wish, claim.token, Some(through)));
                }
                // It ended some other way, and the board hears of it in a moment.
                Err(LogError::Refused { found: record, .. }) => {
                    found = record;
                    if found.is_none() {
                        self.changed().await;
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(contended(wish.work_id))
    }

    async fn submit_end(&self, claim: &Claim, ending: Ending) -> Result<Seq, LogError> {
        let mut command = Command::default();
        let until_us = self.remembered_until_us();
        writing::end(
            &mut command,
            &self.log().catalogue(),
            claim,
            ending,
            until_us,
        );
        let principal = Self::telling_of(&claim.claimed_by);
        let receipt = self.log().submit(&principal, command).await?;
        Ok(receipt.last)
    }

    pub(super) fn remembered_until_us(&self) -> i64 {
        let completed = self.board().lock().options.completed;
        let completed_us = i64::try_from(completed.as_micros()).unwrap_or(i64::MAX);
        self.log().clock().now_us().saturating_add(completed_us)
    }

    /// How work stands by what was found when a condition did not hold, else by the board.
    fn seen(&self, work_id: &WorkId, found: Option<&Record>) -> Seen {
        if let Some(standing) = found.and_then(kept::standing) {
            return Seen::Standing(standing);
        }
        match self.board().lock().work.get(work_id) {
            Some(held) if held.is_ending => Seen::Ending(Standing::Held(held.claim.clone())),
            Some(held) => Seen::Standing(Standing::Held(held.claim.clone())),
            None => Seen::Standing(Standing::Unclaimed),
        }
    }

    /// As [`Handle::seen`]; work that nobody holds may have been completed, which only the store knows.
    async fn seen_whole(
        &self,
        work_id: &WorkId,
        found: Option<Box<Record>>,
    ) -> Result<Seen, Error> {
        let seen = self.seen(work_id, found.as_deref());
        if !matches!(seen, Seen::Standing(Standing::Unclaimed)) {
            return Ok(seen);
        }
        let now_us = self.log().clock().now_us();
        let record = self.log().record(&completed_key(work_id)).await?;
        let remembered = record.filter(|record| record.due_us.is_none_or(|due_us| due_us > now_us));
        let standing = remembered.as_ref().and_then(kept::standing);
        Ok(Seen::Standing(standing.unwrap_or(Standing::Unclaimed)))
    }

    /// What the table says; a refusal as the error that tells it.
    fn ruling(&self, seen: &Seen, wish: &Wish<'_>) -> Result<Ruling, Error> {
        let (Seen::Standing(standing) | Seen::Ending(standing)) = seen;
        rule(standing, wish.action, wish.by, wish.token).map_err(|refusal| {
            let work_id = wish.work_id.clone();
            match (refusal, standing) {
                (Refusal::Held, Standing::Held(claim)) => Error::WorkHeld {
                    work_id,
                    claimed_by: claim.claimed_by.clone(),
                    lease_expires_us: self.lease_expires_us(claim),
                },
                (Refusal::Completed, Standing::Completed { by, .. }) => Error::WorkCompleted {
                    work_id,
                    completed_by: by.clone(),
                },
                (Refusal::Unclaimed, _) => Error::UnknownWork { work_id },
                _ => Error::StaleClaim { work_id },
            }
        })
    }

    fn granted(&self, claim: Claim) -> Granted {
        Granted {
            lease_expires_us: self.lease_expires_us(&claim),
            claim,
        }
    }

    /// Until when a claim is held. One that the board does not show yet has just begun.
    fn lease_expires_us(&self, claim: &Claim) -> i64 {
        let state = self.board().lock();
        let until = match state.work.get(&claim.work_id) {
            Some(held) if held.claim.token == claim.token => state.held_until(held),
            _ => Instant::now() + state.lasting(claim.term),
        };
        drop(state);
        self.wall_us(until)
    }

    /// Lets a claim last anew, unless it ended, or is about to.
    fn extend(&self, claim: &Claim) -> Option<Granted> {
        let mut state = self.board().lock();
        let held = state.work.get(&claim.work_id)?;
        if held.is_ending || held.claim.token != claim.token {
            return None;
        }
        let until = state.renew(&claim.work_id, Instant::now())?;
        drop(state);
        Some(Granted {
            claim: claim.clone(),
            lease_expires_us: self.wall_us(until),
        })
    }

    fn new_claim(
        &self,
        wish: &Wish<'_>,
        description: &str,
        lease_s: Option<u64>,
    ) -> Result<(Claim, i64), Error> {
        let state = self.board().lock();
        let too_many = |what, limit| Err(Error::TooMany { what, limit });
        if state.claims_of(wish.by) >= state.options.claims_per_session_max {
            return too_many(
                "claims of the session",
                state.options.claims_per_session_max,
            );
        }
        if state.work.len() >= state.options.claims_max {
            return too_many("claims", state.options.claims_max);
        }
        let term = state.term(wish.by, lease_s);
        let until = Instant::now() + state.lasting(term);
        drop(state);
        let claim = Claim {
            work_id: wish.work_id.clone(),
            claimed_by: wish.by.clone(),
            description: description.to_owned(),
            claimed_us: self.log().clock().now_us(),
            token: Seq::ZERO,
            term,
        };
        Ok((claim, self.wall_us(until)))
    }
}

fn ended(wish: &Wish<'_>, token: Seq, told: Option<Seq>) -> Ended {
    Ended {
        work_id: wish.work_id.clone(),
        token,
        told,
    }
}

fn contended(work_id: &WorkId) -> Error {
    Error::Contended {
        what: work_id.to_string(),
    }
}
