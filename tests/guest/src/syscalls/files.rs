//! Files and folders: names, links, lists.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use crate::check::{Check, Outcome, fails, holds, same, table, works};
use crate::raw::call;

pub const CHECKS: &[Check] = table![
    opening_creates_or_refuses_as_its_flags_say,
    the_mask_takes_permissions_away,
    names_have_limits,
    a_file_is_no_folder_and_a_folder_no_file,
    symbolic_links_are_followed_or_not,
    loops_of_links_are_refused,
    a_link_is_a_second_name,
    renaming_replaces_what_may_be_replaced,
    renaming_exchanges_or_refuses,
    removing_leaves_open_files_usable,
    only_empty_folders_are_removed,
    folders_are_listed_whole_and_in_pieces,
];

const AT: i32 = libc::AT_FDCWD;

fn opening_creates_or_refuses_as_its_flags_say() -> Outcome {
    fails!(call!(SYS_open, c"a", libc::O_RDONLY, 0), ENOENT);
    works!(call!(
        SYS_open,
        c"a",
        libc::O_RDWR | libc::O_CREAT | libc::O_EXCL,
        0o600
    ));
    fails!(
        call!(
            SYS_open,
            c"a",
            libc::O_RDWR | libc::O_CREAT | libc::O_EXCL,
            0o600
        ),
        EEXIST
    );
    works!(fs::write("a", "12345"));
    works!(call!(SYS_open, c"a", libc::O_RDWR | libc::O_TRUNC, 0));
    same!(works!(fs::metadata("a")).len(), 0);
    works!(symlink("nowhere", "dangling"));
    fails!(
        call!(
            SYS_open,
            c"dangling",
            libc::O_CREAT | libc::O_EXCL | libc::O_RDWR,
            0o600
        ),
        EEXIST
    );
    works!(call!(
        SYS_open,
        c"dangling",
        libc::O_CREAT | libc::O_RDWR,
        0o600
    ));
    holds!(fs::metadata("nowhere").is_ok());
    fails!(call!(SYS_open, c"", 0, 0), ENOENT);
    fails!(call!(SYS_open, c"a", libc::O_DIRECTORY, 0), ENOTDIR);
    fails!(call!(SYS_open, c"dangling", libc::O_NOFOLLOW, 0), ELOOP);
    fails!(
        call!(SYS_open, c"b/", libc::O_CREAT | libc::O_RDWR, 0o600),
        EISDIR
    );
    Ok(())
}

fn the_mask_takes_permissions_away() -> Outcome {
    same!(call!(SYS_umask, 0o027), Ok(0o022));
    works!(call!(SYS_open, c"a", libc::O_CREAT | libc::O_RDWR, 0o7777));
    works!(call!(SYS_mkdir, c"d", 0o777));
    same!(works!(fs::metadata("a")).mode() & 0o7777, 0o7750);
    same!(works!(fs::metadata("d")).mode() & 0o7777, 0o750);
    // A mask says nothing about later changes.
    works!(call!(SYS_chmod, c"a", 0o666));
    same!(works!(fs::metadata("a")).mode() & 0o7777, 0o666);
    same!(call!(SYS_umask, 0o1777), Ok(0o027));
    same!(call!(SYS_umask, 0), Ok(0o777));
    Ok(())
}

fn names_have_limits() -> Outcome {
    let mut name = [b'n'; 257];
    name[255] = 0;
    works!(call!(SYS_mkdir, name.as_ptr(), 0o755));
    name[255] = b'n';
    name[256] = 0;
    fails!(call!(SYS_mkdir, name.as_ptr(), 0o755), ENAMETOOLONG);
    let mut path = b"./".repeat(2049);
    path[4094] = b'.';
    path[4095] = 0;
    works!(call!(SYS_access, path.as_ptr(), 0));
    path[4095] = b'/';
    path[4096] = 0;
    fails!(call!(SYS_access, path.as_ptr(), 0), ENAMETOOLONG);
    Ok(())
}

fn a_file_is_no_folder_and_a_folder_no_file() -> Outcome {
    works!(fs::write("file", ""));
    works!(fs::create_dir("folder"));
    fails!(call!(SYS_open, c"file/x", 0, 0), ENOTDIR);
    fails!(call!(SYS_open, c"file/", 0, 0), ENOTDIR);
    fails!(call!(SYS_open, c"folder", libc::O_WRONLY, 0), EISDIR);
    fails!(call!(SYS_rmdir, c"file"), ENOTDIR);
    fails!(call!(SYS_unlink, c"folder"), EISDIR);
    fails!(call!(SYS_chdir, c"file"), ENOTDIR);
    fails!(call!(SYS_truncate, c"folder", 0), EISDIR);
    fails!(call!(SYS_mkdir, c"file", 0o755), EEXIST);
    fails!(call!(SYS_mkdir, c"nowhere/x", 0o755), ENOENT);
    works!(call!(SYS_mkdir, c"slash/", 0o755));
    fails!(call!(SYS_rmdir, c"folder/."), EINVAL);
    fails!(call!(SYS_rmdir, c"folder/.."), ENOTEMPTY);
    fails!(call!(SYS_rmdir, c"/"), EBUSY);
    Ok(())
}

