//! What the server over HTTP writes.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream;
use http::{Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::Body;

pub(crate) fn told(method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "method": method, "params": params})
}

pub(super) fn result(request: &Value, result: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": request["id"], "result": result})
}

pub(super) fn answered(request: &Value, value: &Value) -> Response<Body> {
    with_json(200, &result(request, value))
}

pub(super) fn event(message: &Value) -> Bytes {
    format!("event: message\ndata: {message}\n\n").into()
}

pub(super) fn status(code: u16) -> Response<Body> {
    with_type(code, "text/plain", Vec::new())
}

pub(super) fn with_json(code: u16, body: &Value) -> Response<Body> {
    with_type(
        code,
        "application/json; charset=utf-8",
        body.to_string().into_bytes(),
    )
}

pub(super) fn with_type(code: u16, media_type: &'static str, body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(body)).boxed());
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, media_type.parse().unwrap());
    response
}

/// A stream that ends when its sender is dropped.
pub(super) fn event_stream() -> (mpsc::UnboundedSender<Bytes>, Response<Body>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let frames = stream::unfold(
        receiver,
        |mut receiver: mpsc::UnboundedReceiver<Bytes>| async {
            let bytes = receiver.recv().await?;
            Some((Ok::<_, Infallible>(Frame::data(bytes)), receiver))
        },
    );
    let mut response = Response::new(BodyExt::boxed(StreamBody::new(frames)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, "text/event-stream".parse().unwrap());
    (sender, response)
}
