//! Receivers that misbehave in every way, beside receivers that do not.

use std::{
    collections::BTreeMap,
    io,
    net::TcpListener as StdListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering as Atomic},
    },
    time::Duration,
};

use http::{HeaderValue, Method, header::CONTENT_TYPE};
use nexus_core::{
    Clock, NewEvent, PatternSet, ProtocolEvent, Reaction, ReactorError, Record, RetrySchedule,
};
use nexus_outbound::{Client, OutboundOptions, Outgoing, Trust};
use nexus_reactors::{Handle, TargetState, outgoing};
use nexus_testkit::receiver::Receiver;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use url::Url;

use crate::{
    bad_receiver::{Bad, Names, PRIVATE, PUBLIC, misbehave, serve, unknown_certificate},
    support::{Scripted, World, until},
};

const START_US: i64 = 1_700_000_000_000_000;
const SECOND_US: i64 = 1_000_000;
/// How long an attempt may take at who never answers, on the clock of the machine.
const TIMEOUT: Duration = Duration::from_millis(300);
/// And at who does, however long that takes on a machine that is busy: what it answers counts here.
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);
/// How many events each of the bad receivers is sent.
const EVENTS: usize = 3;
/// How many only the good ones are sent.
const GOOD_EVENTS: usize = 300;

/// The schedule: six attempts, after 1, 2, 4, 8 and 16 s.
const ALL: &[i64] = &[0, 1, 3, 7, 15, 31];
/// The same where the receiver asks for 5 s each time.
const AT_LEAST_5_S: &[i64] = &[0, 5, 10, 15, 23, 39];
const ONCE: &[i64] = &[0];

/// Attempts as they were begun: by target, then by event, in seconds since the start.
type Begun = Arc<Mutex<BTreeMap<String, BTreeMap<u64, Vec<i64>>>>>;

/// What all targets of the test share.
struct Targets {
    client: Client,
    clock: Clock,
    begun: Begun,
}

impl Targets {
    /// A target that posts each event to an address that came from outside.
    fn post(&self, name: &str, on: &[&str], url: Url, timeout: Duration) -> Scripted {
        let (client, clock, begun) = (self.client.clone(), self.clock.clone(), self.begun.clone());
        let target = name.to_owned();
        let mut reactor = Scripted::new(name, move |attempt| {
            let seconds = (clock.now_us() - START_US) / SECOND_US;
            let mut begun = begun.lock();
            let events = begun.entry(target.clone()).or_default();
            events
                .entry(attempt.event.seq.get())
                .or_default()
                .push(seconds);
            let mut call = Outgoing::new(Method::POST, url.clone(), Trust::Foreign);
            let json = HeaderValue::from_static("application/json");
            call.headers.insert(CONTENT_TYPE, json);
            call.body = attempt.event.payload.clone();
            call.timeout = timeout;
            let (client, clock) = (client.clone(), clock.clone());
            async move {
                let answer = outgoing::send(&client, call, &attempt).await;
                let answer = answer.map_err(|error| outgoing::failed(&error))?.unwrap();
                if answer.status == 410 {
                    return Err(ReactorError::gone("answered 410"));
                }
                outgoing::judged(answer, clock.now_us()).map(|_| Reaction::nothing())
            }
        });
        reactor.options.on = PatternSet::parse(on.iter().copied()).unwrap();
        reactor.options.timeout = timeout * 10;
        reactor.options.retry = RetrySchedule {
            jitter: 0.0,
            ..RetrySchedule::default()
        };
        reactor
    }
}

fn known(world: &World, event: ProtocolEvent, payload: &str) -> NewEvent {
    let known = world.log.catalogue().known_type(event);
    NewEvent::new(known, payload.to_owned())
}

/// How many attempts at each delivery of a target have ended, by event.
async fn ended(world: &World, target: &str) -> Vec<(usize, bool)> {
    let ended = |record: &Record| {
        let body: serde_json::Value = serde_json::from_slice(&record.body).unwrap();
        let attempts = body["errors"].as_array().map_or(0, Vec::len);
        (attempts, body["running"] == true)
    };
    let records = world.deliveries().await;
    let records = records.iter().filter(|record| &*record.scope == target);
    records.map(ended).collect()
}

