//! Tells the crate whether compiler-internal attributes may be used: only the kernel's own
//! (inner) build sets RUSTC_BOOTSTRAP, the host port is built without it.

fn main() {
    println!("cargo::rerun-if-env-changed=RUSTC_BOOTSTRAP");
    println!("cargo::rustc-check-cfg=cfg(bare_metal_build)");
    if std::env::var_os("RUSTC_BOOTSTRAP").is_some() {
        println!("cargo::rustc-cfg=bare_metal_build");
    }
}
