//! Virtual consoles. Linux: linux/vt.h.

pub const MIN_NR_CONSOLES: usize = 1;
/// Serial lines start at minor 64.
pub const MAX_NR_CONSOLES: usize = 63;

// ioctls.
pub const VT_OPENQRY: u32 = 0x5600;
pub const VT_GETMODE: u32 = 0x5601;
pub const VT_SETMODE: u32 = 0x5602;
pub const VT_GETSTATE: u32 = 0x5603;
pub const VT_SENDSIG: u32 = 0x5604;
pub const VT_RELDISP: u32 = 0x5605;
pub const VT_ACTIVATE: u32 = 0x5606;
pub const VT_WAITACTIVE: u32 = 0x5607;
pub const VT_DISALLOCATE: u32 = 0x5608;
pub const VT_RESIZE: u32 = 0x5609;
pub const VT_RESIZEX: u32 = 0x560a;
pub const VT_LOCKSWITCH: u32 = 0x560b;
pub const VT_UNLOCKSWITCH: u32 = 0x560c;
pub const VT_GETHIFONTMASK: u32 = 0x560d;
pub const VT_WAITEVENT: u32 = 0x560e;
pub const VT_SETACTIVATE: u32 = 0x560f;

// Events of VT_WAITEVENT.
pub const VT_EVENT_SWITCH: u32 = 1;
pub const VT_EVENT_BLANK: u32 = 2;
pub const VT_EVENT_UNBLANK: u32 = 4;
pub const VT_EVENT_RESIZE: u32 = 8;

// Switching modes of VT_SETMODE.
pub const VT_AUTO: u8 = 0;
pub const VT_PROCESS: u8 = 1;
pub const VT_ACKACQ: u8 = 2;

pod_struct! {
    /// Who decides about switching, of VT_GETMODE and VT_SETMODE.
    pub struct VtMode {
        pub mode: u8,
        pub waitv: u8,
        pub relsig: i16,
        pub acqsig: i16,
        pub frsig: i16,
    }

    /// State of all consoles, of VT_GETSTATE; bit n of `v_state` is console n, bit 0 always set.
    pub struct VtStat {
        pub v_active: u16,
        pub v_signal: u16,
        pub v_state: u16,
    }

    /// Argument of VT_RESIZE.
    pub struct VtSizes {
        pub v_rows: u16,
        pub v_cols: u16,
        pub v_scrollsize: u16,
    }

    /// Argument of VT_RESIZEX.
    pub struct VtConsize {
        pub v_rows: u16,
        pub v_cols: u16,
        pub v_vlin: u16,
        pub v_clin: u16,
        pub v_vcol: u16,
        pub v_ccol: u16,
    }

    /// Argument of VT_WAITEVENT.
    pub struct VtEvent {
        pub event: u32,
        pub oldev: u32,
        pub newev: u32,
        pub pad: [u32; 4],
    }

    /// Argument of VT_SETACTIVATE.
    pub struct VtSetactivate {
        pub console: u32,
        pub mode: VtMode,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pod;

    #[test]
    fn layouts_are_those_of_x86_64() {
        assert_eq!((VtMode::SIZE, VtStat::SIZE, VtSizes::SIZE), (8, 6, 6));
        assert_eq!(
            (VtConsize::SIZE, VtEvent::SIZE, VtSetactivate::SIZE),
            (12, 28, 12)
        );
    }
}