/// The most memory that this process ever had, in KiB.
fn memory_peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.unwrap().trim().trim_end_matches(" kB");
    number.parse().unwrap()
}

/// The bad receivers: name, address, and the seconds at which each event is tried.
async fn bad_receivers(
    private: u16,
    flooded: &Arc<AtomicUsize>,
) -> Vec<(&'static str, Url, &'static [i64])> {
    let says = |head: String| Bad::Says(format!("HTTP/1.1 {head}\r\ncontent-length: 0\r\n\r\n"));
    let flood = |status| Bad::Floods(status, flooded.clone());
    let http = async |name: &str, bad| -> Url {
        let port = serve(bad).await.port();
        format!("http://{name}:{port}/hook").parse().unwrap()
    };
    let to_private = format!("301 Moved\r\nlocation: http://{PRIVATE}:{private}/");
    let tls = serve(Bad::Tls(unknown_certificate())).await.port();
    let moving = StdListener::bind((PUBLIC, private)).unwrap();
    moving.set_nonblocking(true).unwrap();
    let moving = TcpListener::from_std(moving).unwrap();
    let busy = says("503 Busy\r\nconnection: close".into());
    tokio::spawn(async move {
        while let Ok((stream, _)) = moving.accept().await {
            tokio::spawn(misbehave(stream, busy.clone()));
        }
    });
    vec![
        (
            "status-500",
            http("a.example", says("500 Oops".into())).await,
            ALL,
        ),
        (
            "status-429",
            http("a.example", says("429 Slow Down\r\nretry-after: 5".into())).await,
            AT_LEAST_5_S,
        ),
        (
            "status-301",
            http("a.example", says(to_private)).await,
            ONCE,
        ),
        ("hangs", http("a.example", Bad::Hangs).await, ALL),
        ("drips", http("a.example", Bad::Drips).await, ALL),
        (
            "floods-500",
            http("a.example", flood("500 Oops")).await,
            ALL,
        ),
        ("floods-200", http("a.example", flood("200 OK")).await, ONCE),
        ("resets", http("a.example", Bad::Resets).await, ALL),
        (
            "wrong-tls",
            format!("https://localhost.example:{tls}/").parse().unwrap(),
            ALL,
        ),
        (
            "no-tls",
            format!(
                "https://a.example:{}/",
                serve(says("200 OK".into())).await.port()
            )
            .parse()
            .unwrap(),
            ALL,
        ),
        (
            "unknown-name",
            "http://unknown.example/".parse().unwrap(),
            ALL,
        ),
        (
            "moving-name",
            format!("http://moving.example:{private}/").parse().unwrap(),
            ALL,
        ),
    ]
}