fn symbolic_links_are_followed_or_not() -> Outcome {
    works!(fs::write("file", "12345"));
    works!(call!(SYS_symlink, c"file", c"link"));
    works!(call!(SYS_mkdir, c"d", 0o755));
    works!(call!(SYS_symlink, c"../file", c"d/up"));
    let mut buffer = [0_u8; 16];
    same!(call!(SYS_readlink, c"link", &mut buffer, 16), Ok(4));
    same!(call!(SYS_readlink, c"d/up", &mut buffer, 3), Ok(3));
    same!(&buffer[..4], b"../e");
    fails!(call!(SYS_readlink, c"file", &mut buffer, 16), EINVAL);
    fails!(call!(SYS_readlink, c"link", &mut buffer, 0), EINVAL);
    same!(fs::read_to_string("d/up").unwrap_or_default(), "12345");
    same!(works!(fs::symlink_metadata("link")).mode(), 0o120_777);
    same!(
        works!(fs::metadata("link")).mode() & libc::S_IFMT,
        libc::S_IFREG
    );
    fails!(call!(SYS_symlink, c"x", c"link"), EEXIST);
    fails!(call!(SYS_symlink, c"", c"empty"), ENOENT);
    works!(call!(SYS_unlink, c"link"));
    holds!(fs::metadata("file").is_ok());
    Ok(())
}

fn loops_of_links_are_refused() -> Outcome {
    works!(symlink("b", "a"));
    works!(symlink("a", "b"));
    fails!(call!(SYS_open, c"a", 0, 0), ELOOP);
    fails!(call!(SYS_access, c"a/x", 0), ELOOP);
    works!(fs::write("0", ""));
    for i in 1..=41 {
        works!(symlink((i - 1).to_string(), i.to_string()));
    }
    works!(call!(SYS_access, c"40", 0));
    fails!(call!(SYS_access, c"41", 0), ELOOP);
    Ok(())
}

fn a_link_is_a_second_name() -> Outcome {
    works!(fs::write("a", "12345"));
    works!(call!(SYS_link, c"a", c"b"));
    let (a, b) = (works!(fs::metadata("a")), works!(fs::metadata("b")));
    same!((a.ino(), a.nlink()), (b.ino(), 2));
    fails!(call!(SYS_link, c"a", c"b"), EEXIST);
    fails!(call!(SYS_link, c"missing", c"c"), ENOENT);
    works!(fs::create_dir("d"));
    fails!(call!(SYS_link, c"d", c"e"), EPERM);
    works!(call!(SYS_unlink, c"a"));
    same!(works!(fs::metadata("b")).nlink(), 1);
    works!(symlink("b", "l"));
    works!(call!(SYS_linkat, AT, c"l", AT, c"m", 0));
    holds!(works!(fs::symlink_metadata("m")).file_type().is_symlink());
    works!(call!(
        SYS_linkat,
        AT,
        c"l",
        AT,
        c"n",
        libc::AT_SYMLINK_FOLLOW
    ));
    holds!(works!(fs::symlink_metadata("n")).file_type().is_file());
    Ok(())
}

fn renaming_replaces_what_may_be_replaced() -> Outcome {
    works!(fs::write("a", "of a"));
    works!(fs::write("b", "of b"));
    works!(call!(SYS_rename, c"a", c"b"));
    same!(fs::read_to_string("b").unwrap_or_default(), "of a");
    holds!(fs::metadata("a").is_err());
    works!(fs::create_dir_all("d/e"));
    works!(fs::create_dir("f"));
    fails!(call!(SYS_rename, c"b", c"d"), EISDIR);
    fails!(call!(SYS_rename, c"d", c"b"), ENOTDIR);
    fails!(call!(SYS_rename, c"f", c"d"), ENOTEMPTY);
    fails!(call!(SYS_rename, c"d", c"d/e/x"), EINVAL);
    fails!(call!(SYS_rename, c"missing", c"x"), ENOENT);
    works!(call!(SYS_rename, c"d", c"f"));
    holds!(fs::metadata("f/e").is_ok());
    same!(works!(fs::metadata("f")).nlink(), 3);
    // Two names of one file: nothing happens.
    works!(fs::hard_link("b", "c"));
    works!(call!(SYS_rename, c"b", c"c"));
    holds!(fs::metadata("b").is_ok());
    fails!(call!(SYS_rename, c"f/.", c"x"), EBUSY);
    Ok(())
}

