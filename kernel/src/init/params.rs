//! The command line (Linux: init/main.c, kernel/params.c).
#![deny(unsafe_code)]

use core::sync::atomic::{AtomicBool, Ordering};

use crate::arch;
use crate::init::run_init;
use crate::lib::bootconfig::{self, BootConfig};
use crate::lib::cmdline;
use crate::prelude::*;

/// One `early_param` or `__setup` entry (Linux: `struct obs_kernel_param`).
pub struct ObsKernelParam {
    /// Name; a `__setup` name may end in `=`.
    pub name: &'static str,
    /// Gets the text after the name (and `=`), empty when there is none.
    pub setup: fn(&str) -> Result,
    /// Called by `parse_early_param` rather than with the other options.
    pub early: bool,
}

/// The line as /proc/cmdline shows it, never changed (Linux: `saved_command_line`).
static SAVED_COMMAND_LINE: spin::Once<String> = spin::Once::new();
/// The text of /proc/bootconfig.
static BOOTCONFIG: spin::Once<String> = spin::Once::new();
/// `kernel.*` keys of the boot configuration: they come before the boot loader's line.
static EXTRA_COMMAND_LINE: SpinLock<String> = SpinLock::new(String::new());
/// `init.*` keys of the boot configuration: they become arguments of init.
static EXTRA_INIT_ARGS: SpinLock<String> = SpinLock::new(String::new());
/// `rodata=off` leaves kernel text writable.
static RODATA_ENABLED: AtomicBool = AtomicBool::new(true);
/// The first parameter that init cannot get any more: panic once a console is there.
static PANIC_LATER: SpinLock<Option<String>> = SpinLock::new(None);

/// The whole command line.
pub fn saved_command_line() -> &'static str {
    SAVED_COMMAND_LINE.get().map_or("", String::as_str)
}

/// Text of /proc/bootconfig; empty without a boot configuration.
pub fn bootconfig_text() -> &'static str {
    BOOTCONFIG.get().map_or("", String::as_str)
}

/// Whether `mark_readonly` protects the kernel.
pub fn rodata_enabled() -> bool {
    RODATA_ENABLED.load(Ordering::Relaxed)
}

fn set_debug_rodata(value: &str) -> Result {
    match value {
        "on" => RODATA_ENABLED.store(true, Ordering::Relaxed),
        "off" => RODATA_ENABLED.store(false, Ordering::Relaxed),
        _ => return Err(Errno::EINVAL),
    }
    Ok(())
}
early_param!("rodata", set_debug_rodata);

fn accept(_value: &str) -> Result {
    Ok(())
}
// Words that other parts look up themselves, or that a boot loader leaves on the line.
early_param!("bootconfig", accept);
__setup!("BOOT_IMAGE=", accept);

/// Cuts a boot configuration off the end of the initramfs; its `kernel.*` keys come before the
/// boot loader's line (Linux: `setup_boot_config`).
#[__init]
pub fn setup_boot_config() {
    let asked = has_word(arch::boot_command_line(), "bootconfig");
    match bootconfig::find_trailer(arch::initrd_bytes()) {
        Ok(Some(trailer)) => {
            arch::set_initrd_len(trailer.initrd.len());
            use_boot_config(trailer.data);
        }
        Ok(None) if asked => {
            pr_err!("'bootconfig' found on command line, but no bootconfig found");
        }
        Ok(None) => {}
        Err(error) => pr_err!("{error}"),
    }
}

#[__init]
fn use_boot_config(text: &[u8]) {
    let parsed = match BootConfig::parse(text) {
        Ok(parsed) => parsed,
        Err(error) => {
            pr_err!(
                "Failed to parse bootconfig: {} at {}.",
                error.message,
                error.position
            );
            return;
        }
    };
    pr_info!(
        "Load bootconfig: {} bytes {} nodes",
        text.len(),
        parsed.nr_nodes()
    );
    BOOTCONFIG.call_once(|| parsed.proc_text(arch::boot_command_line()));
    *EXTRA_COMMAND_LINE.lock() = parsed.cmdline("kernel");
    *EXTRA_INIT_ARGS.lock() = parsed.cmdline("init");
}

fn has_word(line: &str, word: &str) -> bool {
    cmdline::parse_args(line).any(|arg| cmdline::parameq(arg.name, word))
}

/// Keeps the line for /proc/cmdline before anything parses it (Linux: `setup_command_line`).
#[__init]
pub fn setup_command_line() {
    let mut line = EXTRA_COMMAND_LINE.lock().clone();
    // The default line is for those who say nothing at all.
    if line.is_empty() || !arch::command_line_is_default() {
        line.push_str(arch::boot_command_line().trim());
    }
    let extra = EXTRA_INIT_ARGS.lock();
    if !extra.is_empty() {
        let separator = if has_word(&line, "--") { " " } else { " -- " };
        line.push_str(separator);
        line.push_str(extra.trim());
    }
    SAVED_COMMAND_LINE.call_once(|| line);
}

