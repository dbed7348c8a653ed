//! The log in memory: publish, hear of it, read it back from the beginning.
//!
//! `cargo run --release -p example-core-in-memory`

use nexus_core::{Error, From, Nexus, PatternSet, Principal, ProtocolEvent};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let nexus = Nexus::in_memory().await?;

    // Hear of every payment from now on.
    let (heard, mut hearing) = tokio::sync::mpsc::channel(16);
    nexus.on_event(ProtocolEvent::PaymentReceived, move |event| {
        let heard = heard.clone();
        async move {
            let _ = heard.send(event).await;
        }
    });

    // Say what happened. The answer comes after it is kept.
    for n in 1..=3 {
        let payload = format!(r#"{{"transactionId":"tx-{n}","amount":{n}0,"payerId":"payer-7"}}"#);
        let event = nexus.event(ProtocolEvent::PaymentReceived, payload);
        let receipt = nexus.dispatch(&Principal::nexus(), event).await?;
        println!("kept at {}", receipt.position());
    }
    for _ in 0..3 {
        if let Some(event) = hearing.recv().await {
            println!(
                "heard {} {}",
                event.seq,
                String::from_utf8_lossy(&event.payload)
            );
        }
    }

    // Whoever comes later reads the same log from its beginning.
    let (mut cursor, _) = nexus
        .log()
        .cursor(From::Earliest, PatternSet::everything())
        .await?;
    while let Some(page) = cursor.try_next().await? {
        for event in page.events {
            println!("read {} {} from {}", event.seq, event.topic, event.source);
        }
    }

    // What does not fit is refused before anything is kept.
    let nonsense = nexus.event(ProtocolEvent::PaymentReceived, r#"{"amount":"much"}"#);
    if let Err(refusal) = nexus.dispatch(&Principal::nexus(), nonsense).await {
        println!("refused: {refusal}");
    }
    Ok(())
}
