//! Answers to the upstream client.

#![no_main]

libfuzzer_sys::fuzz_target!(|body: &[u8]| registrar::upstream::any_answer(body));
