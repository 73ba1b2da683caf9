//! The PS/2 keyboard behind the i8042 controller (Linux: drivers/input/serio/i8042.c,
//! drivers/input/keyboard/atkbd.c, drivers/tty/vt/keyboard.c).

use pc_keyboard::layouts::Us104Key;
use pc_keyboard::{DecodedKey, HandleControl, KeyCode, KeyState, PS2Keyboard, ScancodeSet1};

use crate::arch::IoRegion;
use crate::drivers::tty::Tty;
use crate::kernel::irq::{IrqReturn, request_irq};
use crate::kernel::reboot::ctrl_alt_del;
use crate::prelude::*;

const KBD_IRQ: u32 = 1;
const STATUS_OUTPUT_FULL: u8 = 1;
const STATUS_INPUT_FULL: u8 = 2;
const STATUS_AUX_DATA: u8 = 0x20;
const CMD_READ_CONFIG: u8 = 0x20;
const CMD_WRITE_CONFIG: u8 = 0x60;
const CMD_SELF_TEST: u8 = 0xaa;
const CMD_ENABLE_KBD: u8 = 0xae;
const CMD_DISABLE_AUX: u8 = 0xa7;
const CONFIG_KBD_IRQ: u8 = 1;
const CONFIG_AUX_IRQ: u8 = 2;
const CONFIG_KBD_DISABLED: u8 = 0x10;
const CONFIG_TRANSLATE: u8 = 0x40;
/// Polls before the controller counts as absent: about a tenth of a second on real hardware.
const MAX_POLLS: u32 = 100_000;

/// Data at 0x60, status and command at 0x64.
struct I8042 {
    data: IoRegion,
    command: IoRegion,
}

impl I8042 {
    fn wait(&self, mask: u8, value: u8) -> Result {
        for _ in 0..MAX_POLLS {
            if self.command.inb(0) & mask == value {
                return Ok(());
            }
            crate::arch::cpu_relax();
        }
        Err(Errno::ENODEV)
    }

    fn send(&self, command: u8) -> Result {
        self.wait(STATUS_INPUT_FULL, 0)?;
        self.command.outb(0, command);
        Ok(())
    }

    fn read(&self) -> Result<u8> {
        self.wait(STATUS_OUTPUT_FULL, STATUS_OUTPUT_FULL)?;
        Ok(self.data.inb(0))
    }

    /// A typed byte, if one waits. Bytes of a mouse are dropped.
    fn take(&self) -> Option<u8> {
        let status = self.command.inb(0);
        if status & STATUS_OUTPUT_FULL == 0 {
            return None;
        }
        let byte = self.data.inb(0);
        (status & STATUS_AUX_DATA == 0).then_some(byte)
    }

    /// Finds the controller, switches on the keyboard and its interrupt. Errors: ENODEV.
    fn start(&self) -> Result {
        if self.command.inb(0) == 0xff {
            return Err(Errno::ENODEV); // nothing answers on the bus
        }
        for _ in 0..32 {
            if self.command.inb(0) & STATUS_OUTPUT_FULL == 0 {
                break;
            }
            self.data.inb(0);
        }
        self.send(CMD_SELF_TEST)?;
        if self.read()? != 0x55 {
            return Err(Errno::ENODEV);
        }
        self.send(CMD_DISABLE_AUX)?;
        self.send(CMD_READ_CONFIG)?;
        let config = self.read()?;
        let config =
            (config | CONFIG_KBD_IRQ | CONFIG_TRANSLATE) & !(CONFIG_KBD_DISABLED | CONFIG_AUX_IRQ);
        self.send(CMD_WRITE_CONFIG)?;
        self.wait(STATUS_INPUT_FULL, 0)?;
        self.data.outb(0, config);
        self.send(CMD_ENABLE_KBD)
    }
}

/// Keys held down.
#[derive(Default, Clone, Copy)]
struct Held {
    ctrl: bool,
    alt: bool,
    shift: bool,
}

