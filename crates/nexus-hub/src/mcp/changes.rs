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
                Err(RecvError::Lagged(_)) => catch_up(shared),
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

/// Which changes were missed is not known: all lists are looked at, and what is listened to counts as another.
fn catch_up(shared: &Shared) {
    compare(shared, |_| true);
    for session in shared.sessions.all() {
        for uri in shared.hub.subscribed(&session.id) {
            session.standing.resource_updated(&uri);
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use nexus_core::{Nexus, Principal, Publish, Random, Scope as Right, Source};
    use nexus_outbound::{Client, OutboundOptions};
    use tokio::{task::yield_now, time::timeout};

    use super::*;
    use crate::{
        Caller, CatalogueOptions, ClientCapabilities, Hub, PoolOptions, Upstreams,
        handle::CHANGES_KEPT,
        mcp::{Door, Mcp, McpOptions, session::Hello, version::Version},
        router::subscriptions::{Bounds, Line, Listener, Watched},
    };

    /// How long anything may take, on a machine that does much else.
    const PATIENCE: Duration = Duration::from_secs(60);
    const CLOCK: &str = "toy://clock";

    fn principal() -> Principal {
        let rights = [Right::Read].into_iter().collect();
        Principal::new(Source::user("ana"), Publish::Nothing, rights)
    }

    async fn mcp() -> Mcp {
        let log = Nexus::in_memory().await.unwrap().log().clone();
        let client = Client::new(&OutboundOptions::default()).unwrap();
        let upstreams = Upstreams::new(PoolOptions::default(), client);
        let (hub, _) = Hub::open(log, upstreams, CatalogueOptions::default())
            .await
            .unwrap();
        let door = Door::Open(principal());
        Mcp::new(hub, door, McpOptions::default(), Random::seeded(1))
    }

    fn listens_to_the_clock(hub: &Hub, session: &Session) {
        let watched = Watched {
            line: Line {
                server: ServerId::new("toy"),
                scope: None,
            },
            uri: CLOCK.into(),
        };
        let bounds = Bounds {
            session: 1,
            user: 1,
            all: 1,
        };
        let who = Listener {
            session: &session.id,
            user: &session.caller().user,
        };
        let added = hub
            .0
            .subscriptions
            .add(who, &CLOCK.into(), &watched, bounds);
        assert!(added.unwrap());
    }

    #[tokio::test]
    async fn who_listens_to_a_resource_hears_of_it_also_when_its_change_was_missed() {
        let mcp = mcp().await;
        let (hub, sessions) = (&mcp.0.hub, &mcp.0.sessions);
        let hello = || Hello {
            version: Version::LATEST,
            capabilities: ClientCapabilities::default(),
        };
        let caller = Caller::of(principal());
        let (listens, _) = sessions.begin(&caller, "".into(), hello()).unwrap();
        let (other, _) = sessions.begin(&caller, "".into(), hello()).unwrap();
        listens_to_the_clock(hub, &listens);
        let stop = CancellationToken::new();
        tokio::spawn(mcp.clone().run(stop.clone()));
        let heard = async {
            while hub.0.changes.receiver_count() == 0 {
                yield_now().await;
            }
            // Nothing else runs until all of this is said: the first is overwritten by the others.
            hub.0.tell(HubChange::Resource {
                session: listens.id.clone(),
                uri: CLOCK.into(),
            });
            for _ in 0..CHANGES_KEPT {
                let user = Some("nobody".into());
                hub.0.tell(HubChange::Permissions { user });
            }
            let mut reader = listens.standing.read(None);
            loop {
                let (_, told) = poll_fn(|context| reader.poll_next(context)).await.unwrap();
                let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
                if told["method"] == "notifications/resources/updated" {
                    return told["params"]["uri"].clone();
                }
            }
        };
        assert_eq!(timeout(PATIENCE, heard).await.unwrap(), CLOCK);
        // Who listens to nothing is told of no resource.
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let mut reader = other.standing.read(None);
        while let std::task::Poll::Ready(told) = reader.poll_next(&mut context) {
            let (_, told) = told.unwrap();
            assert!(!String::from_utf8_lossy(&told).contains("resources/updated"));
        }
        stop.cancel();
    }
}
