//! What a person sees and types without a serial line: the framebuffer and the keyboard.

use tests::{Boot, Firmware, Verdict};

#[test]
fn the_shell_on_the_screen_is_driven_by_the_keyboard() {
    let mut guest = Boot::new()
        .firmware(Firmware::Bios)
        .whole_cmdline(Some("console=ttyS0 console=tty0 kindling.qemu_exit"))
        .spawn();
    guest.expect("Run /init as init process");
    let mut keys = Vec::new();
    for key in "poweroff".chars() {
        keys.push(key.to_string());
    }
    // The prompt is on the screen only; type when the shell reads the keyboard: keys that come
    // earlier wait in the line discipline.
    for key in &keys {
        guest.press(&[key.as_str()]);
    }
    guest.screendump("screen-before-poweroff");
    guest.press(&["ret"]);
    assert_eq!(guest.wait(), Verdict::PoweredOff);
}
