//! Whatever is carried stays the text that its sender wrote, and nothing else is taken for a message.

use proptest::prelude::*;

use super::*;

const LIMIT_BYTES: usize = 10_000;

fn parse(text: &str) -> Result<Incoming, MessageError> {
    Incoming::parse(text.as_bytes(), LIMIT_BYTES)
}

fn raw(text: &str) -> Raw {
    RawValue::from_string(text.to_owned()).unwrap()
}

#[test]
fn what_a_message_carries_stays_as_it_was_written() {
    let result = r#"{"n": 1.0, "n2":1e400,"u":"\u0041"}"#;
    let text = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result},"own":1}}"#);
    let Incoming::Response { id, outcome } = parse(&text).unwrap() else {
        panic!("{text}");
    };
    assert_eq!(id, Some(Id::Number(1)));
    assert_eq!(outcome.unwrap().get(), result);
}

#[test]
fn a_message_is_told_by_what_it_has() {
    let request = parse(r#"{"jsonrpc":"2.0","id":"a","method":"ping"}"#);
    assert!(matches!(
        request,
        Ok(Incoming::Request {
            id: Id::Text(_),
            params: None,
            ..
        })
    ));
    let told = parse(r#"{"jsonrpc":"2.0","method":"notifications/x","params":{}}"#);
    assert!(matches!(
        told,
        Ok(Incoming::Notification {
            params: Some(_),
            ..
        })
    ));
    let null = parse(r#"{"jsonrpc":"2.0","id":3,"result":null}"#);
    assert!(matches!(
        null,
        Ok(Incoming::Response { outcome: Ok(_), .. })
    ));
    let nameless = parse(r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"?"}}"#);
    let Ok(Incoming::Response {
        id: None,
        outcome: Err(error),
    }) = nameless
    else {
        panic!("{nameless:?}");
    };
    assert_eq!((error.code, error.message.as_str()), (PARSE_ERROR, "?"));
}

#[test]
fn an_error_that_is_not_as_it_should_be_is_an_error_still() {
    let text = r#"{"jsonrpc":"2.0","id":3,"error":{"code":"E_OOPS","data":[1.0]}}"#;
    let Ok(Incoming::Response {
        outcome: Err(error),
        ..
    }) = parse(text)
    else {
        panic!("{text}");
    };
    assert_eq!((error.code, error.message.as_str()), (INTERNAL_ERROR, ""));
    assert_eq!(error.data.unwrap().get(), "[1.0]");
}

#[test]
fn what_is_no_message_is_refused() {
    for text in [
        "",
        "starting …",
        "7",
        "[]",
        r#"["2.0",1,"ping"]"#,
        "{}",
        r#"{"jsonrpc":"1.0","id":1,"result":1}"#,
        r#"{"jsonrpc":"2.0"}"#,
        r#"{"jsonrpc":"2.0","id":1}"#,
        r#"{"jsonrpc":"2.0","id":1.5,"result":1}"#,
        r#"{"jsonrpc":"2.0","id":[1],"method":"a"}"#,
        r#"{"jsonrpc":"2.0","id":null,"method":"a"}"#,
        r#"{"jsonrpc":"2.0","result":1}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"a","result":1}"#,
        r#"{"jsonrpc":"2.0","id":1,"id":2,"result":1}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":1} x"#,
    ] {
        assert!(parse(text).is_err(), "{text}");
    }
    let long = format!(
        r#"{{"jsonrpc":"2.0","id":1,"result":"{}"}}"#,
        "x".repeat(LIMIT_BYTES)
    );
    assert!(matches!(
        parse(&long),
        Err(MessageError::TooLarge {
            limit_bytes: LIMIT_BYTES
        })
    ));
}

#[test]
fn an_answer_in_parts_is_the_same_as_one_that_was_put_together() {
    let result = r#"{"tools":[]}"#;
    for id in [Id::Number(-4), Id::Text("a\"b\n".into())] {
        let parts = Response::ending_with(&id, format!("{result}}}").into());
        let whole = response(Some(&id), &Ok(raw(result)));
        assert_eq!(parts.len(), whole.len());
        assert_eq!(parts.whole(), whole);
    }
}

#[test]
fn a_message_is_one_line_whatever_it_carries() {
    let params = raw("{\n \"a\": \"\\n\",\r\n \"b\": 1\n}");
    let line = request(&Id::Number(4), "tools/call", Some(&params));
    let expected =
        r#"{"jsonrpc":"2.0","id":4,"method":"tools/call","params":{  "a": "\n",   "b": 1 }}"#;
    assert_eq!(String::from_utf8(line).unwrap(), expected);
    let error = RpcError {
        code: -1,
        message: "no\nway".to_owned(),
        data: Some(raw("[\n]")),
    };
    let expected =
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":-1,"message":"no\nway","data":[ ]}}"#;
    assert_eq!(
        String::from_utf8(response(None, &Err(error))).unwrap(),
        expected
    );
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(id: i64, method: String, text: String) {
        let params = raw(&serde_json::to_string(&text).unwrap());
        let ids = [Id::Number(id), Id::Text(text.clone().into())];
        for wanted in ids {
            let line = request(&wanted, &method, Some(&params));
            prop_assert!(!line.contains(&b'\n'));
            let read = Incoming::parse(&line, LIMIT_BYTES * 10).unwrap();
            prop_assert_eq!(read.encode(), line);
            let Incoming::Request { id, method: read, params: Some(carried) } = read else {
                panic!("not a request");
            };
            prop_assert_eq!((id, &*read), (wanted, method.as_str()));
            prop_assert_eq!(carried.get(), params.get());
        }
    }

    #[test]
    fn no_bytes_make_it_fail(bytes: Vec<u8>) {
        let _ = Incoming::parse(&bytes, LIMIT_BYTES);
    }
}
