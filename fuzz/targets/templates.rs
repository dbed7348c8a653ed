//! Feeds `templates`: what must hold for every input is in `checks/templates.rs`.
#![no_main]

#[path = "../checks/templates.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::check(input));
