#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qfs_server::fuzzing::http_range(data));
