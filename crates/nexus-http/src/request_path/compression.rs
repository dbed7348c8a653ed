//! Gzip for answers that are worth it.

use std::{convert::Infallible, mem};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use tower::{ServiceExt, service_fn};
use tower_http::compression::Compression;

use crate::{Reply, options::COMPRESSION_BYTES_MIN};

/// The `Accept-Encoding` of a client that names gzip; its weights are read by the compressor.
pub(crate) fn wanted(headers: &HeaderMap) -> Option<HeaderValue> {
    headers
        .get(header::ACCEPT_ENCODING)
        .filter(|value| value.as_bytes().windows(4).any(|part| part == b"gzip"))
        .cloned()
}

/// Compresses a large answer; a small one costs a comparison.
///
/// The compressor wants a stream of pieces. The answer is whole on both sides, so that its length is told.
pub(crate) async fn gzip(mut reply: Reply, wanted: HeaderValue) -> Reply {
    if reply.body_bytes() <= COMPRESSION_BYTES_MIN || reply.status == StatusCode::PARTIAL_CONTENT {
        return reply;
    }
    let whole = match reply.beginning.is_empty() {
        true => reply.body.clone(),
        false => [&reply.beginning[..], &reply.body].concat().into(),
    };
    let mut plain = Response::new(Full::new(whole));
    *plain.headers_mut() = mem::take(&mut reply.headers);
    let mut request = Request::new(());
    request
        .headers_mut()
        .insert(header::ACCEPT_ENCODING, wanted);

    let mut plain = Some(plain);
    let handler = service_fn(move |_: Request<()>| {
        let plain = plain.take().unwrap_or_default();
        async move { Ok::<_, Infallible>(plain) }
    });
    let Ok(compressed) = Compression::new(handler).oneshot(request).await;
    let (parts, body) = compressed.into_parts();
    match body.collect().await {
        Ok(body) => {
            reply.headers = parts.headers;
            reply.beginning = Bytes::new();
            reply.body = body.to_bytes();
        }
        Err(error) => {
            tracing::warn!(%error, "an answer was not compressed");
            reply.headers = parts.headers;
            reply.headers.remove(header::CONTENT_ENCODING);
        }
    }
    reply
}
