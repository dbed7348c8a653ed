//! `POST /webhook/factory`: what the token factory calls back with, in both of its shapes.

use bytes::Bytes;
use nexus_core::{ProtocolEvent, RawObject};
use nexus_http::{Call, Problem};

use super::{
    Answered, Neo,
    flowpay::status,
    object,
    publish::publish,
    webhook::{Reading, invalid, is_event, member_object, record, scalar},
};

/// The node that signs for the factory.
const NODE: &str = "smart-factory";

pub(super) async fn receive(neo: &Neo, call: &Call) -> Answered {
    let principal = neo.signer(call, Some(NODE))?;
    let body = object(call)?;
    if is_event(&body) {
        return publish(neo, call, &principal, &body).await;
    }
    let reading = read(&call.body, &body)?;
    record(neo, call, &principal, "factory", reading).await
}

/// `{contractAddress, txHash}` of the documents has no status and is a mint; live nodes send
/// `{status, contractAddress, metadata}`.
fn read(text: &Bytes, body: &RawObject<'_>) -> Result<Reading, Problem> {
    use ProtocolEvent::{ContractDeployed, MintConfirmed, MintFailed};
    let metadata = member_object(body, "metadata")?;
    let member = |name: &str| metadata.get(name).or_else(|| body.get(name));
    let status = status(body)?;
    let (event, outcome) = match status.as_deref() {
        None | Some("confirmed") => (MintConfirmed, "confirmed"),
        Some("deployed") if member("orderId").or_else(|| member("txHash")).is_some() => {
            (MintConfirmed, "confirmed")
        }
        Some("deployed") => (ContractDeployed, "deployed"),
        Some("failed") => (MintFailed, "failed"),
        Some("pending") => return Ok(Reading::Nothing),
        Some(_) => {
            let expected = "must be `confirmed`, `deployed`, `failed` or `pending`";
            return Err(invalid("/status", expected));
        }
    };
    let subject = ["orderId", "txHash", "contractAddress"]
        .iter()
        .find_map(|name| member(name).and_then(scalar));
    let payload = match status {
        None => text.slice_ref(text.trim_ascii()),
        Some(_) => gather(body, &metadata),
    };
    Ok(Reading::Fact {
        event,
        outcome,
        subject,
        payload,
    })
}

/// `contractAddress` and what the metadata holds, each value as it was sent.
fn gather(body: &RawObject<'_>, metadata: &RawObject<'_>) -> Bytes {
    let address = body
        .get("contractAddress")
        .map(|value| ("contractAddress", value));
    let rest = ["orderId", "txHash", "recipient", "amount", "error"]
        .into_iter()
        .filter_map(|name| Some((name, metadata.get(name).or_else(|| body.get(name))?)));
    let members: Vec<String> = address
        .into_iter()
        .chain(rest)
        .map(|(name, value)| format!("\"{name}\":{value}"))
        .collect();
    Bytes::from(format!("{{{}}}", members.join(",")))
}

#[cfg(test)]
mod tests {
    use super::{
        super::webhook::tests::{Told, told},
        *,
    };

    fn reading(text: &'static str) -> Told {
        told(read, text)
    }

    #[test]
    fn the_table_of_the_contract() {
        use ProtocolEvent::{ContractDeployed, MintConfirmed, MintFailed};
        for (body, event, key, payload) in [
            (
                r#"{"contractAddress":"c","txHash":"h"}"#,
                MintConfirmed,
                "h:confirmed",
                r#"{"contractAddress":"c","txHash":"h"}"#,
            ),
            (
                r#"{"status":"confirmed","contractAddress":"c","metadata":{"orderId":"o","txHash":"h","amount":1.50,"x":1}}"#,
                MintConfirmed,
                "o:confirmed",
                r#"{"contractAddress":"c","orderId":"o","txHash":"h","amount":1.50}"#,
            ),
            (
                r#"{"status":"deployed","contractAddress":"c","metadata":{"txHash":"h"}}"#,
                MintConfirmed,
                "h:confirmed",
                r#"{"contractAddress":"c","txHash":"h"}"#,
            ),
            (
                r#"{"status":"deployed","contractAddress":"c"}"#,
                ContractDeployed,
                "c:deployed",
                r#"{"contractAddress":"c"}"#,
            ),
            (
                r#"{"status":"failed","contractAddress":"c","metadata":{"orderId":"o","error":"gas"}}"#,
                MintFailed,
                "o:failed",
                r#"{"contractAddress":"c","orderId":"o","error":"gas"}"#,
            ),
        ] {
            assert_eq!(
                reading(body),
                Ok((event, key.to_owned(), payload.to_owned())),
                "{body}"
            );
        }
        assert_eq!(reading(r#"{"status":"pending"}"#), Err("nothing".into()));
        assert_eq!(
            reading(r#"{"status":"odd"}"#),
            Err("invalid-payload".into())
        );
    }
}
