//! The schemas of the known events' payloads.

use crate::Json;

/// What is wrong at one place of a payload.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct PayloadProblem {
    /// Where, as a JSON Pointer (RFC 6901) from the root of what was checked.
    pub pointer: String,
    /// What, as a sentence for the sender.
    pub detail: String,
}

/// A schema, as a function that notes what does not fit.
pub(crate) type Check = fn(&mut Fields<'_, '_>);

/// Runs a schema over a payload.
pub(crate) fn run(check: Check, payload: &Json<'_>) -> Vec<PayloadProblem> {
    let mut fields = Fields {
        payload,
        problems: Vec::new(),
    };
    if matches!(payload, Json::Object(_)) {
        check(&mut fields);
    } else {
        fields.problem("", "must be an object");
    }
    fields.problems
}

/// A payload under a schema. An optional member that is `null` counts as absent.
pub(crate) struct Fields<'p, 'a> {
    payload: &'p Json<'a>,
    problems: Vec<PayloadProblem>,
}

/// Identifiers in payloads have at most this many characters.
const ID_CHARS_MAX: usize = 100;

impl Fields<'_, '_> {
    fn problem(&mut self, name: &str, detail: &str) {
        let pointer = if name.is_empty() {
            String::new()
        } else {
            format!("/{name}")
        };
        self.problems.push(PayloadProblem {
            pointer,
            detail: detail.to_owned(),
        });
    }

    fn has(&self, name: &str) -> bool {
        self.payload.get(name).is_some()
    }

