//! The keys of the identity provider: read at the start, from time to time, and when a token comes that is
//! signed with one that is not known.

use std::time::Duration;

use http::Method;
use nexus_auth::{Auth, JwkSet};
use nexus_outbound::{Client, Outgoing, Trust};
use tokio::time::{Instant, sleep, sleep_until};
use url::Url;

/// How old the keys become.
const REFRESH: Duration = Duration::from_secs(600);
/// How soon they are read again, whoever wants that: strangers can.
const PAUSE: Duration = Duration::from_secs(30);
/// How soon it is tried again when they could not be read.
const RETRY: Duration = Duration::from_secs(5);

/// Keeps the keys up to date.
pub(super) struct Keys {
    pub(super) auth: Auth,
    pub(super) client: Client,
    /// Where the provider publishes them, as the operator wrote it.
    pub(super) url: Url,
}

impl Keys {
    /// Runs until it is dropped.
    pub(super) async fn run(self) {
        loop {
            let read_at = Instant::now();
            let wait = self.renew().await;
            tokio::select! {
                () = sleep(wait) => {}
                () = self.auth.jwks_wanted() => sleep_until(read_at + PAUSE).await,
            }
        }
    }

    /// Reads them once; how long they are good for.
    async fn renew(&self) -> Duration {
        match self.read().await {
            Ok(keys) => {
                tracing::debug!(
                    keys = keys.len(),
                    "the keys of the identity provider were read"
                );
                self.auth.set_jwks(keys);
                REFRESH
            }
            Err(why) => {
                // Those that were read before stay.
                tracing::warn!(why, "the keys of the identity provider cannot be read");
                RETRY
            }
        }
    }

    async fn read(&self) -> Result<JwkSet, String> {
        let call = Outgoing::new(Method::GET, self.url.clone(), Trust::Configured);
        let answer = self.client.send(call).await;
        let answer = answer.map_err(|error| crate::chain(&error))?;
        if !answer.is_success() {
            return Err(format!("the answer has the status {}", answer.status));
        }
        JwkSet::parse(&answer.body).map_err(|error| error.to_string())
    }
}