#[tokio::test]
async fn misbehaving_receivers_are_tried_on_schedule_and_delay_nobody() {
    let clock = Clock::manual(START_US);
    let world = World::with_clock(clock.clone()).await;
    let private = StdListener::bind((PRIVATE, 0)).unwrap();
    private.set_nonblocking(true).unwrap();
    let private_port = private.local_addr().unwrap().port();
    let client = Client::with_resolver(
        &OutboundOptions {
            allow_cidrs: vec![format!("{PUBLIC}/32").parse().unwrap()],
            connect_timeout_ms: 5_000,
            ..OutboundOptions::default()
        },
        Names::default(),
    )
    .unwrap();
    let targets = Targets {
        client,
        clock: clock.clone(),
        begun: Begun::default(),
    };
    let flooded = Arc::new(AtomicUsize::new(0));
    let bad = bad_receivers(private_port, &flooded).await;
    let mut reactors = Vec::new();
    let within = |name: &str| match name {
        "hangs" | "drips" => TIMEOUT,
        _ => ANSWERS_WITHIN,
    };
    for (name, url, _) in &bad {
        reactors.push(
            targets
                .post(name, &["mint.failed"], url.clone(), within(name))
                .shared(),
        );
    }
    let gone = Bad::Says("HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n".into());
    let gone = format!("http://a.example:{}/", serve(gone).await.port());
    let gone = targets.post(
        "gone",
        &["mint.failed"],
        gone.parse().unwrap(),
        ANSWERS_WITHIN,
    );
    // This one may hang for as long as it likes.
    let patient = format!("http://a.example:{}/", serve(Bad::Hangs).await.port());
    let long = Duration::from_secs(3_600);
    let patient = targets.post("patient", &["mint.failed"], patient.parse().unwrap(), long);
    reactors.extend([gone.shared(), patient.shared()]);
    let mut good = Vec::new();
    for name in ["good-1", "good-2", "good-3"] {
        let stub = Receiver::at(PUBLIC, |_, _| ("200 OK", "", "{}".into())).await;
        let port = stub.url().port().unwrap();
        let url = format!("http://{name}.example:{port}/").parse().unwrap();
        let both = ["mint.failed", "payment.received"];
        reactors.push(targets.post(name, &both, url, ANSWERS_WITHIN).shared());
        good.push((name, stub));
    }
    let memory_before_kib = memory_peak_kib();
    let engine = world.engine(reactors).await;
    let handle = engine.handle();

    for _ in 0..EVENTS {
        let event = known(&world, ProtocolEvent::MintFailed, r#"{"error":"no gas"}"#);
        world.publish(event).await;
    }
    for n in 0..GOOD_EVENTS {
        world.pay(&format!("tx-{n}")).await;
    }
    // All the while the patient one hangs, and nothing that waits for its time has it.
    let all = EVENTS + GOOD_EVENTS;
    until("the good ones have everything", || async {
        good.iter().all(|(_, stub)| stub.received().len() == all)
    })
    .await;
    assert_eq!(running(&handle, "patient"), EVENTS, "they still hang");

    // Time goes from one attempt to the next.
    let mut times: Vec<i64> = bad
        .iter()
        .flat_map(|(.., times)| times.iter().copied())
        .collect();
    times.sort_unstable();
    times.dedup();
    let mut now_s = 0;
    for time_s in times {
        clock.advance_us((time_s - now_s) * SECOND_US);
        now_s = time_s;
        // Whatever is written wakes them up.
        world.noise(1).await;
        for (name, _, schedule) in &bad {
            let due = schedule.iter().filter(|at| **at <= now_s).count();
            until(
                &format!("{name} was tried {due} times after {now_s} s"),
                || async {
                    let ended = ended(&world, name).await;
                    ended.len() == EVENTS && ended.iter().all(|of| *of == (due, false))
                },
            )
            .await;
        }
    }

    let begun = targets.begun.lock().clone();
    for (name, _, schedule) in &bad {
        for (seq, times) in &begun[*name] {
            assert_eq!(times, schedule, "{name} #{seq}");
        }
    }
    let letters: Vec<Record> = world.deliveries().await;
    let dead = |name: &str| {
        let of_target = |record: &&Record| &*record.scope == name && &*record.state == "dead";
        letters.iter().filter(of_target).count()
    };
    assert!(bad.iter().all(|(name, ..)| dead(name) == EVENTS));
    // The one that is gone was told so, is left alone from then on, and loses nothing.
    assert!(begun["gone"].values().all(|times| times == ONCE));
    let info = handle
        .targets()
        .into_iter()
        .find(|info| &*info.name == "gone");
    assert_eq!(info.unwrap().state, TargetState::Disabled);
    assert_eq!(dead("gone"), 0);
    assert_eq!(running(&handle, "patient"), EVENTS);
    for (name, stub) in &good {
        assert_eq!(stub.received().len(), all, "{name}: each once");
    }
    // A gigabyte was offered each time: what was taken are the buffers of sockets.
    let taken = flooded.load(Atomic::SeqCst);
    assert!(taken < 32 << 20, "{taken} bytes were taken");
    let grown_kib = memory_peak_kib() - memory_before_kib;
    assert!(grown_kib < 64 << 10, "{grown_kib} KiB more");
    // Neither the redirect nor the name that moves led where nobody may go.
    let touched = private.accept().map(drop).unwrap_err();
    assert_eq!(touched.kind(), io::ErrorKind::WouldBlock);
}

fn running(handle: &Handle, target: &str) -> usize {
    let targets = handle.targets();
    let target = targets.iter().find(|info| &*info.name == target);
    target.map_or(0, |info| info.running)
}
