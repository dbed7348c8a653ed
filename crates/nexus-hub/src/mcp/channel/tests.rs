//! Nothing that somebody waits for is lost, and nothing is kept without end.

use std::task::Waker;

use super::*;

fn next(reader: &mut Reader) -> Option<Option<(u64, String)>> {
    let mut context = Context::from_waker(Waker::noop());
    match reader.poll_next(&mut context) {
        Poll::Pending => None,
        Poll::Ready(read) => Some(
            read.map(|(number, message)| (number, String::from_utf8_lossy(&message).into_owned())),
        ),
    }
}

fn text(number: u64, message: &str) -> Option<Option<(u64, String)>> {
    Some(Some((number, message.to_owned())))
}

fn budget(max: usize) -> Arc<Budget> {
    Budget::new("this test", max)
}

fn says(channel: &Channel, message: &str, kind: Message) -> bool {
    channel.push(message.into(), kind).is_ok()
}

#[test]
fn a_client_that_comes_back_goes_on_where_it_was() {
    let channel = Channel::new(7, &budget(1_000));
    for message in ["a", "b", "c"] {
        assert!(says(&channel, message, Message::Notification));
    }
    let mut first = channel.read(None);
    assert_eq!(next(&mut first), text(1, "a"));
    assert_eq!(next(&mut first), text(2, "b"));

    let mut again = channel.read(Some(1));
    assert_eq!(next(&mut first), Some(None), "the older reader ends");
    assert_eq!(next(&mut again), text(2, "b"));
    assert_eq!(next(&mut again), text(3, "c"));
    assert_eq!(next(&mut again), None);
    channel.end();
    assert_eq!(next(&mut again), Some(None));
    assert_eq!(again.last(), 3);

    // Who has no id gets what nobody was given; and an id that is made up leads nowhere bad.
    assert_eq!(next(&mut channel.read(None)), Some(None));
    assert_eq!(next(&mut channel.read(Some(u64::MAX))), Some(None));
}

#[test]
fn what_was_sent_makes_room_and_what_nobody_was_sent_stays() {
    let budget = budget(usize::MAX);
    let channel = Channel::new(1, &budget);
    for number in 0..STREAM_MESSAGES_MAX {
        assert!(says(&channel, &number.to_string(), Message::Notification));
    }
    assert!(!says(&channel, "lost", Message::Notification));
    assert!(says(&channel, "question", Message::Question));
    let mut reader = channel.read(None);
    for number in 0..3 {
        let message = number.to_string();
        assert_eq!(next(&mut reader), text(number + 1, &message));
    }
    assert!(says(&channel, "kept", Message::Notification));
    // The first three are gone now, so that going on behind the first begins with the fourth.
    assert_eq!(next(&mut channel.read(Some(1))), text(4, "3"));
    assert!(budget.held() > 0);
    drop(reader);
    drop(channel);
    assert_eq!(budget.held(), 0);
}

#[test]
fn a_client_is_told_how_much_it_missed() {
    let channel = Channel::new(1, &budget(1_000));
    let long = "x".repeat(600);
    for _ in 0..3 {
        assert!(!says(&channel, &long, Message::Notification));
    }
    let missed = |read: Option<Option<(u64, String)>>| {
        let (_, message) = read.flatten().expect("it is told");
        let message: serde_json::Value = serde_json::from_str(&message).unwrap();
        assert_eq!(message["method"], "notifications/message");
        assert_eq!(message["params"]["data"]["code"], "messages-dropped");
        message["params"]["data"]["dropped"].as_u64()
    };
    let mut reader = channel.read(None);
    assert_eq!(missed(next(&mut reader)), Some(3));
    assert_eq!(next(&mut reader), None, "once");

    // An answer is the last that a client reads: it is told before that.
    assert!(!says(&channel, &long, Message::Notification));
    assert!(says(&channel, "answer", Message::Answer));
    channel.end();
    assert_eq!(missed(next(&mut reader)), Some(1));
    assert_eq!(next(&mut reader), text(3, "answer"));
    assert_eq!(next(&mut reader), Some(None));
}

