//! Paths: which name leads where.

use super::*;

/// A small tree with every kind of link.
fn tree(world: &World) {
    world.mkdir("/a").unwrap();
    world.mkdir("/a/b").unwrap();
    world.write("/a/b/file", b"contents").unwrap();
    world.write("/top", b"").unwrap();
    world.symlink("b/file", "/a/relative").unwrap();
    world.symlink("/a/b", "/a/absolute").unwrap();
    world.symlink("absolute/file", "/a/twice").unwrap();
    world.symlink("missing", "/dangling").unwrap();
    world.symlink("loop2", "/loop1").unwrap();
    world.symlink("loop1", "/loop2").unwrap();
    world.symlink("/", "/root").unwrap();
    world.symlink("..", "/a/up").unwrap();
    world.symlink("a/b/", "/slashed").unwrap();
}

#[test]
fn every_path_leads_where_linux_leads_it() {
    in_world(|world| {
        tree(world);
        let file = world.walk("/a/b/file").unwrap();
        let dir = world.walk("/a/b").unwrap();
        let root = world.walk("/").unwrap();
        let a = world.walk("/a").unwrap();
        let long = "x".repeat(256);
        let deep = "a/../".repeat(500) + "a/b/file";
        let table: &[(&str, Result<&Path>)] = &[
            ("/", Ok(&root)),
            ("//", Ok(&root)),
            ("/..", Ok(&root)),
            ("/../..", Ok(&root)),
            ("/.", Ok(&root)),
            (".", Ok(&root)),
            ("a", Ok(&a)),
            ("a/", Ok(&a)),
            ("a/.", Ok(&a)),
            ("a/b/..", Ok(&a)),
            ("./a//b///file", Ok(&file)),
            ("a/b/file/", Err(Errno::ENOTDIR)),
            ("a/b/file/.", Err(Errno::ENOTDIR)),
            ("a/b/file/..", Err(Errno::ENOTDIR)),
            ("a/b/file/x", Err(Errno::ENOTDIR)),
            ("a/b/none", Err(Errno::ENOENT)),
            ("none/file", Err(Errno::ENOENT)),
            ("", Err(Errno::ENOENT)),
            ("a/relative", Ok(&file)),
            ("a/absolute", Ok(&dir)),
            ("a/absolute/file", Ok(&file)),
            ("a/absolute/../b/file", Ok(&file)),
            ("a/twice", Ok(&file)),
            ("a/twice/", Err(Errno::ENOTDIR)),
            ("dangling", Err(Errno::ENOENT)),
            ("dangling/x", Err(Errno::ENOENT)),
            ("loop1", Err(Errno::ELOOP)),
            ("loop1/x", Err(Errno::ELOOP)),
            ("root/a", Ok(&a)),
            ("root", Ok(&root)),
            ("root/", Ok(&root)),
            ("root/root/root/a/b/file", Ok(&file)),
            ("a/up/a/b", Ok(&dir)),
            ("a/up", Ok(&root)),
            ("slashed", Ok(&dir)),
            ("slashed/file", Ok(&file)),
            (&long, Err(Errno::ENAMETOOLONG)),
            (&deep, Ok(&file)),
        ];
        for (path, expected) in table {
            let found = world.walk(path);
            match (&found, expected) {
                (Ok(found), Ok(place)) => assert!(*found == **place, "{path}"),
                (Err(error), Err(expected)) => assert_eq!(error, expected, "{path}"),
                (found, _) => panic!("{path}: {:?}", found.as_ref().map(|_| "found")),
            }
        }
    });
}

#[test]
fn forty_links_are_followed_and_no_more() {
    in_world(|world| {
        world.write("/l0", b"end").unwrap();
        for n in 1..=41 {
            world
                .symlink(&format!("l{}", n - 1), &format!("/l{n}"))
                .unwrap();
        }
        assert_eq!(world.read("/l40").unwrap(), b"end");
        assert_eq!(world.walk("/l41").err(), Some(Errno::ELOOP));
    });
}

#[test]
fn a_link_at_the_end_is_followed_only_when_asked() {
    in_world(|world| {
        tree(world);
        assert!(world.lwalk("/dangling").unwrap().inode().is_symlink());
        assert!(world.lwalk("/a/absolute").unwrap().inode().is_symlink());
        assert!(world.lwalk("/a/absolute/").unwrap().inode().is_dir());
        assert_eq!(
            world.open("/dangling", O_NOFOLLOW).err(),
            Some(Errno::ELOOP)
        );
        assert!(world.open("/dangling", O_NOFOLLOW | O_PATH).is_ok());
        assert_eq!(
            world.open("/a/absolute", O_NOFOLLOW | O_DIRECTORY).err(),
            Some(Errno::ENOTDIR)
        );
    });
}

