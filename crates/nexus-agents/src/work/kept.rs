//! How claims, completed work and what a session is doing are kept: records, and the events beside them.

use std::sync::Arc;

use bytes::Bytes;
use nexus_core::{Change, Event, Family, Fence, Key, Record, Seq};
use serde::{Deserialize, Serialize};

use crate::{
    SessionId, WorkId,
    work::{Claim, Standing, Term},
};

/// Claims that are held, by work. Their records have no time: a clock that is set ends no lease.
pub(crate) const CLAIM: Family = Family::new("claim");
/// Work that is done, by work, until it is forgotten. Without a fence, which would hold the log.
pub(crate) const COMPLETED: Family = Family::new("completed_work");
/// The state under which completed work is listed by the time at which it is forgotten.
pub(crate) const COMPLETED_STATE: &str = "completed";

pub(crate) fn claim_key(work_id: &WorkId) -> Key {
    Key::new(CLAIM, work_id.shared())
}

pub(crate) fn completed_key(work_id: &WorkId) -> Key {
    Key::new(COMPLETED, work_id.shared())
}

#[derive(Serialize, Deserialize)]
struct ClaimBody {
    description: String,
    claimed_us: i64,
    term: Term,
}

#[derive(Serialize, Deserialize)]
struct CompletedBody {
    token: u64,
}

/// The record of a claim whose event is the first of its command.
pub(crate) fn put_claim(claim: &Claim) -> Change {
    let body = ClaimBody {
        description: claim.description.clone(),
        claimed_us: claim.claimed_us,
        term: claim.term,
    };
    Change::Put {
        key: claim_key(&claim.work_id),
        owner: Some(claim.claimed_by.shared()),
        scope: claim.claimed_by.shared(),
        state: "held".into(),
        due_us: None,
        fence: Fence::Event(0),
        body: json(&body),
    }
}

/// The record of work that was completed by a claim, until a time in microseconds since 1970.
pub(crate) fn put_completed(claim: &Claim, until_us: i64) -> Change {
    Change::Put {
        key: completed_key(&claim.work_id),
        owner: Some(claim.claimed_by.shared()),
        scope: claim.claimed_by.shared(),
        state: COMPLETED_STATE.into(),
        due_us: Some(until_us),
        fence: Fence::Keep,
        body: json(&CompletedBody {
            token: claim.token.get(),
        }),
    }
}

/// How the work that a record is about stands by it; nothing when the record cannot be understood.
pub fn standing(record: &Record) -> Option<Standing> {
    let owner = SessionId::read(record.owner.as_deref()?).ok()?;
    if record.key.family == COMPLETED {
        let body: CompletedBody = serde_json::from_slice(&record.body).ok()?;
        return Some(Standing::Completed {
            by: owner,
            token: Seq::new(body.token),
        });
    }
    let body: ClaimBody = serde_json::from_slice(&record.body).ok()?;
    Some(Standing::Held(Claim {
        work_id: WorkId::parse(&record.key.key).ok()?,
        claimed_by: owner,
        description: body.description,
        claimed_us: body.claimed_us,
        token: record.fence?,
        term: body.term,
    }))
}

/// What the events of work say.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WorkPayload {
    pub(crate) work_id: WorkId,
    pub(crate) work_description: String,
    pub(crate) claimed_by: SessionId,
    pub(crate) claimed_at: String,
    /// The claim that ended; that of a granted one is the number of its event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) fencing_token: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lease_expires_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) term: Option<Term>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<Arc<str>>,
}

/// What an event of work says; nothing when it cannot be understood.
pub(crate) fn payload(event: &Event) -> Option<WorkPayload> {
    serde_json::from_slice(&event.payload).ok()
}

/// The claim that an event granted; nothing when it cannot be understood.
pub(crate) fn granted(event: &Event) -> Option<Claim> {
    let payload = payload(event)?;
    Some(Claim {
        work_id: payload.work_id,
        claimed_by: payload.claimed_by,
        description: payload.work_description,
        claimed_us: nexus_core::parse_iso8601_us(&payload.claimed_at)?,
        token: event.seq,
        term: payload.term?,
    })
}

/// Text, numbers and names always serialise.
pub(crate) fn json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).unwrap_or_default().into()
}
