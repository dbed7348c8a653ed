//! The client: what its requests, streams and publishers share.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use nexus_auth::Secret;
use nexus_core::Random;
use nexus_outbound::OutboundOptions;
use rustls::ClientConfig;
use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use url::Url;

use crate::{ClientBuilder, Error, credentials::Credentials, options::Options};

/// How much of an answer is read. A page of events has at most 1 MiB of them, and JSON around it.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A client of one server. Cheap to clone; clones share their connections.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
}

/// What everything of one client shares.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) base: Url,
    pub(crate) credentials: Credentials,
    pub(crate) options: Options,
    pub(crate) http: nexus_outbound::Client,
    /// For WebSockets; nothing when the server is spoken to in the clear.
    pub(crate) tls: Option<Arc<ClientConfig>>,
    pub(crate) random: Random,
    /// Nothing new is begun.
    pub(crate) draining: CancellationToken,
    /// Whatever is still going on ends where it is.
    pub(crate) ended: CancellationToken,
    /// Requests, streams and publishers that are not finished.
    pub(crate) tasks: TaskTracker,
    /// Something was given up that was not confirmed.
    pub(crate) unconfirmed: AtomicBool,
}

impl Client {
    /// Sets up a client of the server at this address, `https://nexus.example:3000`.
    pub fn builder(url: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(url.into())
    }

    pub(crate) fn new(builder: ClientBuilder) -> Result<Self, Error> {
        let base = builder.base()?;
        let setup = |error: nexus_outbound::Error| Error::Setup {
            source: Arc::new(error),
        };
        let options = builder.options;
        let http = nexus_outbound::Client::new(&OutboundOptions {
            answer_bytes_max: ANSWER_BYTES_MAX,
            connect_timeout_ms: millis(options.connect_timeout),
            ..OutboundOptions::default()
        });
        let tls = (base.scheme() == "https").then(nexus_outbound::tls_config);
        Ok(Self {
            shared: Arc::new(Shared {
                base,
                credentials: Credentials::new(builder.token, builder.node)?,
                options,
                http: http.map_err(setup)?,
                tls: tls.transpose().map_err(setup)?.map(Arc::new),
                random: builder.random,
                draining: CancellationToken::new(),
                ended: CancellationToken::new(),
                tasks: TaskTracker::new(),
                unconfirmed: AtomicBool::new(false),
            }),
        })
    }

    /// Shows this token from now on. A stream shows it when it connects the next time.
    ///
    /// # Errors
    /// [`Error::Invalid`] when a header cannot hold it.
    pub fn replace_token(&self, token: impl Into<String>) -> Result<(), Error> {
        self.shared.credentials.replace_token(Secret::new(token))
    }

    /// Ends in order: takes nothing new, finishes the publishes that are under way, sends the last
    /// acknowledgements and waits until the server has them, closes the streams.
    ///
    /// A stream gives nothing more. Where it is durable and an event that it gave was not acknowledged
    /// yet, it waits for that, so that whoever handles the event can finish.
    ///
    /// # Errors
    /// [`Error::TimedOut`] when that took too long, or when something was not confirmed: it is given up,
    /// and comes again when somebody goes on with the same key or cursor.
    pub async fn drain(&self) -> Result<(), Error> {
        let shared = &self.shared;
        shared.draining.cancel();
        shared.tasks.close();
        let after = shared.options.drain_timeout;
        let in_time = timeout(after, shared.tasks.wait()).await.is_ok();
        shared.ended.cancel();
        if in_time && !shared.unconfirmed.load(Ordering::SeqCst) {
            Ok(())
        } else {
            Err(Error::TimedOut { after })
        }
    }
}

impl Shared {
    /// The address of a path of the API.
    pub(crate) fn url(&self, path: &str) -> Result<Url, Error> {
        let joined = self.base.join(path);
        joined.map_err(|error| Error::invalid("the path", error.to_string()))
    }

    pub(crate) fn refuse_if_draining(&self) -> Result<(), Error> {
        if self.draining.is_cancelled() {
            Err(Error::Draining)
        } else {
            Ok(())
        }
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
