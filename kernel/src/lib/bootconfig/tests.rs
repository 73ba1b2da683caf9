//! Tests of [`super`].

use super::*;
use alloc::format;
use alloc::string::ToString;

fn parse(text: &str) -> BootConfig {
    BootConfig::parse(text.as_bytes()).unwrap()
}

fn error(text: &str) -> (&'static str, usize) {
    let error = BootConfig::parse(text.as_bytes()).unwrap_err();
    (error.message, error.line)
}

fn trailer(text: &[u8], initrd: &[u8], slack: usize) -> Vec<u8> {
    let mut file = initrd.to_vec();
    file.extend(text);
    file.extend((text.len() as u32).to_le_bytes());
    file.extend(checksum(text).to_le_bytes());
    file.extend(BOOTCONFIG_MAGIC);
    file.resize(file.len() + slack, 0);
    file
}

#[test]
fn a_trailer_is_cut_off_with_up_to_three_bytes_behind_it() {
    for slack in 0..4 {
        let file = trailer(b"a=b\n\0", b"070701", slack);
        let found = find_trailer(&file).unwrap().unwrap();
        assert_eq!(
            (found.initrd, found.data),
            (&b"070701"[..], &b"a=b\n\0"[..])
        );
    }
    assert_eq!(find_trailer(&trailer(b"a", b"", 4)), Ok(None));
    assert_eq!(find_trailer(b""), Ok(None));
    assert_eq!(find_trailer(BOOTCONFIG_MAGIC), Ok(None));
}

#[test]
fn a_damaged_trailer_is_named() {
    let mut file = trailer(b"a=b\n", b"", 0);
    file[0] = b'c';
    let error = find_trailer(&file).unwrap_err();
    assert_eq!(error.to_string(), "bootconfig checksum failed");
    file[4] = 200;
    let error = find_trailer(&file).unwrap_err();
    assert_eq!(
        error.to_string(),
        "bootconfig size 200 is greater than initrd size 24"
    );
}

#[test]
fn keys_come_flat_or_in_braces() {
    let config = parse("feature.option {\n foo = 1\n bar.baz = 2\n}\nfeature.option.bar = 3");
    assert_eq!(config.value("feature.option.foo"), Some("1"));
    assert_eq!(config.value("feature.option.bar.baz"), Some("2"));
    assert_eq!(config.value("feature.option.bar"), Some("3"));
    assert_eq!(
        config.value("feature.option"),
        None,
        "it only leads to others"
    );
    assert_eq!(parse("a { b { c } d = 1 }\n").value("a.b.c"), Some(""));
    assert_eq!(parse("a = 1; b = 2").value("b"), Some("2"));
    assert_eq!(parse("x{a=1}y=2").value("y"), Some("2"));
}

#[test]
fn values_are_lists_with_quotes_and_comments() {
    let config = parse("a = 1, \"two, 2\" , 'th\"ree' # end\nb = x # no\n# c = 1\nd =\n");
    assert_eq!(config.values("a").unwrap(), ["1", "two, 2", "th\"ree"]);
    assert_eq!(config.value("b"), Some("x"));
    assert_eq!((config.value("c"), config.value("d")), (None, Some("")));
    let config = parse("list = 1, # first\n 2,\n 3\n");
    assert_eq!(config.values("list").unwrap(), ["1", "2", "3"]);
}

#[test]
fn operators_append_and_override_but_do_not_redefine() {
    let config = parse("a = 1\na += 2, 3\nb := x\nb := y, z\nc += 1");
    assert_eq!(config.values("a").unwrap(), ["1", "2", "3"]);
    assert_eq!(config.values("b").unwrap(), ["y", "z"]);
    assert_eq!(config.values("c").unwrap(), ["1"]);
    assert_eq!(error("x = 1\nx = 2"), ("Value is redefined", 2));
}

