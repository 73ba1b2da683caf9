//! System calls on scheduling (Linux: kernel/sched/syscalls.c, and getpriority, setpriority and
//! nice of kernel/sys.c).
#![forbid(unsafe_code)]

use uapi::Pod;
use uapi::capability::CAP_SYS_NICE;
use uapi::resource::{PRIO_PGRP, PRIO_PROCESS, PRIO_USER, RLIMIT_NICE, RLIMIT_RTPRIO};
use uapi::sched::*;
use uapi::time::Timespec;

use core::sync::atomic::Ordering;

use super::change::{change_task, set_cpus_allowed, set_load_weight};
use super::core::{current, yield_now};
use super::entity::Class;
use super::rq::cpu_active_mask;
use super::rt::{MAX_RT_PRIO, RR_TIMESLICE_TICKS};
use super::task::Task;
use crate::kernel::pid::{self, find_task_or_self};
use crate::kernel::time::{TICK_NSEC, ns_to_timespec};
use crate::mm::UserAddr;
use crate::mm::percpu::NR_CPUS;
use crate::mm::uaccess::{copy_from_user, copy_to_user, get_user, put_user};
use crate::prelude::*;

/// Lowest and highest nice value.
const MIN_NICE: i32 = -20;
const MAX_NICE: i32 = 19;

/// What a scheduling call asks for (Linux: the kernel's `struct sched_attr`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Params {
    policy: u32,
    nice: i32,
    rt_priority: u32,
    reset_on_fork: bool,
}

impl Params {
    fn of(task: &Task) -> Self {
        Self {
            policy: task.se.policy(),
            nice: task.se.nice(),
            rt_priority: task.se.rt_priority(),
            reset_on_fork: task.se.reset_on_fork.load(Ordering::Relaxed),
        }
    }
    fn is_rt(&self) -> bool {
        is_rt_policy(self.policy)
    }
}

fn is_rt_policy(policy: u32) -> bool {
    policy == SCHED_FIFO || policy == SCHED_RR
}

/// Errors: EINVAL for a policy or a priority that there is not.
fn check_params(params: &Params) -> Result {
    let known = is_rt_policy(params.policy)
        || matches!(params.policy, SCHED_NORMAL | SCHED_BATCH | SCHED_IDLE);
    let priority_fits = params.rt_priority < MAX_RT_PRIO
        && params.is_rt() == (params.rt_priority != 0)
        && (MIN_NICE..=MAX_NICE).contains(&params.nice);
    if known && priority_fits {
        Ok(())
    } else {
        Err(Errno::EINVAL)
    }
}

/// Whether the caller acts for the owner of `task` (Linux: `check_same_owner`).
fn same_owner(task: &Task) -> bool {
    let (me, other) = (current().cred(), task.cred());
    me.euid == other.euid || me.euid == other.uid
}

/// Whether a nice value is within what RLIMIT_NICE allows, or not a gain (Linux: `can_nice`).
fn can_nice(task: &Task, nice: i32) -> bool {
    let limit = task.signal.rlimit(RLIMIT_NICE);
    (20 - nice) as u64 <= limit || current().cred().has_cap(CAP_SYS_NICE)
}

/// Errors: EPERM (Linux: `user_check_sched_setscheduler`).
fn check_permission(task: &Task, new: &Params) -> Result {
    if current().cred().has_cap(CAP_SYS_NICE) {
        return Ok(());
    }
    let old = Params::of(task);
    let raises_nice = !new.is_rt() && new.nice < old.nice && !can_nice(task, new.nice);
    let rt_limit = task.signal.rlimit(RLIMIT_RTPRIO);
    let raises_rt = new.is_rt()
        && (new.policy != old.policy && rt_limit == 0
            || new.rt_priority > old.rt_priority && u64::from(new.rt_priority) > rt_limit);
    let leaves_idle =
        old.policy == SCHED_IDLE && new.policy != SCHED_IDLE && !can_nice(task, old.nice);
    let drops_reset = old.reset_on_fork && !new.reset_on_fork;
    if raises_nice || raises_rt || leaves_idle || drops_reset || !same_owner(task) {
        return Err(Errno::EPERM);
    }
    Ok(())
}

/// Changes policy and priorities (Linux: `__sched_setscheduler`). Errors: EINVAL, EPERM.
fn set_params(task: &Task, new: Params) -> Result {
    check_params(&new)?;
    check_permission(task, &new)?;
    apply(task, new);
    Ok(())
}

fn apply(task: &Task, new: Params) {
    change_task(task, |rq, task| {
        let se = &task.se;
        se.reset_on_fork.store(new.reset_on_fork, Ordering::Relaxed);
        se.set_policy(new.policy);
        se.set_rt_priority(if new.is_rt() { new.rt_priority } else { 0 });
        if !new.is_rt() {
            se.set_nice_value(new.nice);
        }
        match se.class() {
            Class::Stop | Class::Idle => {}
            Class::Rt | Class::Fair => {
                se.set_class(if new.is_rt() { Class::Rt } else { Class::Fair });
            }
        }
        set_load_weight(rq, task);
    });
}

