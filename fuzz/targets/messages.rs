//! Feeds `messages`: what must hold for every input is in the crate, beside what it keeps to itself.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| nexus_hub::fuzzing::check_messages(input));
