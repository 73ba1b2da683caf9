//! Contents, sizes, descriptors, locks of files.

use super::*;
use crate::fs::fdtable::OnExec;
use crate::fs::truncate::{do_truncate, vfs_fallocate, vfs_truncate};

const PAGE: u64 = crate::arch::PAGE_SIZE as u64;

#[test]
fn an_unlinked_file_lives_as_long_as_it_is_open() {
    in_world(|world| {
        world.write("/f", b"still here").unwrap();
        let file = world.open("/f", O_RDONLY).unwrap();
        world.unlink("/f").unwrap();
        assert_eq!(world.walk("/f").err(), Some(Errno::ENOENT));
        assert_eq!(file.inode.nlink(), 0);
        assert_eq!(read_all(&file).unwrap(), b"still here");
        world.write("/f", b"another").unwrap();
        assert_eq!(read_all(&file).unwrap(), b"still here");
        let old = world.walk("/f").unwrap();
        assert!(!Arc::ptr_eq(old.inode(), &file.inode));
    });
}

#[test]
fn holes_read_as_zeroes_and_take_no_room() {
    in_world(|world| {
        let file = world.open("/f", O_RDWR | O_CREAT).unwrap();
        file.kernel_write(b"end", &mut (10 * PAGE)).unwrap();
        assert_eq!(file.inode.size(), 10 * PAGE + 3);
        assert_eq!(vfs_getattr(&file.inode).blocks, PAGE / 512);
        let mut piece = [9; 8];
        assert_eq!(file.kernel_read(&mut piece, &mut (10 * PAGE - 5)), Ok(8));
        assert_eq!(&piece, b"\0\0\0\0\0end");
        let seek = |offset: u64, whence| file.ops.llseek(&file, offset as i64, whence);
        assert_eq!(seek(0, SEEK_DATA), Ok(10 * PAGE));
        assert_eq!(seek(0, SEEK_HOLE), Ok(0));
        assert_eq!(seek(10 * PAGE + 1, SEEK_HOLE), Ok(10 * PAGE + 3));
        assert_eq!(seek(10 * PAGE + 3, SEEK_DATA), Err(Errno::ENXIO));
        assert_eq!(seek(0, SEEK_END), Ok(10 * PAGE + 3));
        assert_eq!(file.ops.llseek(&file, -1, SEEK_SET), Err(Errno::EINVAL));
    });
}

#[test]
fn shrinking_and_growing_again_shows_zeroes() {
    in_world(|world| {
        world.write("/f", &[7; 6000]).unwrap();
        let path = world.walk("/f").unwrap();
        let cred = Cred::root();
        do_truncate(&path, 100, &cred).unwrap();
        do_truncate(&path, 5000, &cred).unwrap();
        let bytes = world.read("/f").unwrap();
        assert_eq!(bytes.len(), 5000);
        assert!(bytes[..100].iter().all(|&b| b == 7) && bytes[100..].iter().all(|&b| b == 0));
        assert_eq!(
            vfs_truncate(&world.walk("/").unwrap(), 0, &cred),
            Err(Errno::EISDIR)
        );
        assert_eq!(world.open("/f", O_RDWR | O_TRUNC).unwrap().inode.size(), 0);
    });
}

#[test]
fn fallocate_reserves_and_punches() {
    in_world(|world| {
        let file = world.open("/f", O_RDWR | O_CREAT).unwrap();
        let blocks = || vfs_getattr(&file.inode).blocks * 512 / PAGE;
        assert_eq!(
            vfs_fallocate(&file, FALLOC_FL_KEEP_SIZE, 0, 3 * PAGE as i64),
            Ok(())
        );
        assert_eq!((file.inode.size(), blocks()), (0, 3));
        assert_eq!(vfs_fallocate(&file, 0, 0, 4 * PAGE as i64), Ok(()));
        assert_eq!((file.inode.size(), blocks()), (4 * PAGE, 4));
        let punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
        assert_eq!(vfs_fallocate(&file, punch, 100, 3 * PAGE as i64), Ok(()));
        assert_eq!(blocks(), 2);
        assert_eq!(
            vfs_fallocate(&file, FALLOC_FL_PUNCH_HOLE, 0, 1),
            Err(Errno::EOPNOTSUPP)
        );
        assert_eq!(vfs_fallocate(&file, 0, -1, 1), Err(Errno::EINVAL));
        assert_eq!(vfs_fallocate(&file, 0, i64::MAX, 1), Err(Errno::EFBIG));
        let reader = world.open("/f", O_RDONLY).unwrap();
        assert_eq!(vfs_fallocate(&reader, 0, 0, 1), Err(Errno::EBADF));
    });
}

