//! TLS of calls that leave Nexus.

use std::sync::{Arc, OnceLock};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tracing::warn;

use crate::{Error, client::setup};

/// Where the roots come from.
type Load = fn() -> RootCertStore;

/// The roots of this system; `SSL_CERT_FILE` and `SSL_CERT_DIR` name others.
pub(crate) fn system_roots() -> RootCertStore {
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
/// provider, and no provider set for the whole process. The roots are read when a server first has to
/// prove who it is.
///
/// # Errors
/// [`Error::Setup`] when TLS cannot be set up.
pub fn tls_config() -> Result<ClientConfig, Error> {
    tls(system_roots)
}

/// TLS with the `ring` provider handed over here, so that no provider is set for the whole process.
pub(crate) fn tls(load: Load) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(LateRoots::new(load, provider.clone()));
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(setup)?
        // No other checks than the default: the same verifier, made later.
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(config)
}

/// The verifier of rustls with roots that are read when the first certificate has to be verified. Reading
/// those of a system was half the work of a start, and many a Nexus calls nobody over https.
#[derive(Debug)]
struct LateRoots {
    load: Load,
    provider: Arc<CryptoProvider>,
    /// Nothing inside if there are no roots.
    verifier: OnceLock<Option<Arc<WebPkiServerVerifier>>>,
}

impl LateRoots {
    fn new(load: Load, provider: Arc<CryptoProvider>) -> Self {
        Self {
            load,
            provider,
            verifier: OnceLock::new(),
        }
    }

    fn verifier(&self) -> Option<&WebPkiServerVerifier> {
        let make = || {
            let roots = Arc::new((self.load)());
            // Fails without roots only, for no revocation lists are given.
            WebPkiServerVerifier::builder_with_provider(roots, self.provider.clone())
                .build()
                .ok()
        };
        self.verifier.get_or_init(make).as_deref()
    }
}

impl ServerCertVerifier for LateRoots {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verifier = self.verifier().ok_or(CertificateError::UnknownIssuer)?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use http::Method;
    use rustls::{
        ServerConfig,
        pki_types::{PrivateKeyDer, pem::PemObject},
    };
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::{Answer, Client, OutboundOptions, Outgoing, Trust, resolver::SystemResolver};

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

    fn known_root() -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(certificate(ROOT)).unwrap();
        roots
    }

    fn client(load: Load) -> Client {
        let options = OutboundOptions::default();
        Client::with_tls(&options, &tls(load).unwrap(), SystemResolver::new()).unwrap()
    }

    #[tokio::test]
    async fn https_is_answered_when_the_certificate_is_good() {
        let client = client(known_root);
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
    async fn roots_are_read_once_and_not_before_a_server_shows_a_certificate() {
        static READ: AtomicUsize = AtomicUsize::new(0);
        let client = client(|| {
            READ.fetch_add(1, Ordering::Relaxed);
            known_root()
        });
        assert_eq!(READ.load(Ordering::Relaxed), 0);
        for _ in 0..2 {
            assert_eq!(call(&client, "localhost").await.unwrap().status, 200);
            assert_eq!(READ.load(Ordering::Relaxed), 1);
        }
    }

    #[tokio::test]
    async fn https_is_refused_without_any_root() {
        let refused = call(&client(RootCertStore::empty), "localhost").await;
        assert!(matches!(refused, Err(Error::Connect { .. })), "{refused:?}");
    }

    #[tokio::test]
    async fn https_is_refused_when_no_root_vouches_for_the_certificate() {
        let client = Client::new(&OutboundOptions::default()).unwrap();
        let unknown = call(&client, "localhost").await;
        assert!(matches!(unknown, Err(Error::Connect { .. })), "{unknown:?}");
    }
}
