//! What filters mean: the table of `docs/filters.md`, line by line.

use nexus_expr::compile_filter;

use super::support::{event, passes};

const PAYLOAD: &str = r#"{
    "amount": 150, "fee": 1.5, "exact": "150.00", "big": 9007199254740993, "huge": 18446744073709551615,
    "paid": true, "open": false, "nothing": null, "currency": "BRL", "code": "0150", "name": "An\u00e1 \"B\"",
    "tags": ["new", "vip"], "items": [{"sku": "a", "price": 5}, {"sku": "b", "price": "20.50"}, {"sku": "c"}],
    "payer": {"id": "payer-7", "address": {"country": "BR"}}, "at": "2026-11-21T03:00:00-03:00",
    "strange name": 1, "empty": [], "none": {}, "same": {"address": {"country": "BR"}, "id": "payer-7"}
}"#;

fn check(table: &[(&str, bool)]) {
    for (filter, expected) in table {
        assert_eq!(passes(filter, PAYLOAD), *expected, "{filter}");
    }
}

#[test]
fn the_members_of_an_event_can_be_named() {
    check(&[
        (r#"id == "01930000-0000-7000-8000-000000000002""#, true),
        (r#"topic == "payment.received""#, true),
        (r#"name == "PAYMENT_RECEIVED""#, true),
        (
            r#"source == "node:flowpay" && source.startsWith("node:")"#,
            true,
        ),
        (r#"key == "payer-7""#, true),
        ("seq == 1042 && seq > 1000", true),
        (r#"correlation_id.endsWith("0001")"#, true),
        (r#"origin_id == "order-9""#, true),
        (r#"occurred_at < "2026-11-21T06:00:00Z""#, true),
        ("has(causation_id)", false),
        ("causation_id == null && has(correlation_id)", true),
        (r#"payload.payer.address.country == "BR""#, true),
        (r#"payload["strange name"] == 1"#, true),
        (r#"payload.name == "Aná \"B\"""#, true),
    ]);
}

#[test]
fn an_event_may_be_called_by_any_of_its_names() {
    check(&[
        ("topic == 'PAYMENT_RECEIVED'", true),
        ("'FLOWPAY:PAYMENT_RECEIVED' == topic", true),
        ("name == 'payment.received'", true),
        ("name != 'FLOWPAY:PAYMENT_RECEIVED'", false),
        ("topic in ['MINT_FAILED', 'PAYMENT_RECEIVED']", true),
        ("topic == 'MINT_FAILED'", false),
        // Elsewhere a text is that text.
        ("payload.currency == 'PAYMENT_RECEIVED'", false),
        ("topic.startsWith('PAYMENT')", false),
    ]);
}

#[test]
fn times_are_compared_as_times() {
    check(&[
        (r#"time > "2026-11-21T06:00:00Z""#, true),
        (r#"time > "2026-11-21T06:00:00.2Z""#, false),
        (r#"time >= "2026-11-21T03:00:00.123456-03:00""#, true),
        (r#"time == timestamp("2026-11-21T06:00:00.123456Z")"#, true),
        ("time > timestamp(payload.at) && time > payload.at", true),
        (
            "timestamp(payload.at) == timestamp('2026-11-21T06:00:00Z')",
            true,
        ),
        ("time > payload.currency || time < payload.currency", false),
        ("time > payload.amount || time < payload.amount", false),
    ]);
}

#[test]
fn numbers_behave_as_a_person_expects() {
    check(&[
        ("payload.amount > 100", true),
        ("payload.amount == 150.0 && 150.0 == payload.amount", true),
        (
            "payload.amount * 1.5 > 224 && payload.amount * 1.5 < 226",
            true,
        ),
        ("payload.amount + payload.fee == 151.5", true),
        ("payload.amount / 100 == 1.5", true),
        ("payload.amount % 100 == 50", true),
        ("-payload.amount == -150 && 0 - payload.amount < 0", true),
        ("payload.big == 9007199254740993", true),
        ("payload.big == 9007199254740992", false),
        ("payload.big == 9007199254740992.0", false),
        ("payload.big > 9007199254740992.0", true),
        (
            "payload.huge == 18446744073709551615u && payload.huge > 1",
            true,
        ),
        ("payload.huge * payload.huge > payload.huge", true),
        ("payload.amount / 0 == 0", false),
        ("payload.amount / 0 > 0 || payload.amount / 0 <= 0", false),
        (
            "int(payload.fee) == 1 && double(payload.exact) == 150",
            true,
        ),
        (
            "string(payload.amount) == '150' && string(payload.fee) == '1.5'",
            true,
        ),
    ]);
}

#[test]
fn an_amount_in_a_text_is_a_number_where_it_meets_one() {
    check(&[
        ("payload.exact > 100 && payload.exact <= 150", true),
        (
            "payload.exact == 150 && payload.exact == payload.amount",
            true,
        ),
        ("payload.exact * 2 == 300", true),
        ("payload.exact in [100, 150]", true),
        ("100 < payload.exact", true),
        // Two texts are texts.
        (r#"payload.exact == "150""#, false),
        (r#"payload.exact > "1000""#, true),
        // Only a plain decimal is a number: a code with a leading zero is none.
        ("payload.code == 150", false),
        ("payload.code != 150", true),
        ("payload.currency > 1 || payload.currency <= 1", false),
        ("payload.exact + payload.currency == '150.00BRL'", true),
    ]);
}

#[test]
fn a_missing_member_makes_its_comparison_false() {
    check(&[
        ("payload.x == 1", false),
        ("payload.x != 1", false),
        ("payload.x > 1 || payload.x <= 1", false),
        ("payload.x == payload.y", false),
        ("payload.x.y.z == 1", false),
        ("payload.amount.x == 1", false),
        ("payload.tags.x == 1", false),
        ("!(payload.x == 1)", true),
        ("!payload.x", true),
        ("payload.x", false),
        ("payload.x == 1 || payload.amount == 150", true),
        ("payload.x + 1 > 0", false),
        ("-payload.x < 0", false),
        ("size(payload.x) == 0", false),
        ("payload.x.startsWith('')", false),
        ("payload.x in [1, 2]", false),
        ("!(payload.x in [1, 2])", true),
        ("1 in payload.x", false),
        ("payload.x.exists(i, true)", false),
        ("payload.x.all(i, true)", false),
        ("payload.x ? false : true", true),
        ("has(payload.x)", false),
        ("has(payload.x.y)", false),
        ("has(payload.payer.id) && has(payload['amount'])", true),
        ("payload.x == null", true),
        ("payload.x != null", false),
        ("payload.amount != null && null != payload.amount", true),
    ]);
}

#[test]
fn null_counts_as_missing() {
    check(&[
        ("has(payload.nothing)", false),
        ("payload.nothing == null", true),
        ("payload.nothing == 1 || payload.nothing != 1", false),
        ("'nothing' in payload", false),
        ("'paid' in payload", true),
    ]);
}

#[test]
fn what_does_not_fit_is_false() {
    check(&[
        ("payload.amount == 'BRL'", false),
        ("payload.amount != 'BRL'", true),
        ("payload.tags > 1 || payload.tags < 1", false),
        ("payload.paid > payload.open", false),
        ("payload.amount.startsWith('1')", false),
        ("payload.currency * 2 == 0", false),
        ("payload.amount", false),
        ("payload.amount && true", false),
        ("payload.currency || payload.paid", true),
        ("!payload.amount", true),
        ("payload.amount[0] == 1", false),
        ("payload.amount.exists(i, true)", false),
    ]);
}

#[test]
fn conditions_are_joined_and_chosen() {
    check(&[
        ("payload.paid", true),
        ("payload.open", false),
        ("payload.paid && !payload.open", true),
        ("payload.open || payload.paid", true),
        ("payload.paid ? payload.amount > 100 : false", true),
        ("(payload.open ? 1 : 2) == 2", true),
        ("true", true),
        ("1 < 2", true),
        ("payload.paid == true && payload.open != true", true),
    ]);
}

#[test]
fn texts() {
    check(&[
        (
            "payload.currency.startsWith('BR') && payload.currency.endsWith('L')",
            true,
        ),
        (
            "payload.currency.contains('R') && !payload.currency.contains('X')",
            true,
        ),
        (
            "payload.currency.lowerAscii() == 'brl' && 'brl'.upperAscii() == payload.currency",
            true,
        ),
        ("payload.name.size() == 7 && size(payload.name) == 7", true),
        (
            "payload.currency.matches('^[A-Z]{3}$') && matches(payload.currency, 'R')",
            true,
        ),
        ("payload.currency.matches('^x')", false),
        (r"payload.exact.matches(r'^\d{1,12}\.\d{2}$')", true),
        (r"'ana@example.org'.matches(r'^[\w.]+@\w+\.\w+$')", true),
        (
            "payload.currency < 'USD' && payload.currency >= 'BRL'",
            true,
        ),
        ("payload.currency + '-' + payload.code == 'BRL-0150'", true),
    ]);
}

#[test]
fn lists_and_objects() {
    check(&[
        ("'vip' in payload.tags && !('old' in payload.tags)", true),
        ("payload.currency in ['BRL', 'USD']", true),
        (
            "payload.tags[0] == 'new' && payload.tags[1.0] == 'vip'",
            true,
        ),
        (
            "payload.tags[2] == 'new' || payload.tags[-1] == 'vip' || payload.tags[0.5] == 'new'",
            false,
        ),
        (
            "size(payload.tags) == 2 && payload.empty.size() == 0 && size(payload.payer) == 2",
            true,
        ),
        (
            "payload.tags == ['new', 'vip'] && payload.tags != ['vip', 'new']",
            true,
        ),
        ("payload.tags == ['new']", false),
        ("payload.payer == payload.same", true),
        (
            "payload.payer == payload.none || payload.payer == payload.tags",
            false,
        ),
        ("payload.items[1].price == 20.5", true),
        ("payload.items.exists(i, i.price > 20)", true),
        ("payload.items.all(i, i.price > 1)", false),
        ("payload.items.all(i, has(i.sku))", true),
        (
            "payload.items.exists_one(i, i.price == 5) && !payload.items.exists_one(i, has(i.price))",
            true,
        ),
        ("payload.items.filter(i, i.price > 1).size() == 2", true),
        ("payload.items.map(i, i.sku) == ['a', 'b', 'c']", true),
        ("payload.items.map(i, i.price > 10, i.sku)[0] == 'b'", true),
        (
            "payload.items.filter(i, has(i.price)).exists(i, i.sku == 'b')",
            true,
        ),
        (
            "payload.empty.all(i, false) && !payload.empty.exists(i, true)",
            true,
        ),
        ("payload.payer.exists(name, name == 'id')", true),
        ("[1, 2, 3].exists(n, n * 50 == payload.amount)", true),
        (
            "payload.tags.exists(key, key == 'vip') && key == 'payer-7'",
            true,
        ),
    ]);
}

#[test]
fn an_event_without_key_or_with_an_erased_payload_has_none() {
    let mut erased = event("null");
    erased.key = None;
    for (filter, expected) in [
        ("has(key)", false),
        ("key == 'payer-7' || key != 'payer-7'", false),
        ("payload.amount > 0", false),
        ("has(payload)", false),
        ("topic == 'payment.received'", true),
    ] {
        let filter = compile_filter(filter).unwrap();
        assert_eq!(filter.matches(&erased), expected, "{filter:?}");
    }
}

#[test]
fn many_filters_look_at_events_in_turn() {
    let over: Vec<_> = (0..10)
        .map(|limit| compile_filter(&format!("payload.n > {limit}")).unwrap())
        .collect();
    for n in [0, 5, 9, 3] {
        let event = event(format!(r#"{{"n":{n}}}"#));
        let passed = over.iter().filter(|filter| filter.matches(&event)).count();
        assert_eq!(passed, n);
    }
}

#[test]
fn a_declared_event_is_called_by_its_name() {
    use std::sync::Arc;

    use nexus_core::{Catalogue, DeclaredEvent, Topic};
    use nexus_expr::compile_filter_with;

    let topic = Topic::parse("workout.completed").unwrap();
    let declared = DeclaredEvent {
        topic: topic.clone(),
        name: Some("DONE".into()),
        owner: None,
        key: Vec::new(),
        schema: None,
    };
    let catalogue = Arc::new(Catalogue::new(vec![declared], false).unwrap());
    let mut event = event("{}");
    event.topic = topic;
    assert!(
        compile_filter_with("name == 'DONE'", &catalogue)
            .unwrap()
            .matches(&event)
    );
    // Without the declarations it has the name that undeclared ones have.
    assert!(
        compile_filter("name == 'WORKOUT_COMPLETED'")
            .unwrap()
            .matches(&event)
    );
}
