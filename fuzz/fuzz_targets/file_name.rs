#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::file_name_of_account(bytes));
