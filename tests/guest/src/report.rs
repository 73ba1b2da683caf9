//! What the kernel gave to this program.

use crate::pid1;
use crate::raw;

/// Prints arguments, environment and descriptors, then ends as the variable `then` says.
pub fn run(arguments: &[String]) {
    println!("report: this is pid {}", std::process::id());
    println!("report: arguments {arguments:?}");
    let mut variables: Vec<_> = std::env::vars().collect();
    variables.sort();
    for (name, value) in variables {
        println!("report: variable {name}={value}");
    }
    if pid1::is_pid_1() {
        pid1::prepare();
    }
    for file in [
        "/proc/cmdline",
        "/proc/bootconfig",
        "/proc/sys/kernel/hostname",
    ] {
        if let Ok(text) = std::fs::read_to_string(file) {
            for line in text.lines() {
                println!("report: {file}: {line}");
            }
        }
    }
    for fd in 0..3 {
        if let Ok(target) = std::fs::read_link(format!("/proc/self/fd/{fd}")) {
            println!("report: descriptor {fd} is {}", target.display());
        }
    }
    println!("report: done");
    match std::env::var("then").as_deref() {
        Ok("quit") => {}
        Ok("exit") => std::process::exit(1),
        Ok("segv") => {
            raw::peek(std::ptr::null());
        }
        Ok("restart") => pid1::restart(),
        _ if pid1::is_pid_1() => pid1::power_off(),
        _ => {}
    }
}
