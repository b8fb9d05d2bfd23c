//! Link arguments of the module.

use std::process::Command;

fn main() {
    // A Rust module that is unloaded crashes at thread exit: what std keeps per thread has its
    // destructor here.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    // Of a sanitizer there is one runtime in a process, which the program brings along.
    if std::env::var_os("CARGO_CFG_SANITIZE").is_none() {
        // A missing symbol is an error now and not in sshd.
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,defs");
    }
    if loads_packed_relocations() {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,pack-relative-relocs");
    }
    println!("cargo::rerun-if-changed=build.rs");
}

/// Whether the C library that is built for knows DT_RELR, which glibc does from 2.36 on. It takes 20 KB
/// off the module.
fn loads_packed_relocations() -> bool {
    if std::env::var("HOST") != std::env::var("TARGET") {
        return false;
    }
    let Ok(answer) = Command::new("getconf").arg("GNU_LIBC_VERSION").output() else {
        return false;
    };
    let answer = String::from_utf8_lossy(&answer.stdout);
    let version = answer
        .trim()
        .strip_prefix("glibc 2.")
        .and_then(|minor| minor.parse().ok());
    version.is_some_and(|minor: u32| minor >= 36)
}
