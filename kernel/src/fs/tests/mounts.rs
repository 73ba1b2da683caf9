//! The mount tree.

use uapi::mount::*;

use super::*;
use crate::fs::namespace::{do_pivot_root, unshare_namespace};
use crate::fs::proc_namespace::{show_mountinfo, show_mounts};

#[test]
fn a_mount_covers_and_uncovers_its_directory() {
    in_world(|world| {
        world.mkdir("/m").unwrap();
        world.write("/m/below", b"").unwrap();
        world.mount("none", "/m", "tmpfs", 0, "").unwrap();
        assert!(world.walk("/m/below").is_err());
        world.write("/m/above", b"").unwrap();
        assert_ne!(world.stat("/m").unwrap().dev, world.stat("/").unwrap().dev);
        assert!(world.walk("/m/..").unwrap() == world.walk("/").unwrap());
        assert_eq!(world.rename("/m/above", "/x"), Err(Errno::EXDEV));
        assert_eq!(world.link("/m/above", "/x"), Err(Errno::EXDEV));
        assert_eq!(world.rmdir("/m"), Err(Errno::EBUSY));
        assert_eq!(world.rename("/m", "/n"), Err(Errno::EBUSY));
        let open = world.open("/m/above", O_RDONLY).unwrap();
        assert_eq!(world.umount("/m", 0), Err(Errno::EBUSY));
        drop(open);
        assert_eq!(world.umount("/m", 0), Ok(()));
        assert!(world.walk("/m/below").is_ok());
        assert_eq!(world.umount("/m", 0), Err(Errno::EINVAL));
        assert_eq!(world.unlink("/m/below").and(world.rmdir("/m")), Ok(()));
    });
}

#[test]
fn a_lazy_unmount_lets_users_finish() {
    in_world(|world| {
        world.mkdir("/m").unwrap();
        world.mount("none", "/m", "tmpfs", 0, "").unwrap();
        world.mkdir("/m/sub").unwrap();
        world.mount("none", "/m/sub", "tmpfs", 0, "").unwrap();
        assert_eq!(world.umount("/m", 0), Err(Errno::EBUSY));
        world.write("/m/sub/f", b"held").unwrap();
        let file = world.open("/m/sub/f", O_RDONLY).unwrap();
        assert_eq!(world.umount("/m", MNT_DETACH), Ok(()));
        assert!(world.walk("/m/sub").is_err());
        assert_eq!(read_all(&file).unwrap(), b"held");
        assert_eq!(world.ns.len(), 1);
    });
}

#[test]
fn a_bind_mount_shows_the_same_files() {
    in_world(|world| {
        for dir in ["/a", "/a/sub", "/b", "/c"] {
            world.mkdir(dir).unwrap();
        }
        world.mount("none", "/a/sub", "tmpfs", 0, "").unwrap();
        world.write("/a/sub/f", b"deep").unwrap();
        world.mount("/a", "/b", "", MS_BIND, "").unwrap();
        assert!(world.walk("/b/sub/f").is_err());
        world.mount("/a", "/c", "", MS_BIND | MS_REC, "").unwrap();
        assert_eq!(world.read("/c/sub/f").unwrap(), b"deep");
        world
            .mount("", "/b", "", MS_REMOUNT | MS_BIND | MS_RDONLY, "")
            .unwrap();
        assert_eq!(world.write("/b/x", b""), Err(Errno::EROFS));
        assert_eq!(world.write("/a/x", b""), Ok(()));
        assert_eq!(world.open("/b/x", O_RDWR).err(), Some(Errno::EROFS));
        assert!(world.open("/b/x", O_RDONLY).is_ok());
        assert_eq!(world.mount("/a/x", "/b/x", "", MS_BIND, ""), Ok(()));
        assert_eq!(
            world.mount("/a", "/a/x", "", MS_BIND, ""),
            Err(Errno::ENOTDIR)
        );
    });
}

#[test]
fn read_only_needs_that_nobody_writes() {
    in_world(|world| {
        world.mkdir("/m").unwrap();
        world.mount("none", "/m", "tmpfs", 0, "").unwrap();
        let writer = world.open("/m/f", O_RDWR | O_CREAT).unwrap();
        let remount = |flags| world.mount("", "/m", "", MS_REMOUNT | flags, "");
        assert_eq!(remount(MS_RDONLY), Err(Errno::EBUSY));
        drop(writer);
        assert_eq!(remount(MS_RDONLY), Ok(()));
        assert_eq!(world.mkdir("/m/d"), Err(Errno::EROFS));
        assert_eq!(world.mkdir("/m/f"), Err(Errno::EEXIST));
        assert_eq!(world.unlink("/m/f"), Err(Errno::EROFS));
        assert_eq!(remount(0), Ok(()));
        assert_eq!(world.mkdir("/m/d"), Ok(()));
    });
}

