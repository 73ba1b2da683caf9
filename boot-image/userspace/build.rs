//! `bench-init` has an entry point of its own.

fn main() {
    println!("cargo::rustc-link-arg-bin=bench-init=-nostartfiles");
    println!("cargo::rerun-if-changed=build.rs");
}
