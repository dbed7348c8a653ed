//! Idle subscribers: opened, kept alive, and held until standard input ends.

use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::server::{Kind, Server};

/// A client's pong, with a mask of zeros.
const PONG: &[u8] = &[0x8a, 0x80, 0, 0, 0, 0];
/// A server's ping.
const PING: u8 = 0x89;

/// Opens so many, says `ready`, and holds them.
pub(crate) async fn run(server: &Server, sockets: usize) -> io::Result<()> {
    let mut held = Vec::with_capacity(sockets);
    for _ in 0..sockets {
        let (stream, _) = server.subscribe(0, None).await?;
        held.push(tokio::task::spawn_local(keep(server.kind, stream)));
    }
    println!("ready");
    let ended = tokio::task::spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink()));
    ended.await.map_err(io::Error::other)??;
    let lost = held.iter().filter(|held| held.is_finished()).count();
    if lost > 0 {
        return Err(io::Error::other(format!(
            "{lost} of {sockets} sockets were lost"
        )));
    }
    Ok(())
}

async fn keep(kind: Kind, mut stream: TcpStream) -> io::Result<()> {
    let mut bytes = [0; 64];
    loop {
        let count = stream.read(&mut bytes).await?;
        if count == 0 {
            return Ok(());
        }
        match kind {
            Kind::Nexus | Kind::Reference if bytes[..count].contains(&PING) => {
                stream.write_all(PONG).await?;
            }
            Kind::Nats if bytes.starts_with(b"PING") => stream.write_all(b"PONG\r\n").await?,
            _ => {}
        }
    }
}
