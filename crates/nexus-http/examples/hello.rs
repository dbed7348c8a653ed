//! The smallest server, to measure what the request path itself costs.
//!
//! `cargo run --release -p nexus-http --example hello`, and then for example
//! `wrk -t1 -c64 -d5 http://127.0.0.1:3999/hello` or a POST of a small body to `/events`.

use http::StatusCode;
use nexus_http::{Access, Call, Reply, Route, Server, ServerOptions};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

#[derive(Serialize)]
struct Dispatched {
    status: &'static str,
    bytes: usize,
}

#[tokio::main]
async fn main() -> Result<(), nexus_http::Error> {
    let hello = Route::get("/hello", Access::Open, |_: Call| async {
        Ok(Reply::json(StatusCode::OK, &"hello"))
    });
    let events = Route::post("/events", Access::Signed, |call: Call| async move {
        call.take_anonymous_token()?.give_back();
        let answer = Dispatched {
            status: "dispatched",
            bytes: call.body.len(),
        };
        Ok(Reply::json(StatusCode::OK, &answer))
    });
    let options = ServerOptions::default();
    let server = Server::bind(([127, 0, 0, 1], 3999).into(), vec![hello, events], options).await?;
    println!("listening on http://{}", server.local_addr());
    server.run(CancellationToken::new()).await;
    Ok(())
}