#[test]
fn a_longer_name_than_name_max_is_refused_everywhere() {
    in_world(|world| {
        let ok = "n".repeat(255);
        world.write(&ok, b"x").unwrap();
        assert_eq!(world.read(&ok).unwrap(), b"x");
        let bad = "n".repeat(256);
        assert_eq!(world.mkdir(&bad), Err(Errno::ENAMETOOLONG));
        assert_eq!(world.write(&bad, b""), Err(Errno::ENAMETOOLONG));
        assert_eq!(world.unlink(&bad), Err(Errno::ENAMETOOLONG));
    });
}

#[test]
fn a_start_directory_is_where_relative_names_begin() {
    in_world(|world| {
        tree(world);
        let a = world.walk("/a").unwrap();
        let from_a =
            |name: &str, how| path_lookup(&world.env, Some(a.clone()), name.as_bytes(), how);
        assert!(from_a("b", LookupFlags::empty()).unwrap() == world.walk("/a/b").unwrap());
        assert!(from_a("/top", LookupFlags::empty()).unwrap() == world.walk("/top").unwrap());
        assert!(from_a("", LookupFlags::EMPTY).unwrap() == a);
        assert_eq!(from_a("..", LookupFlags::BENEATH).err(), Some(Errno::EXDEV));
        assert_eq!(
            from_a("absolute", LookupFlags::BENEATH | LookupFlags::FOLLOW).err(),
            Some(Errno::EXDEV)
        );
        assert!(from_a("/b", LookupFlags::IN_ROOT).unwrap() == world.walk("/a/b").unwrap());
        assert!(from_a("../../b", LookupFlags::IN_ROOT).unwrap() == world.walk("/a/b").unwrap());
        assert_eq!(
            from_a("relative", LookupFlags::NO_SYMLINKS | LookupFlags::FOLLOW).err(),
            Some(Errno::ELOOP)
        );
    });
}

#[test]
fn permissions_stop_a_stranger() {
    in_world(|world| {
        tree(world);
        let stranger = world.by(user(1000));
        assert!(stranger.walk("/a/b/file").is_ok());
        assert_eq!(stranger.mkdir("/mine"), Err(Errno::EACCES));
        assert_eq!(
            stranger.open("/a/b/file", O_RDWR).err(),
            Some(Errno::EACCES)
        );
        let a = world.walk("/a").unwrap();
        crate::fs::chmod::chmod_common(&a, 0o700, &world.env.cred).unwrap();
        assert_eq!(stranger.walk("/a/b").err(), Some(Errno::EACCES));
        assert_eq!(stranger.walk("/a/none").err(), Some(Errno::EACCES));
        assert!(stranger.walk("/a").is_ok());
        assert_eq!(
            crate::fs::chmod::chmod_common(&a, 0o777, &stranger.env.cred),
            Err(Errno::EPERM)
        );
    });
}

#[test]
fn a_sticky_directory_protects_other_peoples_files() {
    in_world(|world| {
        world.mkdir("/tmp").unwrap();
        let tmp = world.walk("/tmp").unwrap();
        crate::fs::chmod::chmod_common(&tmp, 0o1777, &world.env.cred).unwrap();
        let (one, two) = (world.by(user(1)), world.by(user(2)));
        one.write("/tmp/own", b"1").unwrap();
        assert_eq!(two.unlink("/tmp/own"), Err(Errno::EPERM));
        assert_eq!(two.rename("/tmp/own", "/tmp/mine"), Err(Errno::EPERM));
        assert_eq!(one.unlink("/tmp/own"), Ok(()));
        assert_eq!(one.stat("/tmp").unwrap().mode, 0o041777);
    });
}

#[test]
fn the_working_directory_is_named_from_the_root() {
    in_world(|world| {
        tree(world);
        let root = world.env.fs.root();
        let name = |path: &str| {
            let place = world.walk(path).unwrap();
            String::from_utf8(crate::fs::d_path::getcwd_text(&place, &root).unwrap()).unwrap()
        };
        assert_eq!(name("/"), "/");
        assert_eq!(name("/a/absolute"), "/a/b");
        let b = world.walk("/a/b").unwrap();
        let from_a = crate::fs::d_path::getcwd_text(&b, &world.walk("/a").unwrap());
        assert_eq!(from_a.unwrap(), b"/b");
        let outside = crate::fs::d_path::getcwd_text(&world.walk("/a").unwrap(), &b);
        assert_eq!(outside.unwrap(), b"(unreachable)/a");
        world.unlink("/a/b/file").unwrap();
        world.rmdir("/a/b").unwrap();
        assert_eq!(
            crate::fs::d_path::getcwd_text(&b, &root),
            Err(Errno::ENOENT)
        );
        assert_eq!(crate::fs::d_path::d_path(&b, None), b"/a/b (deleted)");
    });
}
