//! Processes: fork, exit, wait, sessions, limits, identity.

use std::fs;

use crate::check::{Check, Outcome, fails, holds, same, table, works};
use crate::raw::{
    Status, become_nobody, call, fork, in_child, map, peek, pipe, poke, sleep_ms, wait,
    wait_until_asleep, wait_with,
};

pub const CHECKS: &[Check] = table![
    children_have_numbers_and_parents,
    a_childs_memory_is_its_own,
    exit_statuses_are_told,
    waiting_chooses_the_child,
    waitid_tells_and_can_leave_the_child,
    a_dead_child_is_a_zombie_until_somebody_waits,
    orphans_go_to_init_or_to_a_subreaper,
    a_vfork_shares_memory_until_exit,
    groups_and_sessions_are_formed,
    users_and_groups_change_together,
    groups_are_listed,
    limits_are_kept,
    usage_is_counted,
    names_and_death_signals_are_set,
    nice_values_are_kept,
    the_affinity_names_the_processors,
    the_system_is_described,
    the_number_of_processes_is_limited,
    many_children_come_and_go,
];

fn me() -> i32 {
    std::process::id().cast_signed()
}

fn children_have_numbers_and_parents() -> Outcome {
    let parent = me();
    let child = fork(|| i32::from(call!(SYS_getppid) != Ok(parent as usize)));
    holds!(child > parent, "{child} after {parent}");
    same!(wait(child), Status::Exited(0));
    same!(call!(SYS_getpid), call!(SYS_gettid));
    Ok(())
}

