//! Creating, removing, renaming, listing.

use super::*;
use crate::fs::file::DirContext;
use crate::fs::readdir::iterate_dir;

#[test]
fn creating_reports_what_is_in_the_way() {
    in_world(|world| {
        world.mkdir("/d").unwrap();
        world.write("/f", b"").unwrap();
        world.symlink("none", "/l").unwrap();
        assert_eq!(world.mkdir("/d"), Err(Errno::EEXIST));
        assert_eq!(world.mkdir("/d/"), Err(Errno::EEXIST));
        assert_eq!(world.mkdir("/f"), Err(Errno::EEXIST));
        assert_eq!(world.mkdir("/l"), Err(Errno::EEXIST));
        assert_eq!(world.mkdir("/new/"), Ok(()));
        assert_eq!(world.mkdir("/"), Err(Errno::EEXIST));
        assert_eq!(world.mkdir("/d/."), Err(Errno::EEXIST));
        assert_eq!(world.mkdir("/none/d"), Err(Errno::ENOENT));
        assert_eq!(world.mkdir("/f/d"), Err(Errno::ENOTDIR));
        assert_eq!(world.symlink("x", "/f"), Err(Errno::EEXIST));
        assert_eq!(world.symlink("", "/x"), Err(Errno::ENOENT));
        assert_eq!(world.symlink("x", "/new2/"), Err(Errno::ENOENT));
        assert_eq!(world.link("/d", "/d2"), Err(Errno::EPERM));
        assert_eq!(world.link("/f", "/f"), Err(Errno::EEXIST));
        assert_eq!(world.link("/none", "/x"), Err(Errno::ENOENT));
        assert_eq!(
            world.open("/f", O_CREAT | O_EXCL | O_RDWR).err(),
            Some(Errno::EEXIST)
        );
        assert_eq!(
            world.open("/l", O_CREAT | O_EXCL | O_RDWR).err(),
            Some(Errno::EEXIST)
        );
        assert_eq!(
            world.open("/d", O_CREAT | O_RDWR).err(),
            Some(Errno::EISDIR)
        );
        assert_eq!(world.open("/d", O_RDWR).err(), Some(Errno::EISDIR));
        assert_eq!(
            world.open("/n/", O_CREAT | O_RDWR).err(),
            Some(Errno::EISDIR)
        );
        assert_eq!(world.open("/f", O_DIRECTORY).err(), Some(Errno::ENOTDIR));
        // A dangling link is created through.
        world.write("/l", b"through").unwrap();
        assert_eq!(world.read("/none").unwrap(), b"through");
    });
}

#[test]
fn links_are_counted() {
    in_world(|world| {
        let nlink = |path: &str| world.stat(path).unwrap().nlink;
        world.mkdir("/d").unwrap();
        assert_eq!((nlink("/"), nlink("/d")), (3, 2));
        world.mkdir("/d/sub").unwrap();
        world.write("/d/file", b"x").unwrap();
        assert_eq!(nlink("/d"), 3);
        world.link("/d/file", "/other").unwrap();
        assert_eq!(
            (nlink("/other"), world.stat("/other").unwrap().ino),
            (2, world.stat("/d/file").unwrap().ino)
        );
        world.rename("/d/sub", "/sub").unwrap();
        assert_eq!((nlink("/d"), nlink("/")), (2, 4));
        world.unlink("/d/file").unwrap();
        assert_eq!(nlink("/other"), 1);
        world.rmdir("/sub").unwrap();
        world.rmdir("/d").unwrap();
        assert_eq!(nlink("/"), 2);
    });
}

