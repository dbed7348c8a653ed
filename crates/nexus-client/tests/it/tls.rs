//! Encrypted connections: the certificate counts, and nothing is set for the whole process.

use std::{process::Command, sync::Arc};

use nexus_client::{Client, Publish, Transport};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsAcceptor;

use crate::support::*;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../nexus-outbound/tests/tls");
/// Set in the process whose system trusts the root of the tests.
const TRUSTS: &str = "NEXUS_CLIENT_TEST_TRUSTS";

fn acceptor() -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_file(format!("{FOLDER}/server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(format!("{FOLDER}/server-key.pem")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// The first line that comes over TLS; nothing when the handshake fails.
async fn first_line(server: &Server) -> Option<String> {
    let mut stream = acceptor().accept(server.connection().await).await.ok()?;
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        tokio::io::AsyncReadExt::read_exact(&mut stream, &mut byte)
            .await
            .ok()?;
        bytes.push(byte[0]);
    }
    let answer = b"HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n";
    stream.write_all(answer).await.unwrap();
    stream.shutdown().await.unwrap();
    String::from_utf8(bytes)
        .unwrap()
        .lines()
        .next()
        .map(str::to_owned)
}

/// The certificate is made out to `localhost` by a root that no system trusts, but for the process that
/// this test starts.
#[tokio::test]
async fn an_encrypted_connection_wants_a_certificate_that_the_system_trusts() {
    let is_trusted = std::env::var_os(TRUSTS).is_some();
    let server = Server::start().await;
    let url = format!("https://localhost:{}", server.address.port());
    let client = Client::builder(url).token(TOKEN).build().unwrap();
    assert!(rustls::crypto::CryptoProvider::get_default().is_none());
    for transport in [Transport::WebSocket, Transport::Sse] {
        let stream = client.subscribe([">"]).transport(transport).open().unwrap();
        let line = first_line(&server).await;
        let path = line
            .as_deref()
            .and_then(|line| line.split(['?', ' ']).nth(1));
        assert_eq!(
            path,
            is_trusted.then_some("/api/v1/stream"),
            "{transport:?}"
        );
        drop(stream);
    }
    let publishing = tokio::spawn(async move { client.publish(Publish::raw("a.b", "{}")).await });
    let line = first_line(&server).await;
    assert_eq!(
        line.as_deref(),
        is_trusted.then_some("POST /api/v1/events HTTP/1.1")
    );
    publishing.abort();
    if is_trusted {
        return;
    }
    let again = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "tls::an_encrypted_connection_wants_a_certificate_that_the_system_trusts",
        ])
        .env(TRUSTS, "1")
        .env("SSL_CERT_FILE", format!("{FOLDER}/root.pem"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&again.stdout);
    assert!(
        again.status.success() && text.contains("1 passed"),
        "{text}"
    );
}