#[test]
fn all_channels_share_one_bound_and_who_finds_no_room_is_told_so() {
    let budget = budget(2_000);
    let (one, other) = (Channel::new(1, &budget), Channel::new(2, &budget));
    let long = "x".repeat(1_100);
    assert!(says(&one, &long, Message::Answer));
    // Half is for what somebody waits for.
    assert!(!says(&other, "note", Message::Notification));
    assert!(says(&other, "answer", Message::Answer));
    let refused = one.push(long.clone().into(), Message::Answer).unwrap_err();
    let Unsaid::NoRoom { spent, text: back } = refused else {
        panic!("{refused:?}");
    };
    assert_eq!((spent.of, spent.max), ("this test", 2_000));
    assert_eq!(back, long.as_bytes());
    assert!(says(&one, "there is no room for it", Message::Excuse));
    // What the client was sent goes first; and on its way it still takes room.
    let mut reader = one.read(None);
    let mut context = Context::from_waker(Waker::noop());
    let Poll::Ready(Some((1, on_its_way))) = reader.poll_next(&mut context) else {
        panic!("it is there");
    };
    assert!(!says(&one, &long, Message::Answer));
    assert!(next(&mut reader).is_some());
    drop(on_its_way);
    assert!(says(&one, &long, Message::Answer));
}

#[test]
fn nothing_is_kept_for_who_comes_back_where_room_is_short() {
    let budget = budget(30);
    let channel = Channel::new(1, &budget);
    assert!(says(&channel, "0123456789", Message::Answer));
    let mut reader = channel.read(None);
    assert_eq!(next(&mut reader), text(1, "0123456789"));
    assert_eq!(next(&mut channel.read(Some(0))), text(1, "0123456789"));
    assert!(says(&channel, "0123456789", Message::Answer));
    let mut reader = channel.read(Some(1));
    assert_eq!(next(&mut reader), text(2, "0123456789"));
    assert_eq!(
        budget.held(),
        10,
        "what is older went: more than half was spent"
    );
}

#[test]
fn changes_are_told_once_and_only_when_somebody_listens() {
    let channel = Channel::new(0, &budget(1_000));
    let uri: Arc<str> = "nexus://events/\"a\"".into();
    for _ in 0..3 {
        channel.list_changed(List::Tools);
        channel.resource_updated(&uri);
    }
    let mut reader = channel.read(None);
    let tools = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
    assert_eq!(next(&mut reader), text(1, tools));
    let updated = r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"nexus://events/\"a\""}}"#;
    assert_eq!(next(&mut reader), text(2, updated));
    assert_eq!(next(&mut reader), None);
    channel.list_changed(List::Tools);
    assert_eq!(next(&mut reader), text(3, tools));
}

#[test]
fn a_list_that_is_another_is_told_also_where_there_is_no_room() {
    let budget = budget(1_000);
    let (others, channel) = (Channel::new(1, &budget), Channel::new(0, &budget));
    assert!(says(&others, &"x".repeat(1_000), Message::Answer));
    channel.list_changed(List::Prompts);
    assert!(!says(&channel, "note", Message::Notification));
    let mut reader = channel.read(None);
    let (_, dropped) = next(&mut reader).flatten().unwrap();
    assert!(dropped.contains("messages-dropped"), "{dropped}");
    let prompts = r#"{"jsonrpc":"2.0","method":"notifications/prompts/list_changed"}"#;
    assert_eq!(next(&mut reader), text(2, prompts));
    assert_eq!(next(&mut reader), None);
}

#[test]
fn what_nobody_listens_to_is_not_gathered_without_end() {
    let waiting = |uris: &mut dyn Iterator<Item = String>| {
        let budget = budget(usize::MAX);
        let channel = Channel::new(0, &budget);
        for uri in uris {
            channel.resource_updated(&uri.into());
        }
        assert!(budget.held() <= STREAM_BYTES_MAX);
        channel.state.lock().waiting.resources()
    };
    let parts = &mut (0..10_000).map(|n| format!("notes://all/{n}"));
    assert_eq!(waiting(parts), STREAM_MESSAGES_MAX);
    let long = &mut (0..100).map(|n| format!("{n}{}", "x".repeat(STREAM_BYTES_MAX / 4)));
    assert_eq!(waiting(long), 3);
}

#[tokio::test]
async fn an_answer_alone_is_whole_and_anything_else_a_stream() {
    let budget = budget(1_000);
    let patience = Duration::from_secs(60);
    let whole = Channel::new(1, &budget);
    assert!(says(&whole, "answer", Message::Answer));
    whole.end();
    let answer = vec![Bytes::from("answer")];
    assert_eq!(whole.begins(patience).await, Beginning::Whole(answer));

    let mixed = Channel::new(2, &budget);
    assert!(says(&mixed, "note", Message::Notification));
    assert_eq!(mixed.begins(patience).await, Beginning::Stream);

    let slow = Channel::new(3, &budget);
    let moment = Duration::from_millis(1);
    assert_eq!(slow.begins(moment).await, Beginning::Stream);

    // Nothing is owed to who cancelled.
    let cancelled = Channel::new(4, &budget);
    cancelled.end();
    assert_eq!(
        cancelled.begins(patience).await,
        Beginning::Whole(Vec::new())
    );
}
