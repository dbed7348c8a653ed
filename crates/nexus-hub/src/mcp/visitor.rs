//! Who comes to the endpoint, and whether they may still stay.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderMap, header};
use nexus_auth::{Auth, Grant, Secret};
use nexus_core::{Principal, Scope};
use nexus_http::{Call, Problem};

use crate::Caller;

/// Whose a token is that was given out elsewhere. Erased, because who keeps it is joined to the hub later.
pub type Others = Arc<dyn Fn(&str) -> Option<Principal> + Send + Sync>;

/// Who may come in.
#[derive(Clone)]
pub enum Door {
    /// Whoever has a token that may read.
    Tokens {
        /// Who gave the tokens out.
        auth: Auth,
        /// Who else did.
        others: Option<Others>,
    },
    /// Everybody, as this one: for a hub that only one person can reach.
    Open(Principal),
}

/// Somebody who was let in.
pub(crate) struct Visitor {
    pub(crate) caller: Caller,
    ticket: Option<Ticket>,
}

/// What somebody was let in by.
struct Ticket {
    auth: Auth,
    proof: Proof,
    /// Ends when rights have changed.
    changed: Pin<Box<dyn Future<Output = ()> + Send>>,
}

enum Proof {
    Grant(Grant),
    Other(Others, Secret),
}

impl Door {
    /// Who asks.
    ///
    /// # Errors
    /// They have no token, or one that may not read.
    pub(crate) fn admit(&self, call: &Call) -> Result<Visitor, Problem> {
        let (auth, others) = match self {
            Self::Tokens { auth, others } => (auth, others.as_ref()),
            Self::Open(principal) => {
                return Ok(Visitor {
                    caller: Caller::of(principal.clone()),
                    ticket: None,
                });
            }
        };
        // Asked for before it is asked who it is, so that no change goes by unseen.
        let changed = changed(auth);
        let (principal, proof) = call.identify(|headers| identify(auth, others, headers))?;
        auth.require(&principal, Scope::Read)?;
        Ok(Visitor {
            caller: Caller::of(principal),
            ticket: Some(Ticket {
                auth: auth.clone(),
                proof,
                changed,
            }),
        })
    }
}

fn identify(
    auth: &Auth,
    others: Option<&Others>,
    headers: &HeaderMap,
) -> Result<(Principal, Proof), nexus_auth::Error> {
    // A signature says who sent one request: it does not carry a session.
    let token = bearer(headers).ok_or(nexus_auth::Error::Unauthorized)?;
    if let Some(others) = others
        && let Some(principal) = others(token)
    {
        let proof = Proof::Other(others.clone(), Secret::new(token));
        return Ok((principal, proof));
    }
    let grant = auth.reader_grant(headers)?;
    Ok((grant.principal.clone(), Proof::Grant(grant)))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

impl Visitor {
    /// Whether their token still counts.
    pub(crate) fn is_still_welcome(&mut self) -> bool {
        let Some(ticket) = &mut self.ticket else {
            return true;
        };
        match &mut ticket.proof {
            Proof::Grant(grant) => match ticket.auth.renew(grant) {
                Ok(renewed) => {
                    *grant = renewed;
                    grant.principal.scopes().has(Scope::Read)
                }
                Err(_) => false,
            },
            Proof::Other(others, token) => {
                let principal = others(token.expose());
                let source = self.caller.principal.source();
                principal.is_some_and(|principal| principal.source() == source)
            }
        }
    }

    /// Whether rights have changed since it was last asked, so that theirs have to be looked at again.
    pub(crate) fn poll_changed(&mut self, context: &mut Context<'_>) -> bool {
        let Some(ticket) = &mut self.ticket else {
            return false;
        };
        let mut has_changed = false;
        while ticket.changed.as_mut().poll(context) == Poll::Ready(()) {
            has_changed = true;
            ticket.changed = changed(&ticket.auth);
        }
        has_changed
    }
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tokens { auth, others } => f
                .debug_struct("Tokens")
                .field("auth", auth)
                .field("has_others", &others.is_some())
                .finish(),
            Self::Open(principal) => f.debug_tuple("Open").field(principal).finish(),
        }
    }
}

impl fmt::Debug for Visitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Visitor")
            .field("caller", &self.caller)
            .finish_non_exhaustive()
    }
}

fn changed(auth: &Auth) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    let mut changes = auth.changes();
    Box::pin(async move {
        if changes.changed().await.is_err() {
            // Nobody is left who could change anything.
            std::future::pending::<()>().await;
        }
    })
}

#[cfg(test)]
pub(crate) fn caller_for_test(user: &str) -> Caller {
    use nexus_core::{Publish, Source};
    let scopes = [Scope::Read].into_iter().collect();
    Caller::of(Principal::new(Source::user(user), Publish::Nothing, scopes))
}
