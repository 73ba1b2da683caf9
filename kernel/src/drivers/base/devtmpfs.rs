//! devtmpfs: a tmpfs whose device nodes the kernel makes (Linux: drivers/base/devtmpfs.c).
//!
//! `kdevtmpfs` works requests off one by one; whoever announces a device waits until its node is
//! there. Devices that are announced before the thread runs get their nodes when it starts.
#![forbid(unsafe_code)]

use alloc::collections::VecDeque;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use uapi::magic::TMPFS_MAGIC;
use uapi::mount::{MS_NOEXEC, MS_NOSUID, MS_SILENT};
use uapi::stat::S_IFCHR;

use super::core::{Device, devices};
use crate::fs::filesystems::{FileSystemType, register_filesystem};
use crate::fs::fs_struct::FsStruct;
use crate::fs::mount::Mount;
use crate::fs::namei::create::{do_mkdirat, do_mknodat};
use crate::fs::namei::remove::do_unlinkat;
use crate::fs::namei::{LookupFlags, WalkEnv, path_lookup};
use crate::fs::superblock::{MountRequest, SuperBlock};
use crate::kernel::cred::Cred;
use crate::kernel::kthread::kthread_run;
use crate::kernel::sched::completion::Completion;
use crate::kernel::sched::wait::WaitQueueHead;
use crate::lib::kstrtox::kstrtou32;
use crate::prelude::*;

static DEV_FS: FileSystemType = FileSystemType {
    name: "devtmpfs",
    requires_dev: false,
    mount: |_, _| {
        let sb = DEV_SB.get().ok_or(Errno::ENODEV)?;
        sb.activate();
        Ok(sb.clone())
    },
};

/// The one super block that all mounts of devtmpfs share; always active.
static DEV_SB: spin::Once<Arc<SuperBlock>> = spin::Once::new();

enum Work {
    Create,
    Delete,
}

struct Request {
    work: Work,
    device: Device,
    done: Completion,
}

struct Queue {
    requests: SpinLock<VecDeque<Arc<Request>>>,
    wait: WaitQueueHead,
    running: AtomicU32,
}

static QUEUE: Queue = Queue {
    requests: SpinLock::new(VecDeque::new()),
    wait: WaitQueueHead::new(),
    running: AtomicU32::new(0),
};

/// Who makes the nodes: root, with the file system itself as root directory and no umask.
fn environment(sb: &Arc<SuperBlock>) -> Result<WalkEnv> {
    sb.activate();
    let mount = Mount::new(sb.clone(), sb.root()?, "devtmpfs", 0);
    let fs = FsStruct::new(mount.root_path());
    fs.umask.store(0, Ordering::Relaxed);
    Ok(WalkEnv {
        fs: Arc::new(fs),
        cred: Arc::new(Cred::root()),
    })
}

/// Makes a node, and the directories above it (Linux: `handle_create`).
fn handle_create(env: &WalkEnv, device: &Device) -> Result {
    let permissions = if device.mode == 0 { 0o600 } else { device.mode };
    let mode = S_IFCHR | permissions & 0o7777;
    let name = device.name.as_bytes();
    let made = do_mknodat(env, None, name, mode, device.dev);
    if made.as_ref().err() != Some(&Errno::ENOENT) {
        return made.map(drop);
    }
    let directories = name.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    for (end, _) in directories {
        match do_mkdirat(env, None, &name[..end], 0o755) {
            Ok(_) | Err(Errno::EEXIST) => {}
            Err(error) => return Err(error),
        }
    }
    do_mknodat(env, None, name, mode, device.dev).map(drop)
}

/// Removes a node if it still is this device (Linux: `handle_remove`).
fn handle_remove(env: &WalkEnv, device: &Device) -> Result {
    let name = device.name.as_bytes();
    let path = path_lookup(env, None, name, LookupFlags::empty())?;
    if path.inode().rdev != device.dev {
        return Err(Errno::ENOENT);
    }
    drop(path);
    do_unlinkat(env, None, name)
}

