//! TLS of calls that leave Nexus.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore, crypto::ring};
use tracing::warn;

use crate::{Error, client::setup};

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
/// provider, and no provider set for the whole process.
///
/// # Errors
/// [`Error::Setup`] when TLS cannot be set up.
pub fn tls_config() -> Result<ClientConfig, Error> {
    tls(system_roots())
}

/// TLS with the `ring` provider handed over here, so that no provider is set for the whole process.
pub(crate) fn tls(roots: RootCertStore) -> Result<ClientConfig, Error> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(setup)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::Method;
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

    #[tokio::test]
    async fn https_is_answered_when_the_certificate_is_good() {
        let mut roots = RootCertStore::empty();
        roots.add(certificate(ROOT)).unwrap();
        let options = OutboundOptions::default();
        let client =
            Client::with_tls(&options, &tls(roots).unwrap(), SystemResolver::new()).unwrap();
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
