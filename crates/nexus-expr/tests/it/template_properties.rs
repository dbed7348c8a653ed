//! Templates and payloads that nobody would write, and rules that hold for all of them.

use nexus_core::Json;
use nexus_expr::{JsonTemplate, Scope, Shape, Template};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::support::{CATALOGUE, context, event};

fn payload() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e12..1e12).prop_map(Value::from),
        "[a-c0-9.\\-\\\\\"{}%é\n]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::hash_map("[a-c]", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn object() -> impl Strategy<Value = Value> {
    prop::collection::hash_map("[a-c]", payload(), 0..4)
        .prop_map(|members| Value::Object(members.into_iter().collect()))
}

fn template() -> impl Strategy<Value = String> {
    let expression = prop::sample::select(vec![
        "payload",
        "payload.a",
        "payload.b.c",
        "payload['c'][0]",
        "payload.a or payload.b or 'x'",
        "payload.a ~ payload.b",
        "payload.a | default('d')",
        "payload.c | length",
        "payload.a + 1",
        "[payload.a, payload]",
        "{'k': payload.b}",
        "payload.a if payload.b else payload.c",
        "payload | items",
        "payload.a | string",
        "payload | tojson",
        "topic",
        "seq",
        "time",
        "causation_id",
        "-0",
        "'\"\\\\'",
    ]);
    prop::collection::vec(
        prop_oneof![
            "[a-c\"\\\\é{} ]{0,3}",
            expression.prop_map(|expression| format!("{{{{ {expression} }}}}")),
        ],
        1..4,
    )
    .prop_map(|parts| parts.concat())
}

fn shape() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        template().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        Just(Value::Null),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[a-c\"\\\\é]", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn what_is_rendered_is_json_as_strict_as_an_event(
        shape in shape(), spread in prop::sample::select(vec!["payload", "payload.a", "{'a': 1}"]), payload in object(),
    ) {
        let shape = json!({ "a": shape, "$": format!("{{{{ {spread} }}}}") });
        let shape: Shape = serde_json::from_value(shape).unwrap();
        if let Ok(template) = JsonTemplate::compile(&shape, "body", &context()) {
            let event = event(payload.to_string());
            if let Ok(text) = template.render(&Scope::new(&event, &CATALOGUE)) {
                let read = Json::parse(text.as_bytes());
                prop_assert!(matches!(read, Ok(Json::Object(_))), "{}", text);
            }
        }
    }

    #[test]
    fn a_value_alone_is_the_value_that_was_sent(value in payload(), pretty in any::<bool>()) {
        let payload = json!({ "v": value });
        let text = if pretty {
            serde_json::to_string_pretty(&payload).unwrap()
        } else {
            payload.to_string()
        };
        let event = event(text);
        let scope = Scope::new(&event, &CATALOGUE);
        for expression in [
            "payload.v",
            "payload.x or payload.v",
            "payload.v if true else 0",
            "payload.x | default(payload.v)",
            "[payload.v] | first",
            "(payload | items | first)[1]",
        ] {
            let shape: Shape = serde_json::from_value(json!({ "out": format!("{{{{ {expression} }}}}") })).unwrap();
            let rendered = JsonTemplate::compile(&shape, "", &context()).unwrap().render(&scope).unwrap();
            let read: Value = serde_json::from_str(&rendered).unwrap();
            prop_assert_eq!(&read, &json!({ "out": &value }), "{}", expression);
        }
    }

    #[test]
    fn a_decimal_goes_through_digit_by_digit(
        whole in "0|[1-9][0-9]{0,24}", fraction in "[0-9]{1,24}", exponent in prop::sample::select(vec!["", "e5", "E-7"]),
    ) {
        let number = format!("{whole}.{fraction}{exponent}");
        let event = event(format!(r#"{{"n":{number}}}"#));
        let scope = Scope::new(&event, &CATALOGUE);
        for expression in ["payload.n", "payload.x or payload.n", "payload.n if true else 0"] {
            let shape: Shape = serde_json::from_value(json!([format!("{{{{ {expression} }}}}")])).unwrap();
            let rendered = JsonTemplate::compile(&shape, "", &context()).unwrap().render(&scope).unwrap();
            prop_assert_eq!(rendered, format!("[{number}]"));
            let text = Template::compile(&format!("{{% if true %}}{{{{ {expression} }}}}{{% endif %}}"), &context()).unwrap();
            prop_assert_eq!(text.render(&scope).unwrap(), number.clone());
        }
    }

    #[test]
    fn nothing_that_is_written_makes_it_panic(text in "[{}%# a-c.\\[\\]()|'\"\\\\0-9or~+é-]{0,40}", payload in object()) {
        if let Ok(template) = Template::compile(&text, &context()) {
            let event = event(payload.to_string());
            let _ = template.render(&Scope::new(&event, &CATALOGUE));
        }
    }

    #[test]
    fn an_address_keeps_its_host_and_its_segments(value in "[a-c/\\\\?#@:.%é -]{0,8}") {
        let url = super::support::url("https://a.example/x/{{ payload.v }}/y?q={{ payload.v }}", &json!({ "v": value }).to_string());
        if let Ok(url) = url {
            let (path, query) = url.strip_prefix("https://a.example/x/").unwrap().split_once('?').unwrap();
            prop_assert_eq!(path.split('/').count(), 2);
            prop_assert!(!query.contains(['#', '&', '?']));
        }
    }
}
