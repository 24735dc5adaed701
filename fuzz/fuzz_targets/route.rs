//! A request's path, host and forwarding header, looked up among deployed APIs.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| frontdesk_gateway::fuzzing::route(input));
