//! What ACPI says about this machine (Linux: arch/x86/kernel/acpi/boot.c).
//!
//! Everything that is needed later is copied out during `acpi_boot_init`, before there is a heap.

use crate::arch::x86::boot::BootParams;
use crate::arch::x86::mm::ioremap::{iounmap, memremap};
use crate::drivers::acpi::tables::{
    Fadt, HEADER_SIZE, Header, IntiFlags, Madt, MadtEntry, McfgEntry, Rsdp, checksum_ok, find_s5,
    hpet_address, mcfg_entries, root_entries,
};
use crate::mm::PhysAddr;
use crate::mm::percpu::NR_CPUS;
use crate::prelude::*;

/// Most I/O APICs.
const MAX_IO_APICS: usize = 16;
/// ISA interrupts.
const MAX_OVERRIDES: usize = 16;
/// Most PCI windows.
const MAX_MCFG: usize = 4;

/// A list without a heap; what does not fit is left out.
#[derive(Clone, Copy)]
pub struct List<T: Copy, const N: usize> {
    items: [Option<T>; N],
    len: usize,
}

impl<T: Copy, const N: usize> List<T, N> {
    const fn new() -> Self {
        Self {
            items: [None; N],
            len: 0,
        }
    }
    fn push(&mut self, item: T) {
        if let Some(slot) = self.items.get_mut(self.len) {
            *slot = Some(item);
            self.len += 1;
        }
    }
    /// The items in their order.
    pub fn iter(&self) -> impl Iterator<Item = T> {
        self.items.iter().flatten().copied()
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// An I/O APIC as the MADT has it.
#[derive(Clone, Copy, Debug)]
pub struct IoApicInfo {
    /// Its number.
    pub id: u8,
    /// Its registers.
    pub address: PhysAddr,
    /// Global number of its first line.
    pub gsi_base: u32,
}

/// An ISA interrupt that does not arrive where its number says.
#[derive(Clone, Copy, Debug)]
pub struct IsaOverride {
    /// The ISA interrupt.
    pub source: u8,
    /// The line it arrives at.
    pub gsi: u32,
    /// Polarity and trigger.
    pub flags: IntiFlags,
}

/// A processor.
#[derive(Clone, Copy, Debug)]
pub struct CpuEntry {
    /// ACPI's number.
    pub processor: u32,
    /// Its local APIC.
    pub apic_id: u32,
}

/// The machine.
#[derive(Clone, Copy)]
pub struct AcpiInfo {
    /// Registers of the local APICs.
    pub local_apic: Option<PhysAddr>,
    /// Processors that can be used, in the table's order.
    pub cpus: List<CpuEntry, NR_CPUS>,
    /// I/O APICs.
    pub io_apics: List<IoApicInfo, MAX_IO_APICS>,
    /// ISA overrides.
    pub overrides: List<IsaOverride, MAX_OVERRIDES>,
    /// Power, reset, timer.
    pub fadt: Option<Fadt>,
    /// Values that switch the machine off.
    pub s5: Option<(u8, u8)>,
    /// Registers of the HPET.
    pub hpet: Option<PhysAddr>,
    /// PCI configuration windows.
    pub mcfg: List<McfgEntry, MAX_MCFG>,
}

impl AcpiInfo {
    const fn new() -> Self {
        Self {
            local_apic: None,
            cpus: List::new(),
            io_apics: List::new(),
            overrides: List::new(),
            fadt: None,
            s5: None,
            hpet: None,
            mcfg: List::new(),
        }
    }
}

static ACPI: spin::Once<AcpiInfo> = spin::Once::new();

/// What the tables say; nothing before `acpi_boot_init` or without ACPI.
pub fn acpi() -> &'static AcpiInfo {
    static NOTHING: AcpiInfo = AcpiInfo::new();
    ACPI.get().unwrap_or(&NOTHING)
}

/// Runs `f` with a table's bytes, if the table is sound.
fn with_table<R>(address: u64, f: impl FnOnce(&Header, &[u8]) -> R) -> Option<R> {
    let header = with_bytes(address, HEADER_SIZE, Header::parse)??;
    with_bytes(address, header.length as usize, |bytes| {
        if checksum_ok(bytes) {
            return Some(f(&header, bytes));
        }
        let name = core::str::from_utf8(&header.signature).unwrap_or("????");
        pr_warn!("ACPI BIOS Warning (bug): Incorrect checksum in table [{name}]");
        None
    })?
}

/// Runs `f` with physical memory that firmware filled.
fn with_bytes<R>(address: u64, len: usize, f: impl FnOnce(&[u8]) -> R) -> Option<R> {
    if address == 0 {
        return None;
    }
    let mapped = memremap(PhysAddr::new(address), len).ok()?;
    // SAFETY: mapped for this length; firmware does not change its tables any more.
    let bytes = unsafe { core::slice::from_raw_parts(mapped.as_usize() as *const u8, len) };
    let result = f(bytes);
    iounmap(mapped);
    Some(result)
}

/// Finds the root pointer: where the loader says, else where a BIOS leaves it
/// (Linux: `acpi_find_root_pointer`).
fn find_rsdp(params: &BootParams) -> Option<(u64, Rsdp)> {
    let at = |address: u64| Some((address, with_bytes(address, Rsdp::SIZE, Rsdp::parse)??));
    if let Some(found) = params.rsdp.and_then(|address| at(address.as_u64())) {
        return Some(found);
    }
    let ebda = with_bytes(0x40e, 2, |bytes| {
        u64::from(bytes[0]) << 4 | u64::from(bytes[1]) << 12
    })?;
    let ebda = (0x8_0000..0xa_0000)
        .contains(&ebda)
        .then_some(ebda..ebda + 1024);
    ebda.into_iter()
        .chain(core::iter::once(0xe_0000..0x10_0000))
        .find_map(|range| scan(range).and_then(at))
}

fn scan(range: core::ops::Range<u64>) -> Option<u64> {
    let len = (range.end - range.start) as usize;
    let found = with_bytes(range.start, len, |bytes| {
        bytes
            .chunks_exact(16)
            .position(|chunk| chunk.starts_with(b"RSD PTR "))
    })??;
    Some(range.start + found as u64 * 16)
}

/// Reads all tables (Linux: `acpi_boot_table_init`, `acpi_boot_init`). After the kernel's own
/// page tables are in use; needs no heap. Boot CPU.
#[__init]
pub fn acpi_boot_init(params: &BootParams) {
    let Some((address, rsdp)) = find_rsdp(params) else {
        pr_warn!("ACPI: No RSDP found: ACPI is off");
        return;
    };
    let size = if rsdp.revision >= 2 { 0x24 } else { 0x14 };
    pr_info!("ACPI: Early table checksum verification disabled");
    pr_info!(
        "ACPI: RSDP 0x{address:016X} {size:06X} (v{:02} {})",
        rsdp.revision,
        rsdp.oem_id
    );
    let mut info = AcpiInfo::new();
    let root = if rsdp.xsdt != 0 { rsdp.xsdt } else { rsdp.rsdt };
    with_table(root, |header, bytes| {
        show_table(root, header);
        for address in root_entries(bytes) {
            with_table(address, |header, bytes| {
                show_table(address, header);
                read_table(&mut info, header, bytes);
            });
        }
    });
    report(&info);
    ACPI.call_once(|| info);
}

fn show_table(address: u64, header: &Header) {
    let name = core::str::from_utf8(&header.signature).unwrap_or("????");
    pr_info!("ACPI: {name} 0x{address:016X} {}", header.describe());
}

fn read_table(info: &mut AcpiInfo, header: &Header, bytes: &[u8]) {
    match &header.signature {
        b"APIC" => read_madt(info, bytes),
        b"HPET" => info.hpet = hpet_address(bytes).map(PhysAddr::new),
        b"MCFG" => mcfg_entries(bytes).for_each(|entry| info.mcfg.push(entry)),
        b"FACP" => {
            info.fadt = Fadt::parse(bytes);
            let dsdt = info.fadt.map_or(0, |fadt| fadt.dsdt);
            info.s5 = with_table(dsdt, |header, bytes| {
                show_table(dsdt, header);
                find_s5(bytes)
            })
            .flatten();
        }
        _ => {}
    }
}

fn read_madt(info: &mut AcpiInfo, bytes: &[u8]) {
    let Some(madt) = Madt::parse(bytes) else {
        return;
    };
    info.local_apic = Some(PhysAddr::new(madt.local_apic_address()));
    for entry in madt.entries() {
        match entry {
            MadtEntry::LocalApic {
                processor,
                apic_id,
                enabled,
                ..
            } => add_cpu(info, CpuEntry { processor, apic_id }, enabled),
            MadtEntry::IoApic {
                id,
                address,
                gsi_base,
            } if address != 0 => info.io_apics.push(IoApicInfo {
                id,
                address: PhysAddr::new(address.into()),
                gsi_base,
            }),
            MadtEntry::Override { source, gsi, flags } => {
                info.overrides.push(IsaOverride { source, gsi, flags });
            }
            MadtEntry::LocalNmi {
                processor,
                lint,
                flags,
            } => {
                let (polarity, trigger) = flags.words();
                pr_info!(
                    "ACPI: LAPIC_NMI (acpi_id[0x{processor:02x}] {polarity} {trigger} lint[0x{lint:x}])"
                );
            }
            _ => {}
        }
    }
}

/// Firmware may list a CPU both as local APIC and as x2APIC, and CPUs that cannot be used.
fn add_cpu(info: &mut AcpiInfo, cpu: CpuEntry, enabled: bool) {
    let known = info.cpus.iter().any(|other| other.apic_id == cpu.apic_id);
    if enabled && cpu.apic_id != u32::MAX && !known {
        info.cpus.push(cpu);
    }
}

fn report(info: &AcpiInfo) {
    for isa in info.overrides.iter() {
        let (polarity, trigger) = isa.flags.words();
        pr_info!(
            "ACPI: INT_SRC_OVR (bus 0 bus_irq {} global_irq {} {polarity} {trigger})",
            isa.source,
            isa.gsi
        );
    }
    if !info.io_apics.is_empty() {
        pr_info!("ACPI: Using ACPI (MADT) for SMP configuration information");
    }
    if let Some(address) = info.hpet {
        pr_info!("ACPI: HPET base: {:#x}", address.as_u64());
    }
}
