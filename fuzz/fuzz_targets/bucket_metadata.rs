#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qfs_store::fuzzing::bucket_metadata(data));
