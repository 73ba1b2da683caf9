//! Readers for the static tables (Linux: drivers/acpi/tables.c, include/acpi/actbl*.h).
//!
//! They take bytes and never trust a length or an offset: firmware tables are wrong on real
//! machines. The `acpi` crate is not used here: it reads tables through unaligned references,
//! its MADT iterator does not end on an entry of length 0, and it needs unstable features that
//! the host port cannot have, so that none of this could be tested.
#![forbid(unsafe_code)]

use core::fmt;

/// Bytes of the header that all tables but RSDP and FACS have.
pub const HEADER_SIZE: usize = 36;

fn u8_at(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}
fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Whether the bytes add up to zero.
pub fn checksum_ok(bytes: &[u8]) -> bool {
    bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)) == 0
}

/// Fixed-width text of a table, shown padded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Text<const N: usize>(pub [u8; N]);

impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|&byte| {
            let printable = byte.is_ascii_graphic();
            write!(f, "{}", if printable { char::from(byte) } else { ' ' })
        })
    }
}

fn text_at<const N: usize>(bytes: &[u8], at: usize) -> Option<Text<N>> {
    Some(Text(*bytes.get(at..)?.first_chunk()?))
}

/// The root pointer.
#[derive(Clone, Copy)]
pub struct Rsdp {
    /// 0 for ACPI 1, 2 for later.
    pub revision: u8,
    /// Manufacturer.
    pub oem_id: Text<6>,
    /// Physical address of the RSDT.
    pub rsdt: u64,
    /// Physical address of the XSDT, 0 for none.
    pub xsdt: u64,
}

impl Rsdp {
    /// Bytes that must be readable at its address.
    pub const SIZE: usize = 36;

    /// Checks signature and checksum.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        if !bytes.starts_with(b"RSD PTR ") || !checksum_ok(bytes.get(..20)?) {
            return None;
        }
        let revision = u8_at(bytes, 15)?;
        let extended = revision >= 2 && checksum_ok(bytes.get(..36)?);
        Some(Self {
            revision,
            oem_id: text_at(bytes, 9)?,
            rsdt: u32_at(bytes, 16)?.into(),
            xsdt: if extended { u64_at(bytes, 24)? } else { 0 },
        })
    }
}

/// The header of a table.
#[derive(Clone, Copy)]
pub struct Header {
    /// Four letters.
    pub signature: [u8; 4],
    /// Bytes with the header.
    pub length: u32,
    /// Version of the table's layout.
    pub revision: u8,
    oem_id: Text<6>,
    oem_table_id: Text<8>,
    oem_revision: u32,
    creator_id: Text<4>,
    creator_revision: u32,
}

impl Header {
    /// Reads a header; `None` when a length in it is impossible.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let length = u32_at(bytes, 4)?;
        if (length as usize) < HEADER_SIZE || length > 16 << 20 {
            return None;
        }
        Some(Self {
            signature: *bytes.first_chunk()?,
            length,
            revision: u8_at(bytes, 8)?,
            oem_id: text_at(bytes, 10)?,
            oem_table_id: text_at(bytes, 16)?,
            oem_revision: u32_at(bytes, 24)?,
            creator_id: text_at(bytes, 28)?,
            creator_revision: u32_at(bytes, 32)?,
        })
    }
    /// As `acpi_tb_print_table_header` shows it, without the address.
    pub fn describe(&self) -> impl fmt::Display {
        struct Shown(Header);
        impl fmt::Display for Shown {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let h = &self.0;
                write!(
                    f,
                    "{:06X} (v{:02} {} {} {:08X} {} {:08X})",
                    h.length,
                    h.revision,
                    h.oem_id,
                    h.oem_table_id,
                    h.oem_revision,
                    h.creator_id,
                    h.creator_revision
                )
            }
        }
        Shown(*self)
    }
}

/// Physical addresses in an RSDT (4 bytes each) or XSDT (8 bytes each).
pub fn root_entries(table: &[u8]) -> impl Iterator<Item = u64> {
    let width = if table.starts_with(b"XSDT") { 8 } else { 4 };
    let entries = table.get(HEADER_SIZE..).unwrap_or_default();
    entries.chunks_exact(width).map(|entry| {
        let mut raw = [0; 8];
        raw[..entry.len()].copy_from_slice(entry);
        u64::from_le_bytes(raw)
    })
}

