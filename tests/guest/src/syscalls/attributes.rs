//! What is known about files, and who may do what with them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use crate::check::{Check, Outcome, fails, holds, same, table, works};
use crate::raw::{Status, become_nobody, call, in_child};

pub const CHECKS: &[Check] = table![
    the_current_folder_has_a_path,
    the_current_folder_can_be_removed,
    a_new_root_hides_the_old_one,
    files_grow_and_shrink_with_zeros,
    times_are_set_and_kept,
    changes_move_the_times_forward,
    permissions_keep_others_out,
    changing_the_owner_drops_the_rights_of_programs,
    nodes_are_made_of_every_kind,
    stat_tells_everything,
    statx_agrees_with_stat,
    access_asks_for_the_real_user,
    allocation_reserves_blocks,
    the_file_system_is_described,
    the_null_and_zero_devices_work,
];

const AT: i32 = libc::AT_FDCWD;

fn the_current_folder_has_a_path() -> Outcome {
    let mut buffer = [0_u8; 64];
    works!(fs::create_dir_all("a/b"));
    works!(call!(SYS_chdir, c"a/b"));
    let length = works!(call!(SYS_getcwd, &mut buffer, 64));
    let path = String::from_utf8_lossy(&buffer[..length - 1]).into_owned();
    holds!(
        path.starts_with("/tmp/check-") && path.ends_with("/a/b"),
        "{path}"
    );
    fails!(call!(SYS_getcwd, &mut buffer, length - 1), ERANGE);
    works!(call!(SYS_getcwd, &mut buffer, length));
    let fd = works!(call!(SYS_open, c"..", libc::O_DIRECTORY, 0));
    works!(call!(SYS_fchdir, fd));
    holds!(fs::metadata("b").is_ok());
    works!(call!(SYS_chdir, c"/../../.."));
    same!(call!(SYS_getcwd, &mut buffer, 64), Ok(2));
    Ok(())
}

fn the_current_folder_can_be_removed() -> Outcome {
    works!(fs::create_dir("a"));
    works!(call!(SYS_chdir, c"a"));
    works!(call!(SYS_rmdir, c"../a"));
    fails!(call!(SYS_getcwd, &mut [0_u8; 64], 64), ENOENT);
    fails!(
        call!(SYS_open, c"x", libc::O_CREAT | libc::O_RDWR, 0o600),
        ENOENT
    );
    works!(call!(SYS_chdir, c".."));
    Ok(())
}

fn a_new_root_hides_the_old_one() -> Outcome {
    works!(fs::create_dir("root"));
    works!(fs::write("root/file", ""));
    let status = in_child(|| {
        let changed = call!(SYS_chroot, c"root").and_then(|_| call!(SYS_chdir, c"/"));
        let inside = call!(SYS_access, c"/file", 0).is_ok();
        let above = call!(SYS_access, c"../../../proc", 0).is_err();
        i32::from(!(changed.is_ok() && inside && above))
    });
    same!(status, Status::Exited(0));
    Ok(())
}

fn files_grow_and_shrink_with_zeros() -> Outcome {
    works!(fs::write("a", "12345"));
    works!(call!(SYS_truncate, c"a", 2));
    works!(call!(SYS_truncate, c"a", 6000));
    let bytes = works!(fs::read("a"));
    same!((bytes.len(), &bytes[..3]), (6000, &b"12\0"[..]));
    holds!(bytes[2..].iter().all(|byte| *byte == 0));
    fails!(call!(SYS_truncate, c"a", -1), EINVAL);
    works!(call!(
        SYS_prlimit64,
        0,
        libc::RLIMIT_FSIZE,
        &[8192_u64, 8192],
        0
    ));
    crate::raw::set_disposition(libc::SIGXFSZ, libc::SIG_IGN, 0, &[]);
    fails!(call!(SYS_truncate, c"a", 8193), EFBIG);
    Ok(())
}

