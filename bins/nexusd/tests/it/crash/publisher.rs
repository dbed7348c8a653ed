//! A publisher that writes down what it asks for and what it is told, over any number of lives of the daemon.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use nexus_core::{Event, Seq};
use serde_json::Value;

use super::{
    connection::{Connection, Response},
    record::Record,
};
use crate::support::{SECRET, sign};

/// How long a publisher leaves a daemon alone whose disk is full, so that the others get their turn.
const FULL_PAUSE: Duration = Duration::from_millis(20);

/// One publisher. Every other request of it has an idempotency key, and is sent again in the next life when
/// nobody knows what became of it.
pub(super) struct Publisher {
    number: usize,
    sent: u64,
    /// Tokens of requests with a key whose answers were lost.
    again: Vec<String>,
    record: Arc<Record>,
}

/// What the daemon said of a request.
enum Told {
    Kept { seq: Seq, replayed: bool },
    Refused { full: bool },
    Open,
}

impl Publisher {
    pub(super) fn new(number: usize, record: Arc<Record>) -> Self {
        Self {
            number,
            sent: 0,
            again: Vec::new(),
            record,
        }
    }

    /// Publishes until the connection ends.
    pub(super) async fn publish(mut self, address: SocketAddr) -> Self {
        // How it ends is the daemon's matter; what was asked and told is in the record.
        let _ = self.publish_over(address).await;
        self
    }

    async fn publish_over(&mut self, address: SocketAddr) -> io::Result<()> {
        let mut connection = Connection::open(address).await?;
        self.send_again(&mut connection).await?;
        while !connection.is_closing() {
            let keyed = self.sent.is_multiple_of(2);
            let token = format!("p{}-{}", self.number, self.sent);
            self.sent += 1;
            self.record.journal.invoke(&token);
            match self.send(&mut connection, &token, keyed).await {
                Ok(Told::Kept { seq, .. }) => self.record.ok(&token, seq),
                Ok(Told::Refused { full }) => {
                    self.record.refused(&token);
                    if full {
                        tokio::time::sleep(FULL_PAUSE).await;
                    }
                }
                open @ (Ok(Told::Open) | Err(_)) => {
                    self.record.journal.unknown(&token);
                    if keyed {
                        self.again.push(token);
                    }
                    open?;
                }
            }
        }
        Ok(())
    }

    /// Sends again, under their keys, the requests whose answers were lost, until each is answered.
    pub(super) async fn settle(mut self, address: SocketAddr) -> Self {
        let mut connection = Connection::open(address).await.unwrap();
        self.send_again(&mut connection).await.unwrap();
        assert!(
            self.again.is_empty(),
            "the daemon is well: {:?}",
            self.again
        );
        self
    }

    async fn send_again(&mut self, connection: &mut Connection) -> io::Result<()> {
        for token in std::mem::take(&mut self.again) {
            match self.send(connection, &token, true).await {
                Ok(Told::Kept { seq, replayed }) => {
                    self.record.ok(&token, seq);
                    self.record.sent_again(replayed);
                }
                // The first one may have been kept, so that a refusal of this one says nothing.
                _ => self.again.push(token),
            }
        }
        Ok(())
    }

    async fn send(
        &self,
        connection: &mut Connection,
        token: &str,
        keyed: bool,
    ) -> io::Result<Told> {
        let body = format!(
            r#"{{"event":"VOTE_CAST","payload":{{"proposalId":"crash","voterId":"{token}","decision":"for"}}}}"#
        );
        let key = if keyed {
            format!("Idempotency-Key: {token}\r\n")
        } else {
            String::new()
        };
        let request = format!(
            "POST /events HTTP/1.1\r\nHost: nexus\r\nX-Nexus-Signature: {}\r\n{key}Content-Length: {}\r\n\r\n{body}",
            sign(SECRET, &body),
            body.len(),
        );
        let response = connection.send(request.as_bytes()).await?;
        Ok(told(&response))
    }
}

/// Only these answers are right while a daemon is killed, stopped, or out of disk.
fn told(response: &Response) -> Told {
    let body: Value = serde_json::from_slice(&response.body).unwrap();
    match (response.status, body["code"].as_str()) {
        (200, None) => Told::Kept {
            seq: Seq::new(body["seq"].as_u64().unwrap()),
            replayed: response.header("idempotent-replayed").is_some(),
        },
        (503, Some(code @ ("storage-full" | "unavailable"))) => Told::Refused {
            full: code == "storage-full",
        },
        (503, Some("outcome-unknown")) => Told::Open,
        (status, _) => panic!("a wrong answer: {status} {body}"),
    }
}

/// The token of an event that a publisher sent.
pub(super) fn token_of(event: &Event) -> Option<String> {
    let payload: Value = serde_json::from_slice(&event.payload).ok()?;
    Some(payload["voterId"].as_str()?.to_owned())
}