/// Polarity and trigger mode of an interrupt line (Linux: MPS INTI flags).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IntiFlags(pub u16);

impl IntiFlags {
    /// 0: as the bus says, 1: high, 3: low.
    pub fn is_active_low(self) -> bool {
        self.0 & 3 == 3
    }
    /// 0: as the bus says, 1: edge, 3: level.
    pub fn is_level(self) -> bool {
        self.0 >> 2 & 3 == 3
    }
    /// Linux's words for both.
    pub fn words(self) -> (&'static str, &'static str) {
        let polarity = ["dfl", "high", "res", "low"];
        let trigger = ["dfl", "edge", "res", "level"];
        (
            polarity[usize::from(self.0 & 3)],
            trigger[usize::from(self.0 >> 2 & 3)],
        )
    }
}

/// One entry of the MADT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MadtEntry {
    /// A processor (type 0 or 9).
    LocalApic {
        /// ACPI's number of the processor.
        processor: u32,
        /// Its local APIC.
        apic_id: u32,
        /// It can be used now.
        enabled: bool,
        /// It may be switched on later.
        online_capable: bool,
    },
    /// An I/O APIC.
    IoApic {
        /// Its number.
        id: u8,
        /// Physical address of its registers.
        address: u32,
        /// Global number of its first line.
        gsi_base: u32,
    },
    /// An ISA interrupt that is connected in an unusual way.
    Override {
        /// The ISA interrupt.
        source: u8,
        /// Where it arrives.
        gsi: u32,
        /// How.
        flags: IntiFlags,
    },
    /// A pin of the local APIC that NMIs arrive at.
    LocalNmi {
        /// Processor number; 0xff or 0xffff_ffff for all.
        processor: u32,
        /// 0 or 1.
        lint: u8,
        /// How.
        flags: IntiFlags,
    },
    /// The local APICs' address when it does not fit the header.
    AddressOverride(u64),
    /// Something else.
    Other(u8),
}

/// The table of interrupt controllers.
pub struct Madt<'a>(&'a [u8]);

impl<'a> Madt<'a> {
    /// `None` when it is too short.
    pub fn parse(table: &'a [u8]) -> Option<Self> {
        (table.len() >= 44).then_some(Self(table))
    }
    /// Physical address of the local APICs.
    pub fn local_apic_address(&self) -> u64 {
        let override_of = |entry| match entry {
            MadtEntry::AddressOverride(address) => Some(address),
            _ => None,
        };
        self.entries()
            .find_map(override_of)
            .or(u32_at(self.0, 36).map(u64::from))
            .unwrap_or(0)
    }
    /// All entries; ends at the first one whose length is impossible.
    pub fn entries(&self) -> impl Iterator<Item = MadtEntry> + 'a {
        let mut rest = self.0.get(44..).unwrap_or_default();
        core::iter::from_fn(move || {
            let len = usize::from(u8_at(rest, 1)?);
            let (entry, after) = rest.split_at_checked(len.max(2))?;
            if len < 2 {
                return None;
            }
            rest = after;
            Some(parse_madt_entry(entry).unwrap_or(MadtEntry::Other(entry[0])))
        })
    }
}

fn parse_madt_entry(entry: &[u8]) -> Option<MadtEntry> {
    let local = |processor, apic_id, flags: u32| MadtEntry::LocalApic {
        processor,
        apic_id,
        enabled: flags & 1 != 0,
        online_capable: flags & 2 != 0,
    };
    Some(match entry[0] {
        0 => local(
            u8_at(entry, 2)?.into(),
            u8_at(entry, 3)?.into(),
            u32_at(entry, 4)?,
        ),
        1 => MadtEntry::IoApic {
            id: u8_at(entry, 2)?,
            address: u32_at(entry, 4)?,
            gsi_base: u32_at(entry, 8)?,
        },
        2 => MadtEntry::Override {
            source: u8_at(entry, 3)?,
            gsi: u32_at(entry, 4)?,
            flags: IntiFlags(u16_at(entry, 8)?),
        },
        4 => MadtEntry::LocalNmi {
            processor: u8_at(entry, 2)?.into(),
            flags: IntiFlags(u16_at(entry, 3)?),
            lint: u8_at(entry, 5)?,
        },
        5 => MadtEntry::AddressOverride(u64_at(entry, 4)?),
        9 => local(u32_at(entry, 12)?, u32_at(entry, 4)?, u32_at(entry, 8)?),
        10 => MadtEntry::LocalNmi {
            flags: IntiFlags(u16_at(entry, 2)?),
            processor: u32_at(entry, 4)?,
            lint: u8_at(entry, 8)?,
        },
        kind => MadtEntry::Other(kind),
    })
}

