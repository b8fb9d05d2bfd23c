//! A process in which people log in all day: libpam loads the module and lets go of it each time. `make memory` has
//! thousands of these logins, under tools that see each access.

use std::process::Command;

#[track_caller]
fn run(arguments: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_cycles"))
        .args(arguments)
        .env("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0")
        .output()
        .expect("it starts");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {complaint}", output.status);
}

#[test]
fn t42_two_hundred_logins_leave_no_memory_and_no_file_behind() {
    run(&["200"]);
}

/// What is shipped stays loaded, since std's memory of a thread would outlive it.
#[test]
fn t42_nor_do_they_where_the_module_is_really_unloaded_after_each() {
    run(&["200", "unloaded"]);
}

#[test]
fn t42_a_process_that_loads_the_module_for_one_login_ends_as_it_should() {
    run(&["20", "anew"]);
}
