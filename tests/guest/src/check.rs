//! Running checks and telling the results: `ok N name` or `not ok N name: why`.

use crate::raw::{Status, call, fork, pipe, wait_with};

/// Nothing, or what was wrong.
pub type Outcome = Result<(), String>;

/// A named check.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// A sentence, with underscores.
    pub name: &'static str,
    /// The check itself, which runs in a process and in an empty folder of its own.
    pub run: fn() -> Outcome,
}

/// The checks of a file by the names of their functions.
macro_rules! table {
    ($($name:ident),* $(,)?) => {
        &[$($crate::check::Check { name: stringify!($name), run: $name }),*]
    };
}
pub(crate) use table;

/// Both sides must be equal.
macro_rules! same {
    ($got:expr, $wanted:expr $(,)?) => {{
        let (got, wanted) = (&$got, &$wanted);
        if got != wanted {
            return Err(format!(
                "line {}: {} is {got:?}, not {wanted:?}",
                line!(),
                stringify!($got)
                    .split_whitespace()
                    .collect::<Vec<_>>()
                    .join(" "),
            ));
        }
    }};
}
pub(crate) use same;

/// Must hold.
macro_rules! holds {
    ($condition:expr $(, $($detail:tt)+)?) => {
        if !$condition {
            let detail: &[String] = &[$(format!($($detail)+))?];
            return Err(format!(
                "line {}: not {} {}",
                line!(),
                stringify!($condition).split_whitespace().collect::<Vec<_>>().join(" "),
                detail.join(""),
            ));
        }
    };
}
pub(crate) use holds;

/// The call must fail with this error.
macro_rules! fails {
    ($call:expr, $errno:ident $(,)?) => {
        $crate::check::same!($call, Err($crate::raw::Errno(libc::$errno)))
    };
}
pub(crate) use fails;

/// The call must succeed; gives its result.
macro_rules! works {
    ($call:expr $(,)?) => {
        match $call {
            Ok(result) => result,
            Err(error) => {
                return Err(format!(
                    "line {}: {}: {error:?}",
                    line!(),
                    stringify!($call)
                        .split_whitespace()
                        .collect::<Vec<_>>()
                        .join(" "),
                ));
            }
        }
    };
}
pub(crate) use works;

/// A check that takes longer has hung.
const SECONDS: u32 = 20;

/// Runs all checks, or those whose name contains `only`.
pub fn run(groups: &[&[Check]], only: Option<&str>) {
    let mut number = 0;
    let mut failed = 0;
    for check in groups.iter().copied().flatten() {
        if only.is_some_and(|part| !check.name.contains(part)) {
            continue;
        }
        number += 1;
        let name = check.name.replace('_', " ");
        match run_one(check) {
            Ok(()) => println!("ok {number} {name}"),
            Err(reason) => {
                failed += 1;
                println!("not ok {number} {name}: {}", reason.replace('\n', " / "));
            }
        }
    }
    println!("1..{number}");
    println!("checks done: {failed} of {number} failed");
}

/// Runs a check in a child that leads a process group, with a pipe for the reason of a failure.
fn run_one(check: &Check) -> Outcome {
    let [reader, writer] = pipe(libc::O_CLOEXEC | libc::O_NONBLOCK);
    let child = fork(|| {
        let result = in_own_folder().and_then(|()| (check.run)());
        let Err(reason) = result else { return 0 };
        let length = reason.len().min(2000);
        let _ = call!(SYS_write, writer, reason.as_ptr(), length);
        1
    });
    let status = loop {
        // Orphans are pid 1's to reap.
        match wait_with(-1, 0) {
            Ok((pid, status)) if pid == child => break status,
            Ok(_) => {}
            Err(error) => return Err(format!("wait4: {error:?}")),
        }
    };
    let _ = call!(SYS_kill, -child, libc::SIGKILL);
    let mut reason = vec![0; 2000];
    let length = call!(SYS_read, reader, reason.as_mut_ptr(), reason.len()).unwrap_or(0);
    let _ = call!(SYS_close, reader);
    let _ = call!(SYS_close, writer);
    match status {
        Status::Exited(0) => Ok(()),
        Status::Exited(1) => Err(String::from_utf8_lossy(&reason[..length]).into_owned()),
        Status::Killed(libc::SIGALRM) => Err(format!("not done after {SECONDS} s")),
        other => Err(format!("{other:?}")),
    }
}

/// A group, an alarm and a folder for the check in this process.
fn in_own_folder() -> Outcome {
    let _ = call!(SYS_setpgid, 0, 0);
    let _ = call!(SYS_alarm, SECONDS);
    let folder = format!("/tmp/check-{}", std::process::id());
    std::fs::create_dir(&folder)
        .and_then(|()| std::env::set_current_dir(&folder))
        .map_err(|error| format!("{folder}: {error}"))
}