/// Where a register is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Register {
    /// Physical memory.
    Memory(u64),
    /// A port.
    Io(u16),
    /// PCI configuration space of bus 0.
    Pci(u64),
}

fn generic_address(bytes: &[u8], at: usize) -> Option<Register> {
    let address = u64_at(bytes, at + 4)?;
    match u8_at(bytes, at)? {
        _ if address == 0 => None,
        0 => Some(Register::Memory(address)),
        1 => Some(Register::Io(u16::try_from(address).ok()?)),
        2 => Some(Register::Pci(address)),
        _ => None,
    }
}

/// The fixed description table: power, reset, timer.
#[derive(Clone, Copy, Debug)]
pub struct Fadt {
    /// Physical address of the DSDT.
    pub dsdt: u64,
    /// Interrupt of power events.
    pub sci_irq: u16,
    /// Port that switches ACPI mode on, 0 for none.
    pub smi_cmd: u16,
    /// What to write there.
    pub acpi_enable: u8,
    /// PM1a control register.
    pub pm1a_control: Option<Register>,
    /// PM1b control register.
    pub pm1b_control: Option<Register>,
    /// Power management timer.
    pub pm_timer: Option<Register>,
    /// The timer has 32 bits and not 24.
    pub pm_timer_32_bit: bool,
    /// CMOS index of the century, 0 for none.
    pub century: u8,
    /// The reset register and its value, if the table says that they work.
    pub reset: Option<(Register, u8)>,
    /// There is an i8042 (or the table is too old to tell).
    pub has_8042: bool,
    /// There is a CMOS clock.
    pub has_cmos_rtc: bool,
    /// There is no fixed hardware: no PM1 registers, no timer.
    pub hw_reduced: bool,
    /// Sleep control register of a machine with reduced hardware.
    pub sleep_control: Option<Register>,
}

const FADT_TMR_VAL_EXT: u32 = 1 << 8;
const FADT_RESET_REG_SUP: u32 = 1 << 10;
const FADT_HW_REDUCED: u32 = 1 << 20;
const FADT_BOOT_8042: u16 = 1 << 1;
const FADT_BOOT_NO_RTC: u16 = 1 << 5;

impl Fadt {
    /// Reads what is there of any version of the table.
    pub fn parse(table: &[u8]) -> Option<Self> {
        let revision = u8_at(table, 8)?;
        let flags = u32_at(table, 112)?;
        let port = |at| {
            let port = u16::try_from(u32_at(table, at)?).ok()?;
            (port != 0).then_some(Register::Io(port))
        };
        // The extended fields win, where they are there and not zero.
        let register = |extended, legacy| generic_address(table, extended).or_else(|| port(legacy));
        let boot_arch = u16_at(table, 109).unwrap_or(0);
        let dsdt = u64_at(table, 140).filter(|&address| address != 0);
        let reset = generic_address(table, 116).zip(u8_at(table, 128));
        Some(Self {
            dsdt: dsdt.or(u32_at(table, 40).map(u64::from))?,
            sci_irq: u16_at(table, 46)?,
            smi_cmd: u16::try_from(u32_at(table, 48)?).unwrap_or(0),
            acpi_enable: u8_at(table, 52)?,
            pm1a_control: register(172, 64),
            pm1b_control: register(184, 68),
            pm_timer: register(208, 76),
            pm_timer_32_bit: flags & FADT_TMR_VAL_EXT != 0,
            century: u8_at(table, 108)?,
            reset: reset.filter(|_| flags & FADT_RESET_REG_SUP != 0),
            has_8042: revision < 3 || boot_arch & FADT_BOOT_8042 != 0,
            has_cmos_rtc: boot_arch & FADT_BOOT_NO_RTC == 0,
            hw_reduced: flags & FADT_HW_REDUCED != 0,
            sleep_control: generic_address(table, 244),
        })
    }
}

