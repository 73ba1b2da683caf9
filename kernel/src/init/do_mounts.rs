//! The root file system when the initramfs has no /init (Linux: init/do_mounts.c,
//! block/early-lookup.c).
//!
//! No driver has block devices, so every device fails to open, as on Linux without the right
//! driver. A file system that needs no device can be the root: `root=none rootfstype=tmpfs`.
#![forbid(unsafe_code)]

use uapi::mount::{MS_MOVE, MS_RDONLY, MS_SILENT};
use uapi::stat::S_IFBLK;

use crate::drivers::base::devtmpfs::devtmpfs_mount;
use crate::fs::char_dev::DevT;
use crate::fs::filesystems::{get_fs_type, list_bdev_fs_names};
use crate::fs::init::{init_chdir, init_chroot, init_mknod, init_mount, init_unlink};
use crate::kernel::sched::current;
use crate::kernel::time::{ktime_get, sleep_until_interruptible};
use crate::kpanic;
use crate::lib::kstrtox::{kstrtoi32, kstrtou32, simple_strtoull};
use crate::prelude::*;

/// Longest text of `root=` (Linux: `saved_root_name` with its NUL).
const MAX_ROOT_NAME: usize = 63;
/// Longest name of a block device (Linux: `devt_from_devname`).
const MAX_DEVICE_NAME: usize = 31;
/// No device (yet).
const NO_DEV: DevT = DevT(0);
/// The first RAM disk, `/dev/ram`.
const ROOT_RAM0: DevT = DevT::new(1, 0);
/// Roots that are not block devices have numbers of their own (Linux: linux/root_dev.h).
const ROOT_NFS: DevT = DevT::new(0, 255);
const ROOT_CIFS: DevT = DevT::new(0, 254);
const ROOT_GENERIC: DevT = DevT::new(0, 253);

/// How long the root device may take to appear (Linux: `root_wait`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum RootWait {
    No,
    /// Nanoseconds.
    For(u64),
    Forever,
}

/// What the command line says about the root.
#[derive(Clone, Debug)]
struct RootOptions {
    /// `root=`.
    name: String,
    /// `rootfstype=`: names with commas between them.
    fs_names: Option<String>,
    /// `rootflags=`.
    data: String,
    /// MS_*: `ro` and `rw` (Linux: `root_mountflags`).
    flags: u64,
    /// `rootdelay=`, seconds.
    delay: u32,
    /// `rootwait`.
    wait: RootWait,
}

static OPTIONS: SpinLock<RootOptions> = SpinLock::new(RootOptions {
    name: String::new(),
    fs_names: None,
    data: String::new(),
    flags: MS_RDONLY | MS_SILENT,
    delay: 0,
    wait: RootWait::No,
});

fn root_dev_setup(value: &str) -> Result {
    OPTIONS.lock().name = value.chars().take(MAX_ROOT_NAME).collect();
    Ok(())
}
__setup!("root=", root_dev_setup);

fn fs_names_setup(value: &str) -> Result {
    OPTIONS.lock().fs_names = Some(String::from(value));
    Ok(())
}
__setup!("rootfstype=", fs_names_setup);

fn root_data_setup(value: &str) -> Result {
    OPTIONS.lock().data = String::from(value);
    Ok(())
}
__setup!("rootflags=", root_data_setup);

/// A word that takes no value. Errors: EINVAL.
fn without_value(value: &str) -> Result {
    value.is_empty().then_some(()).ok_or(Errno::EINVAL)
}

fn readonly(value: &str) -> Result {
    without_value(value)?;
    OPTIONS.lock().flags |= MS_RDONLY;
    Ok(())
}
__setup!("ro", readonly);

fn readwrite(value: &str) -> Result {
    without_value(value)?;
    OPTIONS.lock().flags &= !MS_RDONLY;
    Ok(())
}
__setup!("rw", readwrite);

fn root_delay_setup(value: &str) -> Result {
    OPTIONS.lock().delay = kstrtou32(value, 0)?;
    Ok(())
}
__setup!("rootdelay=", root_delay_setup);

/// `rootwait` alone waits without an end, `rootwait=` for so many seconds.
fn rootwait_setup(value: &str) -> Result {
    OPTIONS.lock().wait = parse_rootwait(value);
    Ok(())
}
__setup!("rootwait", rootwait_setup);

