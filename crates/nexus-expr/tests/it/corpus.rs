//! What the fuzzer starts from and what it found still holds.

use std::{fs, path::Path};

#[path = "../../../../fuzz/checks/filters.rs"]
mod filters;
#[path = "../../../../fuzz/checks/templates.rs"]
mod templates;

fn corpus(of: &str) -> Vec<Vec<u8>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(of);
    let inputs = fs::read_dir(corpus).unwrap();
    let inputs: Vec<_> = inputs
        .map(|input| fs::read(input.unwrap().path()).unwrap())
        .collect();
    assert!(inputs.len() >= 8, "{of}");
    inputs
}

#[test]
fn every_filter_of_the_corpus_still_holds() {
    corpus("filters")
        .iter()
        .for_each(|input| filters::check(input));
}

#[test]
fn every_template_of_the_corpus_still_holds() {
    corpus("templates")
        .iter()
        .for_each(|input| templates::check(input));
}
