//! What the fuzzer starts from and what it found still holds.

use std::{fs, path::Path};

#[path = "../../../../fuzz/checks/filters.rs"]
mod checks;

#[test]
fn every_filter_of_the_corpus_still_holds() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/filters");
    let inputs: Vec<_> = fs::read_dir(corpus).unwrap().collect();
    assert!(inputs.len() >= 8);
    for input in inputs {
        checks::check(&fs::read(input.unwrap().path()).unwrap());
    }
}
