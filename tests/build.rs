//! Exports the clock that a test sets, so that the dynamic linker finds it before libc's.

fn main() {
    for symbol in ["clock_gettime", "time"] {
        println!("cargo::rustc-link-arg=-Wl,--export-dynamic-symbol={symbol}");
    }
    println!("cargo::rerun-if-changed=build.rs");
}
