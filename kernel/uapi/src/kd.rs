//! Keyboard and console drawing. Linux: linux/kd.h, linux/keyboard.h, linux/tiocl.h.

// ioctls.
pub const KIOCSOUND: u32 = 0x4b2f;
pub const KDMKTONE: u32 = 0x4b30;
pub const KDGETLED: u32 = 0x4b31;
pub const KDSETLED: u32 = 0x4b32;
pub const KDGKBTYPE: u32 = 0x4b33;
pub const KDADDIO: u32 = 0x4b34;
pub const KDDELIO: u32 = 0x4b35;
pub const KDENABIO: u32 = 0x4b36;
pub const KDDISABIO: u32 = 0x4b37;
pub const KDSETMODE: u32 = 0x4b3a;
pub const KDGETMODE: u32 = 0x4b3b;
pub const KDMAPDISP: u32 = 0x4b3c;
pub const KDUNMAPDISP: u32 = 0x4b3d;
pub const GIO_SCRNMAP: u32 = 0x4b40;
pub const PIO_SCRNMAP: u32 = 0x4b41;
pub const KDGKBMODE: u32 = 0x4b44;
pub const KDSKBMODE: u32 = 0x4b45;
pub const KDGKBENT: u32 = 0x4b46;
pub const KDSKBENT: u32 = 0x4b47;
pub const KDGKBSENT: u32 = 0x4b48;
pub const KDSKBSENT: u32 = 0x4b49;
pub const KDGKBDIACR: u32 = 0x4b4a;
pub const KDSKBDIACR: u32 = 0x4b4b;
pub const KDGETKEYCODE: u32 = 0x4b4c;
pub const KDSETKEYCODE: u32 = 0x4b4d;
pub const KDSIGACCEPT: u32 = 0x4b4e;
pub const KDKBDREP: u32 = 0x4b52;
pub const GIO_FONT: u32 = 0x4b60;
pub const PIO_FONT: u32 = 0x4b61;
pub const KDGKBMETA: u32 = 0x4b62;
pub const KDSKBMETA: u32 = 0x4b63;
pub const KDGKBLED: u32 = 0x4b64;
pub const KDSKBLED: u32 = 0x4b65;
pub const GIO_UNIMAP: u32 = 0x4b66;
pub const PIO_UNIMAP: u32 = 0x4b67;
pub const PIO_UNIMAPCLR: u32 = 0x4b68;
pub const GIO_UNISCRNMAP: u32 = 0x4b69;
pub const PIO_UNISCRNMAP: u32 = 0x4b6a;
pub const GIO_FONTX: u32 = 0x4b6b;
pub const PIO_FONTX: u32 = 0x4b6c;
pub const PIO_FONTRESET: u32 = 0x4b6d;
pub const GIO_CMAP: u32 = 0x4b70;
pub const PIO_CMAP: u32 = 0x4b71;
pub const KDFONTOP: u32 = 0x4b72;
pub const KDGKBDIACRUC: u32 = 0x4bfa;
pub const KDSKBDIACRUC: u32 = 0x4bfb;

// Screen modes of KDSETMODE.
pub const KD_TEXT: u32 = 0;
pub const KD_GRAPHICS: u32 = 1;

// Keyboard modes of KDSKBMODE.
pub const K_RAW: u32 = 0;
pub const K_XLATE: u32 = 1;
pub const K_MEDIUMRAW: u32 = 2;
pub const K_UNICODE: u32 = 3;
pub const K_OFF: u32 = 4;

// Meta key modes of KDSKBMETA.
pub const K_METABIT: u32 = 3;
pub const K_ESCPREFIX: u32 = 4;

// Lock flags of KDSKBLED.
pub const K_SCROLLLOCK: u32 = 1;
pub const K_NUMLOCK: u32 = 2;
pub const K_CAPSLOCK: u32 = 4;

// Lights of KDSETLED.
pub const LED_SCR: u32 = 1;
pub const LED_NUM: u32 = 2;
pub const LED_CAP: u32 = 4;