/// Changes a task's policy from the kernel, without asking who wants it (Linux:
/// `sched_setscheduler_nocheck`). Errors: EINVAL.
pub fn sched_setscheduler_nocheck(task: &Task, policy: u32, rt_priority: u32) -> Result {
    let new = Params {
        policy,
        rt_priority,
        ..Params::of(task)
    };
    check_params(&new)?;
    apply(task, new);
    Ok(())
}

/// Changes a nice value from the kernel (Linux: `set_user_nice`).
pub fn set_user_nice(task: &Task, nice: i32) {
    let nice = nice.clamp(MIN_NICE, MAX_NICE);
    change_task(task, |rq, task| {
        task.se.set_nice_value(nice);
        set_load_weight(rq, task);
    });
}

// --- yield ------------------------------------------------------------------------------------

/// sched_yield(2).
pub fn sys_sched_yield() -> Result<()> {
    yield_now();
    Ok(())
}

// --- policies ---------------------------------------------------------------------------------

fn target(pid: i32) -> Result<Arc<Task>> {
    if pid < 0 {
        return Err(Errno::EINVAL);
    }
    find_task_or_self(pid)
}

/// sched_setscheduler(2). Errors: EINVAL, ESRCH, EPERM, EFAULT.
pub fn sys_sched_setscheduler(pid: i32, policy: i32, param: UserAddr) -> Result<i32> {
    if policy < 0 {
        return Err(Errno::EINVAL);
    }
    set_scheduler(pid, Some(policy as u32), param)
}

/// sched_setparam(2): the same policy, another priority.
pub fn sys_sched_setparam(pid: i32, param: UserAddr) -> Result<i32> {
    set_scheduler(pid, None, param)
}

fn set_scheduler(pid: i32, policy: Option<u32>, param: UserAddr) -> Result<i32> {
    if param.is_null() || pid < 0 {
        return Err(Errno::EINVAL);
    }
    let param: SchedParam = get_user(param)?;
    let task = target(pid)?;
    let old = Params::of(&task);
    let (policy, reset_on_fork) = match policy {
        Some(policy) => (
            policy & !SCHED_RESET_ON_FORK,
            policy & SCHED_RESET_ON_FORK != 0,
        ),
        None => (old.policy, old.reset_on_fork),
    };
    let rt_priority = u32::try_from(param.sched_priority).map_err(|_| Errno::EINVAL)?;
    let new = Params {
        policy,
        rt_priority,
        reset_on_fork,
        nice: old.nice,
    };
    set_params(&task, new)?;
    Ok(0)
}

/// sched_getscheduler(2).
pub fn sys_sched_getscheduler(pid: i32) -> Result<u32> {
    let params = Params::of(&*target(pid)?);
    let flag = if params.reset_on_fork {
        SCHED_RESET_ON_FORK
    } else {
        0
    };
    Ok(params.policy | flag)
}

/// sched_getparam(2).
pub fn sys_sched_getparam(pid: i32, param: UserAddr) -> Result<()> {
    if param.is_null() {
        return Err(Errno::EINVAL);
    }
    let task = target(pid)?;
    let result = SchedParam {
        sched_priority: task.se.rt_priority() as i32,
    };
    put_user(param, &result)
}

/// sched_get_priority_max(2).
pub fn sys_sched_get_priority_max(policy: i32) -> Result<i32> {
    priority_range(policy).map(|(_, max)| max)
}
/// sched_get_priority_min(2).
pub fn sys_sched_get_priority_min(policy: i32) -> Result<i32> {
    priority_range(policy).map(|(min, _)| min)
}

fn priority_range(policy: i32) -> Result<(i32, i32)> {
    match u32::try_from(policy).map_err(|_| Errno::EINVAL)? {
        SCHED_FIFO | SCHED_RR => Ok((1, MAX_RT_PRIO as i32 - 1)),
        SCHED_NORMAL | SCHED_BATCH | SCHED_IDLE | SCHED_DEADLINE => Ok((0, 0)),
        _ => Err(Errno::EINVAL),
    }
}

/// sched_rr_get_interval(2): how long the task may run before an equal has its turn.
pub fn sys_sched_rr_get_interval(pid: i32, interval: UserAddr) -> Result<()> {
    let task = target(pid)?;
    let ns = match task.se.policy() {
        SCHED_FIFO => 0,
        SCHED_RR => u64::from(RR_TIMESLICE_TICKS) * TICK_NSEC,
        _ => task.se.slice.get(),
    };
    let interval_value: Timespec = ns_to_timespec(ns);
    put_user(interval, &interval_value)
}

