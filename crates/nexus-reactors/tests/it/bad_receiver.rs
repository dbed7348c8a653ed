//! Receivers that misbehave, and names that lead astray.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering as Atomic},
    },
    time::Duration,
};

use nexus_outbound::Resolver;
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

/// This address of the machine stands for the public internet …
pub(crate) const PUBLIC: &str = "127.0.0.2";
/// … and this one for what nobody outside may reach.
pub(crate) const PRIVATE: &str = "127.0.0.1";

/// How a receiver misbehaves.
#[derive(Clone)]
pub(crate) enum Bad {
    /// Writes this, and closes.
    Says(String),
    /// Takes the request and says nothing.
    Hangs,
    /// A byte in a second, as if there were much to say.
    Drips,
    /// A gigabyte, as fast as it is taken. Notes how much was.
    Floods(&'static str, Arc<AtomicUsize>),
    /// Resets the connection.
    Resets,
    /// Shows a certificate that nobody vouches for.
    Tls(TlsAcceptor),
}

pub(crate) async fn serve(bad: Bad) -> SocketAddr {
    let listener = TcpListener::bind((PUBLIC, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(misbehave(stream, bad.clone()));
        }
    });
    address
}

/// The other side closes at any moment; then it is over.
pub(crate) async fn misbehave(mut stream: TcpStream, bad: Bad) -> io::Result<()> {
    if let Bad::Tls(acceptor) = bad {
        return acceptor.accept(stream).await.map(drop);
    }
    let mut request = [0; 4096];
    if stream.read(&mut request).await? == 0 {
        return Ok(());
    }
    match bad {
        Bad::Says(answer) => stream.write_all(answer.as_bytes()).await,
        Bad::Hangs => std::future::pending().await,
        Bad::Drips => {
            let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n";
            stream.write_all(head).await?;
            loop {
                stream.write_all(b".").await?;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        Bad::Floods(status, taken) => {
            let head = format!("HTTP/1.1 {status}\r\ntransfer-encoding: chunked\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
            let piece = format!("10000\r\n{}\r\n", "x".repeat(0x1_0000));
            let mut sent = 0;
            while sent < 1 << 30 {
                stream.write_all(piece.as_bytes()).await?;
                sent += piece.len();
                taken.fetch_max(sent, Atomic::SeqCst);
            }
            Ok(())
        }
        Bad::Resets => {
            // With nothing to wait for, closing is a reset.
            stream.set_zero_linger()
        }
        Bad::Tls(_) => Ok(()),
    }
}

/// A certificate for `localhost`, by a root that this machine does not know.
pub(crate) fn unknown_certificate() -> TlsAcceptor {
    let certificate = include_bytes!("../../../nexus-outbound/tests/tls/server.pem");
    let key = include_bytes!("../../../nexus-outbound/tests/tls/server-key.pem");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(certificate).unwrap()],
            PrivateKeyDer::from_pem_slice(key).unwrap(),
        )
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// Names that are unknown, that lead somewhere public, and that change with each lookup.
#[derive(Default)]
pub(crate) struct Names(AtomicUsize);

impl Resolver for Names {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let address = match name {
            "unknown.example" => return Err(io::ErrorKind::NotFound.into()),
            "moving.example" if self.0.fetch_add(1, Atomic::SeqCst) % 2 == 1 => PRIVATE,
            _ => PUBLIC,
        };
        Ok(vec![address.parse().unwrap()])
    }
}