struct Keyboard {
    decoder: PS2Keyboard<Us104Key, ScancodeSet1>,
    held: Held,
}

/// Bytes that one key sends.
type KeyBytes = Vec<u8>;

impl Keyboard {
    fn new() -> Self {
        Self {
            decoder: PS2Keyboard::new(
                ScancodeSet1::new(),
                Us104Key,
                HandleControl::MapLettersToUnicode,
            ),
            held: Held::default(),
        }
    }

    /// What a scan code byte types; `None` when it types nothing. Ctrl-Alt-Del is `Err`.
    fn key(&mut self, byte: u8, cursor_keys: bool) -> Result<Option<KeyBytes>, CtrlAltDel> {
        let Ok(Some(event)) = self.decoder.add_byte(byte) else {
            return Ok(None);
        };
        let down = event.state != KeyState::Up;
        match event.code {
            KeyCode::LControl | KeyCode::RControl => self.held.ctrl = down,
            KeyCode::LAlt => self.held.alt = down,
            KeyCode::LShift | KeyCode::RShift => self.held.shift = down,
            KeyCode::Delete if down && self.held.ctrl && self.held.alt => return Err(CtrlAltDel),
            _ => {}
        }
        let held = self.held;
        let decoded = self.decoder.process_keyevent(event);
        Ok(decoded.and_then(|key| bytes_of(key, held, cursor_keys)))
    }
}

/// The three-finger salute.
#[derive(Debug, PartialEq, Eq)]
struct CtrlAltDel;

/// What a key sends on Linux's console (TERM=linux).
fn bytes_of(key: DecodedKey, held: Held, cursor_keys: bool) -> Option<KeyBytes> {
    match key {
        DecodedKey::Unicode('\n') => Some(with_alt(b"\r", held)),
        DecodedKey::Unicode('\x08') => Some(with_alt(b"\x7f", held)),
        DecodedKey::Unicode('\x7f') => Some(b"\x1b[3~".to_vec()),
        DecodedKey::Unicode(' ') if held.ctrl => Some(vec![0]),
        DecodedKey::Unicode(c) if held.ctrl => Some(vec![control_of(c)?]),
        DecodedKey::Unicode(c) => {
            let mut utf8 = [0; 4];
            Some(with_alt(c.encode_utf8(&mut utf8).as_bytes(), held))
        }
        DecodedKey::RawKey(code) => sequence_of(code, cursor_keys).map(<[u8]>::to_vec),
    }
}

fn control_of(c: char) -> Option<u8> {
    match c {
        '\0'..='\x1f' => Some(c as u8),
        '@'..='_' | 'a'..='z' => Some(c as u8 & 0x1f),
        '2' => Some(0),
        '3'..='7' => Some(c as u8 - b'3' + 0x1b),
        '8' | '?' => Some(0x7f),
        '/' | '-' => Some(0x1f),
        _ => None,
    }
}

/// Alt sends ESC first.
fn with_alt(bytes: &[u8], held: Held) -> KeyBytes {
    let mut out = Vec::new();
    if held.alt {
        out.push(0x1b);
    }
    out.extend_from_slice(bytes);
    out
}

