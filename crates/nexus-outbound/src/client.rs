//! The client: sends one call, reads one bounded answer or opens one that goes on.

use std::{error::Error as _, fmt, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method};
use nexus_core::Cause;
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use tracing::warn;
use url::Url;

use crate::{
    CALL_TIMEOUT, Error, Opened, OutboundOptions,
    guard::{Guard, GuardedResolver, NOT_PUBLIC, NotPermitted, target_of},
};

/// How long an idle connection is kept: shorter than most servers keep theirs.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
const USER_AGENT: &str = concat!("Nexus/", env!("CARGO_PKG_VERSION"));

/// Where an address came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trust {
    /// The operator wrote it into the configuration: it may be private.
    Configured,
    /// It came by API, by discovery or from a user: only the public internet, and what is allowed.
    Foreign,
}

/// One call that is to be made.
#[derive(Clone)]
pub struct Outgoing {
    /// GET, POST …
    pub method: Method,
    /// Where to.
    pub url: Url,
    /// Where the address came from.
    pub trust: Trust,
    /// What to say beside the body.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// How long the whole call may take, until the last byte of the answer.
    pub timeout: Duration,
}

impl Outgoing {
    /// A call without headers and body.
    #[must_use]
    pub fn new(method: Method, url: Url, trust: Trust) -> Self {
        Self {
            method,
            url,
            trust,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            timeout: CALL_TIMEOUT,
        }
    }
}

impl fmt::Debug for Outgoing {
    /// Leaves out what may be secret: path, query, headers and body.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing")
            .field("method", &self.method)
            .field("target", &target_of(&self.url))
            .field("trust", &self.trust)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// What came back, whatever its status is.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status, also one of 3xx: redirects are not followed.
    pub status: u16,
    /// The answer's headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Answer {
    /// Whether the status is 2xx.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// Makes calls. Cheap to clone; clones share their connections.
#[derive(Debug, Clone)]
pub struct Client {
    guard: Guard,
    /// Two, so that a connection that was made to a private address never carries a foreign call.
    configured: reqwest::Client,
    foreign: reqwest::Client,
    answer_bytes_max: usize,
}

impl Client {
    /// Sets up a client. Proxies that the environment names are not used.
    ///
    /// # Errors
    /// [`Error::Setup`] when TLS cannot be set up.
    pub fn new(options: &OutboundOptions) -> Result<Self, Error> {
        Self::with_tls(options, &tls(system_roots())?)
    }

