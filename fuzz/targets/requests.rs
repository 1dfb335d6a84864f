//! Requests to the simulator.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| registrar::simulator::any_request(input));
