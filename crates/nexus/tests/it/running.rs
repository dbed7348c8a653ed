//! A whole Nexus on a free port over real SQLite, and a client that sends exactly the bytes it is told.

use std::{ffi::OsString, net::SocketAddr, time::Duration};

use data_encoding::HEXLOWER;
use nexus::{
    App, Error, Served,
    config::{Config, Mode, Sources},
    environment::Environment,
};
use ring::hmac;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

pub const SECRET: &str = "test-secret-0123456789abcdef0123456789";
pub const FLUXX_SECRET: &str = "fluxx-secret-0123456789abcdef012345678";
pub const ADMIN_TOKEN: &str = "admin-token-0123456789abcdef0123456789";
pub const READ_TOKEN: &str = "read-token-0123456789abcdef01234567890";

/// How long a test waits for what has to come.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Running {
    pub address: SocketAddr,
    /// Where the agents are, if they have a port of their own.
    pub agents: Option<SocketAddr>,
    pub routes: Vec<Served>,
    pub log: nexus_core::Log,
    stop: CancellationToken,
    running: JoinHandle<Result<(), Error>>,
    folder: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

/// Starts a Nexus with the secrets above and these variables.
pub async fn start(variables: &[(&str, &str)]) -> Running {
    start_with("", variables).await
}

/// The same with more in its file.
pub async fn start_with(more: &str, variables: &[(&str, &str)]) -> Running {
    let folder = tempfile::tempdir().unwrap();
    let file = format!(
        "[[nodes]]\nid = \"fluxx-dao\"\nsecrets = [\"{FLUXX_SECRET}\"]\n\n\
         [[tokens]]\nname = \"reader\"\ntoken_env = \"READ_TOKEN\"\nscopes = [\"read\"]\n\n\
         [[nodes]]\nid = \"default\"\npublish = [\">\"]\n\n{more}",
    );
    std::fs::write(folder.path().join("nexus.toml"), file).unwrap();
    let defaults = [
        ("PORT", "0"),
        ("AGENTS_PORT", "0"),
        ("NEXUS_HOST", "127.0.0.1"),
        ("NEXUS_SECRET", SECRET),
        ("NEXUS_ADMIN_TOKEN", ADMIN_TOKEN),
        ("READ_TOKEN", READ_TOKEN),
        ("NEXUS__LIMITS__ANONYMOUS_REQUESTS_PER_SECOND", "0"),
    ];
    let variables = defaults
        .iter()
        .chain(variables)
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
        .collect();
    start_in(folder, variables).await
}

async fn start_in(folder: tempfile::TempDir, variables: Vec<(String, String)>) -> Running {
    let pairs = variables
        .iter()
        .map(|(name, text)| (OsString::from(name), OsString::from(text)));
    let environment = Environment::new(pairs).in_folder(folder.path());
    let loaded = Config::load(Sources {
        mode: Mode::Serve,
        file: None,
        environment,
    })
    .unwrap_or_else(|problems| panic!("{problems:#?}"));
    let app = App::builder(loaded.config).build().await.unwrap();
    let (address, agents) = (app.local_addr(), app.agents_addr());
    let routes = app.routes().to_vec();
    let log = app.log().clone();
    let stop = CancellationToken::new();
    let running = tokio::spawn(app.run(stop.clone()));
    Running {
        address,
        agents,
        routes,
        log,
        stop,
        running,
        folder,
        variables,
    }
}

impl Running {
    /// Tells it to end, and does not wait for that.
    pub fn tell_to_stop(&self) {
        self.stop.cancel();
    }

    /// Ends it in order.
    pub async fn stop(self) {
        self.end().await;
    }

    /// Ends it in order and starts it anew on the same data.
    pub async fn restart(self) -> Self {
        let (folder, variables) = self.end().await;
        start_in(folder, variables).await
    }

    async fn end(self) -> (tempfile::TempDir, Vec<(String, String)>) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.running)
            .await
            .expect("it ends in time")
            .unwrap()
            .unwrap();
        (self.folder, self.variables)
    }
}

/// The signature of a body.
pub fn sign(secret: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    HEXLOWER.encode(hmac::sign(&key, body).as_ref())
}

/// A request as bytes.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("content-length"))
    {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    [head.as_bytes(), b"\r\n", body].concat()
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Value,
}

impl Answer {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (header, value) = line.split_once(':')?;
            header.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }
}

/// Sends bytes on a new connection and reads one answer.
pub async fn ask(address: SocketAddr, request: &[u8]) -> Answer {
    let exchange = async {
        let mut socket = TcpStream::connect(address).await.unwrap();
        // A server that refuses early may close before everything is sent.
        let _ = socket.write_all(request).await;
        read(&mut socket).await
    };
    tokio::time::timeout(PATIENCE, exchange)
        .await
        .expect("there is an answer in time")
}

/// Reads one answer.
pub async fn read(socket: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    loop {
        let head_end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(end) = head_end {
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            let length = head
                .lines()
                .filter_map(|line| line.split_once(':'))
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                .map_or(0, |(_, length)| length.trim().parse::<usize>().unwrap());
            if bytes.len() >= end + 4 + length {
                let status = head[9..12].parse().unwrap();
                let body = serde_json::from_slice(&bytes[end + 4..end + 4 + length])
                    .unwrap_or(Value::Null);
                return Answer { status, head, body };
            }
        }
        let mut chunk = [0; 4096];
        let count = socket.read(&mut chunk).await.unwrap_or(0);
        assert!(
            count > 0,
            "the connection ended after {:?}",
            String::from_utf8_lossy(&bytes)
        );
        bytes.extend_from_slice(&chunk[..count]);
    }
}
