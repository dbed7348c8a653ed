//! `POST /webhook/flowpay`: what the payment processor sends, in both of its shapes.

use bytes::Bytes;
use nexus_core::{ProtocolEvent, RawObject};
use nexus_http::{Call, Problem};

use super::{
    Answered, Neo, object,
    publish::publish,
    webhook::{Reading, invalid, is_event, member_object, record, scalar},
};

pub(super) async fn receive(neo: &Neo, call: &Call) -> Answered {
    let principal = neo.signer(call, Some("flowpay"))?;
    let body = object(call)?;
    if is_event(&body) {
        return publish(neo, call, &principal, &body).await;
    }
    let reading = read(&call.body, &body)?;
    record(neo, call, &principal, "flowpay", reading).await
}

/// `{transactionId, amount, payerId}` of the documents has no status and is a payment; live nodes send
/// `{orderId, amount, currency, payerId, status, metadata}`.
fn read(text: &Bytes, body: &RawObject<'_>) -> Result<Reading, Problem> {
    let (event, outcome) = match status(body)?.as_deref() {
        None | Some("confirmed" | "completed") => (ProtocolEvent::PaymentReceived, "received"),
        Some("failed") => (ProtocolEvent::PaymentFailed, "failed"),
        Some("pending") => return Ok(Reading::Nothing),
        Some(_) => {
            let expected = "must be `confirmed`, `completed`, `failed` or `pending`";
            return Err(invalid("/status", expected));
        }
    };
    let subject = body
        .get("transactionId")
        .or_else(|| body.get("orderId"))
        .and_then(scalar);
    let metadata = member_object(body, "metadata")?;
    let lifted: &[&str] = if event == ProtocolEvent::PaymentFailed {
        &["txHash", "reason"]
    } else {
        &["txHash"]
    };
    Ok(Reading::Fact {
        event,
        outcome,
        subject,
        payload: lift(text, body, &metadata, lifted),
    })
}

/// The status; nothing when the body has none.
pub(super) fn status(body: &RawObject<'_>) -> Result<Option<String>, Problem> {
    if body.get("status").is_none() {
        return Ok(None);
    }
    let text = body.text("status")?;
    text.map(|text| Some(text.into_owned()))
        .ok_or_else(|| invalid("/status", "must be a string"))
}

/// The body as it was sent, with members of its metadata added at the top where they are missing.
fn lift(text: &Bytes, body: &RawObject<'_>, metadata: &RawObject<'_>, names: &[&str]) -> Bytes {
    let lifted: Vec<_> = names
        .iter()
        .filter(|name| body.get(name).is_none())
        .filter_map(|name| Some((*name, metadata.get(name)?)))
        .collect();
    if lifted.is_empty() {
        return text.slice_ref(text.trim_ascii());
    }
    // A member that was sent as `null` gives way: no name may stand twice.
    let is_kept = |name: &str| lifted.iter().all(|(other, _)| *other != name);
    let members = body
        .members()
        .filter(|(name, _)| is_kept(name))
        .chain(lifted.iter().copied())
        .map(|(name, value)| format!("{}:{value}", serde_json::Value::from(name)));
    let members: Vec<String> = members.collect();
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
    fn both_shapes_are_payments() {
        use ProtocolEvent::{PaymentFailed, PaymentReceived};
        let seed = r#"{"transactionId":"t1","amount":1,"payerId":"p"}"#;
        assert_eq!(
            reading(seed),
            Ok((PaymentReceived, "t1:received".into(), seed.into()))
        );
        let live = r#"{"orderId":"o1","amount":"1.50","payerId":"p","status":"completed","metadata":{"txHash":"0x1"}}"#;
        let lifted = r#"{"orderId":"o1","amount":"1.50","payerId":"p","status":"completed","metadata":{"txHash":"0x1"},"txHash":"0x1"}"#;
        assert_eq!(
            reading(live),
            Ok((PaymentReceived, "o1:received".into(), lifted.into()))
        );
        let failed = r#"{"orderId":"o1","status":"failed","metadata":{"reason":"expired"}} "#;
        let lifted = r#"{"orderId":"o1","status":"failed","metadata":{"reason":"expired"},"reason":"expired"}"#;
        assert_eq!(
            reading(failed),
            Ok((PaymentFailed, "o1:failed".into(), lifted.into()))
        );
    }

    #[test]
    fn what_the_sender_said_at_the_top_stays() {
        let body = r#"{"orderId":"o","status":"confirmed","txHash":"a","metadata":{"txHash":"b"}}"#;
        assert_eq!(reading(body).unwrap().2, body);
    }

    #[test]
    fn what_was_sent_as_null_gives_way_to_the_metadata() {
        let body =
            r#"{"orderId":"o","status":"confirmed","txHash":null,"metadata":{"txHash":"b"}}"#;
        let lifted =
            r#"{"orderId":"o","status":"confirmed","metadata":{"txHash":"b"},"txHash":"b"}"#;
        assert_eq!(reading(body).unwrap().2, lifted);
    }

    #[test]
    fn other_states_are_ignored_or_refused() {
        assert_eq!(
            reading(r#"{"orderId":"o","status":"pending"}"#),
            Err("nothing".into())
        );
        assert_eq!(
            reading(r#"{"orderId":"o","status":"lost"}"#),
            Err("invalid-payload".into())
        );
        assert_eq!(
            reading(r#"{"orderId":"o","status":7}"#),
            Err("invalid-payload".into())
        );
        assert_eq!(
            reading(r#"{"orderId":"o","status":"failed","metadata":[]}"#),
            Err("invalid-payload".into())
        );
    }
}