fn handle(env: &WalkEnv, work: &Work, device: &Device) {
    let result = match work {
        Work::Create => handle_create(env, device),
        Work::Delete => handle_remove(env, device),
    };
    if let Err(error) = result {
        pr_debug!("devtmpfs: {}: error {error}", device.name);
    }
}

fn submit(work: Work, device: &Device) {
    if QUEUE.running.load(Ordering::Acquire) == 0 {
        return;
    }
    let request = Arc::new(Request {
        work,
        device: device.clone(),
        done: Completion::new(),
    });
    QUEUE.requests.lock().push_back(request.clone());
    QUEUE.wait.wake_up();
    request.done.wait_for_completion();
}

/// Has the node of a new device made; returns when it is there.
pub fn create_node(device: &Device) {
    submit(Work::Create, device);
}

/// Has the node of a device removed.
pub fn delete_node(device: &Device) {
    submit(Work::Delete, device);
}

/// The thread (Linux: `devtmpfsd`).
fn devtmpfsd(env: &WalkEnv) -> i32 {
    loop {
        let next = QUEUE.requests.lock().pop_front();
        match next {
            Some(request) => {
                handle(env, &request.work, &request.device);
                request.done.complete();
            }
            None => {
                let has_work = || !QUEUE.requests.lock().is_empty();
                let _ = QUEUE.wait.wait_event_interruptible(has_work);
            }
        }
    }
}

/// Makes the file system without its thread.
fn setup() -> Result<WalkEnv> {
    let request = MountRequest {
        source: "devtmpfs",
        flags: 0,
        data: "mode=0755",
    };
    let sb = crate::mm::shmem::tmpfs_super(&DEV_FS, &request)?;
    debug_assert_eq!(sb.magic, TMPFS_MAGIC);
    let env = environment(&sb)?;
    DEV_SB.call_once(|| sb);
    register_filesystem(&DEV_FS)?;
    Ok(env)
}

/// Makes devtmpfs and starts its thread (Linux: `devtmpfs_init`).
#[__init]
pub fn devtmpfs_init() {
    match setup() {
        Ok(env) => start(env),
        Err(error) => pr_err!("devtmpfs: unable to create devtmpfs {error}"),
    }
}

#[__init]
fn start(env: WalkEnv) {
    // From here on announcements wait for the thread; those before are made good first.
    QUEUE.running.store(1, Ordering::Release);
    for device in devices() {
        handle(&env, &Work::Create, &device);
    }
    match kthread_run("kdevtmpfs", move || devtmpfsd(&env)) {
        Ok(_) => pr_info!("devtmpfs: initialized"),
        Err(error) => {
            QUEUE.running.store(0, Ordering::Release);
            pr_err!("devtmpfs: unable to create devtmpfs {error}");
        }
    }
}

/// Whether [`devtmpfs_mount`] does it (Linux: `mount_dev`, CONFIG_DEVTMPFS_MOUNT).
static MOUNT_DEV: AtomicBool = AtomicBool::new(true);

fn mount_param(value: &str) -> Result {
    MOUNT_DEV.store(kstrtou32(value, 0)? != 0, Ordering::Relaxed);
    Ok(())
}
__setup!("devtmpfs.mount=", mount_param);

/// Mounts devtmpfs on `dev` of the working directory, which is a root file system that is not
/// the initramfs. Errors: those of mount(2).
#[__init]
pub fn devtmpfs_mount() -> Result {
    if !MOUNT_DEV.load(Ordering::Relaxed) {
        return Ok(());
    }
    let flags = MS_SILENT | MS_NOEXEC | MS_NOSUID;
    let result = crate::fs::init::init_mount("devtmpfs", "dev", "devtmpfs", flags, "");
    match result {
        Ok(()) => pr_info!("devtmpfs: mounted"),
        Err(error) => pr_info!("devtmpfs: error mounting {error}"),
    }
    result
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// devtmpfs with these devices, without the thread; once for all tests of the process.
    pub(crate) fn devtmpfs_with(devices: &[Device]) {
        static ENV: spin::Once<WalkEnv> = spin::Once::new();
        let env = ENV.call_once(|| setup().expect("a devtmpfs"));
        for device in devices {
            handle_create(env, device).expect("a node");
        }
    }
}