/// One line in the log.
#[__init]
pub fn print_command_line() {
    pr_notice!("Kernel command line: {}", saved_command_line());
}

/// Runs the `early_param` functions (Linux: `parse_early_param`).
#[__init]
pub fn parse_early_param() {
    for param in cmdline::parse_args(saved_command_line()) {
        for entry in arch::sections::setup_params()
            .iter()
            .filter(|entry| entry.early)
        {
            let console = entry.name == "earlycon" && param.name == "console";
            if !cmdline::parameq(param.name, entry.name) && !console {
                continue;
            }
            if (entry.setup)(param.value.unwrap_or("")).is_err() {
                pr_warn!("Malformed early option '{}'", entry.name);
            }
        }
    }
}

/// What became of one word of the command line.
enum Outcome {
    Consumed,
    Unknown,
}

/// Runs the `__setup` functions; unknown words go to init (Linux: `parse_args`,
/// `unknown_bootoption`, `print_unknown_bootoptions`).
#[__init]
pub fn parse_boot_options() {
    for param in cmdline::parse_args(saved_command_line()) {
        if let Outcome::Unknown = obsolete_checksetup(&param) {
            unknown_bootoption(&param);
        }
    }
    let unknown = run_init::passed_to_init();
    if !unknown.is_empty() && PANIC_LATER.lock().is_none() {
        pr_notice!(
            "Unknown kernel command line parameters \"{}\", will be passed to user space.",
            unknown.trim()
        );
    }
    add_words_after_dashes();
}

/// Everything after `--` is an argument of init.
fn add_words_after_dashes() {
    let mut args = cmdline::parse_args(saved_command_line());
    args.by_ref().for_each(drop);
    for arg in cmdline::parse_args(args.after_dashes().unwrap_or("")) {
        match arg.value {
            Some(value) => add_init_arg(&format!("{}={value}", arg.name)),
            None => add_init_arg(arg.name),
        }
    }
}

/// Linux: init/main.c, `obsolete_checksetup`.
fn obsolete_checksetup(param: &cmdline::Arg<'_>) -> Outcome {
    let mut had_early = false;
    for entry in arch::sections::setup_params() {
        let (name, takes_value) = match entry.name.strip_suffix('=') {
            Some(name) => (name, true),
            None => (entry.name, false),
        };
        if !cmdline::parameq(param.name, name) || takes_value && param.value.is_none() {
            continue;
        }
        if entry.early {
            had_early = true;
        } else if (entry.setup)(param.value.unwrap_or("")).is_ok() {
            return Outcome::Consumed;
        } else {
            let value = param.value.unwrap_or("");
            pr_err!("Booting kernel: `{value}' invalid for parameter `{name}'");
            return Outcome::Consumed;
        }
    }
    if had_early {
        Outcome::Consumed
    } else {
        Outcome::Unknown
    }
}

/// `name=value` becomes a variable, a word an argument; names with a dot belong to modules that
/// are not there and are dropped (Linux: `unknown_bootoption`).
fn unknown_bootoption(param: &cmdline::Arg<'_>) {
    if param.name.contains('.') {
        return;
    }
    match param.value {
        Some(value) => add_init_env(param.name, value),
        None => add_init_arg(param.name),
    }
}

fn add_init_env(name: &str, value: &str) {
    if run_init::add_env(name, value).is_err() {
        panic_later_with("env", &format!("{name}={value}"));
    }
}

fn add_init_arg(word: &str) {
    if run_init::add_arg(word).is_err() {
        panic_later_with("init", word);
    }
}

fn panic_later_with(what: &str, name: &str) {
    PANIC_LATER
        .lock()
        .get_or_insert_with(|| format!("Too many boot {what} vars at `{name}'"));
}

/// The console is there: now the message can be seen (Linux: `panic_later`).
#[__init]
pub fn panic_later() {
    let message = PANIC_LATER.lock().clone();
    if let Some(message) = message {
        crate::kpanic!("{message}");
    }
}

/// Puts a parameter into `.init.setup`; the base of `early_param!` and `__setup!`.
#[macro_export]
#[cfg_attr(target_os = "none", allow_internal_unsafe)]
#[allow(
    unsafe_code,
    reason = "vouches for link_section, which the linker script gives a meaning"
)]
macro_rules! define_setup {
    ($name:literal, $function:path, $early:literal) => {
        const _: () = {
            #[used]
            #[cfg_attr(target_os = "none", unsafe(link_section = ".init.setup"))]
            static PARAM: $crate::init::params::ObsKernelParam =
                $crate::init::params::ObsKernelParam {
                    name: $name,
                    setup: $function,
                    early: $early,
                };
        };
    };
}
/// A parameter that takes effect before memory management: `fn(&str) -> Result`.
#[macro_export]
macro_rules! early_param {
    ($name:literal, $function:path) => {
        $crate::define_setup!($name, $function, true);
    };
}
/// A parameter that is parsed with the rest of the command line.
#[macro_export]
macro_rules! __setup {
    ($name:literal, $function:path) => {
        $crate::define_setup!($name, $function, false);
    };
}
