//! Feeds `frames`: what must hold for every input is in the crate, beside what it keeps to itself.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| nexus_ws::fuzzing::check_frames(input));
