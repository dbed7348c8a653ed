//! Reads the body of a request: its type, its length, its deadline.

use std::{collections::HashMap, net::IpAddr};

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, header, request::Parts};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use nexus_core::Kind;
use parking_lot::Mutex;

use super::client_address::network;
use crate::{Problem, connection::Progress};

/// Memory that a declared length gets before its bytes arrive.
const FIRST_BYTES: usize = 16 * 1024;

/// The bytes that all bodies together may hold, and those of one address.
#[derive(Debug)]
pub(crate) struct Budget {
    bytes_max: usize,
    per_address_max: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    bytes: usize,
    /// Of the addresses that hold some.
    by_address: HashMap<IpAddr, usize>,
}

impl Budget {
    pub(crate) fn new(bytes_max: usize, per_address_max: usize) -> Self {
        Self {
            bytes_max,
            per_address_max,
            held: Mutex::default(),
        }
    }

    /// A share of nothing yet, for a body from an address.
    pub(crate) fn share(&self, address: IpAddr) -> Share<'_> {
        Share {
            budget: self,
            address: network(address),
            bytes: 0,
        }
    }
}

/// What one body holds of the budget, until it is dropped.
#[derive(Debug)]
pub(crate) struct Share<'a> {
    budget: &'a Budget,
    address: IpAddr,
    bytes: usize,
}

impl Share<'_> {
    fn grow(&mut self, bytes: usize) -> Result<(), Problem> {
        let mut held = self.budget.held.lock();
        let of_address = held.by_address.get(&self.address).copied().unwrap_or(0);
        let is_full = held.bytes + bytes > self.budget.bytes_max;
        if is_full || of_address + bytes > self.budget.per_address_max {
            let detail = "too many large bodies are being read";
            return Err(Problem::new(Kind::Unavailable, "unavailable", detail).retry_after_s(1));
        }
        held.bytes += bytes;
        held.by_address.insert(self.address, of_address + bytes);
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        // Most bodies come in one piece and hold nothing.
        if self.bytes == 0 {
            return;
        }
        let mut held = self.budget.held.lock();
        held.bytes -= self.bytes;
        if let Some(of_address) = held.by_address.get_mut(&self.address) {
            *of_address -= self.bytes;
            // An entry for every address that ever came would grow without end.
            if *of_address == 0 {
                held.by_address.remove(&self.address);
            }
        }
    }
}

/// Refuses a body of a type or coding that the route does not take.
pub(crate) fn check_type(parts: &Parts, media_types: &[&str]) -> Result<(), Problem> {
    // What these say of a body that they do not have is of no interest.
    if matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    if let Some(coding) = parts.headers.get(header::CONTENT_ENCODING)
        && !coding.as_bytes().eq_ignore_ascii_case(b"identity")
    {
        return Err(unsupported(
            "a body has to be sent without a content coding",
        ));
    }
    let Some(stated) = parts.headers.get(header::CONTENT_TYPE) else {
        return Ok(());
    };
    let essence = stated
        .as_bytes()
        .split(|byte| *byte == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii();
    let taken = media_types.is_empty()
        || media_types
            .iter()
            .any(|taken| essence.eq_ignore_ascii_case(taken.as_bytes()));
    if taken {
        return Ok(());
    }
    let taken = media_types.join(", ");
    let problem = unsupported(&format!(
        "the content type is not one that this path takes: {taken}"
    ));
    // Media types are tokens, so this is always a valid value.
    Err(match HeaderValue::from_str(&taken) {
        Ok(taken) => problem.header(header::ACCEPT, taken),
        Err(_) => problem,
    })
}

fn unsupported(detail: &str) -> Problem {
    Problem::new(Kind::UnsupportedMediaType, "unsupported-media-type", detail)
}

/// The whole body, at most `bytes_max`; what came in pieces is counted in `share`.
pub(crate) async fn read(
    mut body: Incoming,
    bytes_max: usize,
    progress: &Progress,
    share: &mut Share<'_>,
) -> Result<Bytes, Problem> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let declared = body.size_hint().exact();
    if declared.is_some_and(|bytes| bytes > bytes_max as u64) {
        return Err(too_large(bytes_max));
    }
    let first = match next_data(&mut body, progress).await? {
        // The usual case: the body came with its head or in one piece, and nothing is copied.
        Some(data) if declared == Some(data.len() as u64) => return Ok(data),
        Some(data) => data,
        None => return Ok(Bytes::new()),
    };
    let declared = declared.and_then(|bytes| usize::try_from(bytes).ok());
    let mut whole = BytesMut::with_capacity(declared.unwrap_or(0).min(FIRST_BYTES));
    let mut next = Some(first);
    while let Some(data) = next {
        if whole.len() + data.len() > bytes_max {
            return Err(too_large(bytes_max));
        }
        share.grow(data.len())?;
        whole.extend_from_slice(&data);
        next = next_data(&mut body, progress).await?;
    }
    Ok(whole.freeze())
}

async fn next_data(body: &mut Incoming, progress: &Progress) -> Result<Option<Bytes>, Problem> {
    loop {
        return match body.frame().await {
            None => Ok(None),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => Ok(Some(data)),
                // Trailers: nothing here needs them.
                Err(_) => continue,
            },
            Some(Err(_)) if progress.is_body_overdue() => Err(Problem::new(
                Kind::Timeout,
                "timeout",
                "the body of the request took too long",
            )),
            Some(Err(_)) => Err(Problem::new(
                Kind::Malformed,
                "invalid-request",
                "the body of the request is not complete or not well framed",
            )),
        };
    }
}

fn too_large(bytes_max: usize) -> Problem {
    Problem::new(
        Kind::TooLarge,
        "too-large",
        format!("the body is larger than {bytes_max} bytes"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_takes_no_more_than_its_part_and_gives_it_back() {
        let budget = Budget::new(100, 60);
        let [one, two] = [1, 2].map(|last| IpAddr::from([192, 0, 2, last]));
        let mut first = budget.share(one);
        first.grow(40).unwrap();
        first.grow(20).unwrap();
        assert!(budget.share(one).grow(1).is_err(), "the address is full");
        let mut second = budget.share(two);
        second.grow(40).unwrap();
        let refused = second.grow(1).unwrap_err();
        assert_eq!(
            (refused.code, refused.retry_after_s),
            ("unavailable", Some(1))
        );
        drop((first, second));
        let held = budget.held.lock();
        assert_eq!((held.bytes, held.by_address.len()), (0, 0));
    }
}
