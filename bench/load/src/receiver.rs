//! A receiver of calls: it answers at once, and tells of the mark in each body.

use std::{convert::Infallible, io, net::SocketAddr, rc::Rc};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::marked::{self, Mark};

/// Listens for calls.
#[derive(Debug)]
pub(crate) struct Receiver(TcpListener);

impl Receiver {
    pub(crate) async fn bind(address: SocketAddr) -> io::Result<Self> {
        TcpListener::bind(address).await.map(Self)
    }

    /// Answers every call with what `received` says of its mark: whether it was taken. Goes on until it is
    /// aborted; a call without a mark is the benchmark's own fault and is refused.
    pub(crate) fn serve(self, received: impl Fn(Mark) -> bool + 'static) -> JoinHandle<()> {
        let received = Rc::new(received);
        tokio::task::spawn_local(async move {
            // What cannot be accepted is not received, and is missed in the end.
            while let Ok((stream, _)) = self.0.accept().await {
                let _ = stream.set_nodelay(true);
                let received = Rc::clone(&received);
                tokio::task::spawn_local(async move {
                    let service = service_fn(|call| answer(call, &*received));
                    let connection = http1::Builder::new();
                    let connection = connection.serve_connection(TokioIo::new(stream), service);
                    // Whoever hangs up calls again.
                    let _ = connection.await;
                });
            }
        })
    }
}

async fn answer(
    call: Request<Incoming>,
    received: &impl Fn(Mark) -> bool,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = call.into_body().collect().await;
    let mark = body.ok().and_then(|body| marked::find(&body.to_bytes()));
    let status = match mark {
        Some(mark) if received(mark) => StatusCode::OK,
        Some(_) => StatusCode::INTERNAL_SERVER_ERROR,
        None => StatusCode::BAD_REQUEST,
    };
    let mut answer = Response::new(Full::new(Bytes::from_static(b"{}")));
    *answer.status_mut() = status;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
        task::LocalSet,
    };

    use super::*;

    /// The status of the answer to a call with this body.
    async fn status(address: SocketAddr, body: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let length = body.len();
        let call = format!(
            "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(call.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer.split(' ').nth(1).unwrap_or_default().to_owned()
    }

    #[tokio::test]
    async fn each_call_is_told_and_answered_as_it_was_taken() {
        LocalSet::new()
            .run_until(async {
                let receiver = Receiver::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
                let address = receiver.0.local_addr().unwrap();
                let told = Rc::new(RefCell::new(Vec::new()));
                let telling = Rc::clone(&told);
                let serving = receiver.serve(move |mark| {
                    telling.borrow_mut().push(mark.number);
                    mark.number != 2
                });
                let body = |number| format!(r#"{{"mark":"0001-{number:010}"}}"#);
                assert_eq!(status(address, &body(1)).await, "200");
                assert_eq!(status(address, &body(2)).await, "500");
                assert_eq!(status(address, "{}").await, "400");
                assert_eq!(*told.borrow(), [1, 2]);
                serving.abort();
            })
            .await;
    }
}