// Tables of KDGKBENT.
pub const K_NORMTAB: u32 = 0;
pub const K_SHIFTTAB: u32 = 1;
pub const K_ALTTAB: u32 = 2;
pub const K_ALTSHIFTTAB: u32 = 3;

// Shift states: bits of a table's index.
pub const KG_SHIFT: u32 = 0;
pub const KG_ALTGR: u32 = 1;
pub const KG_CTRL: u32 = 2;
pub const KG_ALT: u32 = 3;
pub const KG_SHIFTL: u32 = 4;
pub const KG_SHIFTR: u32 = 5;
pub const KG_CTRLL: u32 = 6;
pub const KG_CTRLR: u32 = 7;
pub const KG_CAPSSHIFT: u32 = 8;

// Types of a key symbol, in its upper byte.
pub const KT_LATIN: u32 = 0;
pub const KT_FN: u32 = 1;
pub const KT_SPEC: u32 = 2;
pub const KT_PAD: u32 = 3;
pub const KT_DEAD: u32 = 4;
pub const KT_CONS: u32 = 5;
pub const KT_CUR: u32 = 6;
pub const KT_SHIFT: u32 = 7;
pub const KT_META: u32 = 8;
pub const KT_ASCII: u32 = 9;
pub const KT_LOCK: u32 = 10;
pub const KT_LETTER: u32 = 11;
pub const KT_SLOCK: u32 = 12;
pub const KT_DEAD2: u32 = 13;
pub const KT_BRL: u32 = 14;

// Sub-commands of TIOCLINUX.
pub const TIOCL_SETSEL: u32 = 2;
pub const TIOCL_PASTESEL: u32 = 3;
pub const TIOCL_UNBLANKSCREEN: u32 = 4;
pub const TIOCL_SELLOADLUT: u32 = 5;
pub const TIOCL_GETSHIFTSTATE: u32 = 6;
pub const TIOCL_GETMOUSEREPORTING: u32 = 7;
pub const TIOCL_SETVESABLANK: u32 = 10;
pub const TIOCL_SETKMSGREDIRECT: u32 = 11;
pub const TIOCL_GETFGCONSOLE: u32 = 12;
pub const TIOCL_SCROLLCONSOLE: u32 = 13;
pub const TIOCL_BLANKSCREEN: u32 = 14;
pub const TIOCL_BLANKEDSCREEN: u32 = 15;
pub const TIOCL_GETKMSGREDIRECT: u32 = 17;

// Answers of KDGKBTYPE.
pub const KB_84: u8 = 1;
/// What Linux always answers.
pub const KB_101: u8 = 2;
pub const KB_OTHER: u8 = 3;

/// A type and a value as one key symbol.
pub const fn k(kind: u32, value: u8) -> u16 {
    (kind as u16) << 8 | value as u16
}

/// No symbol on this key.
pub const K_HOLE: u16 = k(KT_SPEC, 0);
/// KDSKBENT: no such table; also KDGKBENT's answer.
pub const K_NOSUCHMAP: u16 = k(KT_SPEC, 127);

pod_struct! {
    /// One entry of a key table.
    pub struct Kbentry {
        pub kb_table: u8,
        pub kb_index: u8,
        pub kb_value: u16,
    }

    /// A key's scan code and key code.
    pub struct Kbkeycode {
        pub scancode: u32,
        pub keycode: u32,
    }

    /// Repeat rate, in milliseconds.
    pub struct KbdRepeat {
        pub delay: i32,
        pub period: i32,
    }

    /// Argument of KDFONTOP.
    pub struct ConsoleFontOp {
        pub op: u32,
        pub flags: u32,
        pub width: u32,
        pub height: u32,
        pub charcount: u32,
        pub data: u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pod;

    #[test]
    fn layouts_are_those_of_x86_64() {
        assert_eq!((Kbentry::SIZE, Kbkeycode::SIZE, KbdRepeat::SIZE), (4, 8, 8));
        assert_eq!(ConsoleFontOp::SIZE, 32);
        assert_eq!((K_HOLE, K_NOSUCHMAP), (0x200, 0x27f));
    }
}