/// Physical address of the HPET's registers.
pub fn hpet_address(table: &[u8]) -> Option<u64> {
    match generic_address(table, 40)? {
        Register::Memory(address) => Some(address),
        _ => None,
    }
}

/// A window into PCI configuration space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct McfgEntry {
    /// Physical address of bus 0's window.
    pub address: u64,
    /// PCI domain.
    pub segment: u16,
    /// First bus.
    pub start_bus: u8,
    /// Last bus.
    pub end_bus: u8,
}

/// All windows of the MCFG.
pub fn mcfg_entries(table: &[u8]) -> impl Iterator<Item = McfgEntry> {
    let entries = table.get(HEADER_SIZE + 8..).unwrap_or_default();
    entries.chunks_exact(16).filter_map(|entry| {
        Some(McfgEntry {
            address: u64_at(entry, 0)?,
            segment: u16_at(entry, 8)?,
            start_bus: u8_at(entry, 10)?,
            end_bus: u8_at(entry, 11)?,
        })
    })
}

/// The two values that switch the machine off: `Name (_S5_, Package {a, b, ...})` in the DSDT.
///
/// Without an AML interpreter the bytes are searched for the name. It is a constant package on
/// all machines, because firmware may not compute it.
pub fn find_s5(dsdt: &[u8]) -> Option<(u8, u8)> {
    const NAME_OP: u8 = 0x08;
    let body = dsdt.get(HEADER_SIZE..)?;
    let starts = body
        .windows(4)
        .enumerate()
        .filter(|(_, name)| *name == b"_S5_");
    starts.map(|(at, _)| at).find_map(|at| {
        let named = at >= 1 && body[at - 1] == NAME_OP;
        let rooted = at >= 2 && body[at - 1] == b'\\' && body[at - 2] == NAME_OP;
        if named || rooted {
            parse_s5_package(&body[at + 4..])
        } else {
            None
        }
    })
}

fn parse_s5_package(aml: &[u8]) -> Option<(u8, u8)> {
    const PACKAGE_OP: u8 = 0x12;
    if u8_at(aml, 0)? != PACKAGE_OP {
        return None;
    }
    // The length has 1 to 4 bytes, the number of elements one.
    let length_bytes = 1 + usize::from(u8_at(aml, 1)? >> 6);
    let mut elements = aml.get(1 + length_bytes + 1..)?;
    let first = take_integer(&mut elements)?;
    let second = take_integer(&mut elements).unwrap_or(first);
    Some((first & 7, second & 7))
}