#[test]
fn removing_has_the_right_excuses() {
    in_world(|world| {
        world.mkdir("/d").unwrap();
        world.write("/d/f", b"").unwrap();
        world.symlink("d", "/l").unwrap();
        assert_eq!(world.rmdir("/d"), Err(Errno::ENOTEMPTY));
        assert_eq!(world.rmdir("/d/f"), Err(Errno::ENOTDIR));
        assert_eq!(world.rmdir("/l"), Err(Errno::ENOTDIR));
        assert_eq!(world.rmdir("/d/."), Err(Errno::EINVAL));
        assert_eq!(world.rmdir("/d/.."), Err(Errno::ENOTEMPTY));
        assert_eq!(world.rmdir("/"), Err(Errno::EBUSY));
        assert_eq!(world.rmdir("/none"), Err(Errno::ENOENT));
        assert_eq!(world.unlink("/d"), Err(Errno::EISDIR));
        assert_eq!(world.unlink("/d/f/"), Err(Errno::ENOTDIR));
        assert_eq!(world.unlink("/none"), Err(Errno::ENOENT));
        assert_eq!(world.unlink("/d/.."), Err(Errno::EISDIR));
        assert_eq!(world.unlink("/l"), Ok(()));
        assert_eq!(world.unlink("/d/f"), Ok(()));
        assert_eq!(world.rmdir("/d/"), Ok(()));
    });
}

#[test]
fn nothing_can_be_made_in_a_removed_directory() {
    in_world(|world| {
        world.mkdir("/d").unwrap();
        let dir = world.walk("/d").unwrap();
        world.rmdir("/d").unwrap();
        let made = do_mkdirat(&world.env, Some(dir.clone()), b"x", 0o755);
        assert_eq!(made.err(), Some(Errno::ENOENT));
        let up = path_lookup(&world.env, Some(dir.clone()), b"..", LookupFlags::empty());
        assert!(up.unwrap() == world.walk("/").unwrap());
        let found = path_lookup(&world.env, Some(dir), b".", LookupFlags::empty());
        assert!(found.is_ok());
    });
}

#[test]
fn renames_follow_the_rules() {
    in_world(|world| {
        for dir in ["/a", "/a/b", "/a/b/c", "/empty", "/full"] {
            world.mkdir(dir).unwrap();
        }
        for file in ["/f", "/g", "/full/x"] {
            world.write(file, file.as_bytes()).unwrap();
        }
        world.symlink("f", "/link").unwrap();
        let table: &[(&str, &str, Result)] = &[
            ("/a", "/a", Ok(())),
            ("/a", "/a/b/c/d", Err(Errno::EINVAL)),
            ("/a", "/a/x", Err(Errno::EINVAL)),
            ("/a/b/c", "/a", Err(Errno::ENOTEMPTY)),
            ("/a/b/c", "/a/b", Err(Errno::ENOTEMPTY)),
            ("/f", "/empty", Err(Errno::EISDIR)),
            ("/empty", "/f", Err(Errno::ENOTDIR)),
            ("/empty", "/full", Err(Errno::ENOTEMPTY)),
            ("/none", "/x", Err(Errno::ENOENT)),
            ("/f", "/none/x", Err(Errno::ENOENT)),
            ("/f", "/g/", Err(Errno::ENOTDIR)),
            ("/f/", "/x", Err(Errno::ENOTDIR)),
            ("/a/.", "/x", Err(Errno::EBUSY)),
            ("/a/..", "/x", Err(Errno::EBUSY)),
            ("/f", "/a/..", Err(Errno::EBUSY)),
            ("/", "/x", Err(Errno::EBUSY)),
            ("/link", "/moved", Ok(())),
            ("/full", "/empty", Ok(())),
            ("/f", "/g", Ok(())),
            ("/a/b/c", "/c/", Ok(())),
        ];
        for (old, new, expected) in table {
            assert_eq!(world.rename(old, new), *expected, "{old} -> {new}");
        }
        assert_eq!(world.read("/g").unwrap(), b"/f");
        assert_eq!(world.read("/empty/x").unwrap(), b"/full/x");
        assert!(world.lwalk("/moved").unwrap().inode().is_symlink());
        assert!(world.walk("/full").is_err() && world.walk("/f").is_err());
    });
}