/// sched_setattr(2). Errors: EINVAL, E2BIG, ESRCH, EPERM, EFAULT.
pub fn sys_sched_setattr(pid: i32, uattr: UserAddr, flags: u32) -> Result<()> {
    if uattr.is_null() || pid < 0 || flags != 0 {
        return Err(Errno::EINVAL);
    }
    let attr = copy_attr(uattr)?;
    let task = target(pid)?;
    let old = Params::of(&task);
    let keep = |flag| attr.sched_flags & flag != 0;
    let known = SCHED_FLAG_RESET_ON_FORK | SCHED_FLAG_KEEP_POLICY | SCHED_FLAG_KEEP_PARAMS;
    if attr.sched_flags & !known != 0 || i32::try_from(attr.sched_policy).is_err() {
        return Err(Errno::EINVAL);
    }
    let mut new = Params {
        policy: attr.sched_policy,
        nice: attr.sched_nice.clamp(MIN_NICE, MAX_NICE),
        rt_priority: attr.sched_priority,
        reset_on_fork: keep(SCHED_FLAG_RESET_ON_FORK),
    };
    if keep(SCHED_FLAG_KEEP_POLICY) {
        new.policy = old.policy;
    }
    if keep(SCHED_FLAG_KEEP_PARAMS) {
        (new.nice, new.rt_priority) = (old.nice, old.rt_priority);
    }
    set_params(&task, new)
}

/// Copies a structure of any size: what is missing is zero, what is too much must be zero.
/// For E2BIG the size that would do is written back.
fn copy_attr(uattr: UserAddr) -> Result<SchedAttr> {
    let size = match get_user::<u32>(uattr)? as usize {
        0 => SCHED_ATTR_SIZE_VER0,
        size => size,
    };
    let too_big = || {
        let _ = put_user(uattr, &(SchedAttr::SIZE as u32));
        Errno::E2BIG
    };
    if !(SCHED_ATTR_SIZE_VER0..=crate::arch::PAGE_SIZE).contains(&size) {
        return Err(too_big());
    }
    let mut raw = vec![0u8; size.max(SchedAttr::SIZE)];
    copy_from_user(&mut raw[..size], uattr)?;
    let (known, unknown) = raw.split_at(SchedAttr::SIZE);
    if unknown.iter().any(|&byte| byte != 0) {
        return Err(too_big());
    }
    Ok(SchedAttr::read_from(known))
}

/// sched_getattr(2). Errors: EINVAL, ESRCH, EFAULT.
pub fn sys_sched_getattr(pid: i32, uattr: UserAddr, usize_: u32, flags: u32) -> Result<()> {
    let size = usize_ as usize;
    let fits = (SCHED_ATTR_SIZE_VER0..=crate::arch::PAGE_SIZE).contains(&size);
    if uattr.is_null() || pid < 0 || flags != 0 || !fits {
        return Err(Errno::EINVAL);
    }
    let task = target(pid)?;
    let params = Params::of(&task);
    let size = size.min(SchedAttr::SIZE);
    let attr = SchedAttr {
        size: size as u32,
        sched_policy: params.policy,
        sched_flags: if params.reset_on_fork {
            SCHED_FLAG_RESET_ON_FORK
        } else {
            0
        },
        sched_nice: if params.is_rt() { 0 } else { params.nice },
        sched_priority: params.rt_priority,
        sched_runtime: if params.is_rt() {
            0
        } else {
            task.se.slice.get()
        },
        ..SchedAttr::default()
    };
    let mut raw = [0u8; SchedAttr::SIZE];
    attr.write_to(&mut raw);
    copy_to_user(uattr, &raw[..size])
}

// --- affinity ---------------------------------------------------------------------------------

/// Bytes of a CPU mask.
const MASK_SIZE: usize = NR_CPUS.div_ceil(8);

/// sched_setaffinity(2). Errors: ESRCH, EPERM, EINVAL without any CPU that is there, EFAULT.
pub fn sys_sched_setaffinity(pid: i32, len: u32, user_mask: UserAddr) -> Result<()> {
    let mut raw = [0u8; MASK_SIZE];
    let len = (len as usize).min(MASK_SIZE);
    copy_from_user(&mut raw[..len], user_mask)?;
    let task = target_or_esrch(pid)?;
    if !same_owner(&task) && !current().cred().has_cap(CAP_SYS_NICE) {
        return Err(Errno::EPERM);
    }
    set_cpus_allowed(&task, u64::from_le_bytes(raw))
}

