//! The example does what it says.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::process::Command;

#[test]
fn three_events_are_kept_heard_and_read_back() {
    let output = Command::new(env!("CARGO_BIN_EXE_example-core-in-memory"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    for (word, count) in [("kept at", 3), ("heard", 3), ("read", 3), ("refused", 1)] {
        assert_eq!(
            printed
                .lines()
                .filter(|line| line.starts_with(word))
                .count(),
            count,
            "{printed}"
        );
    }
}
