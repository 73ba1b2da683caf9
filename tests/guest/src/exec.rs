//! Starting programs: what they are given, scripts, and what cannot be started.

use std::ffi::{CString, OsStr};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;

use crate::check::{Check, Outcome, fails, holds, same, table, works};
use crate::raw::{Returned, Status, call, in_child, pipe};

pub const CHECKS: &[Check] = table![
    arguments_and_variables_arrive_as_they_were_given,
    a_program_may_have_no_arguments_at_all,
    very_long_arguments_arrive_up_to_their_limits,
    the_auxiliary_vector_describes_the_machine_and_the_program,
    the_stack_is_random_and_aligned,
    descriptors_stay_open_unless_they_are_marked,
    the_name_of_the_task_is_the_programs,
    a_script_runs_its_interpreter,
    an_interpreter_may_be_a_script,
    scripts_without_an_interpreter_are_refused,
    what_is_no_program_is_refused,
    what_may_not_be_executed_is_refused,
    a_program_that_is_being_written_is_busy,
    rights_of_the_owner_are_taken_on,
    exec_by_descriptor,
    vfork_lets_the_child_run_first,
];

/// What this program does in a check's child that has executed it: `child:PART`.
pub fn child(part: &str) -> ! {
    let status = match part {
        "report" => {
            for argument in std::env::args_os().skip(2) {
                println!("argument {}", argument.display());
            }
            for (name, value) in std::env::vars_os() {
                println!("variable {}={}", name.display(), value.display());
            }
            0
        }
        "lengths" => {
            let total: usize = std::env::args_os().map(|argument| argument.len()).sum();
            println!("{} {total}", std::env::args_os().count());
            0
        }
        "auxv" => auxiliary_vector(),
        "stack" => {
            let here = 0_u8;
            println!("{:x}", (&raw const here).addr());
            0
        }
        "timers" => {
            let mut left = [0_u64; 4];
            let mut pending = 0_u64;
            let _ = call!(SYS_rt_sigpending, &mut pending, 8);
            let timers = (0..4).filter(|id| call!(SYS_timer_gettime, *id, &mut left).is_ok());
            timers.count() as i32 + i32::from(pending != 0)
        }
        "descriptors" => {
            let open = |fd: i32| i32::from(call!(SYS_fcntl, fd, libc::F_GETFD).is_ok());
            open(50) + 2 * open(51)
        }
        "comm" => {
            print!(
                "{}",
                fs::read_to_string("/proc/self/comm").unwrap_or_default()
            );
            0
        }
        "ids" => {
            let mut ids = [0_u32; 3];
            let result = call!(SYS_getresuid, &mut ids[0], &mut ids[1], &mut ids[2]);
            println!("{result:?} {ids:?}");
            0
        }
        "single" => {
            let number = std::env::args()
                .nth(2)
                .and_then(|number| number.parse().ok());
            let threads = fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
            i32::from(number != Some(std::process::id()) || threads != 1)
        }
        "usr1" => {
            let _ = call!(SYS_kill, std::process::id(), libc::SIGUSR1);
            0
        }
        _ => 97,
    };
    std::process::exit(status)
}

/// Pointers to strings, with the null at the end.
fn vector(strings: &[CString]) -> Vec<usize> {
    strings
        .iter()
        .map(|string| string.as_ptr().expose_provenance())
        .chain([0])
        .collect()
}

fn strings(list: &[&str]) -> Vec<CString> {
    list.iter()
        .map(|text| CString::new(*text).unwrap_or_default())
        .collect()
}

fn execute(program: &str, arguments: &[&str], variables: &[&str]) -> Returned {
    let program = CString::new(program).unwrap_or_default();
    let (arguments, variables) = (strings(arguments), strings(variables));
    let (arguments, variables) = (vector(&arguments), vector(&variables));
    call!(
        SYS_execve,
        program.as_c_str(),
        arguments.as_ptr(),
        variables.as_ptr()
    )
}

/// The error as an exit status that no program here has.
fn status_of(result: Returned) -> i32 {
    result.map_or_else(|error| 100 + error.0, |_| 99)
}

