//! Which program becomes pid 1 (Linux: init/main.c, from `run_init_process` on).
#![forbid(unsafe_code)]

use crate::fs::exec::kernel_execve;
use crate::prelude::*;
use crate::{fs, kpanic};

/// Most arguments and most variables (Linux: CONFIG_INIT_ENV_ARG_LIMIT).
const MAX_INIT_ARGS: usize = 32;
/// The defaults, in this order; /bin/sh is the rescue.
const DEFAULT_INITS: [&str; 4] = ["/sbin/init", "/etc/init", "/bin/init", "/bin/sh"];

/// What the command line collected for init.
struct InitArgs {
    argv: Vec<String>,
    envp: Vec<String>,
    /// `init=`.
    execute_command: Option<String>,
    /// `rdinit=`; `None` once it was found missing.
    ramdisk_execute_command: Option<String>,
}

static ARGS: SpinLock<InitArgs> = SpinLock::new(InitArgs {
    argv: Vec::new(),
    envp: Vec::new(),
    execute_command: None,
    ramdisk_execute_command: None,
});
static RDINIT_GIVEN: core::sync::atomic::AtomicBool = core::sync::atomic::AtomicBool::new(false);

/// Adds an argument. Errors: E2BIG when there are 32 besides argv[0].
pub fn add_arg(word: &str) -> Result {
    let mut args = ARGS.lock();
    if args.argv.len() >= MAX_INIT_ARGS {
        return Err(Errno::E2BIG);
    }
    args.argv.push(String::from(word));
    Ok(())
}

/// Adds or replaces a variable. Errors: E2BIG.
pub fn add_env(name: &str, value: &str) -> Result {
    let mut args = ARGS.lock();
    let text = format!("{name}={value}");
    let same = |entry: &String| entry.split('=').next() == Some(name);
    if let Some(entry) = args.envp.iter_mut().find(|entry| same(entry)) {
        *entry = text;
        return Ok(());
    }
    // HOME and TERM are two of the 33 that Linux's vector has place for.
    if args.envp.len() + 2 > MAX_INIT_ARGS {
        return Err(Errno::E2BIG);
    }
    args.envp.push(text);
    Ok(())
}

/// What init gets besides its own name, arguments before variables, each after a blank
/// (Linux: the walk of `print_unknown_bootoptions`).
pub fn passed_to_init() -> String {
    let args = ARGS.lock();
    let words = args.argv.iter().chain(&args.envp);
    words.fold(String::new(), |text, word| format!("{text} {word}"))
}

/// `init=`: words that came before it were for another init (a boot loader's `auto`).
fn init_setup(value: &str) -> Result {
    let mut args = ARGS.lock();
    args.execute_command = Some(String::from(value));
    args.argv.clear();
    Ok(())
}
__setup!("init=", init_setup);

fn rdinit_setup(value: &str) -> Result {
    let mut args = ARGS.lock();
    args.ramdisk_execute_command = Some(String::from(value));
    args.argv.clear();
    RDINIT_GIVEN.store(true, core::sync::atomic::Ordering::Relaxed);
    Ok(())
}
__setup!("rdinit=", rdinit_setup);

/// Without its program in the initramfs, the root file system is somewhere else
/// (Linux: the end of `kernel_init_freeable`).
#[__init]
pub fn check_ramdisk_execute_command(prepare_namespace: fn()) {
    let path = ARGS
        .lock()
        .ramdisk_execute_command
        .clone()
        .unwrap_or_else(|| String::from("/init"));
    match fs::init::init_eaccess(&path) {
        Ok(()) => ARGS.lock().ramdisk_execute_command = Some(path),
        Err(errno) => {
            if RDINIT_GIVEN.load(core::sync::atomic::Ordering::Relaxed) {
                pr_warn!(
                    "check access for rdinit={path} failed: -{}, ignoring",
                    errno.code()
                );
            }
            ARGS.lock().ramdisk_execute_command = None;
            prepare_namespace();
        }
    }
}

/// Replaces the running task by a program with init's arguments (Linux: `run_init_process`).
fn run(path: &str) -> Result {
    let (argv, envp) = {
        let args = ARGS.lock();
        let mut argv = vec![String::from(path)];
        argv.extend(args.argv.iter().cloned());
        let mut envp = vec![String::from("HOME=/"), String::from("TERM=linux")];
        for variable in &args.envp {
            let name = variable.split('=').next().unwrap_or("");
            envp.retain(|entry| entry.split('=').next() != Some(name));
            envp.push(variable.clone());
        }
        (argv, envp)
    };
    pr_info!("Run {path} as init process");
    pr_debug!("  with arguments:");
    argv.iter().for_each(|arg| pr_debug!("    {arg}"));
    pr_debug!("  with environment:");
    envp.iter().for_each(|variable| pr_debug!("    {variable}"));
    let argv: Vec<&[u8]> = argv.iter().map(|arg| arg.as_bytes()).collect();
    let envp: Vec<&[u8]> = envp.iter().map(|variable| variable.as_bytes()).collect();
    kernel_execve(path, &argv, &envp)
}

/// A file that is not there is no news; other failures are (Linux: `try_to_run_init_process`).
fn try_default(path: &str) -> Result {
    let result = run(path);
    if let Err(errno) = result
        && errno != Errno::ENOENT
    {
        pr_err!(
            "Starting init: {path} exists but couldn't execute it (error -{})",
            errno.code()
        );
    }
    result
}

/// Returns when the registers of the first program are in place; panics when there is none.
pub fn run_init_process() {
    let (ramdisk, requested) = {
        let args = ARGS.lock();
        (
            args.ramdisk_execute_command.clone(),
            args.execute_command.clone(),
        )
    };
    if let Some(path) = ramdisk {
        match run(&path) {
            Ok(()) => return,
            Err(errno) => pr_err!("Failed to execute {path} (error -{})", errno.code()),
        }
    }
    if let Some(path) = requested {
        match run(&path) {
            Ok(()) => return,
            Err(errno) => kpanic!("Requested init {path} failed (error -{}).", errno.code()),
        }
    }
    if DEFAULT_INITS.iter().any(|path| try_default(path).is_ok()) {
        return;
    }
    kpanic!(
        "No working init found.  Try passing init= option to kernel. \
         See Linux Documentation/admin-guide/init.rst for guidance."
    );
}
