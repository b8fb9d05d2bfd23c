//! Link arguments of the module.

fn main() {
    // A Rust module that is unloaded crashes at thread exit: what std keeps per thread has its
    // destructor here. `defs` makes a missing symbol an error now and not in sshd.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete,-z,defs");
    println!("cargo::rerun-if-changed=build.rs");
}
