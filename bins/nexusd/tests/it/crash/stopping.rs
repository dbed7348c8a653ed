//! The daemon is ended in order, under load.

use std::time::Instant;

use super::{Load, PUBLISHERS, READERS, is_deep, loaded, stop};

/// SIGTERM under load: exit 0, whatever was kept was answered, and each reader goes on where it was told.
#[test]
fn sigterm_under_load_answers_everyone() {
    let stops = if is_deep() { 50 } else { 5 };
    let data = tempfile::tempdir().unwrap();
    let mut load = Load::new(PUBLISHERS, READERS);
    for _ in 0..stops {
        let daemon = loaded(data.path()).start();
        load.begin(daemon.address());
        load.until_read(1_000);
        let told = Instant::now();
        stop(daemon);
        println!("exit 0 after {} ms", told.elapsed().as_millis());
        load.end();
        assert_eq!(
            load.readers_told(),
            READERS,
            "each was told where to resume"
        );
    }
    let daemon = loaded(data.path()).start();
    load.settle(&daemon);
    stop(daemon);
    let verdict = load.judge(data.path());
    println!("{stops} stops: {verdict}");
    assert_eq!(verdict.seen, verdict.events, "readers saw everything");
    assert_eq!(verdict.replayed, 0, "what was kept was answered");
    assert_eq!(verdict.open_kept(), 0, "what was kept was answered");
}
