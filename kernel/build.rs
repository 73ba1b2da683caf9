//! Links the kernel image by Linux's layout (`vmlinux.lds`); host builds are left alone.

fn main() {
    name_the_compiler();
    const SCRIPT: &str = "src/arch/x86/kernel/vmlinux.lds";
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={SCRIPT}");
    println!("cargo::rerun-if-env-changed=KALLSYMS_RESERVE");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("none") {
        return;
    }
    let root = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets the manifest folder");
    println!("cargo::rustc-link-arg-bin=vmlinux=-T{root}/{SCRIPT}");
    // Bytes that the symbol table gets; a second link can ask for exactly what the first one needs.
    if let Ok(bytes) = std::env::var("KALLSYMS_RESERVE") {
        println!("cargo::rustc-link-arg-bin=vmlinux=--defsym=__kallsyms_reserve={bytes}");
    }
}

/// The banner and /proc/version name the compiler.
fn name_the_compiler() {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| String::from("rustc"));
    let version = std::process::Command::new(rustc).arg("--version").output();
    if let Ok(output) = version {
        let text = String::from_utf8_lossy(&output.stdout);
        println!("cargo::rustc-env=KINDLING_RUSTC_VERSION={}", text.trim());
    }
}