#[test]
fn appending_always_goes_to_the_end() {
    in_world(|world| {
        world.write("/f", b"one").unwrap();
        let file = world.open("/f", O_WRONLY | O_APPEND).unwrap();
        let mut pos = 0;
        file.kernel_write(b"two", &mut pos).unwrap();
        assert_eq!(pos, 6);
        assert_eq!(world.read("/f").unwrap(), b"onetwo");
        assert_eq!(file.kernel_read(&mut [0; 1], &mut 0), Err(Errno::EBADF));
    });
}

#[test]
fn a_small_tmpfs_fills_up_and_recovers() {
    in_world(|world| {
        world.mkdir("/m").unwrap();
        world
            .mount("none", "/m", "tmpfs", 0, "size=8k,nr_inodes=4")
            .unwrap();
        let file = world.open("/m/f", O_RDWR | O_CREAT).unwrap();
        let mut pos = 0;
        assert_eq!(file.kernel_write(&[1; 10000], &mut pos), Ok(8192));
        assert_eq!(file.kernel_write(&[1; 1], &mut pos), Err(Errno::ENOSPC));
        assert_eq!(file.inode.size(), 8192);
        world.write("/m/g", b"").unwrap();
        world.write("/m/h", b"").unwrap();
        assert_eq!(world.write("/m/i", b""), Err(Errno::ENOSPC));
        let statfs = crate::fs::statfs::vfs_statfs(&world.walk("/m").unwrap());
        assert_eq!(
            (
                statfs.f_blocks,
                statfs.f_bfree,
                statfs.f_files,
                statfs.f_ffree
            ),
            (2, 0, 4, 0)
        );
        drop(file);
        world.unlink("/m/f").unwrap();
        assert_eq!(world.write("/m/i", b"fits"), Ok(()));
        let small = world.mount("none", "/m", "none", uapi::mount::MS_REMOUNT, "nr_inodes=1");
        assert_eq!(small, Err(Errno::EINVAL));
        assert_eq!(
            world.mount("none", "/m", "none", uapi::mount::MS_REMOUNT, "size=1m"),
            Ok(())
        );
        assert_eq!(world.write("/m/i", &[2; 20000]), Ok(()));
    });
}

#[test]
fn fallocate_that_does_not_fit_leaves_nothing_behind() {
    in_world(|world| {
        world.mkdir("/m").unwrap();
        world.mount("none", "/m", "tmpfs", 0, "size=16k").unwrap();
        world.write("/m/other", &[1; 5000]).unwrap();
        let file = world.open("/m/f", O_RDWR | O_CREAT).unwrap();
        assert_eq!(
            vfs_fallocate(&file, 0, 0, 3 * PAGE as i64),
            Err(Errno::ENOSPC)
        );
        assert_eq!(vfs_getattr(&file.inode).blocks, 0);
        assert_eq!(vfs_fallocate(&file, 0, 0, 2 * PAGE as i64), Ok(()));
    });
}

#[test]
fn a_running_program_cannot_be_written_nor_a_written_one_run() {
    in_world(|world| {
        world.write("/prog", b"#!").unwrap();
        let inode = world.walk("/prog").unwrap().inode().clone();
        inode.deny_write_access().unwrap();
        assert_eq!(world.open("/prog", O_RDWR).err(), Some(Errno::ETXTBSY));
        assert!(world.open("/prog", O_RDONLY).is_ok());
        inode.allow_write_access();
        let writer = world.open("/prog", O_RDWR).unwrap();
        assert_eq!(inode.deny_write_access(), Err(Errno::ETXTBSY));
        drop(writer);
        assert_eq!(inode.deny_write_access(), Ok(()));
    });
}

#[test]
fn a_nameless_file_can_get_a_name() {
    in_world(|world| {
        let file = world.open("/", O_TMPFILE | O_RDWR).unwrap();
        assert_eq!(file.inode.nlink(), 0);
        file.kernel_write(b"kept", &mut 0).unwrap();
        do_linkat(&world.env, &file.path, None, b"/named").unwrap();
        assert_eq!(world.read("/named").unwrap(), b"kept");
        let lost = world.open("/", O_TMPFILE | O_RDWR | O_EXCL).unwrap();
        let linked = do_linkat(&world.env, &lost.path, None, b"/x");
        assert_eq!(linked.err(), Some(Errno::ENOENT));
        assert_eq!(world.open("/", O_TMPFILE).err(), Some(Errno::EINVAL));
    });
}