fn sequence_of(code: KeyCode, cursor_keys: bool) -> Option<&'static [u8]> {
    Some(match code {
        KeyCode::ArrowUp if cursor_keys => b"\x1bOA",
        KeyCode::ArrowDown if cursor_keys => b"\x1bOB",
        KeyCode::ArrowRight if cursor_keys => b"\x1bOC",
        KeyCode::ArrowLeft if cursor_keys => b"\x1bOD",
        KeyCode::ArrowUp => b"\x1b[A",
        KeyCode::ArrowDown => b"\x1b[B",
        KeyCode::ArrowRight => b"\x1b[C",
        KeyCode::ArrowLeft => b"\x1b[D",
        KeyCode::Home => b"\x1b[1~",
        KeyCode::Insert => b"\x1b[2~",
        KeyCode::Delete => b"\x1b[3~",
        KeyCode::End => b"\x1b[4~",
        KeyCode::PageUp => b"\x1b[5~",
        KeyCode::PageDown => b"\x1b[6~",
        KeyCode::F1 => b"\x1b[[A",
        KeyCode::F2 => b"\x1b[[B",
        KeyCode::F3 => b"\x1b[[C",
        KeyCode::F4 => b"\x1b[[D",
        KeyCode::F5 => b"\x1b[[E",
        KeyCode::F6 => b"\x1b[17~",
        KeyCode::F7 => b"\x1b[18~",
        KeyCode::F8 => b"\x1b[19~",
        KeyCode::F9 => b"\x1b[20~",
        KeyCode::F10 => b"\x1b[21~",
        KeyCode::F11 => b"\x1b[23~",
        KeyCode::F12 => b"\x1b[24~",
        KeyCode::PauseBreak => b"\x1b[P",
        _ => return None,
    })
}

/// Looks for the controller and sends what is typed to `tty`. Without one there is no keyboard,
/// and the boot goes on. `cursor_keys(true)` tells whether DECCKM is set.
pub fn start(tty: Arc<Tty>, cursor_keys: fn(bool) -> bool) {
    let regions =
        IoRegion::request(0x60, 1, "keyboard").zip(IoRegion::request(0x64, 1, "keyboard"));
    let Some((data, command)) = regions else {
        return;
    };
    let controller = I8042 { data, command };
    if controller.start().is_err() {
        pr_info!("i8042: No controller found");
        return;
    }
    pr_info!("serio: i8042 KBD port at 0x60,0x64 irq {KBD_IRQ}");
    let keyboard: IrqSpinLock<Keyboard> = SpinLock::new(Keyboard::new());
    let handler = move || {
        let mut handled = IrqReturn::None;
        while let Some(byte) = controller.take() {
            handled = IrqReturn::Handled;
            let typed = keyboard.lock().key(byte, cursor_keys(true));
            match typed {
                Ok(Some(bytes)) => tty.receive(&bytes),
                Ok(None) => {}
                Err(CtrlAltDel) => ctrl_alt_del(),
            }
        }
        handled
    };
    if request_irq(KBD_IRQ, Arc::new(handler), "i8042").is_err() {
        pr_err!("i8042: Can't get irq {KBD_IRQ}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn type_codes(codes: &[u8]) -> Vec<u8> {
        let mut keyboard = Keyboard::new();
        let typed = codes.iter().map(|code| keyboard.key(*code, false));
        typed
            .flat_map(|key| key.expect("no salute").unwrap_or_default())
            .collect()
    }

    #[test]
    fn letters_come_with_and_without_shift() {
        assert_eq!(type_codes(&[0x1e, 0x9e]), b"a");
        assert_eq!(type_codes(&[0x2a, 0x1e, 0x9e, 0xaa, 0x1e]), b"Aa");
    }

    #[test]
    fn control_c_is_the_interrupt_character() {
        assert_eq!(type_codes(&[0x1d, 0x2e, 0xae, 0x9d]), b"\x03");
    }

    #[test]
    fn return_backspace_and_arrows_send_what_linux_sends() {
        assert_eq!(type_codes(&[0x1c]), b"\r");
        assert_eq!(type_codes(&[0x0e]), b"\x7f");
        assert_eq!(type_codes(&[0xe0, 0x48]), b"\x1b[A");
    }

    #[test]
    fn alt_sends_escape_first() {
        assert_eq!(type_codes(&[0x38, 0x1e]), b"\x1ba");
    }

    #[test]
    fn control_alt_delete_is_recognised() {
        let mut keyboard = Keyboard::new();
        let codes = [0x1d, 0x38, 0xe0, 0x53];
        let last = codes.iter().map(|code| keyboard.key(*code, false)).last();
        assert_eq!(last, Some(Err(CtrlAltDel)));
    }
}
