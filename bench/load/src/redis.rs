//! A stream of Redis over RESP: `XADD` of a payment, the nearest thing that Redis has to an appended event, and
//! `XREAD` of what follows.

use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    connection::{Answer, Exchange},
    marked::{Mark, Scanner},
    payment::Payments,
};

/// The requests of one connection.
#[derive(Debug)]
pub(crate) struct Xadd {
    payments: Payments,
    request: Vec<u8>,
    body_at: usize,
}

impl Xadd {
    pub(crate) fn new(payments: Payments) -> Self {
        let body_bytes = payments.body_bytes();
        let mut request = format!(
            "*5\r\n$4\r\nXADD\r\n$6\r\nevents\r\n$1\r\n*\r\n$4\r\nbody\r\n${body_bytes}\r\n"
        )
        .into_bytes();
        let body_at = request.len();
        request.resize(body_at + body_bytes, b' ');
        request.extend_from_slice(b"\r\n");
        Self {
            payments,
            request,
            body_at,
        }
    }
}

impl Exchange for Xadd {
    fn request(&mut self) -> &[u8] {
        let body = self.payments.next_body();
        self.request[self.body_at..self.body_at + body.len()].copy_from_slice(body);
        &self.request
    }

    fn answer(&self, received: &[u8]) -> Answer {
        answers(received, 1)
    }
}

/// The answers to so many commands in a row.
pub(crate) fn answers(received: &[u8], count: usize) -> Answer {
    let mut all_bytes = 0;
    let mut all_ok = true;
    for _ in 0..count {
        match answer(&received[all_bytes..]) {
            Answer::Whole { bytes, ok } => {
                all_bytes += bytes;
                all_ok &= ok;
            }
            other => return other,
        }
    }
    Answer::Whole {
        bytes: all_bytes,
        ok: all_ok,
    }
}

/// The id of the new entry, a bulk string, or an error line.
fn answer(received: &[u8]) -> Answer {
    let Some(line_bytes) = memchr::memmem::find(received, b"\r\n") else {
        return Answer::Partial;
    };
    match received[0] {
        b'-' => Answer::Whole {
            bytes: line_bytes + 2,
            ok: false,
        },
        b'$' => bulk(received, line_bytes),
        _ => Answer::Broken,
    }
}

fn bulk(received: &[u8], line_bytes: usize) -> Answer {
    let length = std::str::from_utf8(&received[1..line_bytes])
        .ok()
        .and_then(|length| length.parse::<usize>().ok());
    let Some(length) = length else {
        return Answer::Broken;
    };
    let bytes = line_bytes + 2 + length + 2;
    if received.len() < bytes {
        Answer::Partial
    } else {
        Answer::Whole { bytes, ok: true }
    }
}

/// Asks Redis for what follows, again and again.
pub(crate) async fn follow(mut stream: TcpStream, mut found: impl FnMut(Mark)) -> io::Result<()> {
    const BEHIND_ID: &[u8] = b"\r\n*2\r\n$4\r\nbody\r\n";
    let mut last = String::from("$");
    let mut scanner = Scanner::new();
    let mut received = Vec::new();
    loop {
        let ask = format!(
            "*6\r\n$5\r\nXREAD\r\n$5\r\nBLOCK\r\n$1\r\n0\r\n$7\r\nSTREAMS\r\n$6\r\nevents\r\n${}\r\n{last}\r\n",
            last.len()
        );
        stream.write_all(ask.as_bytes()).await?;
        received.clear();
        // An answer ends behind a payload, and what Redis sends at once comes at once.
        while !received.ends_with(b"\"}\r\n") {
            if stream.read_buf(&mut received).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        scanner.scan(&received, &mut found);
        let id = memchr::memmem::rfind(&received, BEHIND_ID)
            .and_then(|at| received[..at].rsplit(|byte| *byte == b'\n').next())
            .map(|id| String::from_utf8_lossy(id).into_owned());
        if let Some(id) = id {
            last = id;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_resp_command() {
        let mut xadd = Xadd::new(Payments::new(1, 2));
        let request = String::from_utf8(xadd.request().to_vec()).unwrap();
        let lines: Vec<&str> = request.split("\r\n").collect();
        assert_eq!(lines[..2], ["*5", "$4"]);
        assert_eq!(lines[2], "XADD");
        assert_eq!(lines[9], format!("${}", lines[10].len()));
        assert_eq!(lines[11..], [""]);
    }

    #[test]
    fn an_id_is_success_and_an_error_line_is_not() {
        let xadd = Xadd::new(Payments::new(1, 2));
        let answer = b"$15\r\n1700000000000-0\r\n";
        for end in 0..answer.len() {
            assert_eq!(xadd.answer(&answer[..end]), Answer::Partial);
        }
        let whole = |bytes, ok| Answer::Whole { bytes, ok };
        assert_eq!(xadd.answer(answer), whole(answer.len(), true));
        assert_eq!(xadd.answer(b"-OOM no\r\n"), whole(9, false));
        assert_eq!(xadd.answer(b"+OK\r\n"), Answer::Broken);
        let two = [&answer[..], &answer[..]].concat();
        assert_eq!(answers(&two, 2), whole(two.len(), true));
        assert_eq!(answers(&two[..two.len() - 1], 2), Answer::Partial);
    }
}