fn renaming_exchanges_or_refuses() -> Outcome {
    works!(fs::write("a", "of a"));
    works!(fs::create_dir("d"));
    fails!(call!(SYS_renameat2, AT, c"a", AT, c"d", 1), EEXIST);
    works!(call!(SYS_renameat2, AT, c"a", AT, c"d", 2));
    holds!(works!(fs::metadata("a")).is_dir());
    same!(fs::read_to_string("d").unwrap_or_default(), "of a");
    fails!(call!(SYS_renameat2, AT, c"a", AT, c"x", 2), ENOENT);
    fails!(call!(SYS_renameat2, AT, c"a", AT, c"x", 3), EINVAL);
    Ok(())
}

fn removing_leaves_open_files_usable() -> Outcome {
    works!(fs::write("a", "12345"));
    let fd = works!(call!(SYS_open, c"a", libc::O_RDWR, 0));
    works!(call!(SYS_unlink, c"a"));
    fails!(call!(SYS_open, c"a", 0, 0), ENOENT);
    let mut buffer = [0_u8; 5];
    same!(call!(SYS_read, fd, &mut buffer, 5), Ok(5));
    same!(&buffer, b"12345");
    let mut stat = [0_u64; 18];
    works!(call!(SYS_fstat, fd, &mut stat));
    same!(stat[2], 0);
    works!(fs::write("a", "another"));
    same!(call!(SYS_pread64, fd, &mut buffer, 5, 0), Ok(5));
    same!(&buffer, b"12345");
    fails!(call!(SYS_unlink, c"missing"), ENOENT);
    fails!(call!(SYS_unlinkat, AT, c"a", 0x8000), EINVAL);
    Ok(())
}

fn only_empty_folders_are_removed() -> Outcome {
    works!(fs::create_dir_all("d/e"));
    same!(works!(fs::metadata("d")).nlink(), 3);
    fails!(call!(SYS_rmdir, c"d"), ENOTEMPTY);
    works!(call!(SYS_rmdir, c"d/e"));
    same!(works!(fs::metadata("d")).nlink(), 2);
    works!(call!(SYS_unlinkat, AT, c"d", libc::AT_REMOVEDIR));
    fails!(call!(SYS_rmdir, c"d"), ENOENT);
    Ok(())
}

/// Names in what `getdents64` returned.
fn names_in(bytes: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = bytes;
    while rest.len() >= 19 {
        let length = usize::from(u16::from_le_bytes([rest[16], rest[17]]));
        let name = &rest[19..length];
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(0);
        names.push(String::from_utf8_lossy(&name[..end]).into_owned());
        rest = &rest[length..];
    }
    names
}

fn folders_are_listed_whole_and_in_pieces() -> Outcome {
    let count = 300;
    works!(fs::create_dir("d"));
    for i in 0..count {
        works!(fs::write(format!("d/file number {i:03}"), ""));
    }
    let fd = works!(call!(SYS_open, c"d", libc::O_DIRECTORY, 0));
    for size in [32768, 200] {
        works!(call!(SYS_lseek, fd, 0, libc::SEEK_SET));
        let mut names = Vec::new();
        let mut buffer = vec![0_u8; size];
        loop {
            let got = works!(call!(SYS_getdents64, fd, buffer.as_mut_ptr(), size));
            if got == 0 {
                break;
            }
            names.extend(names_in(&buffer[..got]));
        }
        names.sort();
        same!(names.len(), count + 2);
        same!((names[0].as_str(), names[1].as_str()), (".", ".."));
        same!(names[2], "file number 000");
        names.dedup();
        same!(names.len(), count + 2);
    }
    works!(call!(SYS_lseek, fd, 0, libc::SEEK_SET));
    fails!(call!(SYS_getdents64, fd, &mut [0_u64; 2], 16), EINVAL);
    // All files can be removed while the list is read.
    for entry in works!(fs::read_dir("d")) {
        works!(fs::remove_file(works!(entry).path()));
    }
    works!(fs::remove_dir("d"));
    same!(
        call!(SYS_getdents64, fd, &mut [0_u64; 64], 512),
        Err(crate::raw::Errno(libc::ENOENT))
    );
    Ok(())
}
