//! What a template may take: steps, room, depth.

use nexus_expr::{
    JsonTemplate, RENDERED_BYTES_MAX, RenderError, SHAPE_DEPTH_MAX, Shape, TEMPLATE_BYTES_MAX,
    Template,
};

use super::support::{context, json, text};

#[test]
fn long_templates_are_refused() {
    let long = "x".repeat(TEMPLATE_BYTES_MAX + 1);
    assert!(Template::compile(&long, &context()).is_err());
    assert!(Template::compile(&long[1..], &context()).is_ok());
}

#[test]
fn deep_shapes_are_refused() {
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    let compile = |depth| {
        let shape: Shape = serde_json::from_str(&nested(depth)).unwrap();
        JsonTemplate::compile(&shape, "body", &context())
    };
    assert!(compile(SHAPE_DEPTH_MAX - 1).is_ok());
    assert!(compile(SHAPE_DEPTH_MAX).is_err());
}

#[test]
fn deep_expressions_are_refused_and_not_run_into() {
    for (open, close) in [("(", ")"), ("[", "]"), ("not ", ""), ("-", "")] {
        let text = format!("{{{{ {}1{} }}}}", open.repeat(900), close.repeat(900));
        // Whether it is refused or computed, it ends.
        if let Ok(template) = Template::compile(&text, &context()) {
            let event = super::support::event("{}");
            let scope = nexus_expr::Scope::new(&event, &super::support::CATALOGUE);
            let _ = template.render(&scope);
        }
    }
}

#[test]
fn steps_are_bounded() {
    let list = vec!["1"; 1_000].join(",");
    let payload = format!(r#"{{"l":[{list}]}}"#);
    let loops = "{% for a in payload.l %}{% for b in payload.l %}{% for c in payload.l %}{{ c }}{% endfor %}{% endfor %}{% endfor %}";
    let error = text(loops, &payload).unwrap_err();
    assert!(error.to_string().contains("too many steps"), "{error}");
}

#[test]
fn what_is_bound_does_not_double_without_end() {
    let doubled = |how: &str, times: usize| {
        let sets = how.repeat(times);
        format!("{{% set x = payload.t %}}{sets}{{{{ x | length }}}}")
    };
    for how in ["{% set x = x ~ x %}", "{% set x = x + x %}"] {
        let payload = r#"{"t":"ab"}"#;
        assert_eq!(text(&doubled(how, 4), payload).unwrap(), "32", "{how}");
        for times in [5, 150] {
            let error = Template::compile(&doubled(how, times), &context()).unwrap_err();
            // At the fifth: 23 characters, four times 19, and the brackets.
            assert_eq!(error.column, 23 + 4 * 19 + 4, "{error}");
        }
    }
    let lists = doubled("{% set x = [x, x] %}", 5);
    assert!(Template::compile(&lists, &context()).is_err());
    let loops = "{% for k, v in payload | items %}{% set y = k ~ v %}{{ y ~ ',' }}{% endfor %}";
    assert_eq!(text(loops, r#"{"a":1,"b":2}"#).unwrap(), "a1,b2,");
}

#[test]
fn what_is_rendered_is_bounded() {
    let long = "x".repeat(200 * 1024);
    let payload = format!(
        r#"{{"t":"{long}","n":100000000,"l":[{}]}}"#,
        vec!["1"; 2_000].join(",")
    );
    for template in [
        "{{ payload.t }}{{ payload.t }}{{ payload.t }}{{ payload.t }}{{ payload.t }}{{ payload.t }}",
        "{% for a in payload.l %}{{ payload.t }}{% endfor %}",
        "{{ payload.l | join(payload.t) }}",
        "{{ payload.t | replace('x', payload.t) }}",
        "{{ payload.t | replace('', payload.t) }}",
        "{{ 'ab' * payload.n }}",
    ] {
        let error = text(template, &payload).unwrap_err();
        assert!(
            matches!(error, RenderError::TooLarge { bytes_max, .. } if bytes_max == RENDERED_BYTES_MAX)
                || error.to_string().contains("too large"),
            "{template}: {error}"
        );
    }
    let shape = format!(r#"[{}]"#, [r#""{{ payload.t }}""#; 6].join(","));
    let error = json(&shape, &payload).unwrap_err();
    assert_eq!(error.to_string(), "body: larger than 1048576 bytes");
}
