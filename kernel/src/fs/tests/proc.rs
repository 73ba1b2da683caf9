//! The framework of /proc, devtmpfs and character devices.

use super::*;
use crate::fs::inode::LinkTarget;
use crate::fs::proc::*;

static STORED: SpinLock<Vec<u8>> = SpinLock::new(Vec::new());

fn show(out: &mut String) -> Result {
    out.push_str("line one\nline two\n");
    Ok(())
}
fn store(bytes: &[u8]) -> Result {
    *STORED.lock() = bytes.to_vec();
    Ok(())
}

/// A directory whose children come and go.
struct Family;
struct Member {
    alive: &'static core::sync::atomic::AtomicBool,
}
static ALIVE: core::sync::atomic::AtomicBool = core::sync::atomic::AtomicBool::new(true);

impl ProcNode for Family {
    fn mode(&self) -> u32 {
        0o040555
    }
    fn ino(&self) -> u64 {
        1 << 40
    }
    fn lookup(&self, name: &[u8]) -> Result<Option<Box<dyn ProcNode>>> {
        let alive = ALIVE.load(core::sync::atomic::Ordering::Relaxed);
        Ok((name == b"4711" && alive)
            .then(|| Box::new(Member { alive: &ALIVE }) as Box<dyn ProcNode>))
    }
    fn read_dir(&self, from: u64, emit: &mut NodeEmit<'_>) -> Result {
        let position = crate::fs::proc::root::DYNAMIC_POS + 4711;
        if from <= position {
            emit(b"4711", 4711 << 20, 0o040555, position + 1);
        }
        Ok(())
    }
}

impl ProcNode for Member {
    fn mode(&self) -> u32 {
        0o120777
    }
    fn ino(&self) -> u64 {
        4711 << 20
    }
    fn may_vanish(&self) -> bool {
        true
    }
    fn is_alive(&self) -> bool {
        self.alive.load(core::sync::atomic::Ordering::Relaxed)
    }
    fn get_link(&self) -> Result<LinkTarget> {
        Ok(LinkTarget::Text(Arc::from(*b"/proc/test")))
    }
}

#[test]
fn proc_files_show_their_text_in_any_portion() {
    in_world(|world| {
        let _ = crate::fs::filesystems::register_filesystem(crate::fs::proc::root::proc_fs());
        proc_create_single("test/dir/text", 0, show).unwrap();
        proc_create_rw("test/knob", 0o644, show, Some(store)).unwrap();
        proc_symlink("test/link", "dir/text").unwrap();
        proc_register_dynamic(Arc::new(Family));
        assert_eq!(proc_create_single("test/knob", 0, show), Err(Errno::EEXIST));
        world.mkdir("/proc").unwrap();
        world.mount("proc", "/proc", "proc", 0, "").unwrap();
        assert_eq!(
            world.read("/proc/test/dir/text").unwrap(),
            b"line one\nline two\n"
        );
        let file = world.open("/proc/test/link", O_RDONLY).unwrap();
        let mut pos = 0;
        let mut text = Vec::new();
        let mut piece = [0; 4];
        while let Ok(count @ 1..) = file.kernel_read(&mut piece, &mut pos) {
            text.extend_from_slice(&piece[..count]);
        }
        assert_eq!(text, b"line one\nline two\n");
        let stat = world.stat("/proc/test/dir/text").unwrap();
        assert_eq!((stat.mode, stat.size, stat.nlink), (0o100444, 0, 1));
        assert_eq!(stat.ino, world.stat("/proc/test/dir/text").unwrap().ino);
        assert_eq!(world.stat("/proc/test").unwrap().nlink, 3);
        world.write("/proc/test/knob", b"42\n").unwrap();
        assert_eq!(*STORED.lock(), b"42\n");
        assert_eq!(world.write("/proc/test/new", b""), Err(Errno::EPERM));
        assert_eq!(world.mkdir("/proc/d"), Err(Errno::EPERM));
        assert_eq!(world.unlink("/proc/test/knob"), Err(Errno::EPERM));
        remove_proc_entry("test/knob").unwrap();
        assert_eq!(world.walk("/proc/test/knob").err(), Some(Errno::ENOENT));
        // Entries that vanish are not found in the cache.
        assert_eq!(world.read("/proc/4711").err(), Some(Errno::EISDIR));
        assert!(world.lwalk("/proc/4711").is_ok());
        ALIVE.store(false, core::sync::atomic::Ordering::Relaxed);
        assert_eq!(world.lwalk("/proc/4711").err(), Some(Errno::ENOENT));
        assert_eq!(world.umount("/proc", 0), Err(Errno::EBUSY));
        drop(file);
        assert_eq!(world.umount("/proc", 0), Ok(()));
    });
}
