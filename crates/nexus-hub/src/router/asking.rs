//! Asks a server something for a caller: within its circuit, until the deadline, and once more where that
//! repeats nothing.

use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use crate::{
    CallError, Error, Raw, Request, Scope, Waited,
    breaker::Sign,
    catalogue::{ServerCatalogue, running::Running},
    router::Context,
};

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
    let longest = Instant::now() + context.shared.options.call_timeout_max;
    let wanted = context.call.deadline.unwrap_or(longest);
    let deadline = wanted.min(longest);
    loop {
        let passage = running.enter(server.server.alias.as_str())?;
        let params = if asked.may_repeat {
            asked.params.clone()
        } else {
            asked.params.take()
        };
        let outcome = once(context, running, &asked.method, params, deadline).await;
        let is_callers_choice =
            wanted < longest && matches!(outcome, Err(CallError::Timeout { .. }));
        let sign = if is_callers_choice {
            // Who waits for less than others learns nothing of the server by that.
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
    running: &Running,
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
        peer: context.call.peer.clone(),
        principal: Some(context.caller.principal.clone()),
    };
    upstream.request(request).await
}