    fn with_tls(options: &OutboundOptions, tls: &ClientConfig) -> Result<Self, Error> {
        let builder = || {
            reqwest::Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
                .referer(false)
                .user_agent(USER_AGENT)
                .connect_timeout(Duration::from_millis(options.connect_timeout_ms))
                .pool_idle_timeout(IDLE_TIMEOUT)
                .pool_max_idle_per_host(options.idle_connections_per_host)
        };
        let guard = Guard::new(options);
        let resolver = Arc::new(GuardedResolver(guard.clone()));
        Ok(Self {
            guard,
            configured: builder().build().map_err(setup)?,
            foreign: builder().dns_resolver(resolver).build().map_err(setup)?,
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
        let (target, mut response) = self.begin(call).await?;
        let limit_bytes = self.answer_bytes_max;
        let status = response.status().as_u16();
        let too_large = || Error::AnswerTooLarge {
            status,
            limit_bytes,
        };
        let announced = response.content_length().unwrap_or(0);
        if usize::try_from(announced).map_or(true, |announced| announced > limit_bytes) {
            return Err(too_large());
        }
        let mut body = BytesMut::new();
        let broken = |error| interrupted(error, &target);
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            if body.len() + chunk.len() > limit_bytes {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer {
            status,
            headers: std::mem::take(response.headers_mut()),
            body: body.freeze(),
        })
    }

    /// Sends the call and reads the head of the answer.
    async fn begin(&self, call: Outgoing) -> Result<(String, reqwest::Response), Error> {
        let target = target_of(&call.url);
        let client = match call.trust {
            Trust::Configured => &self.configured,
            Trust::Foreign => &self.foreign,
        };
        let response = client
            .request(call.method, call.url)
            .headers(call.headers)
            .body(call.body)
            .send()
            .await
            .map_err(|error| failed(error, &target, call.timeout))?;
        // The connection was made to an address that the guard saw; this notices if ever it was not.
        let peer = response.remote_addr();
        if call.trust == Trust::Foreign && !peer.is_some_and(|peer| self.guard.permits(peer.ip())) {
            let why = NOT_PUBLIC;
            return Err(Error::Refused { target, why });
        }
        Ok((target, response))
    }
}

/// The roots of this system; `SSL_CERT_FILE` and `SSL_CERT_DIR` name others.
fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (added, ignored) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        warn!(
            ignored,
            errors = found.errors.len(),
            "this system has no root certificates: no https call can succeed"
        );
    }
    roots
}

/// How this crate sets up TLS, for a connection that is no HTTP call: the roots of this system, the `ring`
/// provider, and no provider set for the whole process.
///
/// # Errors
/// [`Error::Setup`] when TLS cannot be set up.
pub fn tls_config() -> Result<ClientConfig, Error> {
    tls(system_roots())
}

/// TLS with the `ring` provider handed over here, so that no provider is set for the whole process.
fn tls(roots: RootCertStore) -> Result<ClientConfig, Error> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(setup)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

fn setup(source: impl Into<Cause>) -> Error {
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
    let mut cause = error.source();
    while let Some(inner) = cause {
        if inner.is::<NotPermitted>() {
            let why = NOT_PUBLIC;
            return Error::Refused { target, why };
        }
        cause = inner.source();
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

#[cfg(test)]
mod tests {
    use rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    };
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };
    use tokio_rustls::TlsAcceptor;

    use super::*;

    const ROOT: &[u8] = include_bytes!("../tests/tls/root.pem");
    const SERVER: &[u8] = include_bytes!("../tests/tls/server.pem");
    const SERVER_KEY: &[u8] = include_bytes!("../tests/tls/server-key.pem");

    fn certificate(pem: &[u8]) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(pem).unwrap()
    }

    /// A server for one call over TLS; gives its port.
    async fn serve() -> u16 {
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate(SERVER)],
                PrivateKeyDer::from_pem_slice(SERVER_KEY).unwrap(),
            )
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await?;
            let mut stream = acceptor.accept(stream).await?;
            let _ = stream.read(&mut [0; 4096]).await?;
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
            stream.write_all(answer).await?;
            stream.flush().await
        });
        port
    }

    async fn call(client: &Client, host: &str) -> Result<Answer, Error> {
        let url = format!("https://{host}:{}/", serve().await);
        let mut call = Outgoing::new(Method::GET, url.parse().unwrap(), Trust::Configured);
        call.timeout = Duration::from_secs(10);
        client.send(call).await
    }

    #[tokio::test]
    async fn https_is_answered_when_the_certificate_is_good() {
        let mut roots = RootCertStore::empty();
        roots.add(certificate(ROOT)).unwrap();
        let options = OutboundOptions::default();
        let client = Client::with_tls(&options, &tls(roots).unwrap()).unwrap();
        let answer = call(&client, "localhost").await.unwrap();
        assert_eq!((answer.status, &answer.body[..]), (200, &b"hello"[..]));
        // It is made out to the name, not to the address.
        let other_name = call(&client, "127.0.0.1").await;
        assert!(
            matches!(other_name, Err(Error::Connect { .. })),
            "{other_name:?}"
        );
    }

    #[tokio::test]
    async fn https_is_refused_when_no_root_vouches_for_the_certificate() {
        let client = Client::new(&OutboundOptions::default()).unwrap();
        let unknown = call(&client, "localhost").await;
        assert!(matches!(unknown, Err(Error::Connect { .. })), "{unknown:?}");
    }
}
