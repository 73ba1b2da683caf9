//! A debugger at QEMU's port stops the kernel at its functions.

use tests::{Boot, Breakpoint, Verdict, address_of};

#[test]
fn a_debugger_stops_the_kernel_at_breakpoints_and_lets_it_go() {
    let (start, rest) = (address_of("start_kernel"), address_of("rest_init"));
    let mut guest = Boot::new().debugged().spawn();
    let mut gdb = guest.debugger();
    gdb.set_breakpoint(Breakpoint::Hardware, start);
    assert_eq!(gdb.run(), start);
    assert_eq!(guest.transcript(), "", "nothing is printed before");
    let next = gdb.step();
    assert!((1..16).contains(&(next - start)), "{next:#x}");
    gdb.remove_breakpoint(Breakpoint::Hardware, start);
    gdb.set_breakpoint(Breakpoint::Software, rest);
    assert_eq!(gdb.run(), rest);
    gdb.remove_breakpoint(Breakpoint::Software, rest);
    gdb.detach();
    let log = guest.expect_prompt();
    assert!(log.contains("Run /init as init process"), "{log}");
    guest.send("poweroff\n");
    assert_eq!(guest.wait(), Verdict::PoweredOff);
}
