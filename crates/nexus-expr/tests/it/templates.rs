//! What templates give.

use bytes::Bytes;
use nexus_expr::{Answered, Asked, RenderError, Scope};

use super::support::{CATALOGUE, compiled, event, json, text, url};

const PAYMENT: &str = r#"{"orderId":"o-1","amount": 100.50 ,"payer":{"id":"p\u0041","tags":["vip",2]},"big":123456789012345678901234567890,"none":null,"empty":"","zero":0,"a b":1,"list":[]}"#;

#[test]
fn a_value_alone_keeps_its_type_and_its_text() {
    for (template, expected) in [
        ("{{ payload.amount }}", "100.50"),
        ("{{payload.big}}", "123456789012345678901234567890"),
        (
            "{{ payload.payer }}",
            r#"{"id":"p\u0041","tags":["vip",2]}"#,
        ),
        ("{{ payload.payer.id }}", r#""p\u0041""#),
        ("{{ payload.payer.tags[1] }}", "2"),
        ("{{ payload['a b'] }}", "1"),
        ("{{ payload.none }}", "null"),
        ("{{ seq }}", "1042"),
        ("{{ key }}", r#""payer-7""#),
        ("{{ true }}", "true"),
        ("{{ 7.10 }}", "7.10"),
        ("{{ 'a' }}", r#""a""#),
        ("{{ env.ROOT }}", r#""https://root.example/v2""#),
        ("100.50", r#""100.50""#),
        ("", r#""""#),
        ("say \"hi\"\n", r#""say \"hi\"\n""#),
        ("{{ payload.amount }} BRL", r#""100.50 BRL""#),
        // MiniJinja hands it through as it came.
        (
            "{{ payload.amount if payload.amount > 100 else 0 }}",
            "100.50",
        ),
        (
            "{{ payload.big if payload.big else 0 }}",
            "123456789012345678901234567890",
        ),
        (
            "{{ payload.payer if true else 0 }}",
            r#"{"id":"p\u0041","tags":["vip",2]}"#,
        ),
        ("{{ payload.missing | default(payload.amount) }}", "100.50"),
        ("{{ payload.amount * 2 }}", "201.0"),
        ("{{ payload.payer.tags | length }}", "2"),
        ("{{ payload.payer.tags | first | upper }}", r#""VIP""#),
        (
            "{{ [payload.amount, payload.none, {'k': seq}] }}",
            r#"[100.50,null,{"k":1042}]"#,
        ),
        ("{{ payload.payer.tags is sequence }}", "true"),
        (
            "{{ payload.orderId is defined and payload.zero == 0 }}",
            "true",
        ),
    ] {
        let shape = serde_json::json!({ "v": template }).to_string();
        let given = json(&shape, PAYMENT).unwrap_or_else(|error| panic!("{template}: {error}"));
        assert_eq!(given, format!(r#"{{"v":{expected}}}"#), "{template}");
    }
}

#[test]
fn the_first_that_is_true_is_chosen_else_the_last() {
    for (template, expected) in [
        ("{{ payload.orderId or payload.x }}", r#"{"v":"o-1"}"#),
        ("{{ payload.x or payload.orderId }}", r#"{"v":"o-1"}"#),
        (
            "{{ payload.none or payload.empty or payload.amount }}",
            r#"{"v":100.50}"#,
        ),
        ("{{ payload.x or payload.zero }}", r#"{"v":0}"#),
        ("{{ payload.list or 'none' }}", r#"{"v":"none"}"#),
        ("{{ payload.orderId or payload.y.z }}", r#"{"v":"o-1"}"#),
        ("{{ env.MISSING or 'there' }}", r#"{"v":"there"}"#),
        ("{{ env.EMPTY or 'there' }}", r#"{"v":"there"}"#),
        // Nothing is left out, null is not.
        ("{{ payload.none or payload.x }}", "{}"),
        ("{{ payload.x or payload.none }}", r#"{"v":null}"#),
    ] {
        let shape = serde_json::json!({ "v": template }).to_string();
        assert_eq!(json(&shape, PAYMENT).unwrap(), expected, "{template}");
    }
}

#[test]
fn what_an_event_says_of_itself_can_be_asked() {
    for (template, expected) in [
        (
            "{{ topic }} {{ name }}",
            "payment.received PAYMENT_RECEIVED",
        ),
        (
            "{{ source }}/{{ key }}/{{ seq }}",
            "node:flowpay/payer-7/1042",
        ),
        ("{{ time }}", "2026-11-21T06:00:00.123Z"),
        ("{{ id }}", "01930000-0000-7000-8000-000000000002"),
        (
            "{{ correlation_id }}",
            "01930000-0000-7000-8000-000000000001",
        ),
        (
            "{{ origin_id }} {{ occurred_at }}",
            "order-9 2026-11-21T05:59:58Z",
        ),
        (
            "{% if name == 'PAYMENT_RECEIVED' %}{{ seq }}{% endif %}",
            "1042",
        ),
        (
            "{{ occurred_at | upper }}{{ seq + 1 }}",
            "2026-11-21T05:59:58Z1043",
        ),
    ] {
        assert_eq!(text(template, "{}").unwrap(), expected, "{template}");
    }
    assert!(text("{{ causation_id }}", "{}").is_err());
}

#[test]
fn a_text_prints_values_as_they_came() {
    for (template, expected) in [
        (
            "mint:{{ payload.transactionId or payload.orderId }}",
            "mint:o-1",
        ),
        ("{{ payload.amount }}", "100.50"),
        ("{{ payload.payer.id }}", "pA"),
        ("{{ payload.payer.tags }}", r#"["vip",2]"#),
        ("a {{ '}}' }} b", "a }} b"),
        (
            "{% for tag in payload.payer.tags %}[{{ tag }}]{% endfor %}",
            "[vip][2]",
        ),
        (
            "{% if payload.amount >= 100 %}{{ payload.amount }} is much{% else %}little{% endif %}\n",
            "100.50 is much\n",
        ),
        ("{# not said #}x", "x"),
        ("a {{- payload.orderId -}} b", "ao-1b"),
        ("{{ payload.payer.tags | join('+') }}", "vip+2"),
        (
            "{{ payload.payer | tojson }}",
            r#"{"id":"p\u0041","tags":["vip",2]}"#,
        ),
        ("{{ 'a/b' | urlencode }}", "a/b"),
        ("é{{ payload.orderId | replace('o', 'ö') }}", "éö-1"),
    ] {
        assert_eq!(text(template, PAYMENT).unwrap(), expected, "{template}");
    }
}

#[test]
fn what_is_missing_is_left_out_of_objects_and_told_in_texts() {
    let shape = r#"{"a":"{{ payload.x }}","b":[1,"{{ payload.x }}",2],"c":{"d":"{{ payload.x.y[3] }}"},"e":"{{ payload.orderId }}"}"#;
    assert_eq!(
        json(shape, PAYMENT).unwrap(),
        r#"{"b":[1,null,2],"c":{},"e":"o-1"}"#
    );
    for (shape, place, what) in [
        (
            r#"{"a":{"b":["{{ payload.x }} BRL"]}}"#,
            "body.a.b",
            "payload.x",
        ),
        (r#"{"a":"no {{ payload.none }}"}"#, "body.a", "payload.none"),
        (r#""{{ payload.x }}""#, "body", "payload.x"),
    ] {
        let error = json(shape, PAYMENT).unwrap_err();
        assert_eq!(
            error,
            RenderError::Missing {
                place: place.into(),
                what: what.into()
            },
            "{shape}"
        );
    }
    let compiled = nexus_expr::Template::compile("x:{{ payload.x }}", &super::support::context());
    let event = event("{}");
    let scope = Scope::new(&event, &CATALOGUE);
    assert_eq!(compiled.unwrap().render_if_there(&scope), Ok(None));
}

#[test]
fn the_members_of_a_spread_stand_in_its_place_without_those_beside_it() {
    for (shape, expected) in [
        (
            r#"{"$":"{{ payload }}","c":3}"#,
            r#"{"a":1.50,"b":{"x": 1},"c":3}"#,
        ),
        (
            r#"{"z":0,"$":"{{ payload }}","b":2}"#,
            r#"{"z":0,"a":1.50,"b":2}"#,
        ),
        (
            r#"{"$":"{{ payload }}","b":"{{ payload.x }}"}"#,
            r#"{"a":1.50}"#,
        ),
        (r#"{"$":"{{ payload.b }}"}"#, r#"{"x":1}"#),
        (r#"{"$":"{{ payload.none }}","y":1}"#, r#"{"y":1}"#),
        (r#"{"y":1,"$":"{{ payload.none }}"}"#, r#"{"y":1}"#),
        (r#"{"y":1,"$":"{{ {} }}","z":2}"#, r#"{"y":1,"z":2}"#),
        (r#"{"$":"{{ {'k': payload.a} }}"}"#, r#"{"k":1.50}"#),
    ] {
        let payload = r#"{"a":1.50,"b":{"x": 1}}"#;
        assert_eq!(json(shape, payload).unwrap(), expected, "{shape}");
    }
    let error = json(r#"{"$":"{{ payload.a }}"}"#, r#"{"a":[1]}"#).unwrap_err();
    assert_eq!(error.to_string(), "body.$: what is named $ is no object");
}

#[test]
fn after_a_call_there_are_its_request_and_its_answer() {
    let shape = r#"{"$":"{{ request.body }}","factoryResponse":"{{ response.json }}","status":"{{ response.status }}","to":"{{ request.method }} {{ request.url }}","job":"{{ response.json.jobId }}","said":"{{ response.text | upper }}"}"#;
    let template = compiled(shape);
    let event = event("{}");
    let asked = Asked::new(
        "POST",
        "https://factory.example/api/mint",
        Bytes::from_static(br#"{"amount":100.50}"#),
    );
    for (answer, json, rest) in [
        (
            r#" {"jobId": 7.0} "#,
            r#"{"jobId": 7.0}"#,
            r#","job":7.0,"said":" {\"JOBID\": 7.0} ""#,
        ),
        ("", "null", r#","said":"""#),
        ("<html>", r#""<html>""#, r#","said":"<HTML>""#),
        (
            r#"{"a":1,"a":2}"#,
            r#""{\"a\":1,\"a\":2}""#,
            r#","said":"{\"A\":1,\"A\":2}""#,
        ),
    ] {
        let answered = Answered::new(201, &Bytes::from(answer));
        let scope = Scope::new(&event, &CATALOGUE)
            .with_request(&asked)
            .with_response(&answered);
        assert_eq!(
            template.render(&scope).unwrap(),
            format!(
                r#"{{"amount":100.50,"factoryResponse":{json},"status":201,"to":"POST https://factory.example/api/mint"{rest}}}"#
            )
        );
    }
    let scope = Scope::new(&event, &CATALOGUE).with_request(&asked);
    let uncalled = compiled(r#"{"$":"{{ request.body }}","r":"{{ response.json }}"}"#);
    assert_eq!(uncalled.render(&scope).unwrap(), r#"{"amount":100.50}"#);
}

#[test]
fn values_in_an_address_stay_values() {
    for (template, expected) in [
        (
            "{{ env.FACTORY }}/api/mint",
            "https://factory.example/api/mint",
        ),
        ("{{ env.ROOT }}/api", "https://root.example/v2/api"),
        ("{{ env.FACTORY }}", "https://factory.example/"),
        (
            "{{ env.MISSING or env.ROOT }}/x",
            "https://root.example/v2/x",
        ),
        (
            "https://a.example/{{ payload.p }}",
            "https://a.example/a%2Fb%3Fc%23%C3%A9%20..%5C",
        ),
        (
            "https://a.example/?q={{ payload.p }}&n={{ payload.n }}",
            "https://a.example/?q=a%2Fb%3Fc%23%C3%A9%20..%5C&n=1.50",
        ),
        (
            "https://a.example/{{ payload.n }}/{{ env.PATH }}",
            "https://a.example/1.50/a/b",
        ),
        (
            "https://a.example/{{ payload.n | int }}/x",
            "https://a.example/1/x",
        ),
        (
            "https://a.example?x={{ payload.dots }}",
            "https://a.example?x=..",
        ),
    ] {
        let payload = r#"{"p":"a/b?c#é ..\\","n":1.50,"dots":".."}"#;
        assert_eq!(url(template, payload).unwrap(), expected, "{template}");
    }
    for payload in [
        r#"{"a":"..","b":"x"}"#,
        r#"{"a":".","b":"x"}"#,
        r#"{"a":"x","b":"."}"#,
    ] {
        let refused = url(
            "https://a.example/{{ payload.a }}/{{ payload.b }}.",
            payload,
        );
        assert!(refused.is_err(), "{payload}: {refused:?}");
    }
    assert!(url("https://a.example/{{ payload.x }}", "{}").is_err());
}
