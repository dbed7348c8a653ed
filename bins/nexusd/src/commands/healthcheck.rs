//! `nexusd healthcheck`: ask a running daemon whether it is ready, for containers without a shell.

use std::{
    io::{Read, Write},
    net::{TcpStream, ToSocketAddrs},
    path::PathBuf,
    time::Duration,
};

use nexus::{
    config::{Mode, Sources},
    environment::Environment,
};

use super::Failure;
use crate::arguments::HealthcheckOptions;

const TIMEOUT: Duration = Duration::from_secs(3);
const ANSWER_BYTES_MAX: u64 = 4_096;

pub(crate) fn healthcheck(
    options: &HealthcheckOptions,
    environment: &Environment,
) -> Result<(), Failure> {
    let authority = match &options.url {
        Some(url) => url
            .trim_start_matches("http://")
            .trim_end_matches('/')
            .to_owned(),
        None => local_address(options.config.as_ref(), environment),
    };
    let answer = ask(&authority).map_err(|error| Failure::Unreachable {
        detail: format!("{authority} does not answer: {error}"),
    })?;
    if answer.starts_with("HTTP/1.1 200 ") {
        println!("ready");
        return Ok(());
    }
    let said = answer.rsplit("\r\n\r\n").next().unwrap_or_default();
    Err(Failure::Unreachable {
        detail: format!("{authority} is not ready: {said}"),
    })
}

/// Where a daemon with this configuration listens.
pub(crate) fn local_address(file: Option<&PathBuf>, environment: &Environment) -> String {
    let sources = Sources {
        mode: Mode::Serve,
        file: file.cloned(),
        environment: environment.clone(),
    };
    sources.local_address().to_string()
}

/// One request over a plain socket: a probe needs no client library.
fn ask(authority: &str) -> std::io::Result<String> {
    let address = authority
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| std::io::Error::other("the name has no address"))?;
    let mut socket = TcpStream::connect_timeout(&address, TIMEOUT)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.set_write_timeout(Some(TIMEOUT))?;
    write!(
        socket,
        "GET /health/ready HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    socket.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    Ok(answer)
}
