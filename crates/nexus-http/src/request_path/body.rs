//! Reads the body of a request: its type, its length, its deadline.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, header, request::Parts};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use nexus_core::Kind;

use crate::{Problem, connection::Progress};

/// Memory that a declared length gets before its bytes arrive.
const FIRST_BYTES: usize = 16 * 1024;

/// The bytes that all bodies together may hold.
#[derive(Debug)]
pub(crate) struct Budget {
    left: AtomicUsize,
}

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        Self {
            left: AtomicUsize::new(bytes),
        }
    }

    /// A share of nothing yet.
    pub(crate) fn share(&self) -> Share<'_> {
        Share {
            budget: self,
            bytes: 0,
        }
    }
}

/// What one body holds of the budget, until it is dropped.
#[derive(Debug)]
pub(crate) struct Share<'a> {
    budget: &'a Budget,
    bytes: usize,
}

impl Share<'_> {
    fn grow(&mut self, bytes: usize) -> Result<(), Problem> {
        let taken = self
            .budget
            .left
            .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(bytes));
        if taken.is_err() {
            let detail = "too many large bodies are being read";
            return Err(Problem::new(Kind::Unavailable, "unavailable", detail).retry_after_s(1));
        }
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.budget.left.fetch_add(self.bytes, Relaxed);
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
