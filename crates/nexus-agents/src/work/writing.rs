//! What is asked of the log for a claim and for its end: events, conditions and changes in one command.

use nexus_core::{Catalogue, Change, Command, Guard, NewEvent, ProtocolEvent, iso8601};

use crate::{
    session::activity::Activity,
    work::{
        Claim,
        kept::{self, WorkPayload, claim_key, completed_key},
        rules::Ending,
    },
};

/// The command that grants a claim; its token is the number of the command's event. `lease_expires_us` is
/// what people are told.
#[must_use]
pub fn grant(catalogue: &Catalogue, claim: &Claim, lease_expires_us: i64) -> Command {
    let payload = WorkPayload {
        lease_expires_at: Some(iso8601(lease_expires_us)),
        term: Some(claim.term),
        ..payload(claim)
    };
    Command {
        events: vec![event(catalogue, ProtocolEvent::WorkClaimed, &payload)],
        once: None,
        guards: vec![
            Guard::AbsentOrDue(claim_key(&claim.work_id)),
            Guard::AbsentOrDue(completed_key(&claim.work_id)),
        ],
        changes: vec![
            kept::put_claim(claim),
            Change::Delete(completed_key(&claim.work_id)),
            Activity::working(&claim.description).put(&claim.claimed_by),
        ],
    }
}

/// Adds to a command that a claim ends. That it was completed is remembered until a time in microseconds
/// since 1970.
pub fn end(
    command: &mut Command,
    catalogue: &Catalogue,
    claim: &Claim,
    ending: Ending,
    remembered_until_us: i64,
) {
    let (known, reason) = match ending {
        Ending::Released => (ProtocolEvent::WorkReleased, "released"),
        Ending::Abandoned => (ProtocolEvent::WorkReleased, "disconnected"),
        Ending::Completed => (ProtocolEvent::WorkCompleted, "completed"),
        Ending::Expired => (ProtocolEvent::WorkExpired, "expired"),
    };
    let payload = WorkPayload {
        fencing_token: Some(claim.token.get()),
        reason: Some(reason.into()),
        ..payload(claim)
    };
    command.events.push(event(catalogue, known, &payload));
    command
        .guards
        .push(Guard::Fence(claim_key(&claim.work_id), claim.token));
    command
        .changes
        .push(Change::Delete(claim_key(&claim.work_id)));
    if ending == Ending::Completed {
        command
            .changes
            .push(kept::put_completed(claim, remembered_until_us));
    }
    command
        .changes
        .push(Activity::free().put(&claim.claimed_by));
}

fn payload(claim: &Claim) -> WorkPayload {
    WorkPayload {
        work_id: claim.work_id.clone(),
        work_description: claim.description.clone(),
        claimed_by: claim.claimed_by.clone(),
        claimed_at: iso8601(claim.claimed_us),
        fencing_token: None,
        lease_expires_at: None,
        term: None,
        reason: None,
    }
}

fn event(catalogue: &Catalogue, known: ProtocolEvent, payload: &WorkPayload) -> NewEvent {
    let mut event = NewEvent::new(catalogue.known_type(known), kept::json(payload));
    event.key = Some(payload.work_id.shared());
    event
}
