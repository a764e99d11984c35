#![no_main]

libfuzzer_sys::fuzz_target!(|text: &[u8]| openbin_gateway::upstream::fuzz::answer(text));
