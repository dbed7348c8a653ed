//! What must hold for every template and every payload. The input is a template, a NUL, and a payload.

use bytes::Bytes;
use nexus_core::{Catalogue, Event, Json, Seq, Source, Topic};
use nexus_expr::{
    JsonTemplate, RENDERED_BYTES_MAX, Scope, Shape, TEMPLATE_BYTES_MAX, Template, TemplateContext,
    TemplateError, UrlTemplate,
};

/// Panics when something does not hold.
pub(crate) fn check(input: &[u8]) {
    let end = input.iter().position(|byte| *byte == 0);
    let (template, payload) = match end {
        Some(end) => (&input[..end], &input[end + 1..]),
        None => (input, &b"{}"[..]),
    };
    let Ok(text) = std::str::from_utf8(template) else {
        return;
    };
    let env = |name: &str| (name == "ROOT").then(|| "https://a.example".to_owned());
    let context = TemplateContext {
        env: &env,
        ..TemplateContext::default()
    };
    let template = match Template::compile(text, &context) {
        Ok(template) => template,
        Err(error) => return is_placed(&error, text),
    };
    assert!(text.len() <= TEMPLATE_BYTES_MAX);
    assert_eq!(template.text(), text);
    // Events hold nothing else.
    let is_payload = matches!(Json::parse(payload), Ok(Json::Object(_)));
    let payload = if is_payload { payload } else { b"null" };
    let catalogue = Catalogue::known();
    let event = event(payload);
    let scope = Scope::new(&event, &catalogue);
    let given = template.render(&scope);
    if let Ok(given) = &given {
        assert!(given.len() <= RENDERED_BYTES_MAX);
    }
    assert_eq!(
        template.render(&scope),
        given,
        "it depends on the event alone"
    );

    let shape = Shape::Object(vec![("a".to_owned(), Shape::Text(text.to_owned()))]);
    let json = JsonTemplate::compile(&shape, "", &context).expect("what is a template alone");
    if let Ok(json) = json.render(&scope) {
        let read = Json::parse(json.as_bytes());
        assert!(matches!(read, Ok(Json::Object(_))), "{json}");
    }
    let address = format!("{{{{ env.ROOT }}}}/{text}");
    if let Ok(address) = UrlTemplate::compile(&address, &context)
        && let Ok(address) = address.render(&scope)
    {
        assert!(address.starts_with("https://a.example/"), "{address}");
    }
}

fn is_placed(error: &TemplateError, text: &str) {
    let lines = text.split('\n').count();
    assert!((1..=lines).contains(&error.line), "{error}");
    let line = text.split('\n').nth(error.line - 1).unwrap_or_default();
    assert!(
        (1..=line.chars().count() + 1).contains(&error.column),
        "{error}"
    );
    assert!(!error.message.is_empty());
}

fn event(payload: &[u8]) -> Event {
    Event {
        seq: Seq::new(1042),
        id: uuid::Uuid::from_u128(0x0193_0000_0000_7000_8000_0000_0000_0002),
        topic: Topic::parse("payment.received").expect("a topic"),
        source: Source::parse("node:flowpay").expect("a source"),
        key: Some("payer-7".into()),
        time_us: 1_795_240_800_123_456,
        causes: r#"{"origin_id":"order-9","occurred_at":"2026-11-21T05:59:58Z"}"#.into(),
        payload: Bytes::copy_from_slice(payload),
    }
}
