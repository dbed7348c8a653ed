//! However hostile a filter and a payload are, what one evaluation may cost is bounded.

use super::support::passes;

/// About 128 Ki items in 256 KiB.
fn ones() -> String {
    format!("[{}1]", "1,".repeat(128 * 1024 - 2))
}

#[test]
fn a_filter_that_would_cost_more_than_its_budget_is_false() {
    let payload = format!(r#"{{"list":{},"n":1}}"#, ones());
    // The first item decides, so that this is cheap in however large a list.
    assert!(passes("payload.list.exists(i, i == 1)", &payload));
    assert!(passes("payload.list.size() > 100000", &payload));
    // All of them would have to be looked at.
    for filter in [
        "payload.list.all(i, i == 1)",
        "!payload.list.exists(i, i == 2)",
        "payload.list.all(i, i in payload.list)",
        "payload.list.filter(i, i == 1).size() > 0",
        "!(2 in payload.list)",
        "payload.list == payload.list",
        // The budget ends the whole filter, whatever stands beside.
        "payload.list.all(i, i == 1) || payload.n == 1",
    ] {
        assert!(!passes(filter, &payload), "{filter}");
    }
}

#[test]
fn what_is_within_the_budget_is_found() {
    let payload = format!(r#"{{"list":[{}2]}}"#, "1,".repeat(10_000));
    for filter in [
        "payload.list.exists(i, i == 2)",
        "2 in payload.list",
        "payload.list[10000] == 2",
        "payload.list.filter(i, i == 1).size() == 10000",
        "payload.list == payload.list",
    ] {
        assert!(passes(filter, &payload), "{filter}");
    }
}

#[test]
fn long_texts_are_charged_by_their_length() {
    let text = format!("{}b", "a".repeat(200 * 1024));
    let payload = format!(r#"{{"text":"{text}","list":["x","y"]}}"#);
    assert!(passes("payload.text.endsWith('b')", &payload));
    assert!(passes(
        "payload.text.contains('ab') && payload.text == payload.text",
        &payload
    ));
    // Doubled again and again, it would be gigabytes.
    let doubled = vec!["payload.text"; 25].join("+");
    assert!(!passes(&format!("size({doubled}) > 0"), &payload));
    // Each look at a text costs, also when little is done with it.
    assert!(!passes(
        "['x', 'y', 'x', 'y', 'x', 'y', 'x', 'y'].all(i, has(payload.text))",
        &payload
    ));
    assert!(!passes("payload.text.matches('(a|ab|b)*c')", &payload));
}

/// Names that are as long as the one that is asked for, and differ from it only at their end.
#[test]
fn long_names_are_charged_by_their_length() {
    let name = "n".repeat(2_000);
    let members: Vec<String> = (10..60).map(|n| format!(r#""{name}{n}":1"#)).collect();
    let payload = format!(
        r#"{{"object":{{{}}},"list":[{}7]}}"#,
        members.join(","),
        "1,".repeat(300)
    );
    assert!(passes(&format!("payload.object.{name}59 == 1"), &payload));
    for missing in [
        format!("payload.object.{name}xx"),
        format!("payload.object['{name}xx']"),
        format!("'{name}xx' in payload.object"),
    ] {
        assert!(passes(&format!("{missing} || 7 in payload.list"), &payload));
        let filter = format!("payload.list.exists(i, {missing} || i == 7)");
        assert!(!passes(&filter, &payload), "{filter}");
    }
}

#[test]
fn a_payload_as_deep_as_any_is_compared() {
    let deep = format!("{}1{}", "[".repeat(60), "]".repeat(60));
    let payload = format!(r#"{{"a":{deep},"b":{deep},"c":[{deep}]}}"#);
    assert!(passes(
        "payload.a == payload.b && payload.a != payload.c",
        &payload
    ));
}

#[test]
fn a_large_pattern_may_read_less_than_a_small_one() {
    let payload = format!(r#"{{"text":"{}"}}"#, "ab".repeat(5 * 1024));
    assert!(passes("payload.text.matches('b{2}|a(b|c)a')", &payload));
    assert!(!passes("payload.text.matches('[ab]*a[ab]{200}')", &payload));
}
