//! As many open files as the system allows: each connection is one, and shells often start with 1,024.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the process needs beside its connections: the log, its readers, outgoing calls.
const OTHERS: u64 = 128;

/// Raises the soft limit to the hard one, and says so when that is too few for the connections that the
/// configuration allows.
pub(crate) fn allow(connections: u64) {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let allowed = match setrlimit(Resource::Nofile, most) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files could not be raised");
            limit.current
        }
    };
    let wanted = connections + OTHERS;
    if allowed.is_some_and(|allowed| allowed < wanted) {
        tracing::warn!(
            allowed,
            wanted,
            "the system allows fewer open files than limits.connections may need"
        );
    }
}
