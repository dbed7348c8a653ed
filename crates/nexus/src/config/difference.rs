//! What differs between two configurations and cannot change while Nexus runs.

use super::{
    problem::{ConfigProblem, Problems},
    sections::Config,
    settings::SETTINGS,
};

/// What can change while Nexus runs: every setting under these.
const LIVE: [&str; 5] = ["auth.", "vault.", "events.", "reactors.", "alerts."];
/// What of that cannot: somebody asks there from the start on.
const NOT_LIVE: &str = "auth.jwks_url";
/// The values themselves are not told: an address may hold a key.
const WHAT: &str = "it has changed, and that takes a restart";

impl Config {
    /// What of another configuration can only begin to count with a restart.
    pub(crate) fn takes_restart(&self, other: &Self) -> Vec<ConfigProblem> {
        let mut problems = Problems::default();
        if self.mode != other.mode {
            problems.add("dev", WHAT);
        }
        let fixed = SETTINGS.iter().filter(|setting| {
            let is_live = LIVE.iter().any(|live| setting.key.starts_with(live));
            !is_live || setting.key == NOT_LIVE
        });
        for setting in fixed {
            if (setting.show)(self) != (setting.show)(other) {
                problems.add(setting.key, WHAT);
            }
        }
        problems.into_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Mode, *};

    #[test]
    fn what_is_live_may_differ_and_the_rest_takes_a_restart() {
        let running = Config::defaults(Mode::Serve);
        let mut other = Config::defaults(Mode::Serve);
        other.auth.signed_get = true;
        other.reactors.retry.attempts = 2;
        other.reactors.payment_to_mint = false;
        assert_eq!(running.takes_restart(&other), []);
        other.server.port = 4000;
        other.storage.data_dir = "elsewhere".into();
        let told = running.takes_restart(&other);
        let told: Vec<String> = told.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "server.port: it has changed, and that takes a restart",
                "storage.data_dir: it has changed, and that takes a restart"
            ]
        );
    }
}
