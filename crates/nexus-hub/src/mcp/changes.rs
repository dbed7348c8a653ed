//! Tells clients what is other than they know it, and ends sessions that nothing is heard of.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::broadcast::error::RecvError,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::{
    Shared,
    channel::Message,
    session::{Level, Session},
};
use crate::{HubChange, Scope, ServerId, message};

/// How often it is looked for sessions to end: so often within the time that they may be idle.
const LOOKS_PER_IDLE: u32 = 10;
const LOOK_INTERVAL_MIN: Duration = Duration::from_millis(100);
const LOOK_INTERVAL_MAX: Duration = Duration::from_secs(30);

pub(crate) async fn run(shared: &Arc<Shared>, stop: &CancellationToken) {
    let mut changes = shared.hub.changes();
    let idle = shared.options.session_idle;
    let look = (idle / LOOKS_PER_IDLE).clamp(LOOK_INTERVAL_MIN, LOOK_INTERVAL_MAX);
    let mut looks = interval(look);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = looks.tick() => {
                for session in shared.sessions.reap(idle, Instant::now()) {
                    tracing::debug!("ending an MCP session that nothing is heard of");
                    shared.end(&session);
                }
            }
            change = changes.recv() => match change {
                Ok(change) => tell(shared, &change),
                // Which changes were missed is not known, so everything is looked at.
                Err(RecvError::Lagged(_)) => compare(shared, |_| true),
                Err(RecvError::Closed) => {
                    stop.cancelled().await;
                    return;
                }
            },
        }
    }
}

fn tell(shared: &Shared, change: &HubChange) {
    match change {
        HubChange::Catalogue { owner, .. } => {
            let owner = owner.as_deref();
            compare(shared, |user| owner.is_none_or(|owner| owner == user));
        }
        HubChange::Permissions { user } => {
            let changed = user.as_deref();
            compare(shared, |user| changed.is_none_or(|changed| changed == user));
        }
        HubChange::Resource { session, uri } => {
            if let Some(session) = shared.sessions.get(session) {
                session.standing.resource_updated(uri);
            }
        }
        HubChange::Said {
            server,
            scope,
            method,
            params,
        } => {
            let text = message::notification(method, params.as_deref());
            let level = Level::of(params.as_deref());
            let is_for = |session: &Session| {
                let may_hear = scope.as_ref().is_none_or(|scope| is_of(session, scope));
                // What nobody reads is not gathered.
                may_hear
                    && session.standing.has_listener()
                    && level.is_none_or(|level| session.wants(level))
                    && sees(shared, session, server)
            };
            for session in shared.sessions.all() {
                if is_for(&session) {
                    let standing = &session.standing;
                    // Its client is told of what it missed.
                    let _ = session.say(standing, text.clone(), Message::Notification);
                }
            }
        }
        HubChange::Waiting { .. } => {}
    }
}

/// Whether a connection that is for somebody is for a session.
fn is_of(session: &Session, scope: &Scope) -> bool {
    let is_same = |own: &str| own == &*session.id;
    session.caller().user == scope.user && scope.session.as_deref().is_none_or(is_same)
}

/// Whether a server is one of those that a session has.
fn sees(shared: &Shared, session: &Session, server: &ServerId) -> bool {
    let view = shared.hub.view(&session.caller(), &session.namespace);
    view.is_ok_and(|view| view.server(server).is_some())
}

/// Looks whether the lists of these users' sessions are others than their clients know.
fn compare(shared: &Shared, is_concerned: impl Fn(&str) -> bool) {
    for session in shared.sessions.all() {
        let caller = session.caller();
        if is_concerned(&caller.user) {
            look(shared, &session);
        }
    }
}

fn look(shared: &Shared, session: &Session) {
    // A namespace that is gone has nothing to tell; its client hears that when it asks.
    let Ok(view) = shared.hub.view(&session.caller(), &session.namespace) else {
        return;
    };
    for list in session.differs(&view) {
        session.standing.list_changed(list);
    }
}
