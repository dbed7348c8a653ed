//! A process under test: this very test binary, started again to run one function that publishes until it
//! is killed or the log fails.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use nexus_core::{
    Catalogue, Clock, Error, Event, From, Log, LogOptions, NewEvent, Once, PatternSet, Principal,
    Random, Seq, Service,
};
use nexus_store::{Sqlite, SqliteOptions};
use nexus_testkit::oracle::{Journal, Oracle};

/// Tells the child which folder to use; absent in an ordinary run.
const FOLDER: &str = "NEXUS_STORE_TEST_CHILD";
/// Tells the child to remove old events as well.
const PRUNES: &str = "NEXUS_STORE_TEST_PRUNES";
/// As many events it leaves.
const LEFT: u64 = 200;
/// Tells it the names of its clients, so that no two lives use one token.
const LIFE: &str = "NEXUS_STORE_TEST_LIFE";
const PUBLISHERS: usize = 16;
const READERS: usize = 2;
/// As the daemon does when the storage can no longer be trusted.
pub(crate) const EXIT_FATAL: i32 = 74;

/// The database in a folder.
pub(crate) fn database(folder: &Path) -> PathBuf {
    folder.join("nexus-log.db")
}

/// A log over a folder, with the real clock.
pub(crate) async fn open(folder: &Path) -> (Log, Service) {
    let (clock, random) = (Clock::System, Random::system());
    let options = SqliteOptions::new(database(folder));
    let (backend, pages) = Sqlite::open(options, clock.clone(), random.clone())
        .await
        .unwrap();
    let log_options = LogOptions {
        full_retry: Duration::from_millis(200),
        ..LogOptions::default()
    };
    let catalogue = Catalogue::new(Vec::new(), true).unwrap();
    Log::open(backend, pages, catalogue, log_options, clock, random)
        .await
        .unwrap()
}