fn times_are_set_and_kept() -> Outcome {
    works!(fs::write("a", ""));
    let times: [i64; 4] = [1000, 5, 2000, 999_999_999];
    works!(call!(SYS_utimensat, AT, c"a", &times, 0));
    let stat = works!(fs::metadata("a"));
    same!(
        (stat.atime(), stat.mtime(), stat.mtime_nsec()),
        (1000, 2000, 999_999_999)
    );
    let omit: [i64; 4] = [0, libc::UTIME_OMIT, 3000, 1];
    works!(call!(SYS_utimensat, AT, c"a", &omit, 0));
    let stat = works!(fs::metadata("a"));
    same!((stat.atime(), stat.mtime()), (1000, 3000));
    let wrong: [i64; 4] = [0, 1_000_000_000, 0, 0];
    fails!(call!(SYS_utimensat, AT, c"a", &wrong, 0), EINVAL);
    works!(symlink("a", "l"));
    works!(call!(
        SYS_utimensat,
        AT,
        c"l",
        &times,
        libc::AT_SYMLINK_NOFOLLOW
    ));
    same!(works!(fs::metadata("a")).mtime(), 3000);
    same!(works!(fs::symlink_metadata("l")).mtime(), 2000);
    works!(call!(SYS_utimensat, AT, c"a", 0, 0));
    holds!(works!(fs::metadata("a")).mtime() != 3000);
    Ok(())
}

fn changes_move_the_times_forward() -> Outcome {
    let old: [i64; 4] = [1000, 0, 1000, 0];
    let mtime = |name: &str| fs::metadata(name).map(|stat| stat.mtime()).unwrap_or(0);
    works!(fs::write("a", "123"));
    works!(fs::create_dir("d"));
    works!(call!(SYS_utimensat, AT, c"a", &old, 0));
    works!(call!(SYS_utimensat, AT, c"d", &old, 0));
    works!(call!(SYS_chmod, c"a", 0o600));
    same!(mtime("a"), 1000);
    holds!(works!(fs::metadata("a")).ctime() > 1000);
    works!(call!(SYS_truncate, c"a", 1));
    holds!(mtime("a") > 1000);
    works!(fs::write("d/x", ""));
    holds!(mtime("d") > 1000);
    works!(call!(SYS_utimensat, AT, c"d", &old, 0));
    works!(fs::remove_file("d/x"));
    holds!(mtime("d") > 1000);
    Ok(())
}

fn permissions_keep_others_out() -> Outcome {
    works!(fs::write("secret", "x"));
    works!(fs::set_permissions(
        "secret",
        fs::Permissions::from_mode(0o600)
    ));
    works!(fs::write("open", "x"));
    works!(fs::create_dir("closed"));
    works!(fs::write("closed/file", "x"));
    works!(fs::set_permissions(
        "closed",
        fs::Permissions::from_mode(0o700)
    ));
    works!(fs::create_dir("sticky"));
    works!(fs::set_permissions(
        "sticky",
        fs::Permissions::from_mode(0o1777)
    ));
    works!(fs::write("sticky/mine", "x"));
    let status = in_child(|| {
        become_nobody();
        let results = [
            call!(SYS_open, c"secret", libc::O_RDONLY, 0),
            call!(SYS_open, c"open", libc::O_WRONLY, 0),
            call!(SYS_open, c"closed/file", libc::O_RDONLY, 0),
            call!(SYS_open, c"new", libc::O_CREAT | libc::O_RDWR, 0o600),
            call!(SYS_unlink, c"open"),
            call!(SYS_mkdir, c"new", 0o700),
        ];
        let refused = Err(crate::raw::Errno(libc::EACCES));
        if let Some(wrong) = results.iter().position(|result| *result != refused) {
            return 10 + i32::try_from(wrong).unwrap_or(0);
        }
        let denied = Err(crate::raw::Errno(libc::EPERM));
        let results = [
            call!(SYS_chmod, c"open", 0o777),
            call!(SYS_chown, c"open", 65534, 65534),
            call!(SYS_unlink, c"sticky/mine"),
            call!(SYS_chroot, c"."),
            call!(SYS_mknod, c"sticky/n", libc::S_IFCHR | 0o666, 0x103),
            call!(SYS_mount, c"none", c"sticky", c"tmpfs", 0, 0),
            call!(SYS_sethostname, c"x", 1),
            call!(SYS_setuid, 0),
            call!(SYS_kill, 1, 0),
        ];
        if let Some(wrong) = results.iter().position(|result| *result != denied) {
            return 30 + i32::try_from(wrong).unwrap_or(0);
        }
        i32::from(call!(SYS_open, c"open", libc::O_RDONLY, 0).is_err())
    });
    same!(status, Status::Exited(0));
    Ok(())
}

