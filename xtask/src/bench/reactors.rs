//! `cargo xtask bench reactors`: rules that emit and rules that call, how fast, how soon, and beside what else.

use std::net::SocketAddr;

use serde::Deserialize;

use crate::{
    bench::{
        book::{Better, Book, Budget},
        peers::{Peer, free_address},
        stage::{Benchmark, Options, Stage, printed_line},
    },
    error::{Error, Result},
};

/// The benchmark.
pub(crate) const BENCHMARK: Benchmark = Benchmark {
    name: "reactors",
    what: "Rules of the configuration. Events published in batches of 250 until each has had its effect: an event that \
           is emitted (seen by a WebSocket reader), or a call to a receiver on loopback, 32 at once; client: the same \
           outgoing client calling the same receiver without an engine. Latency from sending an event, signed and \
           synced, to its call. Poison: the receiver fails every hundredth event, three attempts each. Backlog: \
           5,000 events/s of another topic while a rule calls about 100,000.",
    short: None,
    measure,
};

const EMITTING: &str = "events through a rule that emits";
const CALLING: &str = "events through a rule that calls, 32 at once";
const POISON: &str = "p99 of good events from publishing to the call, beside 1 % poison";
const TAKEN: &str = "events taken of 5,000/s, beside a backlog of 100,000";

const BUDGETS: [Budget; 2] = [
    Budget {
        case: POISON,
        of: "beside",
        to: Some("alone"),
        must: 2.0,
        aim: None,
    },
    Budget {
        case: TAKEN,
        of: "beside",
        to: Some("alone"),
        must: 0.85,
        aim: None,
    },
];

const CALL_TOPIC: &str = "bench.call";
const EMIT_TOPIC: &str = "bench.emit";
const EMITTED_TOPIC: &str = "bench.emitted";
/// No rule is for it.
const OTHER_TOPIC: &str = "bench.other";
/// Calls are timed at this rate, which leaves the machine room.
const EVENTS_PER_SECOND: u64 = 1_000;
const BESIDE_PER_SECOND: u64 = 5_000;
/// What has not arrived by then is missing.
const WITHIN_SECONDS: u64 = 120;

/// How much is published.
struct Amounts {
    throughput: u64,
    backlog: u64,
    /// How long ingress is measured beside the backlog.
    backlog_seconds: u64,
}

impl Amounts {
    fn of(options: &Options) -> Self {
        if options.seconds > 1 {
            Self {
                throughput: 40_000,
                backlog: 100_000,
                backlog_seconds: options.seconds.max(8),
            }
        } else {
            Self {
                throughput: 1_000,
                backlog: 1_000,
                backlog_seconds: 1,
            }
        }
    }
}

#[derive(Deserialize)]
struct Through {
    missing: u64,
    per_second: f64,
}

#[derive(Deserialize)]
struct Timed {
    missing: u64,
    backlog_missing: u64,
    taken_per_second: f64,
    p50_us: f64,
    p99_us: f64,
    backlog_per_second: Option<f64>,
}

/// A daemon with the rules, and where they call.
struct Ruled<'s> {
    stage: &'s Stage<'s>,
    nexus: Peer,
    receiver: SocketAddr,
}

fn measure(stage: &Stage<'_>, options: &Options, book: &mut Book) -> Result<()> {
    let amounts = Amounts::of(options);
    let receiver = free_address()?;
    let ruled = Ruled {
        stage,
        nexus: stage.nexusd_with("nexus", &rules(receiver))?,
        receiver,
    };
    for _ in 0..options.rounds {
        throughput(&ruled, options, &amounts, book)?;
        latency(&ruled, options, book)?;
        backlog(&ruled, &amounts, book)?;
    }
    book.judge(&BUDGETS);
    Ok(())
}

/// A rule for each topic, in the words of the configuration.
fn rules(receiver: SocketAddr) -> String {
    let calling = |name: &str, topic: &str| {
        format!(
            r#"
[[reactors]]
name = "{name}"
on = ["{topic}"]
concurrency = 32
retry = {{ attempts = 3, first_ms = 200, factor = 2.0, jitter = 0.2 }}
http = {{ url = "http://{receiver}/calls", timeout_ms = 10000, body = {{ mark = "{{{{ payload.mark }}}}", amount = "{{{{ payload.amount }}}}" }} }}
"#
        )
    };
    let emitting = format!(
        r#"
[[reactors]]
name = "emitting"
on = ["{EMIT_TOPIC}"]
concurrency = 32
emit = {{ topic = "{EMITTED_TOPIC}", payload = {{ mark = "{{{{ payload.mark }}}}", amount = "{{{{ payload.amount }}}}" }} }}
"#
    );
    [
        emitting,
        calling("calling", CALL_TOPIC),
        calling("draining", "bench.backlog"),
    ]
    .concat()
}

