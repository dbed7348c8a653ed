//! Feeds `cloud_events`: what must hold for every input is in `checks/cloud_events.rs`.
#![no_main]

#[path = "../checks/cloud_events.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::check(input));
