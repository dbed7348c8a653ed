//! Feeds `filters`: what must hold for every input is in `checks/filters.rs`.
#![no_main]

#[path = "../checks/filters.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::check(input));