#[test]
fn renameat2_swaps_and_spares() {
    in_world(|world| {
        world.mkdir("/d").unwrap();
        world.write("/d/in", b"in").unwrap();
        world.write("/f", b"f").unwrap();
        assert_eq!(
            world.rename2("/f", "/d", RENAME_NOREPLACE),
            Err(Errno::EEXIST)
        );
        assert_eq!(
            world.rename2("/f", "/none", RENAME_EXCHANGE),
            Err(Errno::ENOENT)
        );
        assert_eq!(
            world.rename2("/d", "/d/in", RENAME_EXCHANGE),
            Err(Errno::EINVAL)
        );
        assert_eq!(world.rename2("/f", "/d", 99), Err(Errno::EINVAL));
        assert_eq!(world.rename2("/f", "/d", RENAME_EXCHANGE), Ok(()));
        assert_eq!(world.read("/d").unwrap(), b"f");
        assert_eq!(world.read("/f/in").unwrap(), b"in");
        assert_eq!(world.rename2("/d", "/f/out", RENAME_NOREPLACE), Ok(()));
        assert_eq!(world.read("/f/out").unwrap(), b"f");
        assert_eq!(world.rename2("/f/out", "/f/in", RENAME_EXCHANGE), Ok(()));
        assert_eq!(world.read("/f/in").unwrap(), b"f");
    });
}

/// Takes a few entries of a listing.
struct Few {
    names: Vec<String>,
    room: usize,
}

impl DirContext for Few {
    fn emit(&mut self, name: &[u8], _ino: u64, _d_type: u8, _pos: u64) -> bool {
        if self.names.len() == self.room {
            return false;
        }
        self.names.push(String::from_utf8_lossy(name).into_owned());
        true
    }
}

fn list(file: &File, room: usize) -> Vec<String> {
    let mut few = Few {
        names: Vec::new(),
        room,
    };
    iterate_dir(file, &mut few).unwrap();
    few.names
}

#[test]
fn a_listing_goes_on_while_entries_come_and_go() {
    in_world(|world| {
        for n in 0..10 {
            world.write(&format!("/{n}"), b"").unwrap();
        }
        let dir = world.open("/", O_DIRECTORY).unwrap();
        assert_eq!(list(&dir, 4), [".", "..", "0", "1"]);
        world.unlink("/1").unwrap();
        world.unlink("/2").unwrap();
        world.unlink("/5").unwrap();
        assert_eq!(list(&dir, 2), ["3", "4"]);
        world.write("/new", b"").unwrap();
        assert_eq!(list(&dir, 99), ["6", "7", "8", "9", "new"]);
        assert!(list(&dir, 99).is_empty());
        dir.ops.llseek(&dir, 0, SEEK_SET).unwrap();
        assert_eq!(list(&dir, 3), [".", "..", "0"]);
    });
}

#[test]
fn a_directory_that_is_emptied_while_listed_ends_well() {
    in_world(|world| {
        world.mkdir("/d").unwrap();
        for n in 0..300 {
            world.write(&format!("/d/{n}"), b"").unwrap();
        }
        let dir = world.open("/d", O_DIRECTORY).unwrap();
        let mut seen = 0;
        loop {
            let names = list(&dir, 7);
            if names.is_empty() {
                break;
            }
            for name in names.iter().filter(|name| !name.starts_with('.')) {
                world.unlink(&format!("/d/{name}")).unwrap();
                seen += 1;
            }
        }
        assert_eq!(seen, 300);
        world.rmdir("/d").unwrap();
        let mut few = Few {
            names: Vec::new(),
            room: 9,
        };
        assert_eq!(iterate_dir(&dir, &mut few), Err(Errno::ENOENT));
    });
}

#[test]
fn a_set_group_id_directory_hands_its_group_down() {
    in_world(|world| {
        world.mkdir("/shared").unwrap();
        let shared = world.walk("/shared").unwrap();
        crate::fs::chmod::chown_common(&shared, 0, 50, &world.env.cred).unwrap();
        crate::fs::chmod::chmod_common(&shared, 0o2777, &world.env.cred).unwrap();
        let one = world.by(user(1));
        one.write("/shared/f", b"").unwrap();
        one.mkdir("/shared/d").unwrap();
        assert_eq!(world.stat("/shared/f").unwrap().gid, 50);
        let sub = world.stat("/shared/d").unwrap();
        assert_eq!((sub.gid, sub.mode & 0o2000), (50, 0o2000));
    });
}