    /// The member, if it is there, fits the predicate.
    fn optional(&mut self, name: &str, expected: &str, fits: impl FnOnce(&Json<'_>) -> bool) {
        if self.payload.get(name).is_some_and(|value| !fits(value)) {
            self.problem(name, expected);
        }
    }

    fn required(&mut self, name: &str, expected: &str, fits: impl FnOnce(&Json<'_>) -> bool) {
        if self.has(name) {
            self.optional(name, expected, fits);
        } else {
            self.problem(name, "is required");
        }
    }

    /// At least one of the members is there, and those that are fit.
    fn one_of(&mut self, names: &[&str], expected: &str, fits: fn(&Json<'_>) -> bool) {
        if !names.iter().any(|name| self.has(name)) {
            let list = names
                .iter()
                .map(|name| format!("`{name}`"))
                .collect::<Vec<_>>()
                .join(" or ");
            self.problem(names[0], &format!("is required ({list})"));
        }
        for name in names {
            self.optional(name, expected, fits);
        }
    }
}

const ID: &str = "must be a string of 1 to 100 characters without NUL";
const TEXT: &str = "must be a string";
const STRINGS: &str = "must be an array of strings";
const SCALAR: &str = "must be a string, a number or a boolean";

fn is_id(value: &Json<'_>) -> bool {
    value.as_str().is_some_and(|text| {
        !text.is_empty() && text.chars().count() <= ID_CHARS_MAX && !text.contains('\0')
    })
}

fn is_text(value: &Json<'_>) -> bool {
    value.as_str().is_some()
}

fn is_scalar(value: &Json<'_>) -> bool {
    matches!(value, Json::String(_) | Json::Number(_) | Json::Bool(_))
}

fn is_object(value: &Json<'_>) -> bool {
    matches!(value, Json::Object(_))
}

fn is_strings(value: &Json<'_>) -> bool {
    matches!(value, Json::Array(items) if items.iter().all(is_text))
}

/// A JSON number, or a decimal string such as `"100.50"`.
fn is_amount(value: &Json<'_>) -> bool {
    match value {
        Json::Number(_) => true,
        Json::String(text) => {
            let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            let unsigned = text.strip_prefix('-').unwrap_or(text);
            match unsigned.split_once('.') {
                Some((whole, fraction)) => digits(whole) && digits(fraction),
                None => digits(unsigned),
            }
        }
        _ => false,
    }
}

fn is_currency(value: &Json<'_>) -> bool {
    value.as_str().is_some_and(|text| {
        (3..=6).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_uppercase())
    })
}

fn is_contract_address(value: &Json<'_>) -> bool {
    value
        .as_str()
        .and_then(|text| text.strip_prefix("0x"))
        .is_some_and(|hex| hex.len() == 40 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

pub(crate) fn object(_: &mut Fields<'_, '_>) {}

pub(crate) fn payment_received(fields: &mut Fields<'_, '_>) {
    fields.required("payerId", ID, is_id);
    fields.required("amount", "must be a number or a decimal string", is_amount);
    fields.one_of(&["transactionId", "orderId"], ID, is_id);
    fields.optional(
        "currency",
        "must be three to six capital letters",
        is_currency,
    );
    fields.optional("metadata", "must be an object", is_object);
}

pub(crate) fn payment_failed(fields: &mut Fields<'_, '_>) {
    fields.one_of(&["transactionId", "orderId"], ID, is_id);
    fields.optional("reason", SCALAR, is_scalar);
}

pub(crate) fn mint_requested(fields: &mut Fields<'_, '_>) {
    fields.one_of(&["address", "targetAddress"], TEXT, is_text);
    fields.optional("amount", "must be a number or a decimal string", is_amount);
    for name in ["reason", "tokenId", "refTransactionId"] {
        fields.optional(name, SCALAR, is_scalar);
    }
}

/// mint.confirmed and contract.deployed.
pub(crate) fn contract(fields: &mut Fields<'_, '_>) {
    fields.one_of(&["contractAddress", "txHash"], TEXT, is_text);
    if !fields.has("txHash") {
        fields.optional(
            "contractAddress",
            "without `txHash` must be `0x` and 40 hexadecimal digits",
            is_contract_address,
        );
    }
    for name in ["orderId", "recipient", "amount"] {
        fields.optional(name, SCALAR, is_scalar);
    }
}

pub(crate) fn mint_failed(fields: &mut Fields<'_, '_>) {
    fields.required("error", SCALAR, is_scalar);
    for name in ["orderId", "contractAddress"] {
        fields.optional(name, SCALAR, is_scalar);
    }
}

pub(crate) fn proposal_created(fields: &mut Fields<'_, '_>) {
    fields.required("proposalId", SCALAR, is_scalar);
}

pub(crate) fn vote_cast(fields: &mut Fields<'_, '_>) {
    fields.required("proposalId", SCALAR, is_scalar);
    fields.required("voterId", SCALAR, is_scalar);
    fields.required("decision", "must be `for` or `against`", |value| {
        matches!(value.as_str(), Some("for" | "against"))
    });
}

pub(crate) fn identity_verified(fields: &mut Fields<'_, '_>) {
    fields.one_of(&["identityId", "payerId"], SCALAR, is_scalar);
}

pub(crate) fn nexus_start(fields: &mut Fields<'_, '_>) {
    fields.required("version", TEXT, is_text);
    fields.required("epoch", TEXT, is_text);
}

pub(crate) fn help_needed(fields: &mut Fields<'_, '_>) {
    fields.required("task", TEXT, is_text);
    for name in ["capabilities", "capabilities_needed"] {
        fields.optional(name, STRINGS, is_strings);
    }
    priority(fields);
}

pub(crate) fn capability_broadcast(fields: &mut Fields<'_, '_>) {
    fields.required("capabilities", STRINGS, is_strings);
}

pub(crate) fn status_update(fields: &mut Fields<'_, '_>) {
    fields.required(
        "status",
        "must be `active`, `idle`, `working` or `error`",
        |value| {
            matches!(
                value.as_str(),
                Some("active" | "idle" | "working" | "error")
            )
        },
    );
    for name in ["task", "current_work"] {
        fields.optional(name, TEXT, is_text);
    }
}

pub(crate) fn message_broadcast(fields: &mut Fields<'_, '_>) {
    fields.required("message", TEXT, is_text);
    fields.optional("subject", TEXT, is_text);
    priority(fields);
}

pub(crate) fn message_direct(fields: &mut Fields<'_, '_>) {
    fields.required("to", ID, is_id);
    fields.required("message", TEXT, is_text);
}

pub(crate) fn work(fields: &mut Fields<'_, '_>) {
    fields.one_of(&["work_id", "work_item"], ID, is_id);
}

fn priority(fields: &mut Fields<'_, '_>) {
    fields.optional("priority", "must be `low`, `normal` or `high`", |value| {
        matches!(value.as_str(), Some("low" | "normal" | "high"))
    });
}

#[cfg(test)]
mod tests {
    use crate::{Json, ProtocolEvent};

    fn pointers(event: ProtocolEvent, payload: &str) -> Vec<String> {
        let payload = Json::parse(payload.as_bytes()).unwrap();
        event
            .check(&payload)
            .into_iter()
            .map(|problem| problem.pointer)
            .collect()
    }

    #[test]
    fn the_documents_payloads_fit() {
        use ProtocolEvent as E;
        for (event, payload) in [
            (
                E::PaymentReceived,
                r#"{"transactionId":"t","amount":1250,"payerId":"p"}"#,
            ),
            (
                E::PaymentReceived,
                r#"{"orderId":"o","amount":"100.50","payerId":"p","currency":"BRL","metadata":{},"x":[]}"#,
            ),
            (
                E::PaymentReceived,
                r#"{"orderId":"o","transactionId":null,"amount":1e3,"payerId":"p","metadata":null}"#,
            ),
            (E::PaymentFailed, r#"{"orderId":"o","reason":"expired"}"#),
            (
                E::MintConfirmed,
                r#"{"txHash":"0x1","contractAddress":"EQabc"}"#,
            ),
            (
                E::ContractDeployed,
                r#"{"contractAddress":"0x00000000000000000000000000000000000000aB"}"#,
            ),
            (E::MintFailed, r#"{"error":false}"#),
            (
                E::VoteCast,
                r#"{"proposalId":7,"voterId":"v","decision":"for"}"#,
            ),
            (E::IdentityVerified, r#"{"payerId":"p"}"#),
            (
                E::HelpNeeded,
                r#"{"task":"t","capabilities_needed":["a"],"priority":"high"}"#,
            ),
            (E::WorkClaimed, r#"{"work_item":"w"}"#),
        ] {
            assert_eq!(
                pointers(event, payload),
                Vec::<String>::new(),
                "{event:?} {payload}"
            );
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        use ProtocolEvent as E;
        for (event, payload, expected) in [
            (
                E::PaymentReceived,
                "{}",
                &["/payerId", "/amount", "/transactionId"][..],
            ),
            (E::PaymentReceived, "[]", &[""]),
            (
                E::PaymentReceived,
                r#"{"transactionId":"","amount":"1e3","payerId":7,"currency":"br"}"#,
                &["/payerId", "/amount", "/transactionId", "/currency"],
            ),
            (
                E::PaymentReceived,
                r#"{"transactionId":"a\u0000b","amount":1,"payerId":"p"}"#,
                &["/transactionId"],
            ),
            (
                E::MintConfirmed,
                r#"{"contractAddress":"EQabc"}"#,
                &["/contractAddress"],
            ),
            (E::MintFailed, r#"{"error":{}}"#, &["/error"]),
            (
                E::VoteCast,
                r#"{"proposalId":"p","voterId":"v","decision":"maybe"}"#,
                &["/decision"],
            ),
            (E::StatusUpdate, r#"{"status":"gone"}"#, &["/status"]),
            (
                E::HelpNeeded,
                r#"{"task":"t","capabilities":[1]}"#,
                &["/capabilities"],
            ),
        ] {
            assert_eq!(pointers(event, payload), expected, "{event:?} {payload}");
        }
    }
}
