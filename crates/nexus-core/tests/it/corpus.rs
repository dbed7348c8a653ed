//! What the fuzzer starts from and what it found still holds.

use std::{fs, path::Path};

#[path = "../../../../fuzz/checks/cloud_events.rs"]
mod cloud_events;
#[path = "../../../../fuzz/checks/patterns.rs"]
mod patterns;

fn replay(target: &str, check: impl Fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let inputs: Vec<_> = fs::read_dir(corpus.join(target)).unwrap().collect();
    assert!(inputs.len() >= 3);
    for input in inputs {
        check(&fs::read(input.unwrap().path()).unwrap());
    }
}

#[test]
fn every_pattern_of_the_corpus_still_holds() {
    replay("patterns", patterns::check);
}

#[test]
fn every_cloud_event_of_the_corpus_still_holds() {
    replay("cloud_events", cloud_events::check);
}
