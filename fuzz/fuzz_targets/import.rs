//! A file of API keys.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| frontdesk_gateway::fuzzing::import(input));