fn parse_rootwait(value: &str) -> RootWait {
    if value.is_empty() {
        return RootWait::Forever;
    }
    let Some(seconds) = kstrtoi32(value, 0).ok().filter(|seconds| *seconds >= 0) else {
        pr_warn!("ignoring invalid rootwait value");
        return RootWait::Forever;
    };
    match seconds.checked_mul(1000) {
        Some(0) => RootWait::No,
        Some(ms) => RootWait::For(u64::from(ms.unsigned_abs()) * 1_000_000),
        None => {
            pr_warn!("ignoring excessive rootwait value");
            RootWait::Forever
        }
    }
}

/// Mounts the root file system and makes it the root of pid 1 and of the kernel threads
/// (Linux: `prepare_namespace`). Panics when nothing can be mounted.
#[__init]
pub fn prepare_namespace() {
    let options = OPTIONS.lock().clone();
    mount_as_root(options);
}

#[__init]
fn mount_as_root(mut options: RootOptions) {
    if options.delay > 0 {
        pr_info!(
            "Waiting {} sec before mounting root device...",
            options.delay
        );
        sleep_ns(u64::from(options.delay) * 1_000_000_000);
    }
    let mut dev = NO_DEV;
    if !options.name.is_empty() {
        dev = parse_root_device(&mut options);
    }
    if options.wait != RootWait::No {
        dev = wait_for_root(&options, dev);
    }
    mount_root(&options, dev);
    // Without a directory for it, a message is all that there is to do.
    let _ = devtmpfs_mount();
    if let Err(error) = init_mount(".", "/", "", MS_MOVE, "").and_then(|()| init_chroot(".")) {
        pr_err!("VFS: the root stays where it was: error {error}");
    }
}

fn sleep_ns(ns: u64) {
    // Pid 1 gets no signals before it has a program.
    let _ = sleep_until_interruptible(Some(ktime_get() + ns));
}

/// The device that `root=` names; none when there is none of that name (yet).
#[__init]
fn parse_root_device(options: &mut RootOptions) -> DevT {
    let name = options.name.as_str();
    if name.starts_with("mtd") || name.starts_with("ubi") {
        return ROOT_GENERIC;
    }
    match name {
        "/dev/nfs" => return ROOT_NFS,
        "/dev/cifs" => return ROOT_CIFS,
        "/dev/ram" => return ROOT_RAM0,
        _ => {}
    }
    early_lookup_bdev(name).unwrap_or_else(|error| {
        if error == Errno::EINVAL && options.wait != RootWait::No {
            pr_err!("Disabling rootwait; root= is invalid.");
            options.wait = RootWait::No;
        }
        NO_DEV
    })
}

/// The number of a block device by its name. Errors: EINVAL for what is no name of a device,
/// ENODEV for one that is not there.
fn early_lookup_bdev(name: &str) -> Result<DevT> {
    if let Some(uuid) = name.strip_prefix("PARTUUID=") {
        return devt_from_partuuid(uuid);
    }
    if name.starts_with("PARTLABEL=") {
        return Err(Errno::ENODEV);
    }
    match name.strip_prefix("/dev/") {
        Some(device) if device.len() > MAX_DEVICE_NAME => Err(Errno::EINVAL),
        // The list of block devices is empty.
        Some(_) => Err(Errno::ENODEV),
        None => devt_from_devnum(name),
    }
}

/// `UUID` or `UUID/PARTNROFF=n`.
fn devt_from_partuuid(uuid: &str) -> Result<DevT> {
    let (id, offset) = match uuid.split_once('/') {
        Some((id, rest)) => (id, rest.strip_prefix("PARTNROFF=")),
        None => (uuid, Some("0")),
    };
    if id.is_empty() || offset.is_none_or(|offset| kstrtoi32(offset, 10).is_err()) {
        pr_err!("VFS: PARTUUID= is invalid.\nExpected PARTUUID=<valid-uuid-id>[/PARTNROFF=%d]");
        return Err(Errno::EINVAL);
    }
    Err(Errno::ENODEV)
}

/// `major:minor`, `major:minor:offset:`, or the number as stat(2) has it, in hexadecimal.
fn devt_from_devnum(name: &str) -> Result<DevT> {
    let parts: Vec<&str> = name.split(':').collect();
    if let [major, minor] | [major, minor, _, ""] = parts[..] {
        let number = |text: &str| text.parse::<u32>().map_err(|_| Errno::EINVAL);
        let (major, minor) = (number(major)?, number(minor)?);
        let fits = major < 1 << 12 && minor < 1 << 20;
        return fits.then(|| DevT::new(major, minor)).ok_or(Errno::EINVAL);
    }
    match simple_strtoull(name, 16) {
        (number, "") => Ok(DevT::decode(number & u64::from(u32::MAX))),
        _ => Err(Errno::EINVAL),
    }
}

