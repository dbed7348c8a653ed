//! The example runs: a route of the service makes an event, beside the routes of Nexus.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on fails"
)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

const SECRET: &str = "example-secret-0123456789abcdef0123456789";

#[test]
fn an_order_that_is_paid_is_in_the_log() {
    let program = Program::start(env!("CARGO_BIN_EXE_example-embed-http"));
    let answer = program.ask(
        "POST /orders/o-1/paid HTTP/1.1\r\nHost: shop\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    let log = program.ask(&format!(
        "GET /events/log?event=PAYMENT_RECEIVED HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\
         Authorization: Bearer {SECRET}\r\n\r\n",
    ));
    assert!(
        log.contains(r#""orderId":"o-1""#) && log.contains(r#""source":"node:shop""#),
        "{log}"
    );
}

/// The program, on a free port in an empty folder; it ends with the test.
struct Program {
    child: Child,
    address: String,
    /// Kept open, so that the program can go on writing.
    _output: Box<dyn BufRead>,
    _folder: TempDir,
}

impl Program {
    /// Starts it and reads its output until it says where it listens.
    fn start(program: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(program)
            .current_dir(folder.path())
            .env_clear()
            .envs([
                ("PORT", "0"),
                ("NEXUS_SECRET", SECRET),
                ("LOG_FORMAT", "json"),
            ])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let line = output
            .by_ref()
            .lines()
            .map_while(Result::ok)
            .find(|line| line.contains("127.0.0.1:"));
        let line = line.expect("it says where it listens");
        let (_, rest) = line.split_once("127.0.0.1:").unwrap();
        let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
        Self {
            child,
            address: format!("127.0.0.1:{port}"),
            _output: Box::new(output),
            _folder: folder,
        }
    }

    /// Sends a request and gives the whole answer.
    fn ask(&self, request: &str) -> String {
        let mut socket = TcpStream::connect(&self.address).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
