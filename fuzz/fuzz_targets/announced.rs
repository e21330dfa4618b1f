#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qfs_client::fuzzing::announced(data));
