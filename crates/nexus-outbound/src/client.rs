//! The client: sends one call, reads one bounded answer or opens one that goes on.

use std::{error::Error as _, fmt, sync::Arc, time::Duration};

use bytes::BytesMut;
use nexus_core::Cause;
use reqwest::dns::Resolve;
use rustls::ClientConfig;
use url::{Host, Url};

use crate::{
    Answer, Error, Keep, Opened, OutboundOptions, Outgoing, Resolver, Trust,
    guard::{Guard, led_astray, target_of},
    proxy::PastProxy,
    resolver::{Filtered, NotPermitted, SystemResolver},
    tls::{system_roots, tls},
};

/// How long an idle connection is kept: shorter than most servers keep theirs.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
const USER_AGENT: &str = concat!("Nexus/", env!("CARGO_PKG_VERSION"));

/// Makes calls. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct Client {
    guard: Guard,
    /// Two, so that a connection that was made to a private address never carries a foreign call.
    configured: reqwest::Client,
    foreign: reqwest::Client,
    proxied: Option<Proxied>,
    answer_bytes_max: usize,
}

/// What goes through the proxy.
#[derive(Clone)]
struct Proxied {
    client: reqwest::Client,
    past: PastProxy,
    /// The proxy picks the address that is connected to, so none of them may be denied.
    strict: Arc<dyn Resolve>,
}

impl Client {
    /// Sets up a client. Proxies that the environment names are not used.
    ///
    /// # Errors
    /// [`Error::Setup`] when TLS or the proxy cannot be set up.
    pub fn new(options: &OutboundOptions) -> Result<Self, Error> {
        Self::with_resolver(options, SystemResolver::new())
    }

    /// Sets up a client that asks another resolver than this system's where a name leads. The guard
    /// checks what it says as it checks every other address.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn with_resolver<R: Resolver>(
        options: &OutboundOptions,
        resolver: R,
    ) -> Result<Self, Error> {
        Self::with_tls(options, &tls(system_roots)?, resolver)
    }

    pub(crate) fn with_tls<R: Resolver>(
        options: &OutboundOptions,
        tls: &ClientConfig,
        resolver: R,
    ) -> Result<Self, Error> {
        let builder = |resolver| {
            reqwest::Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
                .referer(false)
                .user_agent(USER_AGENT)
                .connect_timeout(Duration::from_millis(options.connect_timeout_ms))
                .pool_idle_timeout(IDLE_TIMEOUT)
                .pool_max_idle_per_host(options.idle_connections_per_host)
                .dns_resolver(resolver)
        };
        let (guard, resolver) = (Guard::new(options), Arc::new(resolver));
        let open = Filtered::open(&resolver, &guard);
        let guarded = Filtered::guarded(&resolver, &guard);
        let proxied = options.proxy.as_ref().map(|address| {
            let proxy = reqwest::Proxy::all(address.clone())?;
            Ok(Proxied {
                client: builder(open.clone()).proxy(proxy).build()?,
                past: PastProxy::new(&options.no_proxy),
                strict: Filtered::strict(&resolver, &guard),
            })
        });
        let proxied = proxied.transpose();
        Ok(Self {
            configured: builder(open.clone()).build().map_err(setup)?,
            foreign: builder(guarded).build().map_err(setup)?,
            proxied: proxied.map_err(|error: reqwest::Error| setup(error.without_url()))?,
            guard,
            answer_bytes_max: options.answer_bytes_max,
        })
    }

    /// Whether the guard would let a call out, as far as that is known before its name is resolved.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn check(&self, url: &Url, trust: Trust) -> Result<(), Error> {
        self.guard.check_url(url, trust)
    }

    /// Makes a call and reads its answer.
    ///
    /// # Errors
    /// [`Error::Refused`] before anything is sent; otherwise what the network did. An answer with a
    /// status that means failure is an answer.
    pub async fn send(&self, call: Outgoing) -> Result<Answer, Error> {
        self.check(&call.url, call.trust)?;
        let timeout = call.timeout;
        tokio::time::timeout(timeout, self.exchange(call))
            .await
            .unwrap_or(Err(Error::Timeout { timeout }))
    }

    /// Makes a call and gives its answer as it comes in: for streams that have no end.
    ///
    /// `timeout` of the call bounds the time until the head of the answer; after that, `silence` bounds
    /// the time between two pieces of its body. Nothing but the piece that is being read is held.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn open(&self, call: Outgoing, silence: Duration) -> Result<Opened, Error> {
        self.check(&call.url, call.trust)?;
        let timeout = call.timeout;
        let (target, response) = tokio::time::timeout(timeout, self.begin(call))
            .await
            .unwrap_or(Err(Error::Timeout { timeout }))?;
        Ok(Opened::new(target, response, silence))
    }

    async fn exchange(&self, call: Outgoing) -> Result<Answer, Error> {
        let limit_bytes = match call.keep {
            Keep::Whole => self.answer_bytes_max,
            Keep::First(bytes) => bytes.min(self.answer_bytes_max),
        };
        let is_whole_wanted = call.keep == Keep::Whole;
        let (target, mut response) = self.begin(call).await?;
        let status = response.status().as_u16();
        let too_large = || Error::AnswerTooLarge {
            status,
            limit_bytes,
        };
        let announced = response.content_length().unwrap_or(0);
        let is_longer = usize::try_from(announced).map_or(true, |length| length > limit_bytes);
        if is_whole_wanted && is_longer {
            return Err(too_large());
        }
        let (mut body, mut is_cut) = (BytesMut::new(), false);
        let broken = |error| interrupted(error, &target);
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            let left = limit_bytes - body.len();
            is_cut = chunk.len() > left;
            if is_cut && is_whole_wanted {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk[..chunk.len().min(left)]);
            if is_cut {
                break;
            }
        }
        Ok(Answer {
            status,
            headers: std::mem::take(response.headers_mut()),
            body: body.freeze(),
            is_cut,
        })
    }

    /// Sends the call and reads the head of the answer.
    async fn begin(&self, call: Outgoing) -> Result<(String, reqwest::Response), Error> {
        let target = target_of(&call.url);
        let is_foreign = call.trust == Trust::Foreign;
        let proxied = self.proxied.as_ref();
        let proxied = proxied.filter(|proxied| !proxied.past.has(&call.url));
        let client = match (proxied, call.trust) {
            (Some(proxied), _) => &proxied.client,
            (None, Trust::Configured) => &self.configured,
            (None, Trust::Foreign) => &self.foreign,
        };
        if let Some(proxied) = proxied
            && is_foreign
        {
            proxied.check_name(&call.url).await?;
        }
        let response = client
            .request(call.method, call.url)
            .headers(call.headers)
            .body(call.body)
            .send()
            .await
            .map_err(|error| failed(error, &target, call.timeout))?;
        // The connection was made to an address that the guard saw; this notices if ever it was not.
        let peer = response.remote_addr();
        let is_permitted = || peer.is_some_and(|peer| self.guard.permits(peer.ip()));
        if is_foreign && proxied.is_none() && !is_permitted() {
            return Err(led_astray(target));
        }
        Ok((target, response))
    }
}

