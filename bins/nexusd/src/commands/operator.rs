//! What commands have in common that ask a running daemon something: the operator's token, and one request.

use std::{
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    time::Duration,
};

use nexus::{config::DEV_SECRET_FILE, environment::Environment};

use super::Failure;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// What is asked for may be much work.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(600);
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// What the daemon answered.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

/// Posts nothing but the token; a plain socket is enough for that.
pub(super) fn post(authority: &str, path: &str, token: &str) -> Result<Answer, Failure> {
    let asked = ask(authority, path, token).and_then(|text| {
        let (head, body) = text.split_once("\r\n\r\n").ok_or_else(cut)?;
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        Ok(Answer {
            status: status.ok_or_else(cut)?,
            body: body.to_owned(),
        })
    });
    asked.map_err(|error| Failure::Unreachable {
        detail: format!("{authority} does not answer: {error}"),
    })
}

fn cut() -> io::Error {
    io::Error::other("what came is no whole answer")
}

fn ask(authority: &str, path: &str, token: &str) -> io::Result<String> {
    // It would end the header and begin another.
    if token.chars().any(char::is_control) {
        return Err(io::Error::other("the token has a control character"));
    }
    let address = authority
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| io::Error::other("the name has no address"))?;
    let mut socket = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)?;
    socket.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    socket.set_write_timeout(Some(CONNECT_TIMEOUT))?;
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {authority}\r\nAuthorization: Bearer {token}\r\n\
         Content-Length: 0\r\nConnection: close\r\n\r\n"
    );
    socket.write_all(request.as_bytes())?;
    let mut answer = String::new();
    socket.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    Ok(answer)
}

/// The operator's token or the secret, from the environment or from what `dev` keeps.
pub(super) fn token(environment: &Environment) -> Result<String, Failure> {
    if let Some(token) = environment
        .get("NEXUS_ADMIN_TOKEN")
        .or_else(|| environment.get("NEXUS_SECRET"))
    {
        return Ok(token.to_owned());
    }
    let file =
        std::path::Path::new(environment.get("DATA_DIR").unwrap_or("data")).join(DEV_SECRET_FILE);
    std::fs::read_to_string(&file)
        .map(|secret| secret.trim().to_owned())
        .map_err(|error| Failure::Unreachable {
            detail: format!(
                "no token: NEXUS_ADMIN_TOKEN and NEXUS_SECRET are unset, and {}: {error}",
                file.display()
            ),
        })
}
