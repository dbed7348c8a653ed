//! A service of your own with Nexus inside: its routes beside yours, on one port, and its log at hand.
//!
//! `cargo run --release -p example-embed-http`, then `curl -d '' http://127.0.0.1:3000/orders/o-1/paid`.

use http::StatusCode;
use nexus::{
    App, Error, Stop,
    config::{Config, Mode},
    environment::Environment,
};
use nexus_core::{Log, NewEvent, Principal, ProtocolEvent, Publish, Scopes, Source};
use nexus_http::{Access, Call, Problem, Reply, Route};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let environment = Environment::new(std::env::vars_os());
    let config = Config::from_environment(Mode::Dev, environment)?;
    let stop = Stop::listen()?;

    let app = App::builder(config)
        .routes(|log| {
            let log = log.clone();
            vec![Route::post(
                "/orders/{id}/paid",
                Access::Open,
                move |call| order_paid(log.clone(), call),
            )]
        })
        .build()
        .await?;
    println!("listening on http://{}", app.local_addr());
    stop.run(app).await
}

/// A route of the service: what happened there becomes an event.
async fn order_paid(log: Log, call: Call) -> Result<Reply, Problem> {
    let shop = Principal::new(Source::node("shop"), Publish::Unreserved, Scopes::NONE);
    let order = call.param("id").unwrap_or_default();
    let payload = json!({ "orderId": order, "amount": 10, "payerId": "shop-customer" }).to_string();
    let event = NewEvent::new(
        log.catalogue().known_type(ProtocolEvent::PaymentReceived),
        payload,
    );
    let receipt = log.dispatch(&shop, event).await?;
    Ok(Reply::json(
        StatusCode::CREATED,
        &json!({ "position": receipt.position() }),
    ))
}
