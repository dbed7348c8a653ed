//! Events that filters and templates are tried on.

use std::sync::LazyLock;

use nexus_core::{Catalogue, Causes, Event, Seq, Source, Topic};
use nexus_expr::{
    JsonTemplate, RenderError, Scope, Shape, Template, TemplateContext, UrlTemplate, compile_filter,
};
use uuid::Uuid;

/// 2026-11-21T06:00:00.123456Z
pub(crate) const TIME_US: i64 = 1_795_240_800_123_456;

/// An event with this payload.
pub(crate) fn event(payload: impl Into<String>) -> Event {
    let causes = Causes {
        correlation_id: Some(Uuid::from_u128(0x0193_0000_0000_7000_8000_0000_0000_0001)),
        origin_id: Some("order-9".to_owned()),
        occurred_at: Some("2026-11-21T05:59:58Z".to_owned()),
        ..Causes::default()
    };
    Event {
        seq: Seq::new(1042),
        id: Uuid::from_u128(0x0193_0000_0000_7000_8000_0000_0000_0002),
        topic: Topic::parse("payment.received").unwrap(),
        source: Source::parse("node:flowpay").unwrap(),
        key: Some("payer-7".into()),
        time_us: TIME_US,
        causes: serde_json::to_vec(&causes).unwrap().into(),
        payload: payload.into().into(),
    }
}

/// Whether a filter that has to compile lets an event with this payload through.
pub(crate) fn passes(filter: &str, payload: &str) -> bool {
    compile_filter(filter)
        .unwrap_or_else(|error| panic!("{filter}: {error}"))
        .matches(&event(payload))
}

pub(crate) static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(Catalogue::known);

/// The variables of the environment that templates are tried with.
pub(crate) fn variable(name: &str) -> Option<String> {
    let value = match name {
        "FACTORY" => "https://factory.example/",
        "ROOT" => "https://root.example/v2",
        "PATH" => "a/b",
        "EMPTY" => "",
        _ => return None,
    };
    Some(value.to_owned())
}

/// With variables, and after a call.
pub(crate) fn context() -> TemplateContext<'static> {
    TemplateContext {
        env: &variable,
        has_request: true,
        has_response: true,
    }
}

/// What a template that has to compile gives for an event with this payload.
pub(crate) fn text(template: &str, payload: &str) -> Result<String, RenderError> {
    let event = event(payload);
    Template::compile(template, &context())
        .unwrap_or_else(|error| panic!("{template}: {error}"))
        .render(&Scope::new(&event, &CATALOGUE))
}

/// As [`text`], of an address.
pub(crate) fn url(template: &str, payload: &str) -> Result<String, RenderError> {
    let event = event(payload);
    UrlTemplate::compile(template, &context())
        .unwrap_or_else(|error| panic!("{template}: {error}"))
        .render(&Scope::new(&event, &CATALOGUE))
}

/// As [`text`], of JSON.
pub(crate) fn json(template: &str, payload: &str) -> Result<String, RenderError> {
    let event = event(payload);
    compiled(template).render(&Scope::new(&event, &CATALOGUE))
}

/// JSON whose texts are templates.
pub(crate) fn compiled(template: &str) -> JsonTemplate {
    let shape: Shape = serde_json::from_str(template).unwrap();
    JsonTemplate::compile(&shape, "body", &context())
        .unwrap_or_else(|errors| panic!("{template}: {errors:?}"))
}