fn a_childs_memory_is_its_own() -> Outcome {
    let private = map(8192, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE);
    let shared = map(8192, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
    poke(private, 1);
    poke(shared, 1);
    let status = in_child(|| {
        let saw = peek(private) == 1 && peek(shared) == 1;
        poke(private, 2);
        poke(shared, 2);
        poke(shared.wrapping_add(4096), 3);
        i32::from(!saw)
    });
    same!(status, Status::Exited(0));
    same!(
        (peek(private), peek(shared), peek(shared.wrapping_add(4096))),
        (1, 2, 3)
    );
    // The parent's later writes are not the child's either.
    let [reader, writer] = pipe(0);
    let child = fork(|| {
        let mut byte = 0_u8;
        let _ = call!(SYS_read, reader, &mut byte, 1);
        i32::from(peek(private))
    });
    poke(private, 9);
    works!(call!(SYS_write, writer, &0_u8, 1));
    same!(wait(child), Status::Exited(1));
    Ok(())
}

fn exit_statuses_are_told() -> Outcome {
    for status in [0, 1, 127, 255, 256 + 3] {
        same!(in_child(|| status), Status::Exited(status & 0xff));
    }
    let mut word = 0;
    let child = fork(|| 5);
    works!(call!(SYS_wait4, child, &mut word, 0, 0));
    same!(word, 5 << 8);
    Ok(())
}

fn waiting_chooses_the_child() -> Outcome {
    fails!(call!(SYS_wait4, -1, 0, 0, 0), ECHILD);
    fails!(call!(SYS_wait4, me(), 0, 0, 0), ECHILD);
    fails!(call!(SYS_wait4, -1, 0, 0x100, 0), EINVAL);
    let [reader, writer] = pipe(0);
    let slow = fork(|| {
        let mut byte = 0_u8;
        let _ = call!(SYS_close, writer);
        let _ = call!(SYS_read, reader, &mut byte, 1);
        1
    });
    let quick = fork(|| 2);
    same!(wait_with(quick, 0), Ok((quick, Status::Exited(2))));
    same!(call!(SYS_wait4, slow, 0, libc::WNOHANG, 0), Ok(0));
    works!(call!(SYS_close, writer));
    same!(wait_with(-1, 0), Ok((slow, Status::Exited(1))));
    let grouped = fork(|| {
        let _ = call!(SYS_setpgid, 0, 0);
        3
    });
    let _ = call!(SYS_setpgid, grouped, grouped);
    fails!(call!(SYS_wait4, 0, 0, 0, 0), ECHILD);
    same!(wait_with(-grouped, 0), Ok((grouped, Status::Exited(3))));
    Ok(())
}

fn waitid_tells_and_can_leave_the_child() -> Outcome {
    let child = fork(|| 6);
    let mut info = [0_i32; 32];
    let look = libc::WEXITED | libc::WNOWAIT;
    works!(call!(SYS_waitid, libc::P_PID, child, &mut info, look, 0));
    same!(
        (info[0], info[2], info[4], info[6]),
        (libc::SIGCHLD, 1, child, 6)
    );
    works!(call!(
        SYS_waitid,
        libc::P_ALL,
        0,
        &mut info,
        libc::WEXITED,
        0
    ));
    same!(info[4], child);
    fails!(
        call!(SYS_waitid, libc::P_ALL, 0, &mut info, libc::WEXITED, 0),
        ECHILD
    );
    fails!(call!(SYS_waitid, libc::P_ALL, 0, &mut info, 0, 0), EINVAL);
    Ok(())
}

fn a_dead_child_is_a_zombie_until_somebody_waits() -> Outcome {
    let child = fork(|| 0);
    let mut info = [0_i32; 32];
    works!(call!(
        SYS_waitid,
        libc::P_PID,
        child,
        &mut info,
        libc::WEXITED | libc::WNOWAIT,
        0
    ));
    same!(crate::raw::state_of(child), Some('Z'));
    works!(call!(SYS_kill, child, 0));
    wait(child);
    fails!(call!(SYS_kill, child, 0), ESRCH);
    same!(crate::raw::state_of(child), None);
    Ok(())
}

/// The parent that a grandchild gets when its own is gone.
fn parent_of_orphan() -> Result<i32, String> {
    let [reader, writer] = pipe(0);
    let child = fork(|| {
        let middle = me();
        let orphan = fork(|| {
            while call!(SYS_getppid) == Ok(middle as usize) {
                sleep_ms(1);
            }
            let parent = call!(SYS_getppid).unwrap_or(0);
            i32::from(call!(SYS_write, writer, &parent, 8).is_err())
        });
        i32::from(orphan < 0)
    });
    wait(child);
    let mut parent = 0_usize;
    works!(call!(SYS_read, reader, &mut parent, 8));
    i32::try_from(parent).map_err(|error| error.to_string())
}

fn orphans_go_to_init_or_to_a_subreaper() -> Outcome {
    // On a machine with a session manager, that is the subreaper.
    let adopter = parent_of_orphan()?;
    holds!(adopter != me());
    works!(call!(SYS_prctl, libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
    same!(parent_of_orphan()?, me());
    works!(wait_with(-1, 0));
    Ok(())
}

fn a_vfork_shares_memory_until_exit() -> Outcome {
    // Without a library: the child must not return from the function that called it.
    let shared = map(4096, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE);
    let child: i64;
    // SAFETY: the child writes one byte of a page that is mapped, and ends; it uses no stack.
    unsafe {
        std::arch::asm!(
            "mov eax, 58",
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "mov byte ptr [r12], 42",
            "mov edi, 7",
            "mov eax, 60",
            "syscall",
            "2:",
            in("r12") shared,
            out("rax") child, out("rcx") _, out("r11") _, out("rdi") _,
        );
    }
    holds!(child > 0, "{child}");
    same!(peek(shared), 42);
    same!(wait(i32::try_from(child).unwrap_or(-1)), Status::Exited(7));
    Ok(())
}

fn groups_and_sessions_are_formed() -> Outcome {
    // The check leads a group, so it cannot lead a session.
    fails!(call!(SYS_setsid), EPERM);
    let parent = me();
    let status = in_child(|| {
        let group = call!(SYS_getpgrp);
        let led = call!(SYS_setsid);
        let ids = (call!(SYS_getsid, 0), call!(SYS_getpgid, 0));
        let mine = Ok(me() as usize);
        let wrong_group = call!(SYS_setpgid, 0, parent);
        let good = group == Ok(parent as usize)
            && led == mine
            && ids == (mine, mine)
            && wrong_group == Err(crate::raw::Errno(libc::EPERM));
        i32::from(!good)
    });
    same!(status, Status::Exited(0));
    fails!(call!(SYS_setpgid, 0, -1), EINVAL);
    fails!(call!(SYS_setpgid, 4_000_000, 0), ESRCH);
    fails!(call!(SYS_getsid, 4_000_000), ESRCH);
    Ok(())
}

fn users_and_groups_change_together() -> Outcome {
    let ids = || {
        let mut ids = [0_u32; 3];
        let [real, effective, saved] = &mut ids;
        let result = call!(SYS_getresuid, real, effective, saved);
        result.map(|_| ids)
    };
    let status = in_child(|| {
        let mut good = call!(SYS_setreuid, 1000, 1000).is_ok() && ids() == Ok([1000; 3]);
        good &= call!(SYS_setuid, 0).is_err();
        i32::from(!good)
    });
    same!(status, Status::Exited(0));
    let status = in_child(|| {
        let mut good = call!(SYS_setresuid, u32::MAX, 1000, u32::MAX).is_ok();
        good &= ids() == Ok([0, 1000, 0]);
        // What is saved can be taken back.
        good &= call!(SYS_setuid, 0).is_ok() && ids() == Ok([0, 0, 0]);
        good &= call!(SYS_setfsuid, 5) == Ok(0) && call!(SYS_setfsuid, u32::MAX) == Ok(5);
        good &= call!(SYS_setuid, 1000).is_ok() && ids() == Ok([1000; 3]);
        good &= call!(SYS_geteuid) == Ok(1000) && call!(SYS_getegid) == Ok(0);
        i32::from(!good)
    });
    same!(status, Status::Exited(0));
    Ok(())
}

fn groups_are_listed() -> Outcome {
    works!(call!(SYS_setgroups, 3, &[30_u32, 10, 20]));
    let mut groups = [0_u32; 8];
    same!(call!(SYS_getgroups, 0, 0), Ok(3));
    same!(call!(SYS_getgroups, 8, &mut groups), Ok(3));
    same!(groups[..3], [10, 20, 30]);
    fails!(call!(SYS_getgroups, 2, &mut groups), EINVAL);
    fails!(call!(SYS_setgroups, 65537, &groups), EINVAL);
    let status = in_child(|| {
        become_nobody();
        i32::from(call!(SYS_setgroups, 0, 0) != Err(crate::raw::Errno(libc::EPERM)))
    });
    same!(status, Status::Exited(0));
    Ok(())
}

fn limits_are_kept() -> Outcome {
    let mut limit = [0_u64; 2];
    works!(call!(SYS_getrlimit, libc::RLIMIT_STACK, &mut limit));
    same!(limit[0], 8 << 20);
    works!(call!(SYS_setrlimit, libc::RLIMIT_CORE, &[100_u64, 200]));
    works!(call!(
        SYS_prlimit64,
        0,
        libc::RLIMIT_CORE,
        &[50_u64, 150],
        &mut limit
    ));
    same!(limit, [100, 200]);
    fails!(
        call!(SYS_setrlimit, libc::RLIMIT_CORE, &[300_u64, 200]),
        EINVAL
    );
    fails!(call!(SYS_setrlimit, 16, &[300_u64, 400]), EINVAL);
    fails!(call!(SYS_prlimit64, 4_000_000, 0, 0, &mut limit), ESRCH);
    let status = in_child(|| {
        become_nobody();
        let raised = call!(SYS_setrlimit, libc::RLIMIT_CORE, &[50_u64, 151]);
        let lowered = call!(SYS_setrlimit, libc::RLIMIT_CORE, &[50_u64, 60]);
        i32::from(raised != Err(crate::raw::Errno(libc::EPERM)) || lowered.is_err())
    });
    same!(status, Status::Exited(0));
    Ok(())
}

fn usage_is_counted() -> Outcome {
    let child = fork(|| {
        let start = crate::raw::now();
        while crate::raw::now() - start < 60_000_000 {
            std::hint::spin_loop();
        }
        0
    });
    let mut usage = [0_i64; 18];
    works!(call!(SYS_wait4, child, 0, 0, &mut usage));
    let microseconds = (usage[0] + usage[2]) * 1_000_000 + usage[1] + usage[3];
    holds!(microseconds >= 5_000, "{usage:?}");
    let mut children = [0_i64; 18];
    works!(call!(SYS_getrusage, libc::RUSAGE_CHILDREN, &mut children));
    holds!(children[0..4] == usage[0..4], "{children:?} {usage:?}");
    let mut times = [0_i64; 4];
    works!(call!(SYS_times, &mut times));
    fails!(call!(SYS_getrusage, 7, &mut usage), EINVAL);
    Ok(())
}

fn names_and_death_signals_are_set() -> Outcome {
    works!(call!(
        SYS_prctl,
        libc::PR_SET_NAME,
        c"a name that is too long"
    ));
    let mut name = [0_u8; 16];
    works!(call!(SYS_prctl, libc::PR_GET_NAME, &mut name));
    same!(&name, b"a name that is \0");
    same!(
        fs::read_to_string("/proc/self/comm").unwrap_or_default(),
        "a name that is \n"
    );
    let [reader, writer] = pipe(0);
    let child = fork(|| {
        let _ = call!(SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGTERM);
        let middle = fork(|| {
            let parent = call!(SYS_getppid);
            let _ = call!(SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            while call!(SYS_getppid) == parent {
                sleep_ms(1);
            }
            sleep_ms(3000);
            let _ = call!(SYS_write, writer, &b'!', 1);
            0
        });
        wait_until_asleep(middle);
        0
    });
    wait(child);
    works!(call!(SYS_close, writer));
    // The end of the pipe: the orphan was killed before it wrote.
    same!(call!(SYS_read, reader, &mut name, 1), Ok(0));
    fails!(call!(SYS_prctl, libc::PR_SET_PDEATHSIG, 65), EINVAL);
    fails!(call!(SYS_prctl, 12345), EINVAL);
    Ok(())
}

fn nice_values_are_kept() -> Outcome {
    same!(call!(SYS_getpriority, libc::PRIO_PROCESS, 0), Ok(20));
    works!(call!(SYS_setpriority, libc::PRIO_PROCESS, 0, 5));
    same!(call!(SYS_getpriority, libc::PRIO_PROCESS, me()), Ok(15));
    works!(call!(SYS_setpriority, libc::PRIO_PROCESS, 0, 100));
    same!(call!(SYS_getpriority, libc::PRIO_PROCESS, 0), Ok(1));
    same!(
        in_child(|| i32::from(call!(SYS_getpriority, 0, 0) != Ok(1))),
        Status::Exited(0)
    );
    fails!(call!(SYS_getpriority, 3, 0), EINVAL);
    fails!(call!(SYS_getpriority, 0, 4_000_000), ESRCH);
    same!(call!(SYS_sched_getscheduler, 0), Ok(0));
    same!(call!(SYS_sched_get_priority_max, libc::SCHED_FIFO), Ok(99));
    works!(call!(SYS_sched_yield));
    Ok(())
}

fn the_affinity_names_the_processors() -> Outcome {
    let mut mask = [0_u64; 16];
    let length = works!(call!(SYS_sched_getaffinity, 0, 128, &mut mask));
    holds!(length >= 8 && mask[0] & 1 == 1, "{length} {mask:?}");
    works!(call!(SYS_sched_setaffinity, 0, 8, &1_u64));
    works!(call!(SYS_sched_getaffinity, 0, 128, &mut mask));
    same!(mask[0], 1);
    fails!(call!(SYS_sched_setaffinity, 0, 8, &0_u64), EINVAL);
    fails!(call!(SYS_sched_getaffinity, 0, 7, &mut mask), EINVAL);
    let (mut cpu, mut node) = (9_u32, 9_u32);
    works!(call!(SYS_getcpu, &mut cpu, &mut node, 0));
    same!((cpu, node), (0, 0));
    Ok(())
}

fn the_system_is_described() -> Outcome {
    let mut names = [0_u8; 65 * 6];
    works!(call!(SYS_uname, &mut names));
    same!(
        (&names[..6], &names[65 * 4..65 * 4 + 7]),
        (&b"Linux\0"[..], &b"x86_64\0"[..])
    );
    let mut info = [0_u64; 14];
    works!(call!(SYS_sysinfo, &mut info));
    holds!(info[4] > 1 << 23 && info[5] <= info[4], "{info:?}");
    let mut random = [0_u8; 32];
    same!(call!(SYS_getrandom, &mut random, 32, 0), Ok(32));
    holds!(random != [0; 32]);
    fails!(call!(SYS_getrandom, &mut random, 32, 0x80), EINVAL);
    Ok(())
}

fn the_number_of_processes_is_limited() -> Outcome {
    let status = in_child(|| {
        let limited = call!(SYS_setrlimit, libc::RLIMIT_NPROC, &[3_u64, 3]);
        // Another user than other checks'.
        let changed = call!(SYS_setresuid, 4321, 4321, 4321);
        let mut made = 0;
        while let Ok(child) = call!(SYS_fork) {
            if child == 0 {
                let _ = call!(SYS_pause);
            }
            made += 1;
            if made > 5 {
                break;
            }
        }
        i32::from(limited.is_err()) + i32::from(changed.is_err()) + made * 10
    });
    same!(status, Status::Exited(20));
    Ok(())
}

fn many_children_come_and_go() -> Outcome {
    let children: Vec<i32> = (0..100).map(|number| fork(|| number)).collect();
    for (number, child) in (0..).zip(children) {
        same!(wait(child), Status::Exited(number));
    }
    for _ in 0..100 {
        same!(in_child(|| 3), Status::Exited(3));
    }
    Ok(())
}