fn changing_the_owner_drops_the_rights_of_programs() -> Outcome {
    works!(fs::write("a", ""));
    works!(call!(SYS_chmod, c"a", 0o6755));
    works!(call!(SYS_chown, c"a", 5, 6));
    let stat = works!(fs::metadata("a"));
    same!(
        (stat.uid(), stat.gid(), stat.mode() & 0o7777),
        (5, 6, 0o755)
    );
    works!(call!(SYS_chown, c"a", u32::MAX, 7));
    let stat = works!(fs::metadata("a"));
    same!((stat.uid(), stat.gid()), (5, 7));
    works!(symlink("a", "l"));
    works!(call!(SYS_lchown, c"l", 8, 8));
    same!(works!(fs::metadata("a")).uid(), 5);
    same!(works!(fs::symlink_metadata("l")).uid(), 8);
    Ok(())
}

fn nodes_are_made_of_every_kind() -> Outcome {
    for (name, kind, device) in [
        (c"file", libc::S_IFREG, 0),
        (c"pipe", libc::S_IFIFO, 0),
        (c"character", libc::S_IFCHR, 0x103),
        (c"block", libc::S_IFBLK, 0x0010_082c),
        (c"socket", libc::S_IFSOCK, 0),
    ] {
        works!(call!(SYS_mknod, name, kind | 0o640, device));
        let stat = works!(fs::symlink_metadata(name.to_string_lossy().as_ref()));
        same!((stat.mode(), stat.rdev()), (kind | 0o640, device));
        fails!(call!(SYS_mknod, name, kind | 0o640, device), EEXIST);
    }
    fails!(call!(SYS_mknod, c"d", libc::S_IFDIR | 0o755, 0), EPERM);
    fails!(call!(SYS_mknod, c"l", libc::S_IFLNK | 0o755, 0), EINVAL);
    // A device number that nobody serves.
    works!(call!(SYS_mknod, c"nobody", libc::S_IFCHR | 0o666, 0xf_0fff));
    fails!(call!(SYS_open, c"nobody", libc::O_RDWR, 0), ENXIO);
    fails!(call!(SYS_open, c"socket", libc::O_RDWR, 0), ENXIO);
    Ok(())
}

fn stat_tells_everything() -> Outcome {
    works!(fs::write("a", vec![7; 5000]));
    works!(fs::create_dir("d"));
    let (a, d) = (works!(fs::metadata("a")), works!(fs::metadata("d")));
    same!(
        (a.mode(), a.nlink(), a.uid(), a.gid(), a.size()),
        (0o100_644, 1, 0, 0, 5000)
    );
    same!((d.mode(), d.nlink()), (0o040_755, 2));
    holds!(
        a.blocks() >= 10 && a.blksize() >= 512,
        "{} {}",
        a.blocks(),
        a.blksize()
    );
    same!(a.dev(), d.dev());
    holds!(a.ino() != d.ino() && a.ino() != 0);
    let now = works!(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)).as_secs();
    let age = now.cast_signed() - a.mtime();
    holds!((0..=20).contains(&age), "{age} s");
    fails!(
        call!(SYS_newfstatat, AT, c"a", &mut [0_u64; 18], 0x4000_0000),
        EINVAL
    );
    works!(call!(
        SYS_newfstatat,
        AT,
        c"",
        &mut [0_u64; 18],
        libc::AT_EMPTY_PATH
    ));
    Ok(())
}

