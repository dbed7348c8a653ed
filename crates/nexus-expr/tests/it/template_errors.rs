//! What is no template, and where that is told.

use nexus_expr::{JsonTemplate, Shape, Template, TemplateContext, UrlTemplate};

use super::support::context;

#[test]
fn a_mistake_is_told_with_its_place() {
    for (text, line, column, message) in [
        ("a {{ payload.x", 1, 3, "this {{ has no }}"),
        ("a {% if x", 1, 3, "this {% has no %}"),
        ("é\né {{ pyload.x }}", 2, 6, "\"pyload\" is not known here"),
        (
            "{{ payload.x or pyload }}",
            1,
            17,
            "\"pyload\" is not known here",
        ),
        ("{{ 1 + pyload }}", 1, 8, "\"pyload\" is not known here"),
        (
            "{{ payload.x | uper }}",
            1,
            16,
            "there is no filter \"uper\"",
        ),
        (
            "{{ payload.x is odd and payload.y is wrong }}",
            1,
            38,
            "there is no test \"wrong\"",
        ),
        (
            "{{ payload.x.upper() }}",
            1,
            14,
            "values have no methods: write x | upper",
        ),
        ("{{ range(3) }}", 1, 4, "\"range\" is not known here"),
        (
            "{% include 'x' %}",
            1,
            4,
            "there is no statement \"include\" here",
        ),
        (
            "{% macro a() %}{% endmacro %}",
            1,
            4,
            "there is no statement \"macro\" here",
        ),
        (
            "ab\n{% for x in payload.x %}{{ y }}{% endfor %}",
            2,
            28,
            "\"y\" is not known here",
        ),
        (
            "{{ env }}",
            1,
            4,
            "variables of the environment are written env.NAME",
        ),
        (
            "{{ env | length }}",
            1,
            4,
            "variables of the environment are written env.NAME",
        ),
        (
            "{{ env.A.B }}",
            1,
            4,
            "variables of the environment are written env.NAME",
        ),
        ("{{ topic.x }}", 1, 4, "topic has no members"),
        ("{{ topic[0] }}", 1, 4, "topic has no items"),
        ("{{ request.head }}", 1, 4, "of a request there are"),
        ("{{ response.body }}", 1, 4, "of a response there are"),
        ("{{ }}", 1, 1, ""),
        ("{{ payload. }}", 1, 1, ""),
        ("{{ payload.x payload.y }}", 1, 1, ""),
        ("{% if payload.x %}", 1, 1, ""),
    ] {
        let error = Template::compile(text, &context()).expect_err(text);
        assert!(error.message.starts_with(message), "{text}: {error}");
        if message.is_empty() {
            assert!(!error.message.is_empty(), "{text}");
        } else {
            assert_eq!(
                (error.line, error.column),
                (line, column),
                "{text}: {error}"
            );
        }
    }
}

#[test]
fn only_what_follows_a_call_has_its_request_and_answer() {
    for text in [
        "{{ request.body }}",
        "{{ response.json.id }}",
        "{{ response.status + 1 }}",
    ] {
        let error = Template::compile(text, &TemplateContext::default()).unwrap_err();
        assert!(
            error.message.contains("only what is emitted after a call"),
            "{error}"
        );
    }
}

#[test]
fn every_mistake_in_json_is_told_with_its_place() {
    let shape = r#"{"a":"{{ nope }}","b":[1,{"c":"{{ payload.x | nope }}"}],"{{ key }}":1,"$":{"x":1},"d":{"$":"text"}}"#;
    let shape: Shape = serde_json::from_str(shape).unwrap();
    let errors = JsonTemplate::compile(&shape, "http.body", &context()).unwrap_err();
    let places: Vec<_> = errors.iter().map(|error| error.place.as_str()).collect();
    assert_eq!(
        places,
        [
            "http.body.a",
            "http.body.b[1].c",
            "http.body.{{ key }}",
            "http.body.$",
            "http.body.d.$"
        ]
    );
    assert_eq!(
        errors[0].to_string().split(": ").next(),
        Some("http.body.a"),
        "{}",
        errors[0]
    );
}

#[test]
fn variables_that_are_not_set_are_named() {
    for (text, unset) in [
        (
            "{{ env.A }}{{ env.FACTORY }}{{ env.B | upper }}",
            &["A", "B"][..],
        ),
        ("{{ env.A or env.B }}", &["B"]),
        ("{{ env.A or 'x' }}", &[]),
        ("{% if env.C %}x{% endif %}", &["C"]),
    ] {
        let template = Template::compile(text, &context()).unwrap();
        assert_eq!(template.unset(), unset, "{text}");
    }
    let url = UrlTemplate::compile("{{ env.A }}/{{ payload.x }}", &context()).unwrap();
    assert_eq!(url.unset(), ["A"]);
    let shape: Shape = serde_json::from_str(r#"{"a":["{{ env.A }}"],"b":"x{{ env.B }}"}"#).unwrap();
    let json = JsonTemplate::compile(&shape, "", &context()).unwrap();
    assert_eq!(json.unset(), ["A", "B"]);
}

#[test]
fn where_an_address_leads_is_not_up_to_an_event() {
    for text in [
        "{{ payload.url }}",
        "https://{{ payload.host }}/",
        "https://a{{ payload.host }}/",
        "https://a.example:{{ payload.port }}/",
        "https://{{ payload.user }}@a.example/",
        "{{ env.ROOT or payload.url }}",
        "{{ env.EMPTY }}{{ payload.url }}",
        "https://a{{ env.ROOT | lower }}{{ payload.host }}/",
    ] {
        let error = UrlTemplate::compile(text, &context()).expect_err(text);
        assert!(
            error.message.contains("does not come from an event"),
            "{error}"
        );
    }
    assert!(
        UrlTemplate::compile("https://a.example/{% if key %}x{% endif %}", &context()).is_err()
    );
}

#[test]
fn secrets_of_the_environment_are_not_shown() {
    let env = |_: &str| Some("hunter2".to_owned());
    let context = TemplateContext {
        env: &env,
        ..context()
    };
    let shape: Shape =
        serde_json::from_str(r#"{"a":"{{ env.A }}","b":"{{ env.B | upper }}"}"#).unwrap();
    let json = JsonTemplate::compile(&shape, "body", &context).unwrap();
    let text = Template::compile("{{ env.A }}", &context).unwrap();
    let url = UrlTemplate::compile("https://a.example/{{ env.A }}", &context).unwrap();
    let shown = format!("{json:?} {text:?} {url:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
}