#[test]
fn a_value_and_words_below_a_key_live_together() {
    let config = parse("foo.bar = 1\nfoo = 2\nfoo := 3");
    assert_eq!(config.proc_text(""), "foo = \"3\"\nfoo.bar = \"1\"\n");
}

#[test]
fn mistakes_get_linux_words_and_their_line() {
    assert_eq!(error("a"), ("No delimiter", 1));
    assert_eq!(error("\na + 1\n"), ("Wrong '+' operator", 2));
    assert_eq!(error("a : 1\n"), ("Wrong ':' operator", 1));
    assert_eq!(error("a = 1\n}\n"), ("Unexpected closing brace", 2));
    assert_eq!(error("a {\nb = 1\n"), ("Brace is not closed", 1));
    assert_eq!(error("a b = 1\n"), ("Invalid keyword", 1));
    assert_eq!(error("= 1\n"), ("Invalid keyword", 1));
    assert_eq!(error("a..b = 1\n"), ("Invalid keyword", 1));
    assert_eq!(error("a = \"x\n"), ("No closing quotes", 2));
    assert_eq!(error("a = \"x\" y\n"), ("No value delimiter", 1));
    assert_eq!(error("a = \x01\n"), ("Non printable value", 1));
    assert_eq!(error("\n\n"), ("Empty config", 1));
    assert_eq!(error(""), ("Config data is empty", 1));
    assert_eq!(error(&"#".repeat(40000)), ("Config data is too big", 1));
    assert_eq!(error(&"a.".repeat(17)), ("No delimiter", 1));
    assert_eq!(
        error(&format!("{}a = 1", "a.".repeat(16))),
        ("Too many key words", 1)
    );
    assert_eq!(
        error(&format!("{} = 1", "a".repeat(256))),
        ("Too long key length", 1)
    );
    assert_eq!(error(&"a{".repeat(16)), ("Exceed max depth of braces", 1));
    assert_eq!(error(&"a=,".repeat(9000)), ("Too many nodes", 1));
    assert_eq!(
        BootConfig::parse(b"a = \xff").unwrap_err().message,
        "Non printable value"
    );
    assert_eq!(
        BootConfig::parse(b"a b=1").unwrap_err().to_string(),
        "Invalid keyword at 0"
    );
}

#[test]
fn kernel_and_init_keys_become_parameters() {
    let config = parse(
        "kernel {\n root = /dev/sda\n quiet\n dyndbg = \"func x +p\"\n console = tty0, ttyS0\n}\n\
         init.splash = 1\nother = 2",
    );
    assert_eq!(
        config.cmdline("kernel"),
        "root=/dev/sda quiet dyndbg=\"func x +p\" console=tty0 console=ttyS0 "
    );
    assert_eq!(config.cmdline("init"), "splash=1 ");
    assert_eq!(config.cmdline("none"), "");
}

#[test]
fn proc_shows_what_was_read() {
    let config = parse("a = 1, 'q\"r'\nb\nc.d = \"\"\n");
    let text = "a = \"1\", 'q\"r'\nb = \"\"\nc.d = \"\"\n";
    assert_eq!(config.proc_text(""), text);
    assert_eq!(
        config.proc_text("quiet"),
        format!("{text}# Parameters from bootloader:\n# quiet\n")
    );
    assert_eq!(config.nr_nodes(), 7);
    assert_eq!(config.iter().count(), 3);
}

#[test]
fn no_text_makes_the_parser_panic() {
    let alphabet = *b"a.={}+:;,\n#\"' \xc3\xa9\x00";
    let mut state = 1u64;
    for len in (0..40).cycle().take(20_000) {
        let text: Vec<u8> = (0..len)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                alphabet[(state >> 40) as usize % alphabet.len()]
            })
            .collect();
        if let Ok(config) = BootConfig::parse(&text) {
            let _ = (config.cmdline("a"), config.proc_text(""));
        }
        let _ = find_trailer(&text);
    }
}