/// Runs a program with its output in a pipe.
fn output_of(program: &str, arguments: &[&str], variables: &[&str]) -> Result<String, String> {
    let [reader, writer] = pipe(libc::O_CLOEXEC);
    let status = in_child(|| {
        let _ = call!(SYS_dup2, writer, 1);
        status_of(execute(program, arguments, variables))
    });
    let _ = call!(SYS_close, writer);
    let mut text = vec![0_u8; 60_000];
    let length = call!(SYS_read, reader, text.as_mut_ptr(), text.len()).unwrap_or(0);
    let _ = call!(SYS_close, reader);
    match status {
        Status::Exited(0) => Ok(String::from_utf8_lossy(&text[..length]).into_owned()),
        other => Err(format!("{program}: {other:?}")),
    }
}

const ME: &str = "/proc/self/exe";

fn arguments_and_variables_arrive_as_they_were_given() -> Outcome {
    let arguments = [
        "name",
        "child:report",
        "one",
        "",
        "with blank",
        "-x=y",
        "ümlaut",
    ];
    let output = output_of(ME, &arguments, &["A=1", "B=", "C=x=y"])?;
    same!(
        output,
        "argument one\nargument \nargument with blank\nargument -x=y\nargument ümlaut\n\
         variable A=1\nvariable B=\nvariable C=x=y\n"
    );
    Ok(())
}

fn a_program_may_have_no_arguments_at_all() -> Outcome {
    // Linux since 5.18 gives it an empty one. The program then prints its report, which has an end.
    let [reader, writer] = pipe(0);
    let status = in_child(|| {
        let _ = call!(SYS_dup2, writer, 1);
        let _ = call!(SYS_execve, c"/bin/argc", 0, 0);
        status_of(call!(
            SYS_execve,
            c"/proc/self/exe",
            0,
            &[c"then=quit".as_ptr().addr(), 0]
        ))
    });
    same!(status, Status::Exited(0));
    let mut text = [0_u8; 4000];
    let length = works!(call!(SYS_read, reader, &mut text, 4000));
    let text = String::from_utf8_lossy(&text[..length]).into_owned();
    holds!(text.contains("arguments [\"\"]"), "{text}");
    Ok(())
}

fn very_long_arguments_arrive_up_to_their_limits() -> Outcome {
    let page = "x".repeat(4095);
    let mut list = vec!["name", "child:lengths"];
    list.extend(std::iter::repeat_n(page.as_str(), 100));
    same!(
        output_of(ME, &list, &[])?,
        format!("102 {}\n", 4 + 13 + 100 * 4095)
    );
    // One argument: 32 pages. All: a quarter of the stack's limit.
    let longest = "y".repeat(131_071);
    same!(
        output_of(ME, &["name", "child:lengths", &longest], &[])?,
        "3 131088\n"
    );
    let too_long = "y".repeat(131_072);
    fails!(
        execute(ME, &["name", "child:lengths", &too_long], &[]),
        E2BIG
    );
    let mut list = vec!["name", "child:lengths"];
    list.extend(std::iter::repeat_n(longest.as_str(), 17));
    fails!(execute(ME, &list, &[]), E2BIG);
    Ok(())
}

fn auxiliary_vector() -> i32 {
    // SAFETY: the function only reads what the kernel has put on the stack.
    let entry = |kind: u64| unsafe { libc::getauxval(kind) };
    let header =
        std::ptr::with_exposed_provenance::<u8>(usize::try_from(entry(libc::AT_PHDR)).unwrap_or(0));
    let name = std::ptr::with_exposed_provenance::<libc::c_char>(
        usize::try_from(entry(libc::AT_EXECFN)).unwrap_or(0),
    );
    // SAFETY: the kernel gives a string that ends with a zero.
    let name = unsafe { std::ffi::CStr::from_ptr(name) };
    println!("page {}", entry(libc::AT_PAGESZ));
    println!("ticks {}", entry(libc::AT_CLKTCK));
    println!(
        "headers {} of {}",
        entry(libc::AT_PHNUM) > 3,
        entry(libc::AT_PHENT)
    );
    println!("first header {}", crate::raw::peek(header) > 0);
    println!("entry {}", entry(libc::AT_ENTRY) != 0);
    println!("ids {} {}", entry(libc::AT_UID), entry(libc::AT_EGID));
    println!("secure {}", entry(libc::AT_SECURE));
    println!("name {}", name.to_string_lossy());
    let random = entry(libc::AT_RANDOM);
    println!("random {}", random != 0);
    0
}