/// A small AML integer: ZeroOp, OneOp, BytePrefix, WordPrefix, DWordPrefix.
fn take_integer(aml: &mut &[u8]) -> Option<u8> {
    let (value, size) = match u8_at(aml, 0)? {
        0x00 => (0, 1),
        0x01 => (1, 1),
        0x0a => (u8_at(aml, 1)?, 2),
        0x0b => (u8_at(aml, 1)?, 3),
        0x0c => (u8_at(aml, 1)?, 5),
        _ => return None,
    };
    *aml = aml.get(size..)?;
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn table(signature: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let mut table = Vec::from(signature);
        table.extend(((HEADER_SIZE + body.len()) as u32).to_le_bytes());
        table.extend([1, 0]);
        table.extend(b"BOCHS BXPC    ");
        table.extend([1, 0, 0, 0]);
        table.extend(b"BXPC");
        table.extend([1, 0, 0, 0]);
        table.extend(body);
        let sum = table.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
        table[9] = 0u8.wrapping_sub(sum);
        table
    }

    #[test]
    fn a_root_pointer_needs_its_checksum() {
        let mut bytes = Vec::from(*b"RSD PTR \0BOCHS \0");
        bytes.extend(0x1ffe_0000u32.to_le_bytes());
        bytes.resize(Rsdp::SIZE, 0);
        assert!(Rsdp::parse(&bytes).is_none());
        let sum = bytes[..20]
            .iter()
            .fold(0u8, |sum, byte| sum.wrapping_add(*byte));
        bytes[8] = 0u8.wrapping_sub(sum);
        let rsdp = Rsdp::parse(&bytes).unwrap();
        assert_eq!((rsdp.revision, rsdp.rsdt, rsdp.xsdt), (0, 0x1ffe_0000, 0));
        assert_eq!(alloc::format!("{}", rsdp.oem_id), "BOCHS ");
    }

    #[test]
    fn a_header_shows_as_linux_shows_it() {
        let table = table(b"APIC", &[0; 20]);
        assert!(checksum_ok(&table));
        assert_eq!(
            alloc::format!("{}", Header::parse(&table).unwrap().describe()),
            "000038 (v01 BOCHS  BXPC     00000001 BXPC 00000001)"
        );
    }

    #[test]
    fn madt_entries_are_read_and_a_bad_length_ends_them() {
        let mut body = Vec::from(0xfee0_0000u32.to_le_bytes());
        body.extend([1, 0, 0, 0]);
        body.extend([0, 8, 0, 5, 1, 0, 0, 0]);
        body.extend([1, 12, 2, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0]);
        body.extend([2, 10, 0, 9, 9, 0, 0, 0, 0x0d, 0]);
        body.extend([4, 6, 0xff, 0, 0, 1]);
        body.extend([0x44, 3, 0]);
        body.extend([0, 0]);
        let table = table(b"APIC", &body);
        let madt = Madt::parse(&table).unwrap();
        assert_eq!(madt.local_apic_address(), 0xfee0_0000);
        let entries: Vec<MadtEntry> = madt.entries().collect();
        assert_eq!(entries.len(), 5);
        assert!(matches!(
            entries[0],
            MadtEntry::LocalApic {
                apic_id: 5,
                enabled: true,
                ..
            }
        ));
        assert!(matches!(
            entries[1],
            MadtEntry::IoApic {
                address: 0xfec0_0000,
                ..
            }
        ));
        let MadtEntry::Override {
            source: 9,
            gsi: 9,
            flags,
        } = entries[2]
        else {
            panic!("an override");
        };
        assert!(flags.is_level() && !flags.is_active_low());
        assert_eq!(flags.words(), ("high", "level"));
        assert!(matches!(entries[3], MadtEntry::LocalNmi { lint: 1, .. }));
        assert_eq!(entries[4], MadtEntry::Other(0x44));
    }

    #[test]
    fn root_tables_have_narrow_or_wide_entries() {
        let narrow = table(b"RSDT", &[1, 0, 0, 0, 2, 0, 0, 0, 9]);
        assert_eq!(root_entries(&narrow).collect::<Vec<_>>(), [1, 2]);
        let wide = table(b"XSDT", &[1, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(root_entries(&wide).collect::<Vec<_>>(), [0x1_0000_0001]);
    }

    #[test]
    fn the_power_off_values_are_found_in_a_dsdt() {
        let aml = [
            0x10, 0x08, b'_', b'S', b'5', b'_', 0x12, 0x06, 0x04, 0x0a, 0x05, 0x01, 0x00, 0x00,
        ];
        assert_eq!(find_s5(&table(b"DSDT", &aml)), Some((5, 1)));
        assert_eq!(find_s5(&table(b"DSDT", b"\x08_S5_\x12")), None);
        assert_eq!(find_s5(&table(b"DSDT", b"x_S5_\x12\x06\x04\x00\x00")), None);
    }

    #[test]
    fn a_cut_fadt_is_refused_and_an_old_one_is_read() {
        let mut body = [0u8; 80];
        body[40 - 36..44 - 36].copy_from_slice(&0x1000u32.to_le_bytes());
        body[64 - 36..68 - 36].copy_from_slice(&0x604u32.to_le_bytes());
        body[76 - 36..80 - 36].copy_from_slice(&0x608u32.to_le_bytes());
        let fadt = Fadt::parse(&table(b"FACP", &body)).unwrap();
        assert_eq!(fadt.pm1a_control, Some(Register::Io(0x604)));
        assert_eq!(fadt.pm_timer, Some(Register::Io(0x608)));
        assert_eq!((fadt.reset, fadt.dsdt, fadt.has_8042), (None, 0x1000, true));
        assert!(Fadt::parse(&table(b"FACP", &body[..40])).is_none());
    }
}