fn statx_agrees_with_stat() -> Outcome {
    works!(fs::write("a", vec![7; 5000]));
    let stat = works!(fs::metadata("a"));
    let mut extended = [0_u64; 32];
    works!(call!(
        SYS_statx,
        AT,
        c"a",
        0,
        libc::STATX_BASIC_STATS,
        &mut extended
    ));
    same!(extended[0] & 0x7ff, u64::from(libc::STATX_BASIC_STATS));
    same!((extended[4], extended[5]), (stat.ino(), 5000));
    same!(extended[14].cast_signed(), stat.mtime());
    fails!(
        call!(SYS_statx, AT, c"a", 0, 0x8000_0000_u32, &mut extended),
        EINVAL
    );
    fails!(
        call!(SYS_statx, AT, c"missing", 0, 0, &mut extended),
        ENOENT
    );
    Ok(())
}

fn access_asks_for_the_real_user() -> Outcome {
    works!(fs::write("a", ""));
    works!(fs::set_permissions("a", fs::Permissions::from_mode(0o600)));
    same!(call!(SYS_access, c"a", libc::R_OK | libc::W_OK), Ok(0));
    // Even the superuser runs only what somebody may run.
    fails!(call!(SYS_access, c"a", libc::X_OK), EACCES);
    fails!(call!(SYS_access, c"a", 8), EINVAL);
    let status = in_child(|| {
        let changed = call!(SYS_setresuid, 1000, 0, 0);
        let asked = call!(SYS_access, c"a", libc::R_OK);
        let asked_effective = call!(SYS_faccessat2, AT, c"a", libc::R_OK, libc::AT_EACCESS);
        let refused = asked == Err(crate::raw::Errno(libc::EACCES));
        i32::from(!(changed.is_ok() && refused && asked_effective.is_ok()))
    });
    same!(status, Status::Exited(0));
    Ok(())
}

fn allocation_reserves_blocks() -> Outcome {
    let fd = works!(call!(SYS_open, c"a", libc::O_CREAT | libc::O_RDWR, 0o600));
    works!(call!(SYS_fallocate, fd, 0, 0, 10_000));
    let stat = works!(fs::metadata("a"));
    same!(stat.size(), 10_000);
    holds!(stat.blocks() >= 20, "{}", stat.blocks());
    works!(call!(SYS_fallocate, fd, 1, 0, 50_000));
    same!(works!(fs::metadata("a")).size(), 10_000);
    fails!(call!(SYS_fallocate, fd, 0, 0, 0), EINVAL);
    fails!(call!(SYS_fallocate, fd, 0, -1, 5), EINVAL);
    Ok(())
}

fn the_file_system_is_described() -> Outcome {
    let mut info = [0_u64; 15];
    works!(call!(SYS_statfs, c"/proc", &mut info));
    same!(info[0], 0x9fa0);
    works!(call!(SYS_statfs, c"/tmp", &mut info));
    holds!(info[1] >= 512 && info[8] >= 255, "{info:?}");
    fails!(call!(SYS_statfs, c"missing", &mut info), ENOENT);
    works!(call!(SYS_sync));
    Ok(())
}

fn the_null_and_zero_devices_work() -> Outcome {
    let null = works!(call!(SYS_open, c"/dev/null", libc::O_RDWR, 0));
    let zero = works!(call!(SYS_open, c"/dev/zero", libc::O_RDWR, 0));
    let full = works!(call!(SYS_open, c"/dev/full", libc::O_RDWR, 0));
    let mut buffer = [7_u8; 16];
    same!(call!(SYS_read, null, &mut buffer, 16), Ok(0));
    same!(call!(SYS_write, null, &buffer, 16), Ok(16));
    same!(call!(SYS_read, zero, &mut buffer, 16), Ok(16));
    same!(buffer, [0; 16]);
    fails!(call!(SYS_write, full, &buffer, 16), ENOSPC);
    let random = works!(call!(SYS_open, c"/dev/urandom", libc::O_RDONLY, 0));
    same!(call!(SYS_read, random, &mut buffer, 16), Ok(16));
    holds!(buffer != [0; 16]);
    Ok(())
}
