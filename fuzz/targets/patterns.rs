//! Feeds `patterns`: what must hold for every input is in `checks/patterns.rs`.
#![no_main]

#[path = "../checks/patterns.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::check(input));
