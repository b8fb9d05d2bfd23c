//! Exports the clock that a test sets, so that the dynamic linker finds it before libc's.

fn main() {
    println!("cargo::rustc-link-arg=-Wl,--export-dynamic-symbol=clock_gettime");
    println!("cargo::rerun-if-changed=build.rs");
}
