//! The program that the tests run inside the machine: as `/init`, or under an ordinary Linux.
//!
//! `-- run:GROUP` at the end of the kernel's command line names what to do; see [`jobs`]. Without it the program tells
//! what it was given ([`report`]). All of it holds on Linux: what fails there is wrong in the test.

mod check;
mod elf;
mod elf_file;
mod exec;
mod pid1;
mod raw;
mod report;
mod smp;
mod syscalls;
mod traps;

use check::Check;

/// What `run:NAME` stands for.
fn jobs(name: &str) -> Option<Vec<&'static [Check]>> {
    let groups = match name {
        "syscalls" => {
            return Some(syscalls::GROUPS.iter().map(|(_, checks)| *checks).collect());
        }
        "traps" => traps::CHECKS,
        "logged-traps" => traps::LOGGED,
        "elf" => elf::CHECKS,
        "exec" => exec::CHECKS,
        "smp" => smp::CHECKS,
        "storm" => smp::STORM,
        group => syscalls::GROUPS.iter().find(|(name, _)| *name == group)?.1,
    };
    Some(vec![groups])
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(part) = arguments
        .get(1)
        .and_then(|word| word.strip_prefix("child:"))
    {
        exec::child(part);
    }
    let Some(name) = arguments.iter().find_map(|word| word.strip_prefix("run:")) else {
        return report::run(&arguments);
    };
    let run = || match jobs(name) {
        Some(groups) => check::run(&groups, arguments.get(2).map(String::as_str)),
        None => println!("no such job: {name}"),
    };
    match pid1::is_pid_1() {
        true => pid1::run_in_child(run),
        false => run(),
    }
}
