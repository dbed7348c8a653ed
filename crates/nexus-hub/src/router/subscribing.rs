//! Subscriptions of sessions to resources: made, ended, told of, and made again when a connection was lost.

use std::{sync::Arc, time::Duration};

use nexus_core::Principal;
use tokio::time::{Instant, sleep};

use crate::{
    CallError, Error, HubChange, Raw, Request, Scope,
    catalogue::ServerCatalogue,
    handle::Shared,
    router::{
        Context, address,
        asking::{Asked, ask},
        params,
        params::Params,
        subscriptions::{Bounds, Line, Listener, Watched},
    },
};

const SUBSCRIBE: &str = "resources/subscribe";
const UNSUBSCRIBE: &str = "resources/unsubscribe";
/// How long a server may take to take note of a subscription that nobody waits for.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long it is waited before a lost connection is made again, at first and at most.
const AGAIN: Duration = Duration::from_millis(500);
const AGAIN_MAX: Duration = Duration::from_secs(60);

/// Which session wants to hear of what.
struct Wish<'c> {
    session: Arc<str>,
    /// The address under which the session knows it.
    uri: Arc<str>,
    server: &'c Arc<ServerCatalogue>,
    watched: Watched,
}

impl Context<'_> {
    /// The caller's session listens to a resource.
    pub(super) async fn subscribe(&self, params: &Params<'_>) -> Result<Raw, Error> {
        let Wish {
            session,
            uri,
            server,
            watched,
        } = self.subscription(params)?;
        if !server.features.subscribe {
            return Err(super::unknown_method(SUBSCRIBE));
        }
        self.take_rate(Some(server), "")?;
        let subscriptions = &self.shared.subscriptions;
        let options = &self.shared.options;
        let bounds = Bounds {
            session: options.subscriptions_per_session_max,
            user: options.subscriptions_per_user_max,
            all: options.subscriptions_max,
        };
        let listener = Listener {
            session: &session,
            user: &self.caller.user,
        };
        // Before the server is asked: what it tells at once is heard.
        let is_new = subscriptions.add(listener, &uri, &watched, bounds)?;
        let params = super::renamed(params, "uri", &uri, &watched.uri);
        let answer = ask(self, server, Asked::again(SUBSCRIBE, params)).await;
        if answer.is_err() && is_new {
            subscriptions.remove(&session, &uri);
        }
        answer
    }

    /// The caller's session listens no more. The server is told when nobody else does.
    pub(super) async fn unsubscribe(&self, params: &Params<'_>) -> Result<Raw, Error> {
        let Wish {
            session,
            uri,
            server,
            watched: _,
        } = self.subscription(params)?;
        let done = || params::empty().to_owned();
        let Some(watched) = self.shared.subscriptions.remove(&session, &uri) else {
            return Ok(done());
        };
        let params = super::renamed(params, "uri", &uri, &watched.uri);
        let answer = ask(self, server, Asked::again(UNSUBSCRIBE, params)).await;
        restore_wanted(self.shared, watched);
        answer
    }

    fn subscription(&self, params: &Params<'_>) -> Result<Wish<'_>, Error> {
        let session = self.caller.session.clone().ok_or(Error::Invalid {
            what: "session",
            why: "is needed to subscribe",
        })?;
        let uri = params.text("uri")?;
        let place = address::find(self.view, &uri)?;
        let scope = Scope {
            user: self.caller.user.clone(),
            session: Some(session.clone()),
        };
        let watched = Watched {
            line: Line {
                server: place.server.server.id.clone(),
                scope: place.server.running.scope_of(&scope),
            },
            uri: place.original.into(),
        };
        Ok(Wish {
            session,
            uri: uri.into(),
            server: place.server,
            watched,
        })
    }
}

/// Tells those who listen that a resource has other content.
pub(crate) fn tell(shared: &Shared, line: &Line, uri: &str) {
    for (session, uri) in shared.subscriptions.listeners(line, uri) {
        shared.tell(HubChange::Resource { session, uri });
    }
}

