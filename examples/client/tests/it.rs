//! The example runs against a Nexus in this process, twice.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on fails"
)]

use std::{ffi::OsString, process::Command};

use nexus::{
    App,
    config::{Config, Mode, Sources},
    environment::Environment,
};
use tokio_util::sync::CancellationToken;

const SECRET: &str = "example-secret-0123456789abcdef0123456789";

/// What the program prints: the numbers of the events that it followed.
fn run(url: &str) -> Vec<u64> {
    let program = env!("CARGO_BIN_EXE_example-client");
    let output = Command::new(program)
        .envs([("NEXUS_URL", url), ("NEXUS_SECRET", SECRET)])
        .output()
        .unwrap();
    let (out, err) = (&output.stdout, String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && err.is_empty(), "{err}");
    let seq = |line: &str| {
        let (position, payload) = line.split_once(' ').unwrap();
        assert!(payload.contains("voter-"), "{line}");
        position.split_once('-').unwrap().1.parse().unwrap()
    };
    String::from_utf8_lossy(out).lines().map(seq).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_run_goes_on_where_the_first_ended() {
    let folder = tempfile::tempdir().unwrap();
    let variables = [
        ("PORT", "0"),
        ("AGENTS_PORT", "0"),
        ("NEXUS_HOST", "127.0.0.1"),
        ("NEXUS_SECRET", SECRET),
    ];
    let pairs = variables.map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let sources = Sources {
        mode: Mode::Dev,
        file: None,
        environment: Environment::new(pairs).in_folder(folder.path()),
    };
    let config = Config::load(sources).expect("a good configuration").config;
    let app = App::builder(config).build().await.unwrap();
    let url = format!("http://{}", app.local_addr());
    let stop = CancellationToken::new();
    let running = tokio::spawn(app.run(stop.clone()));

    let (first, second) = tokio::task::spawn_blocking(move || (run(&url), run(&url)))
        .await
        .unwrap();
    assert_eq!((first.len(), second.len()), (3, 3));
    assert!(first[2] < second[0], "{first:?} {second:?}");
    stop.cancel();
    running.await.unwrap().unwrap();
}
