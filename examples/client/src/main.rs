//! Casts three votes and follows them with a durable cursor: a second run goes on where the first ended.
//!
//! `cargo run --release -p nexusd -- dev` in one shell; in another, with the secret that it prints,
//! `NEXUS_SECRET=… cargo run --release -p example-client`.

use std::env;

use nexus_client::{Client, Error, Item, Publish, Start};
use serde_json::json;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let url = env::var("NEXUS_URL").unwrap_or_else(|_| "http://127.0.0.1:3000".to_owned());
    let secret = env::var("NEXUS_SECRET").unwrap_or_default();
    // Signs what it publishes, and reads with the secret as its token, which the default node may.
    let client = Client::builder(url)
        .node("default", &secret)
        .token(&secret)
        .build()?;

    // `Start::Earliest` counts the first time only: after that, the name has its place.
    let votes = client.subscribe(["vote.cast"]).durable("example");
    let mut votes = votes.from(Start::Earliest).open()?;

    let vote = |voter: u32| json!({ "proposalId": "p-1", "voterId": format!("voter-{voter}"), "decision": "for" });
    let mut last = None;
    for voter in 1..=3 {
        // Sent again with the same key until it is answered: it is stored once.
        let receipt = client
            .publish(Publish::new("vote.cast", &vote(voter)))
            .await?;
        last = Some(receipt.position);
    }

    while let Some(item) = votes.next().await {
        match item? {
            Item::Event(event) => {
                println!("{} {}", event.position, event.payload_text());
                // Done with it: a run that ends before this line gets the event again.
                votes.ack(event.position)?;
                if Some(event.position) == last {
                    break;
                }
            }
            Item::Gap { reason, from } => eprintln!("events are missing until {from}: {reason:?}"),
        }
    }
    // Returns when the server has the last acknowledgement.
    client.drain().await
}