/// Tells all who listen over a connection that what they listen to may have other content.
pub(crate) fn tell_all(shared: &Shared, line: &Line) {
    for uri in shared.subscriptions.over(line) {
        tell(shared, line, &uri);
    }
}

/// Tells a server that nobody listens any more; who ended does not wait for it.
pub(crate) fn leave(shared: &Arc<Shared>, watched: Watched) {
    let shared = shared.clone();
    tokio::spawn(async move {
        let uris = std::slice::from_ref(&watched.uri);
        let asked = request(&shared, &watched.line, uris, UNSUBSCRIBE).await;
        if let Err(error) = asked {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "a server could not be told that nobody listens"
            );
        }
        restore_wanted(&shared, watched);
    });
}

/// Somebody may have begun to listen while the server was told that nobody does: it has to be told again.
fn restore_wanted(shared: &Arc<Shared>, watched: Watched) {
    let Watched { line, uri } = watched;
    if shared.subscriptions.over(&line).contains(&uri) {
        restore(shared, line);
    }
}

/// Listens again to what was listened to over a connection that was lost, until it works or nobody wants it.
/// What may have changed meanwhile is told as changed. Each line is restored by one task, however often it is
/// lost. Has to be called within a runtime.
pub(crate) fn restore(shared: &Arc<Shared>, line: Line) {
    if !shared.subscriptions.over(&line).is_empty() && shared.subscriptions.begin_restoring(&line) {
        tokio::spawn(restore_until_it_works(shared.clone(), line));
    }
}

async fn restore_until_it_works(shared: Arc<Shared>, line: Line) {
    let mut wait = AGAIN;
    loop {
        let jitter = 0.5 + shared.log.random().fraction();
        sleep(wait.mul_f64(jitter)).await;
        wait = (wait * 2).min(AGAIN_MAX);
        let uris = shared.subscriptions.over(&line);
        let asked = match uris.is_empty() {
            true => Ok(()),
            false => request(&shared, &line, &uris, SUBSCRIBE).await,
        };
        match asked {
            Ok(()) => {
                for uri in uris {
                    tell(&shared, &line, &uri);
                }
                if shared.subscriptions.end_restoring(&line) {
                    return;
                }
            }
            // Nobody can listen to a server that is not there.
            Err(Error::UnknownServer { server }) => {
                return shared.subscriptions.forget_server(&server);
            }
            Err(error) => tracing::debug!(
                error = &error as &dyn std::error::Error, server = %line.server,
                "a lost subscription could not be made again; it is tried again"
            ),
        }
    }
}

/// Asks a server the same of some resources, one after the other.
async fn request(
    shared: &Shared,
    line: &Line,
    uris: &[Arc<str>],
    method: &'static str,
) -> Result<(), Error> {
    let server = shared.server(&line.server)?;
    // Asking a program would start it, whoever switched it off.
    if !server.server.enabled {
        let server = line.server.clone();
        return Err(Error::SwitchedOff { server });
    }
    let running = &server.running;
    let passage = running.enter(server.server.alias.as_str())?;
    let asked = async {
        let everybody = Scope {
            user: "".into(),
            session: None,
        };
        let scope = line.scope.as_ref().unwrap_or(&everybody);
        let upstream = running.connect(&shared.upstreams, scope).await?;
        for uri in uris {
            let mut params = Vec::new();
            let mut members = params::Members::begin(&mut params);
            members.put("uri", &params::json_text(uri));
            members.end();
            let deadline = Instant::now() + PATIENCE;
            let request = Request {
                // Whoever listens might when they began to: Nexus's own resources are for nobody unnamed.
                principal: Some(Principal::nexus()),
                ..Request::new(method, params::raw(params), deadline)
            };
            upstream.request(request).await?;
        }
        Ok::<(), CallError>(())
    };
    let asked = asked.await;
    let sign = running.note(asked.as_ref().map(|_| ()), shared.log.clock().now_us());
    passage.ended(sign, Instant::now());
    Ok(asked?)
}