/// An event with a token in its payload.
pub(crate) fn event(log: &Log, token: &str) -> NewEvent {
    let event_type = log.catalogue().resolve("test.crash").unwrap().event_type;
    NewEvent::new(event_type, format!(r#"{{"token":"{token}"}}"#))
}

/// The token in an event's payload.
pub(crate) fn token_of(event: &Event) -> Option<String> {
    let text = std::str::from_utf8(&event.payload).ok()?;
    let token = text.strip_prefix(r#"{"token":""#)?.strip_suffix(r#""}"#)?;
    Some(token.to_owned())
}

/// Publishes one event, and writes down what came of it.
pub(crate) async fn publish<W: std::io::Write>(
    log: &Log,
    journal: &Journal<W>,
    token: &str,
) -> Option<Error> {
    journal.invoke(token);
    let command = nexus_core::Command {
        events: vec![event(log, token)],
        once: Some(Once::fact("test", token)),
        ..nexus_core::Command::default()
    };
    match log.submit(&Principal::nexus(), command).await {
        Ok(receipt) => {
            journal.ok(token, receipt.first);
            None
        }
        Err(error) => {
            if matches!(error, Error::OutcomeUnknown) {
                journal.unknown(token);
            } else {
                journal.fail(token);
            }
            Some(error)
        }
    }
}

/// What the child runs; in an ordinary run there is nothing to do.
#[test]
fn child() {
    let Ok(folder) = std::env::var(FOLDER) else {
        return;
    };
    let life = std::env::var(LIFE).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let code = runtime.block_on(live(Path::new(&folder), &life));
    std::process::exit(code);
}

async fn live(folder: &Path, life: &str) -> i32 {
    let (log, service) = open(folder).await;
    let journal = Arc::new(Journal::new(std::io::stdout()));
    for publisher in 0..PUBLISHERS {
        let (log, journal) = (log.clone(), journal.clone());
        let life = life.to_owned();
        tokio::spawn(async move {
            for n in 0.. {
                let failed = publish(&log, &journal, &format!("{life}-{publisher}-{n}")).await;
                if matches!(failed, Some(Error::Closed | Error::OutcomeUnknown)) {
                    return;
                }
            }
        });
    }
    for _ in 0..READERS {
        let (log, journal) = (log.clone(), journal.clone());
        tokio::spawn(async move {
            let (mut cursor, _) = log
                .cursor(From::Latest, PatternSet::everything())
                .await
                .unwrap();
            while let Ok(page) = cursor.next().await {
                page.events.iter().for_each(|event| journal.saw(event));
            }
        });
    }
    if std::env::var_os(PRUNES).is_some() {
        tokio::spawn(prune(log.clone()));
    }
    match service.run().await {
        Ok(()) => 0,
        Err(_) => EXIT_FATAL,
    }
}

/// Removes what is old, again and again.
async fn prune(log: Log) {
    let mut head = log.head_changes();
    let mut pruned = Seq::ZERO;
    while let Ok(now) = head
        .wait_for(|head| head.get() > pruned.get() + LEFT)
        .await
        .map(|head| *head)
    {
        match log.prune(Seq::new(now.get() - LEFT)).await {
            Ok(through) => pruned = through,
            Err(_) => return,
        }
        // Until there is something new to remove.
        if head.changed().await.is_err() {
            return;
        }
    }
}

/// A child that runs, and the journal that comes out of it.
pub(crate) struct Running {
    child: Child,
    journal: BufReader<ChildStdout>,
}

impl Running {
    /// Starts the child; `through` is a program that starts it, such as a tracer, with its arguments.
    pub(crate) fn start(folder: &Path, life: &str, through: &[&str]) -> Self {
        Self::start_with(folder, life, through, &[])
    }

    /// Starts a child that also removes old events.
    pub(crate) fn start_pruning(folder: &Path, life: &str) -> Self {
        Self::start_with(folder, life, &[], &[(PRUNES, "1")])
    }

    fn start_with(folder: &Path, life: &str, through: &[&str], variables: &[(&str, &str)]) -> Self {
        let own = std::env::current_exe().unwrap();
        let mut command = match through {
            [] => Command::new(own),
            [program, arguments @ ..] => {
                let mut command = Command::new(program);
                command.args(arguments).arg(own);
                command
            }
        };
        let mut child = command
            .args([
                "--exact",
                "it::child::child",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(FOLDER, folder)
            .env(LIFE, life)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let journal = BufReader::new(child.stdout.take().unwrap());
        Self { child, journal }
    }

    /// Reads the journal until so many more events were acknowledged.
    pub(crate) fn read_oks(&mut self, oracle: &mut Oracle, more: usize) {
        let enough = oracle.oks() + more;
        let deadline = Instant::now() + Duration::from_secs(60);
        while oracle.oks() < enough {
            assert!(Instant::now() < deadline, "the child does too little");
            // Some lines at a time: counting them is slower than reading them.
            for _ in 0..64 {
                assert!(self.read_line(oracle), "the child ended by itself");
            }
        }
    }

    /// Kills the child as a power switch would, and reads what it had still written down.
    pub(crate) fn kill(mut self, oracle: &mut Oracle) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        while self.read_line(oracle) {}
    }

    /// Reads to the end of the journal, and waits for the child.
    pub(crate) fn wait(mut self, oracle: &mut Oracle) -> ExitStatus {
        while self.read_line(oracle) {}
        self.child.wait().unwrap()
    }

    fn read_line(&mut self, oracle: &mut Oracle) -> bool {
        let mut line = String::new();
        self.journal.read_line(&mut line).unwrap();
        match line.strip_suffix('\n') {
            Some(line) => {
                // The test harness writes the name of the test without an end of line.
                let entry = line.find('@').map_or("", |at| &line[at..]);
                oracle.line(entry).unwrap();
                true
            }
            None => false,
        }
    }
}

/// Reads the whole log from the store.
pub(crate) async fn read_all(log: &Log) -> Vec<Arc<Event>> {
    let (mut cursor, _) = log
        .cursor(From::Earliest, PatternSet::everything())
        .await
        .unwrap();
    let mut events = Vec::new();
    while let Some(page) = cursor.try_next().await.unwrap() {
        events.extend(page.events);
    }
    events
}

/// Opens the log after the last life, sends again what nobody knows of, and has everything judged.
pub(crate) async fn judge(folder: &Path, oracle: &mut Oracle) -> nexus_testkit::oracle::Judged {
    let (log, service) = open(folder).await;
    let service = tokio::spawn(service.run());
    let before = read_all(&log).await;
    let pruned = log.pruned_through().await.unwrap();
    let judged = oracle.judge_after(pruned, &before, token_of).unwrap();
    let journal = Journal::new(Vec::new());
    let open: Vec<String> = oracle.open().map(Into::into).collect();
    for token in &open {
        assert!(publish(&log, &journal, token).await.is_none());
    }
    for line in String::from_utf8(journal.into_inner()).unwrap().lines() {
        oracle.line(line).unwrap();
    }
    let mut head = log.head_changes();
    let stored = log.stored().seq;
    head.wait_for(|head| *head >= stored).await.unwrap();
    let added = stored.get() - pruned.get() - before.len() as u64;
    let missing = (judged.open - judged.open_kept) as u64;
    // What was sent again and had been removed on purpose is known by its key, and not added.
    assert!(added <= missing && (pruned > Seq::ZERO || added == missing));
    let after = read_all(&log).await;
    let again = oracle.judge_after(pruned, &after, token_of).unwrap();
    assert_eq!(
        again.ok,
        judged.ok + judged.open,
        "sent again, each is kept once"
    );
    log.close();
    drop(log);
    service.await.unwrap().unwrap();
    let verified = Sqlite::verify(&database(folder)).await.unwrap();
    assert_eq!((verified.last, verified.pruned_through), (stored, pruned));
    judged
}

/// Whether a test that needs something of the machine may be left out; prints why.
pub(crate) fn skip(why: &str) {
    assert!(
        std::env::var_os("NEXUS_REQUIRE_ALL").is_none(),
        "cannot run, and nothing may be left out: {why}"
    );
    println!("left out: {why}");
}
