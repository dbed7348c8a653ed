//! Who comes to the endpoint, and whether they may still stay.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::header;
use nexus_auth::{Auth, Grant};
use nexus_core::{Principal, Scope};
use nexus_http::{Call, Problem};

use crate::Caller;

/// Who may come in.
#[derive(Debug, Clone)]
pub enum Door {
    /// Whoever has a token that may read.
    Tokens(Auth),
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
    grant: Grant,
    /// Ends when rights have changed.
    changed: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Door {
    /// Who asks.
    ///
    /// # Errors
    /// They have no token, or one that may not read.
    pub(crate) fn admit(&self, call: &Call) -> Result<Visitor, Problem> {
        let auth = match self {
            Self::Tokens(auth) => auth,
            Self::Open(principal) => {
                return Ok(Visitor {
                    caller: Caller::of(principal.clone()),
                    ticket: None,
                });
            }
        };
        // Asked for before it is asked who it is, so that no change goes by unseen.
        let changed = changed(auth);
        let grant = call.identify(|headers| {
            // A signature says who sent one request: it does not carry a session.
            if headers.contains_key(header::AUTHORIZATION) {
                auth.reader_grant(headers)
            } else {
                Err(nexus_auth::Error::Unauthorized)
            }
        })?;
        auth.require(&grant.principal, Scope::Read)?;
        Ok(Visitor {
            caller: Caller::of(grant.principal.clone()),
            ticket: Some(Ticket {
                auth: auth.clone(),
                grant,
                changed,
            }),
        })
    }
}

impl Visitor {
    /// Whether their token still counts.
    pub(crate) fn is_still_welcome(&mut self) -> bool {
        let Some(ticket) = &mut self.ticket else {
            return true;
        };
        match ticket.auth.renew(&ticket.grant) {
            Ok(grant) => {
                let may_read = grant.principal.scopes().has(Scope::Read);
                ticket.grant = grant;
                may_read
            }
            Err(_) => false,
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
