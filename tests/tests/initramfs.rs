//! The first files: what kinds of archives the kernel unpacks, and what it says of those that it cannot.

use tests::cpio::{Header, Writer, file_type};
use tests::{Boot, Compression, Guest, Initramfs, Verdict, guest_initramfs, script_initramfs};

/// What the scripts of these tests end with.
const END: &str = "echo script done\npoweroff -f\n";

fn boot(case: &str, archive: Vec<u8>) -> Guest {
    Boot::new()
        .named(&format!("initramfs-{case}"))
        .initramfs_bytes(archive)
        .cmdline("loglevel=5")
        .spawn()
}

/// What the script of the archive prints.
#[track_caller]
fn output_of(guest: &mut Guest) -> String {
    guest.expect("script begins\r\n");
    let output = guest.expect("script done").replace("\r\n", "\n");
    assert_eq!(guest.wait(), Verdict::PoweredOff);
    output
}

fn script(commands: &str) -> Initramfs {
    script_initramfs(&format!("echo script begins\n{commands}\n{END}"))
}

/// Contents that compress neither to nothing nor not at all.
fn contents() -> Vec<u8> {
    (0_u32..300_000)
        .map(|i| (i.wrapping_mul(i >> 3) >> 7).to_le_bytes()[0])
        .collect()
}

fn appended(fill: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::new();
    fill(&mut writer);
    writer.finish()
}

#[test]
fn archives_are_unpacked_however_they_are_compressed() {
    let tree = script("wc -c < /data; cksum < /data").file("/data", 0o644, contents());
    let mut results = Vec::new();
    for compression in [
        Compression::None,
        Compression::Gzip,
        Compression::Zstd,
        Compression::Xz,
    ] {
        let mut guest = Boot::new()
            .named(&format!("initramfs-{compression:?}"))
            .compressed_initramfs(&tree, compression)
            .spawn();
        results.push(output_of(&mut guest));
    }
    assert!(results[0].starts_with("300000\n"), "{}", results[0]);
    assert!(
        results.iter().all(|result| *result == results[0]),
        "{results:?}"
    );
}

#[test]
fn later_archives_add_to_earlier_ones_and_replace_their_files() {
    let mut archive = script("cat /a /b /c /d; ls -1a /folder")
        .file("/a", 0o644, "first a\n")
        .file("/b", 0o644, "first b, which is a longer text\n")
        .to_cpio();
    // Archives begin at multiples of four; zeros between them are skipped.
    archive.resize(archive.len().next_multiple_of(512), 0);
    archive.extend(
        Initramfs::new()
            .file("/b", 0o644, "second b\n")
            .file("/c", 0o644, "second c\n")
            .to_cpio(),
    );
    let third = Initramfs::new()
        .file("/c", 0o644, "third c\n")
        .file("/d", 0o644, "third d\n");
    let third = tests::compress(Compression::Gzip, third.to_cpio());
    archive.extend(third);
    archive.resize(archive.len().next_multiple_of(4), 0);
    archive.extend(Initramfs::new().dir("/folder/inner", 0o700).to_cpio());
    assert_eq!(
        output_of(&mut boot("concatenated", archive)),
        "first a\nsecond b\nthird c\nthird d\n.\n..\ninner\n"
    );
}