fn the_auxiliary_vector_describes_the_machine_and_the_program() -> Outcome {
    same!(
        output_of(ME, &["name", "child:auxv"], &[])?,
        "page 4096\nticks 100\nheaders true of 56\nfirst header true\nentry true\nids 0 0\n\
         secure 0\nname /proc/self/exe\nrandom true\n"
    );
    Ok(())
}

fn the_stack_is_random_and_aligned() -> Outcome {
    let mut places = std::collections::BTreeSet::new();
    for _ in 0..4 {
        places.insert(output_of(ME, &["name", "child:stack"], &[])?);
    }
    holds!(places.len() >= 3, "{places:?}");
    Ok(())
}

fn descriptors_stay_open_unless_they_are_marked() -> Outcome {
    let status = in_child(|| {
        let _ = call!(SYS_dup3, 0, 50, 0);
        let _ = call!(SYS_dup3, 0, 51, libc::O_CLOEXEC);
        status_of(execute(ME, &["name", "child:descriptors"], &[]))
    });
    same!(status, Status::Exited(1));
    Ok(())
}

/// A copy of this program, to be executed by another name.
fn copy_to(name: &str) -> Outcome {
    works!(fs::copy(ME, name));
    works!(fs::set_permissions(name, fs::Permissions::from_mode(0o755)));
    Ok(())
}

fn the_name_of_the_task_is_the_programs() -> Outcome {
    copy_to("a-rather-long-program-name")?;
    let output = output_of(
        "./a-rather-long-program-name",
        &["other", "child:comm"],
        &[],
    )?;
    same!(output, "a-rather-long-p\n");
    Ok(())
}

fn script(name: &str, text: &str) -> Outcome {
    works!(fs::write(name, text));
    works!(fs::set_permissions(name, fs::Permissions::from_mode(0o755)));
    Ok(())
}

fn a_script_runs_its_interpreter() -> Outcome {
    copy_to("guest")?;
    // Everything after the interpreter's name is one argument.
    script("s1", "#!./guest child:report\n")?;
    same!(
        output_of("./s1", &["dropped", "a b", "c"], &[])?,
        "argument ./s1\nargument a b\nargument c\n"
    );
    script("s2", "#! \t ./guest \tchild:report \t \nrest")?;
    same!(output_of("s2", &["dropped"], &[])?, "argument s2\n");
    // Without a newline the line is what there is.
    script("s3", "#!./guest child:report")?;
    same!(output_of("./s3", &["dropped"], &[])?, "argument ./s3\n");
    Ok(())
}

fn an_interpreter_may_be_a_script() -> Outcome {
    copy_to("guest")?;
    script("i1", "#!./guest child:report\n")?;
    script("i2", "#!./i1\n")?;
    same!(
        output_of("./i2", &["dropped", "x"], &[])?,
        "argument ./i1\nargument ./i2\nargument x\n"
    );
    script("i3", "#!./i2\n")?;
    script("i4", "#!./i3\n")?;
    works!(output_of("./i4", &["dropped"], &[]));
    script("i5", "#!./i4\n")?;
    script("i6", "#!./i5\n")?;
    fails!(execute("./i6", &["x"], &[]), ELOOP);
    Ok(())
}

fn scripts_without_an_interpreter_are_refused() -> Outcome {
    for (name, text, error) in [
        ("missing", "#!/no/such/interpreter\n", libc::ENOENT),
        ("empty", "#!\n", libc::ENOEXEC),
        ("blank", "#!   \n", libc::ENOEXEC),
        ("folder", "#!/tmp\n", libc::EACCES),
        ("itself", "#!./itself\n", libc::ELOOP),
    ] {
        script(name, text)?;
        same!(
            (name, execute(name, &["x"], &[])),
            (name, Err(crate::raw::Errno(error)))
        );
    }
    // The interpreter's name must fit into the part that is looked at.
    script("long", &format!("#!/{}\n", "x".repeat(300)))?;
    fails!(execute("./long", &["x"], &[]), ENOEXEC);
    Ok(())
}