impl fmt::Debug for Client {
    /// Leaves out what may be secret: the proxy's user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("guard", &self.guard)
            .field("is_proxied", &self.proxied.is_some())
            .field("answer_bytes_max", &self.answer_bytes_max)
            .finish_non_exhaustive()
    }
}

impl Proxied {
    /// Refuses a name that leads to an address that is denied. One that is not known here may be known
    /// to the proxy, which then has to decide.
    async fn check_name(&self, url: &Url) -> Result<(), Error> {
        let Some(Host::Domain(name)) = url.host() else {
            return Ok(());
        };
        let Ok(name) = name.parse() else {
            return Ok(());
        };
        match self.strict.resolve(name).await {
            Err(error) if NotPermitted::is_in(&*error) => Err(led_astray(target_of(url))),
            _ => Ok(()),
        }
    }
}

pub(crate) fn setup(source: impl Into<Cause>) -> Error {
    Error::Setup {
        source: source.into(),
    }
}

/// The body of an answer did not come to its end.
pub(crate) fn interrupted(error: reqwest::Error, target: &str) -> Error {
    Error::Interrupted {
        target: target.to_owned(),
        source: error.without_url().into(),
    }
}

/// What the HTTP library says, in the words of this crate.
fn failed(error: reqwest::Error, target: &str, timeout: Duration) -> Error {
    let target = target.to_owned();
    if error.source().is_some_and(NotPermitted::is_in) {
        return led_astray(target);
    }
    let (connecting, timed_out) = (error.is_connect() || error.is_dns(), error.is_timeout());
    // The address may hold a secret in its path or query.
    let source = error.without_url().into();
    match (connecting, timed_out) {
        (true, _) => Error::Connect { target, source },
        (false, true) => Error::Timeout { timeout },
        (false, false) => Error::Interrupted { target, source },
    }
}