#[test]
fn every_attribute_of_a_member_arrives() {
    const TIME: u32 = 981_173_106; // 2001-02-03 04:05:06
    let show = "cd /m; for f in file folder link null disk pipe one two sticky su; do \
                stat -c '%n %F %a %u:%g %h %Y %t:%T %s' $f; done\n\
                readlink link; cat one; test one -ef two && echo same file";
    let mut archive = script(show).to_cpio();
    archive.extend(appended(|writer| {
        let mut member = |number: u32, mode: u32, name: &str, contents: &[u8], rdev| {
            let header = Header {
                uid: 1000 + number,
                gid: 2000 + number,
                mtime: TIME + number,
                rdev,
                ..Header::new(900 + number, mode)
            };
            writer.append(&header, name, contents);
        };
        member(0, file_type::DIRECTORY | 0o755, "m", b"", (0, 0));
        member(1, file_type::REGULAR | 0o640, "m/file", b"12345", (0, 0));
        member(2, file_type::DIRECTORY | 0o710, "m/folder", b"", (0, 0));
        member(
            3,
            file_type::SYMLINK | 0o777,
            "m/link",
            b"to/nowhere",
            (0, 0),
        );
        member(4, file_type::CHARACTER | 0o666, "m/null", b"", (1, 3));
        member(5, file_type::BLOCK | 0o600, "m/disk", b"", (8, 300));
        member(6, file_type::FIFO | 0o622, "m/pipe", b"", (0, 0));
        member(7, file_type::DIRECTORY | 0o1777, "m/sticky", b"", (0, 0));
        member(8, file_type::REGULAR | 0o4755, "m/su", b"", (0, 0));
        let linked = Header {
            nlink: 2,
            mtime: TIME,
            ..Header::new(950, file_type::REGULAR | 0o444)
        };
        writer.append(&linked, "m/one", b"");
        writer.append(&linked, "m/two", b"shared\n");
    }));
    let time = |number: u32| TIME + number;
    let expected = format!(
        "file regular file 640 1001:2001 1 {} 0:0 5\n\
         folder directory 710 1002:2002 2 {} 0:0 SIZE\n\
         link symbolic link 777 1003:2003 1 {} 0:0 10\n\
         null character special file 666 1004:2004 1 {} 1:3 0\n\
         disk block special file 600 1005:2005 1 {} 8:12c 0\n\
         pipe fifo 622 1006:2006 1 {} 0:0 0\n\
         one regular file 444 0:0 2 {} 0:0 7\n\
         two regular file 444 0:0 2 {} 0:0 7\n\
         sticky directory 1777 1007:2007 2 {} 0:0 SIZE\n\
         su regular empty file 4755 1008:2008 1 {} 0:0 0\n\
         to/nowhere\nshared\nsame file\n",
        time(1),
        time(2),
        time(3),
        time(4),
        time(5),
        time(6),
        time(0),
        time(0),
        time(7),
        time(8),
    );
    // What a folder's size is depends on the file system.
    let is_folder = |line: &str| line.contains(" directory ");
    let without_sizes: String = output_of(&mut boot("attributes", archive))
        .lines()
        .map(|line| match line.rsplit_once(' ') {
            Some((rest, _)) if is_folder(line) => format!("{rest} SIZE\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    assert_eq!(without_sizes, expected);
}

#[test]
fn what_cannot_be_placed_is_left_out_and_the_rest_is_there() {
    let mut archive = script("ls /; cat /good").to_cpio();
    archive.extend(appended(|writer| {
        let regular = |ino| Header::new(ino, file_type::REGULAR | 0o644);
        writer.append(&regular(1), "missing/parent", b"lost");
        writer.append(&regular(2), &"n".repeat(300), b"lost");
        writer.append(&regular(3), &"p/".repeat(3000), b"lost");
        writer.append(&Header::new(4, 0o170_000 | 0o644), "odd-type", b"lost");
        writer.append(&regular(5), "good", b"found\n");
    }));
    let output = output_of(&mut boot("unplaceable", archive));
    assert!(output.ends_with("found\n"), "{output}");
    for name in ["missing", "nnn", "odd-type"] {
        assert!(!output.contains(name), "{name}: {output}");
    }
}

/// The panic of a machine that has no `/init`: the boot has gone on.
#[track_caller]
fn expect_no_root(guest: &mut Guest) {
    guest.expect("VFS: Unable to mount root fs on unknown-block(0,0)");
}

#[test]
fn unusable_archives_are_told_and_the_boot_goes_on() {
    let lz4 = [0x02, 0x21, 0x4c, 0x18].repeat(64);
    let old = b"070707".repeat(64);
    let zeros_then_letters = [&[0_u8; 64][..], &[b'x'; 64]].concat();
    for (case, archive, message) in [
        (
            "junk",
            b"This is not an archive of any kind.".to_vec(),
            "invalid magic at start of compressed archive",
        ),
        (
            "zeros-junk",
            zeros_then_letters,
            "invalid magic at start of compressed archive",
        ),
        (
            "old-cpio",
            old,
            "incorrect cpio method used: use -H newc option",
        ),
        ("no-magic", b"012345".repeat(64), "no cpio magic"),
        ("lz4", lz4, ""),
    ] {
        let mut guest = boot(case, archive);
        guest.expect(&format!("Initramfs unpacking failed: {message}"));
        expect_no_root(&mut guest);
    }
}

#[test]
fn a_method_that_is_not_built_in_is_named() {
    let mut guest = boot("lzma", [0x5d, 0, 0, 0, 4, 0xff].repeat(64));
    guest.expect("Initramfs unpacking failed: ");
    expect_no_root(&mut guest);
}

#[test]
fn what_came_before_the_damage_can_be_used() {
    // A truncated archive: the last file is short or missing, nothing is said.
    let base = script("ls /last | wc -l; echo still here").to_cpio();
    let mut archive = base.clone();
    let mut rest = Initramfs::new().file("/last", 0o644, contents()).to_cpio();
    rest.truncate(100_000);
    archive.extend(rest);
    assert_eq!(
        output_of(&mut boot("truncated", archive)),
        "1\nstill here\n"
    );
    // Junk after a good archive.
    let mut archive = base;
    archive.resize(archive.len().next_multiple_of(4), 0);
    archive.extend(b"junk junk junk junk");
    let mut guest = boot("junk-behind", archive);
    guest.expect("Initramfs unpacking failed: invalid magic at start of compressed archive");
    assert!(output_of(&mut guest).ends_with("still here\n"));
}

#[test]
fn damaged_compressed_archives_are_told() {
    let tree = guest_initramfs("/init").file("/data", 0o644, contents());
    for compression in [Compression::Gzip, Compression::Zstd, Compression::Xz] {
        let whole = tests::compress(compression, tree.to_cpio());
        let half = whole[..whole.len() / 2].to_vec();
        let mut flipped = whole.clone();
        for bit in 0..40 {
            let position = flipped.len() / 3 + bit * 97;
            flipped[position] ^= 1 << (bit % 8);
        }
        for (case, bytes) in [("half", half), ("flipped", flipped)] {
            let mut guest = boot(&format!("{case}-{compression:?}"), bytes);
            guest.expect("Initramfs unpacking failed: ");
            // Whether `/init` was unpacked before the damage depends on the method.
            guest.expect("init");
        }
    }
}

#[test]
fn an_empty_archive_still_gives_a_console() {
    // Linux: the built-in archive has /dev, /dev/console and /root.
    let mut guest = boot("empty", Initramfs::new().to_cpio());
    expect_no_root(&mut guest);
    assert!(
        !guest
            .transcript()
            .contains("unable to open an initial console")
    );
}

#[test]
fn the_archive_is_complete_when_init_runs_whether_or_not_it_is_unpacked_in_the_background() {
    let tree = script("wc -c < /zz-last; ls /dev/console").file("/zz-last", 0o644, contents());
    for setting in ["initramfs_async=1", "initramfs_async=0"] {
        let mut guest = Boot::new()
            .named(setting)
            .compressed_initramfs(&tree, Compression::Xz)
            .cmdline(setting)
            .spawn();
        assert_eq!(output_of(&mut guest), "300000\n/dev/console\n");
        let log = guest.transcript().replace("\r\n", "\n");
        let at = |text: &str| {
            log.find(text)
                .unwrap_or_else(|| panic!("no {text:?}: {log}"))
        };
        let (begins, ends) = (at("Unpacking initramfs..."), at("Freeing initrd memory: "));
        let drivers = at("Serial: 8250/16550 driver");
        assert!(begins < ends && ends < at("Freeing unused kernel image (initmem)"));
        // Decompressing takes much longer than the way to the first driver.
        let in_background = drivers < ends;
        assert_eq!(in_background, setting == "initramfs_async=1", "{log}");
    }
}

#[test]
fn the_archive_goes_over_what_is_built_in() {
    let show = "cd /; stat -c '%n %F %a' dev dev/console root";
    let bare = ["/dev", "/root"]
        .iter()
        .fold(script(show), |tree, path| tree.without(path));
    let console = "dev/console character special file";
    assert_eq!(
        output_of(&mut boot("bare", bare.to_cpio())),
        format!("dev directory 755\n{console} 600\nroot directory 700\n")
    );
    let own = bare
        .dir("/dev", 0o711)
        .char_device("/dev/console", 0o622, 5, 1)
        .dir("/root", 0o750);
    assert_eq!(
        output_of(&mut boot("over", own.to_cpio())),
        format!("dev directory 711\n{console} 622\nroot directory 750\n")
    );
}

#[test]
fn links_of_later_archives_replace_what_has_their_names() {
    let mut archive = script("readlink /link; readlink /plain; cat /hard")
        .symlink("/link", "first")
        .file("/plain", 0o644, "a file\n")
        .file("/hard", 0o644, "old\n")
        .to_cpio();
    archive.extend(
        Initramfs::new()
            .symlink("/link", "second")
            .symlink("/plain", "third")
            .to_cpio(),
    );
    archive.extend(appended(|writer| {
        let linked = Header {
            nlink: 2,
            ..Header::new(950, file_type::REGULAR | 0o444)
        };
        writer.append(&linked, "other", b"");
        writer.append(&linked, "hard", b"shared\n");
    }));
    assert_eq!(
        output_of(&mut boot("links", archive)),
        "second\nthird\nshared\n"
    );
}

#[test]
fn parameters_at_the_end_of_the_archive_replace_the_built_in_ones() {
    let mut archive =
        script("mkdir -p /proc; mount -t proc proc /proc\ncat /proc/cmdline").to_cpio();
    let parameters = "console=ttyS0 loglevel=5 kindling.qemu_exit my.key=two";
    tests::bootconfig::append(&mut archive, parameters).expect("it is short");
    let boot = |line| {
        Boot::new()
            .named("initramfs-parameters")
            .initramfs_bytes(archive.clone())
            .whole_cmdline(line)
            .spawn()
    };
    let mut guest = boot(None);
    let output = output_of(&mut guest);
    assert!(!output.contains("tty0"), "{output}");
    assert!(
        output.contains("console=ttyS0 loglevel=5 kindling.qemu_exit my.key=two"),
        "{output}"
    );
    drop(guest);
    // A line that somebody gave stays, after them.
    let mut guest = boot(Some("console=ttyS0 given"));
    let output = output_of(&mut guest);
    assert!(output.contains("kindling.qemu_exit"), "{output}");
    assert!(output.contains(" console=ttyS0 given"), "{output}");
}
