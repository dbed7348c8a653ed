//! Filters and payloads that nobody would write, and rules that hold for all of them.

use nexus_expr::compile_filter;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::support::event;

fn payload() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e12..1e12).prop_map(Value::from),
        "[a-c0-9.\\-\\\\\"é]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::hash_map("[a-c]", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// An expression that is written as one, whatever it means.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        prop::sample::select(vec![
            "payload",
            "payload.a",
            "payload.b.c",
            "payload.a[0]",
            "payload['b']",
            "topic",
            "key",
            "seq",
            "time",
            "id",
            "name",
            "i",
            "null",
            "true",
            "false",
            "causation_id",
            "occurred_at",
            "1u",
            "-0.0",
        ])
        .prop_map(str::to_owned),
        any::<i64>().prop_map(|number| number.to_string()),
        (-1e6..1e6).prop_map(|number: f64| format!("{number:?}")),
        "[a-c0-9.]{0,5}".prop_map(|text| format!("'{text}'")),
    ];
    leaf.prop_recursive(5, 40, 3, |inner| {
        let two = (inner.clone(), inner.clone());
        let operators = vec!["==", "!=", "<", "<=", ">", ">=", "&&", "||", "+", "-", "*", "/", "%", "in"];
        let functions = vec!["size", "string", "double", "int", "has", "timestamp"];
        let finds = vec!["startsWith", "endsWith", "contains"];
        let looks = vec!["exists", "all", "exists_one", "filter", "map"];
        prop_oneof![
            4 => (two.clone(), prop::sample::select(operators)).prop_map(|((a, b), op)| format!("({a} {op} {b})")),
            1 => inner.clone().prop_map(|a| format!("!({a})")),
            1 => inner.clone().prop_map(|a| format!("-({a})")),
            1 => (two.clone(), inner.clone()).prop_map(|((a, b), c)| format!("({a} ? {b} : {c})")),
            1 => (inner.clone(), prop::sample::select(functions)).prop_map(|(a, name)| format!("{name}({a})")),
            1 => (two.clone(), prop::sample::select(finds)).prop_map(|((a, b), name)| format!("({a}).{name}({b})")),
            1 => (two.clone(), prop::sample::select(looks)).prop_map(|((a, b), name)| format!("({a}).{name}(i, {b})")),
            1 => two.clone().prop_map(|(a, b)| format!("[{a}, {b}]")),
            1 => two.prop_map(|(a, b)| format!("({a})[{b}]")),
            1 => inner.prop_map(|a| format!("({a}).a")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn compiling_never_panics(text in "\\PC{0,80}") {
        let _ = compile_filter(&text);
    }

    #[test]
    fn compiling_what_looks_like_a_filter_never_panics(
        text in r#"((payload|topic|has|all|exists|in|null|i|1|'a'|\.)|[().,\[\]{}?:!&|=<>+\-*/% \n"'`\\]){0,40}"#,
    ) {
        if let Err(error) = compile_filter(&text) {
            prop_assert!(error.line >= 1 && error.column >= 1);
            prop_assert!(error.line <= text.lines().count().max(1) + 1, "{error}");
        }
    }

    #[test]
    fn a_condition_and_its_opposite_differ(filter in expression(), payload in payload()) {
        let event = event(payload.to_string());
        if let (Ok(filter), Ok(opposite)) = (compile_filter(&filter), compile_filter(&format!("!({filter})"))) {
            prop_assert_ne!(filter.matches(&event), opposite.matches(&event));
        }
    }

    #[test]
    fn what_is_seen_of_a_payload_is_what_it_holds(payload in payload()) {
        let event = event(json!({"a": payload, "b": payload}).to_string());
        let equal = compile_filter("payload.a == payload.b").unwrap();
        prop_assert_eq!(equal.matches(&event), !payload.is_null());
        let size = match &payload {
            Value::Array(items) => Some(items.len()),
            Value::Object(members) => Some(members.len()),
            Value::String(text) => Some(text.chars().count()),
            _ => None,
        };
        if let Some(size) = size {
            let filter = compile_filter(&format!("size(payload.a) == {size}")).unwrap();
            prop_assert!(filter.matches(&event));
        }
    }

    #[test]
    fn exactly_one_order_holds_between_numbers(a in any::<i64>(), b in -1e19..1e19) {
        let event = event(json!({"a": a, "b": b}).to_string());
        let holding = ["<", "==", ">"].iter().filter(|order| {
            compile_filter(&format!("payload.a {order} payload.b")).unwrap().matches(&event)
        });
        prop_assert_eq!(holding.count(), 1);
    }

    #[test]
    fn a_decimal_in_a_text_compares_as_the_number(a in -10_000_i64..10_000, cents in 0_u8..100, limit in -10_000_i64..10_000) {
        let text = format!("{a}.{cents:02}");
        let number: f64 = text.parse().unwrap();
        let event = event(json!({"text": text, "number": number}).to_string());
        for order in ["<", "<=", "==", "!=", ">=", ">"] {
            let passes = |member: &str| {
                compile_filter(&format!("payload.{member} {order} {limit}")).unwrap().matches(&event)
            };
            prop_assert_eq!(passes("text"), passes("number"), "{} {} {}", number, order, limit);
        }
    }
}
