#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (flat_torture::fuzz::target("torch").body)(data));
