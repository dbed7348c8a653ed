//! Asks a server something for a caller: within its circuit, until the deadline, and once more where that
//! repeats nothing.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, timeout_at};

use crate::{
    CallError, Error, Peer, Raw, Request, Scope, Waited,
    breaker::Sign,
    catalogue::{ServerCatalogue, running::Running},
    router::{Context, redaction::CleanPeer},
};

/// Who waits for less has not waited.
const PATIENT: Duration = Duration::from_secs(5);

/// What a server is asked.
pub(crate) struct Asked {
    pub(crate) method: Arc<str>,
    pub(crate) params: Option<Raw>,
    /// Whether asking twice is as good as once.
    pub(crate) may_repeat: bool,
}

impl Asked {
    /// Something that may be asked again.
    pub(crate) fn again(method: &'static str, params: Raw) -> Self {
        Self {
            method: method.into(),
            params: Some(params),
            may_repeat: true,
        }
    }
}

/// Asks a server.
///
/// # Errors
/// [`Error::CircuitOpen`] and [`Error::Call`].
pub(crate) async fn ask(
    context: &Context<'_>,
    server: &ServerCatalogue,
    mut asked: Asked,
) -> Result<Raw, Error> {
    let running = &server.running;
    let now = Instant::now();
    let usual = now + context.shared.options.call_timeout;
    let deadline = context.call.deadline.unwrap_or(usual);
    let is_hasty = deadline < usual.min(now + PATIENT);
    loop {
        let passage = running.enter(server.server.alias.as_str())?;
        let params = if asked.may_repeat {
            asked.params.clone()
        } else {
            asked.params.take()
        };
        let outcome = once(context, running, &asked.method, params, deadline).await;
        let sign = if is_hasty && matches!(outcome, Err(CallError::Timeout { .. })) {
            // Who does not wait learns nothing of the server by that, and closes nobody's way.
            Sign::Nothing
        } else {
            let now_us = context.shared.log.clock().now_us();
            running.note(outcome.as_ref().map(|_| ()), now_us)
        };
        passage.ended(sign, Instant::now());
        match outcome {
            Err(CallError::Gone { .. } | CallError::Closed)
                if asked.may_repeat && !context.call.cancel.is_cancelled() =>
            {
                asked.may_repeat = false;
            }
            other => return other.map_err(Error::from),
        }
    }
}

async fn once(
    context: &Context<'_>,
    running: &Arc<Running>,
    method: &Arc<str>,
    params: Option<Raw>,
    deadline: Instant,
) -> Result<Raw, CallError> {
    let scope = Scope {
        user: context.caller.user.clone(),
        session: context.caller.session.clone(),
    };
    let cancel = &context.call.cancel;
    let connecting = running.connect(&context.shared.upstreams, &scope);
    let began = Instant::now();
    let upstream = tokio::select! {
        biased;
        () = cancel.cancelled() => return Err(CallError::Cancelled),
        connected = timeout_at(deadline, connecting) => connected.map_err(|_| CallError::Timeout {
            waited: Waited::Connecting,
            limit: deadline.saturating_duration_since(began),
        })??,
    };
    let request = Request {
        method: method.clone(),
        params,
        deadline,
        cancel: cancel.clone(),
        peer: peer(context, running),
        principal: Some(context.caller.principal.clone()),
    };
    running.clean(upstream.request(request).await)
}

/// Who is told and asked while the request runs: without the server's credentials, if it has any.
fn peer(context: &Context<'_>, running: &Arc<Running>) -> Option<Arc<dyn Peer>> {
    let inner = context.call.peer.clone()?;
    if running.redactor.is_none() {
        return Some(inner);
    }
    Some(Arc::new(CleanPeer {
        inner,
        running: running.clone(),
    }))
}
