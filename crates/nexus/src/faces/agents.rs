//! What agents speak: the event bus of sessions, on a port of its own or below a prefix.

mod socket;

use nexus_agents::{
    Handle,
    http::{self, FaceOptions, Guests},
};
use nexus_auth::Auth;
use nexus_http::Route;
use nexus_ws::{Edge, SessionOptions};

/// What the paths of the face begin with where it has no port of its own.
pub(crate) const PREFIX: &str = "/agents";

/// What the face is made of.
pub(crate) struct Agents {
    pub(crate) agents: Handle,
    pub(crate) auth: Auth,
    /// Carries the connections of sessions.
    pub(crate) edge: Edge,
    pub(crate) socket: SessionOptions,
    pub(crate) options: FaceOptions,
}

impl Agents {
    /// The routes of the face, each path behind a prefix.
    pub(crate) fn routes(self, prefix: &str) -> Vec<Route> {
        let guests = Guests::new(&self.agents, &self.auth, self.options.clone());
        let mut routes = http::routes(&self.agents, &self.auth, self.options);
        let sessions = socket::Sessions(guests);
        routes.extend(self.edge.session_routes(sessions, self.socket));
        routes
            .iter()
            .map(|route| route.at(format!("{prefix}{}", route.path())))
            .collect()
    }
}
