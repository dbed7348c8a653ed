//! What may be done with work: the table, as a pure function.

use nexus_core::Seq;

use crate::{SessionId, work::Standing};

/// What somebody wants to do with work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// To hold it.
    Claim,
    /// To hold it longer.
    Renew,
    /// To give it back.
    Release,
    /// To say that it is done.
    Complete,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ruling {
    /// The caller gets it, with a new token.
    Grant,
    /// The caller has it already: the claim as it is.
    Same,
    /// The caller holds it longer.
    Extend,
    /// The claim with this token ends.
    End(Seq, Ending),
    /// It was done before, by the caller.
    Done,
}

/// How a claim ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ending {
    /// Its holder gave it back.
    Released,
    /// Its holder did the work.
    Completed,
    /// Its lease ran out.
    Expired,
    /// Its holder is gone.
    Abandoned,
}

/// Why nothing follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// There is no claim that this could be about.
    Unclaimed,
    /// Another holds it.
    Held,
    /// The caller does not hold it, or not by this token.
    Stale,
    /// It is done.
    Completed,
}

/// What follows when `by` wants to do something with work that stands like this. A fencing token, if one is
/// given, has to be the current one; without one it is enough to be the holder.
///
/// # Errors
/// A [`Refusal`].
pub fn rule(
    standing: &Standing,
    action: Action,
    by: &SessionId,
    token: Option<Seq>,
) -> Result<Ruling, Refusal> {
    match standing {
        Standing::Unclaimed if action == Action::Claim => Ok(Ruling::Grant),
        Standing::Unclaimed => Err(Refusal::Unclaimed),
        Standing::Held(claim) if claim.claimed_by != *by => Err(match action {
            Action::Claim => Refusal::Held,
            Action::Renew | Action::Release | Action::Complete => Refusal::Stale,
        }),
        Standing::Held(claim) if token.is_some_and(|token| token != claim.token) => {
            Err(Refusal::Stale)
        }
        Standing::Held(claim) => Ok(match action {
            Action::Claim => Ruling::Same,
            Action::Renew => Ruling::Extend,
            Action::Release => Ruling::End(claim.token, Ending::Released),
            Action::Complete => Ruling::End(claim.token, Ending::Completed),
        }),
        Standing::Completed {
            by: done_by,
            token: done,
        } => {
            if action != Action::Complete || done_by != by {
                Err(Refusal::Completed)
            } else if token.is_some_and(|token| token != *done) {
                Err(Refusal::Stale)
            } else {
                Ok(Ruling::Done)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        WorkId,
        work::{Claim, Term},
    };

    fn session(id: &str) -> SessionId {
        SessionId::parse(id).unwrap()
    }

    fn held(by: &str) -> Standing {
        Standing::Held(Claim {
            work_id: WorkId::parse("w").unwrap(),
            claimed_by: session(by),
            description: String::new(),
            claimed_us: 1,
            token: Seq::new(7),
            term: Term::Connection,
        })
    }

    fn completed(by: &str) -> Standing {
        Standing::Completed {
            by: session(by),
            token: Seq::new(7),
        }
    }

    #[test]
    fn every_cell_of_the_table() {
        use Action::{Claim, Complete, Release, Renew};
        use Ending::{Completed, Released};
        use Refusal::{Held, Stale, Unclaimed};
        let end = |ending| Ok(Ruling::End(Seq::new(7), ending));
        let done = Err(Refusal::Completed);
        // unclaimed, held by the caller, held by another, completed by the caller, completed by another
        let table = [
            (
                Claim,
                [Ok(Ruling::Grant), Ok(Ruling::Same), Err(Held), done, done],
            ),
            (
                Renew,
                [Err(Unclaimed), Ok(Ruling::Extend), Err(Stale), done, done],
            ),
            (
                Release,
                [Err(Unclaimed), end(Released), Err(Stale), done, done],
            ),
            (
                Complete,
                [
                    Err(Unclaimed),
                    end(Completed),
                    Err(Stale),
                    Ok(Ruling::Done),
                    done,
                ],
            ),
        ];
        let standings = [
            Standing::Unclaimed,
            held("me"),
            held("other"),
            completed("me"),
            completed("other"),
        ];
        for (action, row) in table {
            for (standing, expected) in standings.iter().zip(row) {
                for token in [None, Some(Seq::new(7))] {
                    let ruling = rule(standing, action, &session("me"), token);
                    assert_eq!(ruling, expected, "{action:?} {standing:?} {token:?}");
                }
            }
        }
    }

    #[test]
    fn an_old_token_does_nothing_even_for_the_holder() {
        let old = Some(Seq::new(6));
        for action in [
            Action::Claim,
            Action::Renew,
            Action::Release,
            Action::Complete,
        ] {
            let ruling = rule(&held("me"), action, &session("me"), old);
            assert_eq!(ruling, Err(Refusal::Stale), "{action:?}");
        }
        let ruling = rule(&completed("me"), Action::Complete, &session("me"), old);
        assert_eq!(ruling, Err(Refusal::Stale));
    }
}
