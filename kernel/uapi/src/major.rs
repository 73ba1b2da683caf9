//! Device numbers. Linux: linux/major.h, linux/kdev_t.h, Documentation/admin-guide/devices.txt.

/// File systems without a device.
pub const UNNAMED_MAJOR: u32 = 0;
/// Null, zero, full, random, urandom, kmsg.
pub const MEM_MAJOR: u32 = 1;
/// Block devices ram0..
pub const RAMDISK_MAJOR: u32 = 1;
pub const FLOPPY_MAJOR: u32 = 2;
/// BSD pseudo terminals.
pub const PTY_MASTER_MAJOR: u32 = 2;
/// BSD pseudo terminals.
pub const PTY_SLAVE_MAJOR: u32 = 3;
pub const IDE0_MAJOR: u32 = 3;
/// Virtual consoles from 0, serial lines from 64.
pub const TTY_MAJOR: u32 = 4;
/// Tty, console, ptmx.
pub const TTYAUX_MAJOR: u32 = 5;
pub const LP_MAJOR: u32 = 6;
/// Contents of the virtual consoles.
pub const VCS_MAJOR: u32 = 7;
/// Block devices loop0..
pub const LOOP_MAJOR: u32 = 7;
pub const SCSI_DISK0_MAJOR: u32 = 8;
pub const MD_MAJOR: u32 = 9;
pub const SCSI_TAPE_MAJOR: u32 = 9;
pub const MISC_MAJOR: u32 = 10;
pub const SCSI_CDROM_MAJOR: u32 = 11;
pub const INPUT_MAJOR: u32 = 13;
pub const SOUND_MAJOR: u32 = 14;
pub const SCSI_GENERIC_MAJOR: u32 = 21;
pub const IDE1_MAJOR: u32 = 22;
/// Frame buffers.
pub const FB_MAJOR: u32 = 29;
pub const UNIX98_PTY_MASTER_MAJOR: u32 = 128;
/// /dev/pts/N.
pub const UNIX98_PTY_SLAVE_MAJOR: u32 = 136;
pub const UNIX98_PTY_MAJOR_COUNT: u32 = 8;
pub const HVC_MAJOR: u32 = 229;
pub const DRM_MAJOR: u32 = 226;
/// Where Linux 6.x usually puts rtc0; a dynamic number.
pub const RTC_MAJOR: u32 = 254;
pub const BLOCK_EXT_MAJOR: u32 = 259;

// Minor numbers of `MISC_MAJOR`.
pub const PSMOUSE_MINOR: u32 = 1;
pub const WATCHDOG_MINOR: u32 = 130;
pub const NVRAM_MINOR: u32 = 144;
pub const RFKILL_MINOR: u32 = 242;
pub const LOOP_CTRL_MINOR: u32 = 237;
pub const VHOST_NET_MINOR: u32 = 238;
pub const HPET_MINOR: u32 = 228;
pub const FUSE_MINOR: u32 = 229;
pub const SNAPSHOT_MINOR: u32 = 231;
pub const KVM_MINOR: u32 = 232;
pub const MISC_DYNAMIC_MINOR: u32 = 255;

// Ranges of input minors.
/// /dev/input/mouse0.
pub const MOUSEDEV_MINOR_BASE: u32 = 32;
/// /dev/input/mice.
pub const MOUSEDEV_MIX: u32 = 63;
/// /dev/input/event0.
pub const EVDEV_MINOR_BASE: u32 = 64;

/// Bits of a minor in the kernel's own `dev_t`.
pub const MINORBITS: u32 = 20;
/// Greatest minor number.
pub const MINORMASK: u32 = (1 << MINORBITS) - 1;

/// The number as user space sees it in `st_dev`, `st_rdev` and mknod(2): minor in bits 0-7 and
/// 20-31, major (12 bits) in bits 8-19. Linux: linux/kdev_t.h, `new_encode_dev`.
#[inline]
pub const fn mkdev(major: u32, minor: u32) -> u64 {
    ((minor & 0xff) | ((major & 0xfff) << 8) | ((minor & 0xfff00) << 12)) as u64
}

/// Major part of a user-visible number. Linux: `new_decode_dev`.
#[inline]
pub const fn major(dev: u64) -> u32 {
    ((dev & 0xfff00) >> 8) as u32
}

/// Minor part of a user-visible number. Linux: `new_decode_dev`.
#[inline]
pub const fn minor(dev: u64) -> u32 {
    ((dev & 0xff) | ((dev >> 12) & 0xfff00)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_encode_as_glibc_decodes_them() {
        assert_eq!(mkdev(TTY_MAJOR, 64), 0x440);
        assert_eq!(mkdev(UNIX98_PTY_SLAVE_MAJOR, 0x12345), 0x1230_8845);
        for (ma, mi) in [(0, 0), (4, 255), (5, 256), (4095, MINORMASK)] {
            assert_eq!((major(mkdev(ma, mi)), minor(mkdev(ma, mi))), (ma, mi));
        }
    }
}
