//! Values that /proc/sys shows and `sysctl.` boot parameters set (Linux: kernel/sysctl.c,
//! fs/proc/proc_sysctl.c).
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering;

use crate::kernel::{panic, pid, printk, reboot, sys};
use crate::prelude::*;

/// One value. The text has no newline; reading adds it, writing takes it off.
pub struct CtlTable {
    /// Path below /proc/sys, with slashes.
    pub path: &'static str,
    /// The value as text.
    pub get: fn() -> String,
    /// Changes it; `None` for a value that cannot be written. Errors: EINVAL.
    pub set: Option<fn(&str) -> Result>,
}

static TABLES: SpinLock<Vec<&'static [CtlTable]>> = SpinLock::new(Vec::new());

/// Adds values (Linux: `register_sysctl_init`). /proc/sys shows what is registered before procfs
/// is first mounted and later ones alike.
pub fn register_sysctl(table: &'static [CtlTable]) {
    TABLES.lock().push(table);
}

/// Every value.
pub fn entries() -> Vec<&'static CtlTable> {
    TABLES
        .lock()
        .iter()
        .flat_map(|table| table.iter())
        .collect()
}

/// The value at a path with slashes.
pub fn find(path: &str) -> Option<&'static CtlTable> {
    entries().into_iter().find(|entry| entry.path == path)
}

impl CtlTable {
    /// Permissions of its file below /proc/sys.
    pub fn mode(&self) -> u32 {
        if self.set.is_some() { 0o644 } else { 0o444 }
    }
    /// What a write(2) of `text` does. Errors: EACCES for a value that cannot be written, EINVAL.
    pub fn write(&self, text: &str) -> Result {
        let set = self.set.ok_or(Errno::EACCES)?;
        set(text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\0'))
    }
}

/// A decimal number within bounds. Errors: EINVAL.
pub fn parse_number<T: core::str::FromStr + PartialOrd>(text: &str, min: T, max: T) -> Result<T> {
    let value: T = text.trim().parse().map_err(|_| Errno::EINVAL)?;
    if value < min || value > max {
        Err(Errno::EINVAL)
    } else {
        Ok(value)
    }
}

fn printk_levels() -> String {
    format!("{}\t4\t1\t7", printk::console_loglevel())
}

fn set_printk_levels(text: &str) -> Result {
    let first = text.split_ascii_whitespace().next().ok_or(Errno::EINVAL)?;
    printk::set_console_loglevel(parse_number(first, 0, 15)?);
    Ok(())
}

fn set_panic(text: &str) -> Result {
    panic::PANIC_TIMEOUT.store(parse_number(text, i32::MIN, i32::MAX)?, Ordering::Relaxed);
    Ok(())
}

fn set_panic_on_oops(text: &str) -> Result {
    let value = parse_number(text, 0, 1)?;
    panic::PANIC_ON_OOPS.store(value == 1, Ordering::Relaxed);
    Ok(())
}

fn set_panic_on_warn(text: &str) -> Result {
    let value = parse_number(text, 0, 1)?;
    panic::PANIC_ON_WARN.store(value == 1, Ordering::Relaxed);
    Ok(())
}

fn set_cad_pid(text: &str) -> Result {
    let pid = parse_number(text, 1, i32::MAX)?;
    pid::find_task(pid).ok_or(Errno::ESRCH)?;
    reboot::CAD_PID.store(pid, Ordering::Relaxed);
    Ok(())
}

/// The values of the core kernel.
static KERN_TABLE: &[CtlTable] = &[
    CtlTable {
        path: "kernel/ostype",
        get: || String::from("Linux"),
        set: None,
    },
    CtlTable {
        path: "kernel/osrelease",
        get: || String::from(crate::init::version::RELEASE),
        set: None,
    },
    CtlTable {
        path: "kernel/version",
        get: crate::init::version::version,
        set: None,
    },
    CtlTable {
        path: "kernel/arch",
        get: || String::from("x86_64"),
        set: None,
    },
    CtlTable {
        path: "kernel/hostname",
        get: sys::hostname,
        set: Some(|text| {
            sys::set_hostname(text.as_bytes());
            Ok(())
        }),
    },
    CtlTable {
        path: "kernel/domainname",
        get: sys::domainname,
        set: Some(|text| {
            sys::set_domainname(text.as_bytes());
            Ok(())
        }),
    },
    CtlTable {
        path: "kernel/printk",
        get: printk_levels,
        set: Some(set_printk_levels),
    },
    CtlTable {
        path: "kernel/tainted",
        get: || format!("{}", panic::tainted()),
        set: None,
    },
    CtlTable {
        path: "kernel/panic",
        get: || format!("{}", panic::PANIC_TIMEOUT.load(Ordering::Relaxed)),
        set: Some(set_panic),
    },
    CtlTable {
        path: "kernel/panic_on_oops",
        get: || format!("{}", u8::from(panic::PANIC_ON_OOPS.load(Ordering::Relaxed))),
        set: Some(set_panic_on_oops),
    },
    CtlTable {
        path: "kernel/panic_on_warn",
        get: || format!("{}", u8::from(panic::PANIC_ON_WARN.load(Ordering::Relaxed))),
        set: Some(set_panic_on_warn),
    },
    CtlTable {
        path: "kernel/cad_pid",
        get: || format!("{}", reboot::CAD_PID.load(Ordering::Relaxed)),
        set: Some(set_cad_pid),
    },
    CtlTable {
        path: "kernel/cap_last_cap",
        get: || String::from("40"),
        set: None,
    },
    CtlTable {
        path: "kernel/ngroups_max",
        get: || String::from("65536"),
        set: None,
    },
];

#[__init]
fn sysctl_init() -> Result {
    register_sysctl(KERN_TABLE);
    Ok(())
}
core_initcall!(sysctl_init);

/// `sysctl.name=value` (dots or a slash after `sysctl`) of the command line, applied when the
/// system runs and before the first program (Linux: `do_sysctl_args`).
pub fn do_sysctl_args() {
    for arg in crate::lib::cmdline::parse_args(crate::init::params::saved_command_line()) {
        let rest = arg
            .name
            .strip_prefix("sysctl")
            .and_then(|rest| rest.strip_prefix(['.', '/']));
        if let (Some(name), Some(value)) = (rest, arg.value) {
            process_sysctl_arg(&name.replace('.', "/"), arg.name, value);
        }
    }
}

fn process_sysctl_arg(path: &str, name: &str, value: &str) {
    let name = name.get("sysctl.".len()..).unwrap_or(name);
    let Some(entry) = find(path) else {
        pr_err!("Failed to set sysctl parameter '{name}={value}': parameter not found");
        return;
    };
    match entry.write(value) {
        Ok(()) => {}
        Err(Errno::EACCES) => {
            pr_err!(
                "Failed to set sysctl parameter '{name}={value}': permission denied (read-only?)"
            );
        }
        Err(_) => pr_err!("Failed to set sysctl parameter '{name}={value}': invalid value"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_only_value_refuses_a_write() {
        let entry = KERN_TABLE
            .iter()
            .find(|entry| entry.path == "kernel/ostype")
            .expect("there");
        assert_eq!(entry.write("Minix\n"), Err(Errno::EACCES));
    }

    #[test]
    fn a_number_must_lie_within_its_bounds() {
        assert_eq!(parse_number(" 7 ", 0, 15), Ok(7));
        assert_eq!(parse_number("16", 0, 15), Err(Errno::EINVAL));
        assert_eq!(parse_number("x", 0, 15), Err(Errno::EINVAL));
    }
}
