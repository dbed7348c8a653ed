//! Mistakes in filters are told when they are made, with their place.

use nexus_core::{Coded, Kind};
use nexus_expr::{FILTER_BYTES_MAX, FILTER_PATTERNS_MAX, compile_filter};

#[track_caller]
fn refused(filter: &str, line: usize, column: usize, part: &str) {
    let error = compile_filter(filter).expect_err(filter);
    assert_eq!(
        (error.line, error.column),
        (line, column),
        "{filter}: {error}"
    );
    assert!(error.message.contains(part), "{filter}: {error}");
    assert_eq!(
        (error.kind(), error.code()),
        (Kind::Malformed, "invalid-filter")
    );
}

#[test]
fn what_is_not_written_as_a_filter() {
    refused("", 1, 1, "");
    refused("payload.amount >", 1, 17, "");
    refused("payload.amount > 100 &&\n & true", 2, 2, "");
    refused("(payload.amount > 1", 1, 20, "missing ')'");
    refused("topic == 'x", 1, 10, "");
    refused("topic = 'x'", 1, 7, "");
    refused("payload.a payload.b", 1, 11, "");
    refused("99999999999999999999 == seq", 1, 1, "invalid int literal");
    refused(
        "topic == 'é' && seq == 99999999999999999999",
        1,
        24,
        "invalid int literal",
    );
    refused("topic == 'é' && has.x(1) == ?", 1, 29, "");
}

#[test]
fn names_that_there_are_not() {
    refused("sauce == 'x'", 1, 1, "no `sauce`; there are id, topic");
    refused("topic == 'é' ||\n  amount > 1", 2, 3, "no `amount`");
    refused("payload.items.exists(i, j.x)", 1, 25, "no `j`");
    refused("payload.items.exists(i, i.x) && i.x", 1, 33, "no `i`");
    refused("topic == 'ü' && foo(topic)", 1, 17, "no function `foo`");
    refused("payload.a.trim() == 'x'", 1, 11, "no function `trim`");
    refused(
        "true && payload.a.startsWith ()",
        1,
        19,
        "is not called like this",
    );
    refused("startsWith(topic, 'a')", 1, 1, "is not called like this");
    refused("source.kind == 'node'", 1, 8, "has no members");
}

#[test]
fn what_could_never_hold() {
    refused("seq", 1, 1, "a condition is wanted here, this is a number");
    refused("topic && true", 1, 1, "this is a text");
    refused("payload.a && 'x'", 1, 14, "this is a text");
    refused("1 + 1", 1, 3, "this is a number");
    refused("!size(topic)", 1, 2, "this is a number");
    refused("payload.tags.filter(t, t == 'x')", 1, 14, "this is a list");
    refused("seq.startsWith('1')", 1, 1, "a text is wanted");
    refused("time > 'yesterday'", 1, 8, "write a time");
    refused("timestamp('now') < time", 1, 11, "write a time");
    refused("time + 1 > 2", 1, 1, "a time");
    refused("payload.a < null", 1, 13, "null is neither");
    refused("topic.exists(i, true)", 1, 1, "a list is wanted");
    refused("has(1)", 1, 5, "has() takes a member");
    refused(
        "payload.a == {'b': 1}",
        1,
        14,
        "an object cannot be written",
    );
    refused("payload.a == b'x'", 1, 14, "no bytes");
}

#[test]
fn patterns_are_compiled_with_the_filter() {
    refused("topic.matches('(')", 1, 15, "unclosed group");
    refused(
        "topic.matches(payload.pattern)",
        1,
        23,
        "has to be written as a text",
    );
    refused(
        r"topic.matches('(a)\\1')",
        1,
        15,
        "backreferences are not supported",
    );
    refused("topic.matches('((a{1,500}){1,500}){1,500}')", 1, 15, "");
    let many = |count: usize| vec!["topic.matches('a')"; count].join("&&");
    assert!(compile_filter(&many(FILTER_PATTERNS_MAX)).is_ok());
    refused(&many(FILTER_PATTERNS_MAX + 1), 1, 175, "at most 8 patterns");
}

#[test]
fn what_is_too_much() {
    let long = format!("topic == '{}'", "x".repeat(FILTER_BYTES_MAX));
    refused(&long, 1, 1, "at most 4096 bytes");
    let deep = |depth: usize| format!("{}true{}", "(".repeat(depth), ")".repeat(depth));
    assert!(compile_filter(&deep(32)).is_ok());
    refused(&deep(33), 1, 33, "32 levels");
    refused(&deep(2000), 1, 33, "32 levels");
    refused(
        &format!("{}true", "false ? false : ".repeat(33)),
        1,
        519,
        "32 levels",
    );
    let sum = |terms: usize| format!("{} > 0", vec!["seq"; terms].join("+"));
    assert!(compile_filter(&sum(30)).is_ok());
    refused(&sum(100), 1, 272, "32 levels");
    assert!(compile_filter(&vec!["payload.a == 1"; 200].join(" || ")).is_ok());
    refused(
        "payload.a.all(i, payload.b.all(j, i == j))",
        1,
        28,
        "cannot stand in another",
    );
    refused(
        "payload.a.all(i, i.map(j, j).size() == 1)",
        1,
        20,
        "cannot stand in another",
    );
}