#[test]
fn the_lowest_free_descriptor_is_taken() {
    in_world(|world| {
        let files = &world.files;
        let file = world.open("/f", O_RDWR | O_CREAT).unwrap();
        let install = |limit, on_exec| files.install(file.clone(), limit, on_exec);
        for expected in 0..100 {
            assert_eq!(install(1024, OnExec::Keep), Ok(expected));
        }
        files.close(40).unwrap();
        files.close(7).unwrap();
        assert_eq!(install(1024, OnExec::Close), Ok(7));
        assert_eq!(install(1024, OnExec::Keep), Ok(40));
        assert_eq!(install(100, OnExec::Keep), Err(Errno::EMFILE));
        assert_eq!(
            files.replace(500, file.clone(), 1024, OnExec::Keep),
            Ok(500)
        );
        assert_eq!(
            files.replace(1024, file.clone(), 1024, OnExec::Keep),
            Err(Errno::EBADF)
        );
        assert_eq!(files.alloc(200, 1024, OnExec::Keep).unwrap().number(), 200);
        assert_eq!(install(1024, OnExec::Keep), Ok(100));
        let copy = files.dup().unwrap();
        assert_eq!(copy.on_exec(7), Ok(OnExec::Close));
        assert!(copy.get(500).is_ok());
        copy.close_on_exec();
        assert_eq!(copy.get(7).err(), Some(Errno::EBADF));
        assert!(files.get(7).is_ok());
        files.close_range(3, u32::MAX);
        assert!(files.get(2).is_ok() && files.get(3).is_err() && files.get(500).is_err());
        assert_eq!(install(1024, OnExec::Keep), Ok(3));
        assert_eq!(files.close(99), Err(Errno::EBADF));
        assert_eq!(files.get(-1).err(), Some(Errno::EBADF));
    });
}

#[test]
fn a_reserved_descriptor_is_not_given_twice() {
    in_world(|world| {
        let file = world.open("/f", O_RDWR | O_CREAT).unwrap();
        let reserved = world.files.alloc(0, 10, OnExec::Keep).unwrap();
        assert_eq!(world.files.get(0).err(), Some(Errno::EBADF));
        assert_eq!(
            world.files.replace(0, file.clone(), 10, OnExec::Keep),
            Err(Errno::EBUSY)
        );
        assert_eq!(world.files.install(file.clone(), 10, OnExec::Keep), Ok(1));
        drop(reserved);
        assert_eq!(world.files.install(file, 10, OnExec::Keep), Ok(0));
    });
}

#[test]
fn closing_any_descriptor_gives_up_record_locks() {
    in_world(|world| {
        let first = world.open("/f", O_RDWR | O_CREAT).unwrap();
        let second = world.open("/f", O_RDWR).unwrap();
        let flock = Flock {
            l_type: F_WRLCK,
            ..Flock::default()
        };
        let files = &world.files;
        crate::fs::locks::fcntl_setlk(&first, files, F_SETLK, &flock).unwrap();
        let stranger = FilesStruct::new();
        let refused = crate::fs::locks::fcntl_setlk(&second, &stranger, F_SETLK, &flock);
        assert_eq!(refused, Err(Errno::EAGAIN));
        let mut query = flock;
        crate::fs::locks::fcntl_getlk(&second, &stranger, F_GETLK, &mut query).unwrap();
        assert_eq!((query.l_type, query.l_len), (F_WRLCK, 0));
        let fd = files.install(second.clone(), 10, OnExec::Keep).unwrap();
        files.close(fd).unwrap();
        assert_eq!(
            crate::fs::locks::fcntl_setlk(&second, &stranger, F_SETLK, &flock),
            Ok(())
        );
    });
}

#[test]
fn a_write_takes_set_id_bits_away_from_strangers() {
    in_world(|world| {
        world.write("/f", b"").unwrap();
        let path = world.walk("/f").unwrap();
        crate::fs::chmod::chmod_common(&path, 0o6777, &world.env.cred).unwrap();
        crate::fs::chmod::chown_common(&path, 5, 5, &world.env.cred).unwrap();
        assert_eq!(path.inode().mode() & 0o7777, 0o777);
        crate::fs::chmod::chmod_common(&path, 0o6777, &world.env.cred).unwrap();
        let one = world.by(user(1));
        *current().cred.lock() = one.env.cred.clone();
        let file = one.open("/f", O_WRONLY).unwrap();
        file.kernel_write(b"x", &mut 0).unwrap();
        assert_eq!(path.inode().mode() & 0o7777, 0o777);
    });
}

#[test]
fn times_are_set_and_kept() {
    use crate::fs::utimes::{NewTime, vfs_utimes};
    in_world(|world| {
        world.write("/f", b"").unwrap();
        let path = world.walk("/f").unwrap();
        let root = Cred::root();
        vfs_utimes(&path, Some([NewTime::At(5), NewTime::At(-7)]), &root).unwrap();
        let stat = world.stat("/f").unwrap();
        assert_eq!((stat.atime, stat.mtime), (5, -7));
        assert_eq!(stat.to_stat().st_mtim.tv_sec, -1);
        vfs_utimes(&path, Some([NewTime::Omit, NewTime::At(9)]), &root).unwrap();
        assert_eq!(
            (
                world.stat("/f").unwrap().atime,
                world.stat("/f").unwrap().mtime
            ),
            (5, 9)
        );
        let denied = vfs_utimes(&path, Some([NewTime::At(1), NewTime::Omit]), &user(1));
        assert_eq!(denied, Err(Errno::EPERM));
        assert_eq!(vfs_utimes(&path, None, &user(1)), Err(Errno::EACCES));
    });
}
