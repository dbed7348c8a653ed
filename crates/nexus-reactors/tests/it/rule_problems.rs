//! What is wrong with a rule is told at once, all of it, each with its place.

use crate::rules_support::Ground;

const GOOD: &str = "name = \"r\"\non = \"payment.received\"\n";

#[test]
fn a_mistake_is_told_with_its_place() {
    let ground = Ground::new()
        .with("ROOT", "https://a.example")
        .with("EMPTY", "");
    for (rule, expected) in [
        (
            "",
            &["it does nothing: say http, webhook, alert or emit"][..],
        ),
        ("name2 = 1", &["name2: unknown field `name2`"]),
        (
            "http = { url = \"x\", bdy = 1 }",
            &["http.bdy: unknown field `bdy`"],
        ),
        (
            "http = { method = \"POST\" }",
            &["http: missing field `url`"],
        ),
        ("ordering = \"keys\"", &["ordering: unknown variant `keys`"]),
        (
            "when = \"payload.a >\"\nemit = { topic = \"mint.requested\" }",
            &["when: line 1, column "],
        ),
        (
            "when = \"pyload.a > 1\"\nemit = { topic = \"mint.requested\" }",
            &["when: line 1, column 1: "],
        ),
        (
            "once = \"a {{ pyload }}\"\nemit = { topic = \"mint.requested\" }",
            &["once: column 6: \"pyload\" is not known here"],
        ),
        (
            "emit = { topic = \"mint.wanted\" }",
            &["emit.topic: \"mint.wanted\" is no known event"],
        ),
        (
            "emit = { topic = \"session.connected\" }",
            &["emit.topic: session.connected is reserved"],
        ),
        (
            "emit = [{ topic = \"mint.requested\" }, { topic = \"x\", payload = { a = \"{{ b\" } }]",
            &[
                "emit[1].topic: ",
                "emit[1].payload.a: column 1: this {{ has no }}",
            ],
        ),
        (
            "emit = { topic = \"payment.received\" }",
            &["emit: it runs for payment.received itself, without when or once"],
        ),
        (
            "emit = { topic = \"mint.requested\", payload = { a = \"{{ response.json }}\" } }",
            &["emit.payload.a: column 4: there is no response here"],
        ),
        (
            "http = { url = \"{{ env.ROOT }}/\", body = { a = \"{{ response.json }}\" } }",
            &["http.body.a: column 4: there is no response here"],
        ),
        (
            "http = { url = \"{{ env.NONE }}/x\" }",
            &["http.url: the variable NONE is not set"],
        ),
        (
            "http = { url = \"{{ env.EMPTY }}/x\" }",
            &["http.url: the variable EMPTY is not set"],
        ),
        (
            "http = { url = \"https://a.example\", bearer_env = \"NONE\" }",
            &["http.bearer_env: the variable NONE is not set"],
        ),
        (
            "http = { url = \"https://a.example\", bearer_env = \"NONE\", headers = { A = \"{{ env.NO }}\" }, body = { a = \"{{ env.N }}\" } }",
            &[
                "http.headers.A: the variable NO is not set",
                "http.bearer_env: the variable NONE is not set",
                "http.body: the variable N is not set",
            ],
        ),
        (
            "http = { url = \"https://{{ payload.host }}/x\" }",
            &["http.url: column 12: the host of an address does not come from an event"],
        ),
        (
            "http = { url = \"a.example/x\" }",
            &["http.url: this is no address"],
        ),
        (
            "http = { url = \"file:///etc/passwd\" }",
            &["http.url: the address of a call begins with http:// or https://"],
        ),
        (
            "http = { url = \"https://a.example\", method = \"post\" }",
            &["http.method: the method is GET, POST"],
        ),
        (
            "http = { url = \"https://a.example\", headers = { \"a b\" = \"x\" } }",
            &["http.headers.a b: this is no name of a header"],
        ),
        (
            "http = { url = \"https://a.example\", headers = { Host = \"x\", Idempotency-Key = \"y\" } }",
            &[
                "http.headers.Host: Nexus says this header itself",
                "http.headers.Idempotency-Key: Nexus says this header itself",
            ],
        ),
        (
            "http = { url = \"https://a.example\", timeout_ms = 0 }",
            &["http.timeout_ms: is from 1 to 600000"],
        ),
        (
            "timeout_ms = 100\nhttp = { url = \"https://a.example\" }",
            &["timeout_ms: is not shorter than that of the call"],
        ),
        (
            "http = { url = \"https://a.example\" }\nwebhook = { node = \"flowpay\" }",
            &["http and webhook stand in one rule"],
        ),
        (
            "webhook = { node = \"Flow Pay\" }",
            &["webhook.node: the id of a node is"],
        ),
        (
            "webhook = { node = \"flowpay\", path = \"../x\" }",
            &["webhook.path: this is no path below"],
        ),
        (
            "webhook = { node = \"flowpay\", payload = { a = \"{{ x }}\" } }",
            &["webhook.payload.a: column 4: \"x\" is not known here"],
        ),
        (
            "alert = { message = \"{{ x }}\", cause = \"{{ y }}\" }",
            &["alert.message: column 4: ", "alert.cause: column 4: "],
        ),
        (
            "retry = { attempts = 0, first_ms = 0, factor = 0.5, jitter = 2.0 }\nalert = { message = \"x\" }",
            &[
                "retry.attempts: is from 1 to 100",
                "retry.first_ms: ",
                "retry.factor: ",
                "retry.jitter: ",
            ],
        ),
        (
            "retry = { tries = 3 }",
            &["retry.tries: unknown field `tries`"],
        ),
        (
            "concurrency = 0\nrate_per_second = 0.0\nbegin = \"now\"\nbreaker = { failures = 0, open_ms = 0 }\nalert = { message = \"x\" }",
            &[
                "concurrency: ",
                "begin: is latest, earliest or a position",
                "breaker.failures: ",
                "breaker.open_ms: ",
                "rate_per_second: ",
            ],
        ),
    ] {
        let problems = ground.problems(&format!("{GOOD}{rule}"));
        assert_eq!(problems.len(), expected.len(), "{rule}: {problems:#?}");
        for (problem, expected) in problems.iter().zip(expected) {
            assert!(problem.starts_with(expected), "{rule}: {problem}");
        }
    }
    for (rule, expected) in [
        (
            "name = \"A b\"\non = \"payment.received\"",
            "name: a name is 1 to 100 of a-z, 0-9, - and _",
        ),
        (
            "name = \"endpoint-1\"\non = \"payment.received\"",
            "name: the name of a rule does not begin with endpoint-",
        ),
        ("name = \"r\"\non = []", "on: names no event"),
        (
            "name = \"r\"\non = [\"payment.*\", \"nothing.known\"]",
            "on[1]: \"nothing.known\" is no known event and no pattern",
        ),
        ("name = \"r\"", "missing field `on`"),
    ] {
        let problems = ground.problems(&format!("{rule}\nalert = {{ message = \"x\" }}"));
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with(expected), "{rule}: {problems:?}");
    }
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let problems = Ground::new().problems(
        r#"
        name = "-"
        on = ["no.such", "payment.received"]
        when = "("
        once = "{{ x }}"
        http = { url = "{{ env.A }}", headers = { B = "{{ x }}" }, body = { c = "{{ x }}" } }
        emit = { topic = "no.such", payload = { d = "{{ x }}" } }
        retry = { attempts = 0 }
        "#,
    );
    let places: Vec<&str> = problems
        .iter()
        .filter_map(|problem| problem.split(": ").next())
        .collect();
    assert_eq!(
        places,
        [
            "on[0]",
            "retry.attempts",
            "when",
            "once",
            "http.url",
            "http.headers.B",
            "http.body.c",
            "emit.topic",
            "emit.payload.d"
        ]
    );
}
