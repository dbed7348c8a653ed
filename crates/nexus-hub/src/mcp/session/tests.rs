//! What runs for a session is bounded, found by its id, and ends with it.

use super::*;
use crate::mcp::options::{ENDED_STREAM_KEPT, ENDED_STREAMS_MAX};

fn of_bytes(max: usize) -> Arc<Session> {
    let hello = Hello {
        version: Version::LATEST,
        capabilities: ClientCapabilities::default(),
    };
    let caller = crate::mcp::visitor::caller_for_test("ana");
    let budget = Budget::new("this session", max);
    Session::new("s".into(), &caller, "".into(), hello, budget)
}

#[test]
fn levels_are_ordered_and_who_says_none_gets_all() {
    let session = for_test(Version::LATEST);
    assert!(session.wants(Level::Debug));
    session.set_level(Level::Warning);
    let names = [
        "debug",
        "info",
        "notice",
        "warning",
        "error",
        "critical",
        "alert",
        "emergency",
    ];
    let wanted = names.map(|name| session.wants(Level::parse(name).unwrap()));
    assert_eq!(wanted, [false, false, false, true, true, true, true, true]);
    assert_eq!(Level::parse("warn"), None);
}

#[test]
fn a_request_runs_once_and_is_cancelled_by_its_id() {
    let session = for_test(Version::LATEST);
    let (one, text) = (Id::Number(1), Id::Text("1".into()));
    let running = session.begin(&one, 0).unwrap();
    assert_eq!(session.begin(&one, 0).unwrap_err().code, INVALID_REQUEST);
    let other = session.begin(&text, 0).unwrap();
    session.cancel(&one);
    assert!(running.cancel.is_cancelled() && !other.cancel.is_cancelled());
    drop(running);
    session.begin(&one, 0).unwrap();
    session.end();
    assert!(other.cancel.is_cancelled());
}

#[test]
fn no_session_is_worked_for_without_end() {
    let session = for_test(Version::LATEST);
    let running: Vec<_> = (0..REQUESTS_PER_SESSION_MAX)
        .map(|n| session.begin(&Id::Number(n as i64), 0).unwrap())
        .collect();
    assert!(session.begin(&Id::Number(-1), 0).is_err());
    assert!(session.idle_since().is_none());
    drop(running);
    assert!(session.idle_since().is_some());
}

#[test]
fn everything_that_a_session_holds_is_within_one_bound() {
    let session = of_bytes(1_000);
    let id = Id::Number;
    let answers: Vec<_> = (0..80).map(|_| session.streams.open()).collect();
    for (n, channel) in answers.iter().enumerate() {
        session.streams.keep(channel);
        session.give(channel, &id(n as i64), vec![b'x'; 100]);
        channel.end();
    }
    // Ten had room; of all others the client is told that they had none.
    assert!(session.make_room(1).is_err());
    let read = |channel: &Arc<Channel>| {
        let mut reader = channel.read(None);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match reader.poll_next(&mut context) {
            std::task::Poll::Ready(message) => message.map(|(_, message)| message),
            std::task::Poll::Pending => panic!("it has ended"),
        }
    };
    assert_eq!(read(&answers[9]).unwrap(), vec![b'x'; 100]);
    // It takes room for as long as anybody has it.
    let refusal: serde_json::Value = serde_json::from_slice(&read(&answers[79]).unwrap()).unwrap();
    assert_eq!(refusal["id"], 79);
    assert_eq!(refusal["error"]["data"]["code"], "too-much-unread");
    assert_eq!(refusal["error"]["data"]["limit_bytes"], 1_000);

    // So it is with what it asks for, and with what is answered at once.
    assert_eq!(session.begin(&id(1), 200).unwrap_err().code, LIMITED);
    let [_, refused] = session.hold(&id(7), vec![b'x'; 200].into());
    assert!(refused.starts_with(br#"{"jsonrpc":"2.0","id":7,"error""#));
    let shared = || Response::ending_with(&id(7), vec![b'x'; 200].into());
    let [own, refused] = session.hold(&id(7), shared());
    assert!(own.is_empty() && refused.starts_with(br#"{"jsonrpc":"2.0","id":7,"error""#));

    // What was read makes room for what was not.
    for channel in &answers {
        read(channel);
    }
    let running = session.begin(&id(1), 900).unwrap();
    assert!(session.begin(&id(2), 200).is_err());
    drop(running);
    assert!(session.begin(&id(2), 200).is_ok());
    // What others are answered as well takes room for as long as it is on its way to this client.
    let [own, on_its_way] = session.hold(&id(7), shared());
    let answer = [&own[..], &on_its_way].concat();
    assert!(answer.starts_with(br#"{"jsonrpc":"2.0","id":7,"result":xxx"#));
    drop(own);
    assert!(session.begin(&id(2), 900).is_err());
    drop(on_its_way);
    assert!(session.begin(&id(2), 900).is_ok());
}

#[test]
fn streams_are_kept_for_a_while_after_they_were_read() {
    let session = for_test(Version::LATEST);
    let streams = &session.streams;
    let numbers: Vec<_> = (0..ENDED_STREAMS_MAX + 2)
        .map(|_| {
            let channel = streams.open();
            streams.keep(&channel);
            streams.was_read(channel.number);
            channel.number
        })
        .collect();
    // The oldest made room.
    let kept = |number: &u64| streams.find(*number).is_some();
    assert!(!kept(&numbers[0]) && !kept(&numbers[1]) && kept(&numbers[2]));
    streams.forget(Instant::now());
    assert!(kept(&numbers[2]));
    let open = streams.open();
    streams.keep(&open);
    streams.forget(Instant::now() + ENDED_STREAM_KEPT);
    assert!(!kept(&numbers[2]) && kept(&open.number));
}
