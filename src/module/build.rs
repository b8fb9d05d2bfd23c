//! Link arguments of the module.

use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    // A Rust module that is unloaded crashes at thread exit: what std keeps per thread has its
    // destructor here.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    // Of a sanitizer there is one runtime in a process, which the program brings along.
    if env::var_os("CARGO_CFG_SANITIZE").is_none() {
        // A missing symbol is an error now and not in sshd.
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,defs");
        contain_the_unwinder()?;
    }
    if loads_packed_relocations() {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,pack-relative-relocs");
    }
    println!("cargo::rerun-if-changed=build.rs");
    Ok(())
}

/// Has the compiler's own libgcc_eh taken for the libgcc_s.so that std asks for. As a library of its own the unwinder is
/// found, mapped and bound anew in each process, for a panic that never comes: a third of what a first login costs.
fn contain_the_unwinder() -> Result<(), Box<dyn Error>> {
    if env::var("CARGO_CFG_TARGET_ENV").as_deref() != Ok("gnu") {
        return Ok(());
    }
    let folder = env::var("OUT_DIR")?;
    // A script of the linker's, which looks here first.
    fs::write(
        Path::new(&folder).join("libgcc_s.so"),
        "INPUT ( -lgcc_eh )\n",
    )?;
    println!("cargo::rustc-cdylib-link-arg=-L{folder}");
    Ok(())
}

/// Whether the C library that is built for knows DT_RELR, which glibc does from 2.36 on. It takes 20 KB
/// off the module.
fn loads_packed_relocations() -> bool {
    if env::var("HOST") != env::var("TARGET") {
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