#[test]
fn mount_says_what_is_wrong() {
    in_world(|world| {
        world.mkdir("/m").unwrap();
        world.write("/f", b"").unwrap();
        assert_eq!(world.mount("x", "/m", "nofs", 0, ""), Err(Errno::ENODEV));
        assert_eq!(world.mount("x", "/f", "tmpfs", 0, ""), Err(Errno::ENOTDIR));
        assert_eq!(
            world.mount("x", "/none", "tmpfs", 0, ""),
            Err(Errno::ENOENT)
        );
        assert_eq!(
            world.mount("x", "/m", "tmpfs", 0, "bogus"),
            Err(Errno::EINVAL)
        );
        assert_eq!(
            world.mount("x", "/m", "", MS_REMOUNT, ""),
            Err(Errno::EINVAL)
        );
        assert_eq!(
            world.mount("x", "/m", "", MS_PRIVATE | MS_REC, ""),
            Err(Errno::EINVAL)
        );
        assert_eq!(world.mount("x", "/", "", MS_PRIVATE | MS_REC, ""), Ok(()));
        assert_eq!(
            world.by(user(1)).mount("x", "/m", "tmpfs", 0, ""),
            Err(Errno::EPERM)
        );
        assert_eq!(world.ns.len(), 1);
    });
}

#[test]
fn a_mount_can_be_moved_but_not_into_itself() {
    in_world(|world| {
        world.mkdir("/a").unwrap();
        world.mkdir("/b").unwrap();
        world.mount("none", "/a", "tmpfs", 0, "").unwrap();
        world.mkdir("/a/in").unwrap();
        assert_eq!(
            world.mount("/a", "/a/in", "", MS_MOVE, ""),
            Err(Errno::ELOOP)
        );
        assert_eq!(
            world.mount("/a/in", "/b", "", MS_MOVE, ""),
            Err(Errno::EINVAL)
        );
        assert_eq!(world.mount("/a", "/b", "", MS_MOVE, ""), Ok(()));
        assert!(world.walk("/b/in").is_ok() && world.walk("/a/in").is_err());
    });
}

#[test]
fn pivot_root_changes_the_root_but_not_that_of_the_initramfs() {
    in_world(|world| {
        for dir in ["/new", "/newer"] {
            world.mkdir(dir).unwrap();
        }
        world.mount("none", "/new", "tmpfs", 0, "").unwrap();
        world.mkdir("/new/old").unwrap();
        let pivot = |new: &str, old: &str| {
            let (new, old) = (world.walk(new).unwrap(), world.walk(old).unwrap());
            do_pivot_root(&world.env, &new, &old, || vec![world.env.fs.clone()])
        };
        // The root of the namespace has no parent, so it cannot be put anywhere.
        assert_eq!(pivot("/new", "/new/old"), Err(Errno::EINVAL));
        let new = world.walk("/new").unwrap();
        world.env.fs.set_root(new.clone());
        world.env.fs.set_pwd(new);
        world.mkdir("/inner").unwrap();
        world.mount("none", "/inner", "tmpfs", 0, "").unwrap();
        world.mkdir("/inner/put").unwrap();
        world.write("/inner/marker", b"").unwrap();
        assert_eq!(pivot("/inner", "/inner/put"), Ok(()));
        assert!(world.walk("/marker").is_ok());
        assert!(world.walk("/put/old").is_ok());
    });
}

#[test]
fn the_lists_of_mounts_show_what_is_there() {
    in_world(|world| {
        world.mkdir("/with space").unwrap();
        world
            .mount(
                "none",
                "/with space",
                "tmpfs",
                MS_NOSUID | MS_NODEV,
                "size=1m,mode=755",
            )
            .unwrap();
        let mut text = String::new();
        let root = world.env.fs.root();
        show_mounts(&world.ns, &root, &mut text);
        assert_eq!(
            text,
            "rootfs / rootfs rw 0 0\n\
             none /with\\040space tmpfs rw,nosuid,nodev,relatime,size=1024k,mode=755 0 0\n"
        );
        let mut info = String::new();
        show_mountinfo(&world.ns, &root, &mut info);
        let lines: Vec<&str> = info.lines().collect();
        assert!(lines[0].contains(" / / rw - rootfs rootfs rw"), "{info}");
        assert!(
            lines[1]
                .contains(" / /with\\040space rw,nosuid,nodev,relatime - tmpfs none rw,size=1024k"),
            "{info}"
        );
        let chrooted = world.walk("/with space").unwrap();
        let mut inside = String::new();
        show_mounts(&world.ns, &chrooted, &mut inside);
        assert!(inside.starts_with("none / tmpfs rw"), "{inside}");
    });
}

#[test]
fn an_unshared_namespace_goes_its_own_way() {
    in_world(|world| {
        world.mkdir("/m").unwrap();
        world.mount("none", "/m", "tmpfs", 0, "").unwrap();
        world.write("/m/f", b"both").unwrap();
        let own = FsStruct::new(world.env.fs.root());
        let ns = unshare_namespace(&own).unwrap();
        let other = World {
            env: WalkEnv {
                fs: Arc::new(own),
                cred: world.env.cred.clone(),
            },
            files: world.files.clone(),
            ns: ns.clone(),
        };
        assert_eq!(other.read("/m/f").unwrap(), b"both");
        assert_eq!(other.umount("/m", 0), Ok(()));
        assert!(other.walk("/m/f").is_err());
        assert_eq!(world.read("/m/f").unwrap(), b"both");
        assert_eq!((ns.len(), world.ns.len()), (1, 2));
    });
}