fn what_is_no_program_is_refused() -> Outcome {
    for (name, text) in [
        ("empty", ""),
        ("text", "echo hello\n"),
        ("short", "\x7fELF"),
        ("zero", "\0\0\0\0"),
    ] {
        script(name, text)?;
        same!(
            (name, execute(name, &["x"], &[])),
            (name, Err(crate::raw::Errno(libc::ENOEXEC)))
        );
    }
    Ok(())
}

fn what_may_not_be_executed_is_refused() -> Outcome {
    works!(fs::write("plain", "#!/bin/sh\n"));
    fails!(execute("./plain", &["x"], &[]), EACCES);
    fails!(execute("/tmp", &["x"], &[]), EACCES);
    fails!(execute("./missing", &["x"], &[]), ENOENT);
    fails!(execute("", &["x"], &[]), ENOENT);
    fails!(execute("./plain/x", &["x"], &[]), ENOTDIR);
    fails!(execute("/dev/null", &["x"], &[]), EACCES);
    Ok(())
}

fn a_program_that_is_being_written_is_busy() -> Outcome {
    copy_to("guest")?;
    let fd = works!(call!(SYS_open, c"guest", libc::O_WRONLY, 0));
    fails!(execute("./guest", &["x"], &[]), ETXTBSY);
    works!(call!(SYS_close, fd));
    let [reader, writer] = pipe(0);
    let child = crate::raw::fork(|| {
        let _ = call!(SYS_dup2, reader, 0);
        let _ = call!(SYS_close, writer);
        status_of(execute("./guest", &["x", "child:report"], &[]))
    });
    crate::raw::wait(child);
    works!(call!(SYS_open, c"guest", libc::O_WRONLY, 0));
    Ok(())
}

fn rights_of_the_owner_are_taken_on() -> Outcome {
    copy_to("guest")?;
    works!(call!(SYS_chown, c"guest", 1234, 0));
    works!(call!(SYS_chmod, c"guest", 0o4755));
    same!(
        output_of("./guest", &["x", "child:ids"], &[])?,
        "Ok(0) [0, 1234, 1234]\n"
    );
    let status = in_child(|| {
        let _ = call!(SYS_prctl, libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        let output = output_of("./guest", &["x", "child:ids"], &[]);
        i32::from(output != Ok("Ok(0) [0, 0, 0]\n".into()))
    });
    same!(status, Status::Exited(0));
    Ok(())
}

fn exec_by_descriptor() -> Outcome {
    let fd = works!(call!(
        SYS_open,
        c"/proc/self/exe",
        libc::O_RDONLY | libc::O_CLOEXEC,
        0
    ));
    let status = in_child(|| {
        let arguments = vector(&strings(&["x", "child:descriptors"]));
        let _ = arguments;
        let words = strings(&["x", "child:descriptors"]);
        let words = vector(&words);
        status_of(call!(
            SYS_execveat,
            fd,
            c"",
            words.as_ptr(),
            0,
            libc::AT_EMPTY_PATH
        ))
    });
    same!(status, Status::Exited(0));
    fails!(call!(SYS_execveat, fd, c"", &[0_usize], 0, 0), ENOENT);
    Ok(())
}

fn vfork_lets_the_child_run_first() -> Outcome {
    // The standard library starts programs by a vfork-like clone.
    let output = std::process::Command::new(ME)
        .args(["child:report", "x"])
        .env_clear()
        .output();
    let output = works!(output);
    same!(
        OsStr::from_bytes(&output.stdout),
        OsStr::new("argument x\n")
    );
    let missing = std::process::Command::new("/no/such/program").spawn();
    same!(
        missing.err().and_then(|error| error.raw_os_error()),
        Some(libc::ENOENT)
    );
    Ok(())
}