/// Looks again and again until the device is there or the time is over.
#[__init]
fn wait_for_root(options: &RootOptions, dev: DevT) -> DevT {
    const INTERVAL_NS: u64 = 5_000_000;
    if dev != NO_DEV {
        return dev;
    }
    pr_info!("Waiting for root device {}...", options.name);
    let end = match options.wait {
        RootWait::For(ns) => ktime_get() + ns,
        RootWait::No | RootWait::Forever => u64::MAX,
    };
    loop {
        if let Ok(dev) = early_lookup_bdev(&options.name) {
            return dev;
        }
        sleep_ns(INTERVAL_NS);
        if ktime_get() > end {
            return NO_DEV;
        }
    }
}

/// Mounts the root on /root and goes there.
#[__init]
fn mount_root(options: &RootOptions, dev: DevT) {
    if dev == NO_DEV && mount_nodev_root(options).is_ok() {
        return;
    }
    if dev == ROOT_GENERIC {
        return mount_root_generic(options, &options.name, dev);
    }
    if let Err(error) = create_dev("/dev/root", dev) {
        pr_emerg!("Failed to create /dev/root: {error}");
    }
    mount_root_generic(options, "/dev/root", dev);
}

/// Makes a block device's node in place of what has the name.
#[__init]
fn create_dev(name: &str, dev: DevT) -> Result {
    let _ = init_unlink(name);
    init_mknod(name, S_IFBLK | 0o600, dev)
}

/// Tries those types of `rootfstype=` that need no device. Errors: EINVAL without any.
#[__init]
fn mount_nodev_root(options: &RootOptions) -> Result {
    let mut result = Err(Errno::EINVAL);
    for name in split_fs_names(options.fs_names.as_deref().unwrap_or("")) {
        if get_fs_type(name.as_bytes()).is_some_and(|fs_type| !fs_type.requires_dev) {
            result = do_mount_root(&options.name, name, options.flags, &options.data);
            if result.is_ok() {
                break;
            }
        }
    }
    result
}

fn split_fs_names(names: &str) -> impl Iterator<Item = &str> {
    names.split(',').filter(|name| !name.is_empty())
}

#[__init]
fn do_mount_root(source: &str, fs_type: &str, flags: u64, data: &str) -> Result {
    init_mount(source, "/root", fs_type, flags, data)?;
    init_chdir("/root")?;
    let pwd = current().fs().ok_or(Errno::ENOENT)?.pwd();
    let sb = &pwd.mnt.sb;
    pr_info!(
        "VFS: Mounted root ({} filesystem){} on device {}:{}.",
        sb.fs_type.name,
        if sb.is_readonly() { " readonly" } else { "" },
        sb.dev.major(),
        sb.dev.minor()
    );
    Ok(())
}

/// Tries one type after the other, then all of them read-only. Panics when none fits.
#[__init]
fn mount_root_generic(options: &RootOptions, source: &str, dev: DevT) {
    let device = format!("unknown-block({},{})", dev.major(), dev.minor());
    let names: Vec<&str> = match &options.fs_names {
        Some(names) => split_fs_names(names).collect(),
        None => list_bdev_fs_names(),
    };
    if names.is_empty() {
        // Any of them would open the device first, and no driver serves it.
        cannot_open_root(&options.name, &device, Errno::ENXIO);
    }
    for flags in [options.flags, options.flags | MS_RDONLY] {
        for name in &names {
            match do_mount_root(source, name, flags, &options.data) {
                Ok(()) => return,
                Err(Errno::EACCES | Errno::EINVAL) => {}
                Err(error) => cannot_open_root(&options.name, &device, error),
            }
        }
        if options.flags & MS_RDONLY != 0 {
            break;
        }
    }
    pr_notice!("List of all partitions:");
    pr_notice!("No filesystem could mount root, tried: ");
    names.iter().for_each(|name| pr_notice!(" {name}"));
    kpanic!("VFS: Unable to mount root fs on {device}");
}

