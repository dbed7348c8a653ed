//! How a client is set up: where the server is, who the client is, and every bound.

use std::time::Duration;

use nexus_auth::Secret;
use nexus_core::Random;
use url::Url;

use crate::{Client, Error, RetryPolicy};

/// How long a connection may take until the server has answered, unless set.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one attempt of a request may take, unless set.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a request may take with all its attempts, unless set.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// After how much silence a WebSocket is asked whether it is alive, unless set.
pub const PING_AFTER: Duration = Duration::from_secs(10);
/// How long a WebSocket may be silent before it counts as lost, unless set.
pub const SILENCE_MAX: Duration = Duration::from_secs(20);
/// How long an SSE stream may be silent, unless set: three of the server's comments.
pub const SSE_SILENCE_MAX: Duration = Duration::from_secs(45);
/// How long [`Client::drain`] waits, unless set.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// How many events a subscription holds that were not taken yet, unless set.
pub const BUFFER_EVENTS_MAX: usize = 4096;
/// How many bytes of them, unless set.
pub const BUFFER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How many events a publisher has under way, unless set.
pub const WINDOW_EVENTS_MAX: usize = 256;

/// Every setting of a client.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) connect_timeout: Duration,
    pub(crate) attempt_timeout: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) ping_after: Duration,
    pub(crate) silence_max: Duration,
    pub(crate) sse_silence_max: Duration,
    pub(crate) drain_timeout: Duration,
    pub(crate) buffer_events_max: usize,
    pub(crate) buffer_bytes_max: usize,
    pub(crate) window_events_max: usize,
    pub(crate) retry: RetryPolicy,
    pub(crate) token_in_frame: bool,
}

/// Sets up a [`Client`].
#[derive(Debug, Clone)]
#[must_use = "nothing happens until `build`"]
pub struct ClientBuilder {
    pub(crate) url: String,
    pub(crate) token: Option<Secret>,
    pub(crate) node: Option<(String, Secret)>,
    pub(crate) options: Options,
    pub(crate) random: Random,
}

impl ClientBuilder {
    pub(crate) fn new(url: String) -> Self {
        Self {
            url,
            token: None,
            node: None,
            options: Options {
                connect_timeout: CONNECT_TIMEOUT,
                attempt_timeout: ATTEMPT_TIMEOUT,
                request_timeout: REQUEST_TIMEOUT,
                ping_after: PING_AFTER,
                silence_max: SILENCE_MAX,
                sse_silence_max: SSE_SILENCE_MAX,
                drain_timeout: DRAIN_TIMEOUT,
                buffer_events_max: BUFFER_EVENTS_MAX,
                buffer_bytes_max: BUFFER_BYTES_MAX,
                window_events_max: WINDOW_EVENTS_MAX,
                retry: RetryPolicy::default(),
                token_in_frame: false,
            },
            random: Random::system(),
        }
    }

    /// Shows this bearer token.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(Secret::new(token));
        self
    }

    /// Publishes as this node, by signing. With a token beside it, the token is what streams show.
    pub fn node(mut self, id: impl Into<String>, secret: impl Into<String>) -> Self {
        self.node = Some((id.into(), Secret::new(secret)));
        self
    }

    /// Shows the token in the first frame of a WebSocket instead of a header, for proxies that take the
    /// header away.
    pub fn token_in_frame(mut self) -> Self {
        self.options.token_in_frame = true;
        self
    }

    /// How long a connection may take until the server has answered.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.options.connect_timeout = timeout;
        self
    }

    /// How long one attempt of a request may take, and how long the request with all its attempts.
    pub fn request_timeouts(mut self, attempt: Duration, all: Duration) -> Self {
        self.options.attempt_timeout = attempt;
        self.options.request_timeout = all;
        self
    }

    /// After how much silence a WebSocket is asked whether it is alive, and after how much it counts as
    /// lost.
    pub fn heartbeat(mut self, ping_after: Duration, silence_max: Duration) -> Self {
        self.options.ping_after = ping_after;
        self.options.silence_max = silence_max;
        self
    }

    /// How long an SSE stream may be silent. It cannot ask: this has to be longer than the pause between
    /// the comments of the server.
    pub fn sse_silence_max(mut self, silence_max: Duration) -> Self {
        self.options.sse_silence_max = silence_max;
        self
    }

    /// When to come back after a failure.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.options.retry = policy;
        self
    }

    /// How long [`Client::drain`] waits.
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.options.drain_timeout = timeout;
        self
    }

    /// How much a subscription holds that was not taken yet. What does not fit waits at the server.
    pub fn buffer(mut self, events_max: usize, bytes_max: usize) -> Self {
        self.options.buffer_events_max = events_max.max(1);
        self.options.buffer_bytes_max = bytes_max.max(1);
        self
    }

    /// How many events a publisher has under way.
    pub fn window(mut self, events_max: usize) -> Self {
        self.options.window_events_max = events_max.clamp(1, tokio::sync::Semaphore::MAX_PERMITS);
        self
    }

    /// Where the randomness of keys and waits comes from; for tests.
    pub fn random(mut self, random: Random) -> Self {
        self.random = random;
        self
    }

    /// The client. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the address, the token or the secret cannot be used, [`Error::Setup`] when
    /// TLS cannot be set up.
    pub fn build(self) -> Result<Client, Error> {
        Client::new(self)
    }

    /// The address, as the root of the paths of the API.
    pub(crate) fn base(&self) -> Result<Url, Error> {
        let invalid = |why: &str| Error::invalid("the address of the server", why);
        let mut base = Url::parse(&self.url).map_err(|error| invalid(&error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(invalid("only http and https are spoken"));
        }
        if base.host().is_none() {
            return Err(invalid("it has no host"));
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(invalid("it may not hold a user or a password"));
        }
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        base.set_query(None);
        base.set_fragment(None);
        Ok(base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_the_root_of_the_api() {
        let base = |url: &str| ClientBuilder::new(url.to_owned()).base();
        let joined = |url| {
            base(url)
                .unwrap()
                .join("api/v1/events")
                .unwrap()
                .to_string()
        };
        assert_eq!(joined("http://h:1"), "http://h:1/api/v1/events");
        assert_eq!(joined("https://h/nexus"), "https://h/nexus/api/v1/events");
        assert_eq!(
            joined("https://h/nexus/?a=b#c"),
            "https://h/nexus/api/v1/events"
        );
        for url in ["", "h:1", "ws://h", "http://u:hunter2@h", "file:///etc"] {
            let error = base(url).unwrap_err();
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
    }
}
