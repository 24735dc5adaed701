//! Templates, parameter mappings and the backend's URL that they make.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| frontdesk_gateway::fuzzing::mapping(input));