/// sched_getaffinity(2): returns the number of bytes written. Errors: EINVAL for a buffer that is
/// too short or not whole words, ESRCH, EFAULT.
pub fn sys_sched_getaffinity(pid: i32, len: u32, user_mask: UserAddr) -> Result<i32> {
    let len = len as usize;
    if len < MASK_SIZE || !len.is_multiple_of(size_of::<u64>()) {
        return Err(Errno::EINVAL);
    }
    let task = target_or_esrch(pid)?;
    let mask = task.se.cpus_mask() & cpu_active_mask();
    copy_to_user(user_mask, &mask.to_le_bytes())?;
    Ok(MASK_SIZE as i32)
}

/// The affinity calls know no EINVAL for negative numbers.
fn target_or_esrch(pid: i32) -> Result<Arc<Task>> {
    if pid < 0 {
        return Err(Errno::ESRCH);
    }
    find_task_or_self(pid)
}

// --- nice -------------------------------------------------------------------------------------

/// The processes or threads that getpriority(2) and setpriority(2) mean. Errors: EINVAL, ESRCH.
fn priority_targets(which: i32, who: i32) -> Result<Vec<Arc<Task>>> {
    let me = current();
    let tasks: Vec<Arc<Task>> = match which {
        PRIO_PROCESS => vec![find_task_or_self(who)?],
        PRIO_PGRP => {
            let pgrp = if who == 0 { pid::task_pgrp(&me) } else { who };
            let processes = pid::processes_of_group(pgrp);
            processes
                .iter()
                .flat_map(|p| p.signal.thread_list())
                .collect()
        }
        PRIO_USER => {
            let uid = if who == 0 { me.cred().uid } else { who as u32 };
            let all = pid::all_tasks();
            all.into_iter().filter(|t| t.cred().uid == uid).collect()
        }
        _ => return Err(Errno::EINVAL),
    };
    if tasks.is_empty() {
        Err(Errno::ESRCH)
    } else {
        Ok(tasks)
    }
}

/// setpriority(2). Errors: EINVAL, ESRCH, EPERM for another user's task, EACCES without the right
/// to a smaller value.
pub fn sys_setpriority(which: i32, who: i32, nice: i32) -> Result<()> {
    let nice = nice.clamp(MIN_NICE, MAX_NICE);
    let mut result = Ok(());
    for task in priority_targets(which, who)? {
        if let Err(error) = set_one_priority(&task, nice) {
            result = Err(error);
        }
    }
    result
}

fn set_one_priority(task: &Task, nice: i32) -> Result {
    let (me, other) = (current().cred(), task.cred());
    let same = other.uid == me.euid || other.euid == me.euid;
    if !same && !me.has_cap(CAP_SYS_NICE) {
        return Err(Errno::EPERM);
    }
    if nice < task.se.nice() && !can_nice(task, nice) {
        return Err(Errno::EACCES);
    }
    set_user_nice(task, nice);
    Ok(())
}

/// getpriority(2): 20 minus the smallest nice value, so that it is never negative. Errors: EINVAL,
/// ESRCH.
pub fn sys_getpriority(which: i32, who: i32) -> Result<i32> {
    let tasks = priority_targets(which, who)?;
    let best = tasks.iter().map(|task| 20 - task.se.nice()).max();
    best.ok_or(Errno::ESRCH)
}

/// nice(2) as a function for those who have the number (not a system call of x86_64). Errors:
/// EPERM.
pub fn nice(increment: i32) -> Result<()> {
    let me = current();
    let nice = (me.se.nice() + increment.clamp(-40, 40)).clamp(MIN_NICE, MAX_NICE);
    if increment < 0 && !can_nice(&me, nice) {
        return Err(Errno::EPERM);
    }
    set_user_nice(&me, nice);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(policy: u32, rt_priority: u32) -> Params {
        Params {
            policy,
            nice: 0,
            rt_priority,
            reset_on_fork: false,
        }
    }

    #[test]
    fn real_time_needs_a_priority_and_others_must_not_have_one() {
        assert_eq!(check_params(&params(SCHED_FIFO, 1)), Ok(()));
        assert_eq!(check_params(&params(SCHED_RR, 99)), Ok(()));
        assert_eq!(check_params(&params(SCHED_RR, 100)), Err(Errno::EINVAL));
        assert_eq!(check_params(&params(SCHED_FIFO, 0)), Err(Errno::EINVAL));
        assert_eq!(check_params(&params(SCHED_NORMAL, 1)), Err(Errno::EINVAL));
        assert_eq!(check_params(&params(SCHED_DEADLINE, 0)), Err(Errno::EINVAL));
    }
    #[test]
    fn priority_ranges_are_those_of_the_manual() {
        assert_eq!(sys_sched_get_priority_max(1), Ok(99));
        assert_eq!(sys_sched_get_priority_min(2), Ok(1));
        assert_eq!(sys_sched_get_priority_max(0), Ok(0));
        assert_eq!(sys_sched_get_priority_max(9), Err(Errno::EINVAL));
        assert_eq!(sys_sched_get_priority_min(-1), Err(Errno::EINVAL));
    }
}