/// There are no partitions to be listed, as nothing can have any.
#[__init]
fn cannot_open_root(name: &str, device: &str, error: Errno) -> ! {
    pr_err!("VFS: Cannot open root device \"{name}\" or {device}: error {error}");
    pr_err!("Please append a correct \"root=\" boot option; here are the available partitions:");
    let names = list_bdev_fs_names();
    if names.is_empty() {
        pr_err!("Can't find any bdev filesystem to be used for mount!");
    } else {
        pr_err!("List of all bdev filesystems:");
        names.iter().for_each(|name| pr_err!(" {name}"));
    }
    kpanic!("VFS: Unable to mount root fs on {device}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers::base::Device;
    use crate::drivers::base::devtmpfs::tests::devtmpfs_with;
    use crate::fs::filesystems::{FileSystemType, register_filesystem};
    use crate::fs::proc_namespace::show_mounts;
    use crate::fs::superblock::SuperBlock;
    use crate::fs::tests::{World, in_world};

    /// A tmpfs that keeps what it has, so that a root can be prepared.
    static KEPT: FileSystemType = FileSystemType {
        name: "kept",
        requires_dev: false,
        mount: |fs_type, request| {
            static SB: spin::Once<Arc<SuperBlock>> = spin::Once::new();
            let make = || crate::mm::shmem::tmpfs_super(fs_type, request);
            let sb = SB.try_call_once(make)?;
            sb.activate();
            Ok(sb.clone())
        },
    };

    /// `/root` to mount on, and a root to be mounted that has `/dev` and `/sbin`.
    fn prepare_roots(world: &World) {
        let _ = register_filesystem(&KEPT);
        devtmpfs_with(&[Device {
            class: "tty",
            dev: DevT::new(5, 1),
            name: String::from("console"),
            mode: 0o600,
        }]);
        for dir in ["/root", "/m"] {
            world.mkdir(dir).unwrap();
        }
        world.mount("none", "/m", "kept", 0, "").unwrap();
        for dir in ["/m/dev", "/m/sbin"] {
            world.mkdir(dir).unwrap();
        }
    }

    #[test]
    fn a_file_system_without_a_device_becomes_the_root_and_gets_its_devices() {
        in_world(|world| {
            prepare_roots(world);
            let before = world.walk("/").unwrap();
            let mut options = OPTIONS.lock().clone();
            options.name = String::from("none");
            options.fs_names = Some(String::from("ext4,kept"));
            options.flags &= !MS_RDONLY;
            mount_as_root(options);
            assert!(world.walk("/").unwrap() != before);
            assert!(world.walk("/sbin").is_ok());
            assert_eq!(world.walk("/m").err(), Some(Errno::ENOENT));
            assert!(world.walk("..").unwrap() == world.walk("/").unwrap());
            let console = world.stat("/dev/console").unwrap();
            assert_eq!(console.rdev, DevT::new(5, 1));
            let mut mounts = String::new();
            let root = world.walk("/").unwrap();
            show_mounts(&world.ns, &root, &mut mounts);
            assert!(mounts.starts_with("none / kept rw,"), "{mounts}");
            assert!(mounts.contains("devtmpfs /dev devtmpfs "), "{mounts}");
        });
    }

    #[test]
    fn numbers_of_devices_are_read_in_both_forms() {
        for (text, major, minor) in [
            ("8:1", 8, 1),
            ("0801", 8, 1),
            ("801", 8, 1),
            ("254:16", 254, 16),
            ("8:1:0:", 8, 1),
            ("0x103", 1, 3),
            ("10300105", 0x001, 0x10305),
            ("", 0, 0),
        ] {
            assert_eq!(
                early_lookup_bdev(text),
                Ok(DevT::new(major, minor)),
                "{text}"
            );
        }
    }

    #[test]
    fn what_names_no_device_is_told_from_a_device_that_is_missing() {
        for text in [
            "none", "tmpfs", "8:", ":1", "8:1:", "8:1x", "4096:0", "LABEL=/",
        ] {
            assert_eq!(early_lookup_bdev(text), Err(Errno::EINVAL), "{text}");
        }
        let long = format!("/dev/{}", "a".repeat(32));
        for text in [
            "PARTUUID=",
            "PARTUUID=1/OFF=1",
            "PARTUUID=1/PARTNROFF=x",
            &long,
        ] {
            assert_eq!(early_lookup_bdev(text), Err(Errno::EINVAL), "{text}");
        }
        for text in ["/dev/sda1", "PARTUUID=12-01/PARTNROFF=-1", "PARTLABEL=root"] {
            assert_eq!(early_lookup_bdev(text), Err(Errno::ENODEV), "{text}");
        }
    }

    #[test]
    fn the_time_to_wait_is_in_seconds_and_nonsense_means_forever() {
        assert_eq!(parse_rootwait("2"), RootWait::For(2_000_000_000));
        assert_eq!(parse_rootwait("0"), RootWait::No);
        for forever in ["", "x", "-1", "2147484"] {
            assert_eq!(parse_rootwait(forever), RootWait::Forever, "{forever}");
        }
    }
}