fn throughput(
    ruled: &Ruled<'_>,
    options: &Options,
    amounts: &Amounts,
    book: &mut Book,
) -> Result<()> {
    let emitted = ("emitted", EMITTED_TOPIC.to_owned());
    let rate = ruled.through(EMIT_TOPIC, amounts.throughput, emitted)?;
    book.record(EMITTING, "events/s", Better::Higher, "nexus", rate);
    let receiver = ("receiver", ruled.receiver.to_string());
    let rate = ruled.through(CALL_TOPIC, amounts.throughput, receiver)?;
    book.record(CALLING, "events/s", Better::Higher, "nexus", rate);
    let rate = ruled.client_alone(options.seconds)?;
    book.record(CALLING, "events/s", Better::Higher, "client", rate);
    Ok(())
}

/// With poison and without, which also is what a call takes on a machine that has room.
fn latency(ruled: &Ruled<'_>, options: &Options, book: &mut Book) -> Result<()> {
    // One pause of the disk is more than a hundredth of a short run.
    let seconds = match options.seconds {
        0 | 1 => options.seconds,
        seconds => seconds * 3,
    };
    let beside = [("poison-every", String::from("100"))];
    for (name, more) in [("beside", &beside[..]), ("alone", &[])] {
        let mut arguments = vec![("receiver", ruled.receiver.to_string())];
        arguments.extend(more.iter().cloned());
        let timed = ruled.timed(CALL_TOPIC, 0, EVENTS_PER_SECOND, seconds, &arguments)?;
        book.record(POISON, "us", Better::Lower, name, timed.p99_us);
        if name == "alone" {
            for (quantile, value) in [("p50", timed.p50_us), ("p99", timed.p99_us)] {
                let case = format!("1,000 events/s, from publishing to the call, {quantile}");
                book.record(&case, "us", Better::Lower, "nexus", value);
            }
        }
    }
    Ok(())
}

/// Ingress of another topic, with one reader, while a rule works off what it has before it.
fn backlog(ruled: &Ruled<'_>, amounts: &Amounts, book: &mut Book) -> Result<()> {
    let beside = [
        ("receiver", ruled.receiver.to_string()),
        ("backlog", amounts.backlog.to_string()),
    ];
    for (name, arguments) in [("beside", &beside[..]), ("alone", &[])] {
        let seconds = amounts.backlog_seconds;
        let timed = ruled.timed(OTHER_TOPIC, 1, BESIDE_PER_SECOND, seconds, arguments)?;
        let taken = timed.taken_per_second;
        book.record(TAKEN, "events/s", Better::Higher, name, taken);
        for (quantile, value) in [("p50", timed.p50_us), ("p99", timed.p99_us)] {
            let case = format!("{quantile} at 5,000/s, beside a backlog of 100,000");
            book.record(&case, "us", Better::Lower, name, value);
        }
        if let Some(rate) = timed.backlog_per_second {
            let case = "the backlog, drained beside 5,000 events/s";
            book.record(case, "events/s", Better::Higher, "nexus", rate);
        }
    }
    Ok(())
}

impl Ruled<'_> {
    /// How many events a second had their effect.
    fn through(&self, topic: &str, events: u64, effect: (&str, String)) -> Result<f64> {
        let arguments = [
            ("topic", topic.to_owned()),
            ("events", events.to_string()),
            ("seconds", WITHIN_SECONDS.to_string()),
            effect,
        ];
        let through: Through = self
            .stage
            .load("reactions", "nexus", &self.nexus, &arguments)?;
        missing("effects", through.missing)?;
        Ok(through.per_second)
    }

    fn timed(
        &self,
        topic: &str,
        readers: u64,
        events_per_second: u64,
        seconds: u64,
        more: &[(&str, String)],
    ) -> Result<Timed> {
        let mut arguments = vec![
            ("topic", topic.to_owned()),
            ("readers", readers.to_string()),
            ("events-per-second", events_per_second.to_string()),
            ("seconds", seconds.to_string()),
        ];
        arguments.extend(more.iter().cloned());
        let timed: Timed = self
            .stage
            .load("latency", "nexus", &self.nexus, &arguments)?;
        missing("deliveries", timed.missing)?;
        missing("calls about the backlog", timed.backlog_missing)?;
        Ok(timed)
    }

    /// How many calls a second the client and the receiver do without an engine.
    fn client_alone(&self, seconds: u64) -> Result<f64> {
        let mut calls = std::process::Command::new(&self.stage.binaries.load);
        calls
            .args(["calls", "--receiver", &self.receiver.to_string()])
            .args(["--concurrency", "32", "--seconds", &seconds.to_string()]);
        #[derive(Deserialize)]
        struct Calls {
            per_second: f64,
        }
        let calls: Calls = printed_line(&mut calls)?;
        Ok(calls.per_second)
    }
}

fn missing(what: &str, count: u64) -> Result<()> {
    if count > 0 {
        return Err(Error::Void(format!("{count} {what} did not arrive")));
    }
    Ok(())
}
