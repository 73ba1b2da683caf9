//! Sockets on one machine: the loopback interface and local sockets, with busybox's programs.
//!
//! All of it holds on Linux too, with the same initramfs.

use tests::{Boot, Guest};

/// Boots to the prompt and sets the loopback interface up.
fn shell() -> Guest {
    let mut guest = Boot::new().cmdline("loglevel=1").spawn();
    guest.expect_prompt();
    check(&mut guest, &[("ifconfig lo up", "")]);
    guest
}

/// Runs commands one by one and compares what each prints.
fn check(guest: &mut Guest, session: &[(&str, &str)]) {
    for (command, output) in session {
        assert_eq!(guest.command(command), *output, "after: {command}");
    }
}

#[test]
fn the_loopback_interface_gets_its_address_when_it_goes_up() {
    let mut guest = shell();
    check(
        &mut guest,
        &[
            (
                "ip -o addr | cut -c1-41",
                "1: lo    inet 127.0.0.1/8 scope host lo\\ \n",
            ),
            (
                "ip -o link | cut -c1-36",
                "1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65\n",
            ),
            ("ping -c 1 127.9.9.9 | grep -c ' 0% packet loss'", "1\n"),
            (
                "ping -c 1 192.0.2.1 2>&1 | tail -n 1",
                "ping: sendto: Network is unreachable\n",
            ),
        ],
    );
}

#[test]
fn a_page_is_served_over_tcp() {
    let mut guest = shell();
    check(
        &mut guest,
        &[
            (
                "mkdir /tmp/w; seq 99999 >/tmp/w/n; httpd -p 80 -h /tmp/w",
                "",
            ),
            ("wget -q -O - 127.0.0.1/n | cmp - /tmp/w/n", ""),
            ("netstat -ltn 2>&- | grep -c '0.0.0.0:80 .* LISTEN'", "1\n"),
            (
                "wget -O - 127.0.0.1:81 2>&1 | tail -n 1",
                "wget: can't connect to remote host (127.0.0.1): Connection refused\n",
            ),
        ],
    );
}

#[test]
fn the_system_log_takes_messages_through_its_socket() {
    let mut guest = shell();
    check(
        &mut guest,
        &[
            // The daemon makes its socket after it has gone to the background.
            (
                "syslogd -O /tmp/l; until [ -S /dev/log ]; do sleep 0.1; done",
                "",
            ),
            (
                "logger -t me hello; until [ -s /tmp/l ]; do sleep 0.1; done",
                "",
            ),
            ("sleep 0.5", ""),
            ("grep -c 'user.notice me: hello' /tmp/l", "1\n"),
            ("grep -c /dev/log /proc/net/unix", "1\n"),
        ],
    );
}
