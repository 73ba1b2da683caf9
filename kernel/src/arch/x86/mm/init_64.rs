//! Kernel page tables: walking and filling them (Linux: arch/x86/mm/init_64.c).
//!
//! Table pages come from memblock during boot and from the buddy allocator later. They are never
//! freed: the ranges that come and go (vmalloc, ioremap) are used again.
//!
//! Lock order: [`TABLE_LOCK`] is taken inside the vmalloc and ioremap locks and outside those of
//! the allocators.

use core::sync::atomic::{AtomicU64, Ordering};

use super::tlb::flush_tlb_kernel_range;
use crate::arch::x86::asm::cr::{Cr4, read_cr4, write_cr4};
use crate::arch::x86::asm::page::{PAGE_SIZE, phys_to_virt};
use crate::mm::gfp::Gfp;
use crate::mm::memblock::{memblock, memblock_is_active};
use crate::mm::page_alloc::alloc_pages;
use crate::mm::{Pfn, PhysAddr, VirtAddr};
use crate::prelude::*;

bitflags::bitflags! {
    /// What a kernel mapping allows: the bits of its page table entry
    /// (Linux: asm/pgtable_types.h, `PAGE_KERNEL`).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct KProt: u64 {
        /// The CPU may use the entry.
        const PRESENT = 1;
        /// Writes are allowed.
        const RW = 1 << 1;
        /// Low bit of the memory type.
        const PWT = 1 << 3;
        /// High bit of the memory type.
        const PCD = 1 << 4;
        /// Set by the CPU on use; set beforehand it saves a write.
        const ACCESSED = 1 << 5;
        /// Set by the CPU on a write; set beforehand it saves a write.
        const DIRTY = 1 << 6;
        /// A leaf above the lowest level.
        const LARGE = 1 << 7;
        /// Survives a change of address space.
        const GLOBAL = 1 << 8;
        /// Instruction fetches fault.
        const NX = 1 << 63;
    }
}

/// How the CPU caches a mapping: an index into the PAT as `pat::pat_init` sets it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cache {
    /// Ordinary memory.
    WriteBack,
    /// Writes are collected, reads are slow: framebuffers.
    WriteCombining,
    /// Device registers, unless a range register asks for write-combining.
    UncachedMinus,
    /// Device registers.
    Uncached,
}

impl KProt {
    /// Data (Linux: `PAGE_KERNEL`).
    pub const KERNEL: KProt = KProt::KERNEL_RO.union(KProt::RW).union(KProt::DIRTY);
    /// Constants (Linux: `PAGE_KERNEL_RO`).
    pub const KERNEL_RO: KProt = KProt::KERNEL_ROX.union(KProt::NX);
    /// Code (Linux: `PAGE_KERNEL_ROX`).
    pub const KERNEL_ROX: KProt = KProt::PRESENT.union(KProt::ACCESSED).union(KProt::GLOBAL);
    /// An entry that leads to a lower table; the leaf decides.
    const TABLE: KProt = KProt::PRESENT
        .union(KProt::RW)
        .union(KProt::ACCESSED)
        .union(KProt::DIRTY);

    /// The same with another memory type.
    pub const fn with_cache(self, cache: Cache) -> KProt {
        let plain = self.difference(KProt::PWT.union(KProt::PCD));
        match cache {
            Cache::WriteBack => plain,
            Cache::WriteCombining => plain.union(KProt::PWT),
            Cache::UncachedMinus => plain.union(KProt::PCD),
            Cache::Uncached => plain.union(KProt::PWT).union(KProt::PCD),
        }
    }
}

/// Bits of an entry that hold the physical address.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// Levels of the tables, by the size of what an entry maps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// 4 KiB.
    Pte = 0,
    /// 2 MiB.
    Pmd = 1,
    /// 1 GiB.
    Pud = 2,
    /// 512 GiB, never a leaf.
    Pgd = 3,
}

impl Level {
    const DOWN: [Level; 4] = [Level::Pgd, Level::Pud, Level::Pmd, Level::Pte];

    /// log2 of what one entry maps.
    pub const fn shift(self) -> u32 {
        12 + 9 * self as u32
    }
    /// What one entry maps, in bytes.
    pub const fn size(self) -> u64 {
        1 << self.shift()
    }
    /// Which entry of its table an address belongs to.
    pub const fn index(self, addr: VirtAddr) -> usize {
        (addr.as_u64() >> self.shift() & 511) as usize
    }
    pub(super) fn below(self) -> Level {
        match self {
            Level::Pgd => Level::Pud,
            Level::Pud => Level::Pmd,
            _ => Level::Pte,
        }
    }
}

/// One table; the CPU reads it at any time, so all accesses are atomic.
pub type Table = [AtomicU64; 512];

/// The kernel's own top table (Linux: `init_top_pgt`); 0 before `init_mem_mapping`.
static INIT_TOP_PGT: AtomicU64 = AtomicU64::new(0);
/// Held while entries of the kernel half change.
static TABLE_LOCK: IrqSpinLock<()> = SpinLock::new(());

/// Physical address of the kernel's own top table, what an idle CPU loads into CR3.
pub fn init_top_pgt() -> PhysAddr {
    PhysAddr::new(INIT_TOP_PGT.load(Ordering::Relaxed))
}

/// Sets the top table that all functions here work on.
pub(super) fn set_init_top_pgt(table: PhysAddr) {
    INIT_TOP_PGT.store(table.as_u64(), Ordering::Relaxed);
}

/// The table at a physical address.
pub(in crate::arch::x86) fn table_at(phys: PhysAddr) -> &'static Table {
    let table = phys_to_virt(phys).as_usize() as *const Table;
    // SAFETY: only called with addresses out of page table entries and of fresh table pages.
    // Tables are in the direct map, whole pages, and never freed.
    unsafe { &*table }
}

/// The table below an entry, if there is one.
pub(super) fn table_below(entry: u64) -> Option<&'static Table> {
    let leads_on = KProt::PRESENT.bits();
    let mask = leads_on | KProt::LARGE.bits();
    (entry & mask == leads_on).then(|| table_at(PhysAddr::new(entry & ADDRESS)))
}

/// A zeroed page for a table. Errors: ENOMEM.
pub(super) fn alloc_pgt_page() -> Result<PhysAddr> {
    let page = if memblock_is_active() {
        // The PVH entry maps 4 GiB; later tables could be higher, but need not.
        let mapped = PhysAddr::new(1 << 32);
        memblock().phys_alloc(PAGE_SIZE as u64, PAGE_SIZE as u64, mapped)
    } else {
        alloc_pages(Gfp::ATOMIC, 0).map(|page| page.into_pfn().phys())
    };
    let page = page.ok_or(Errno::ENOMEM)?;
    let bytes = phys_to_virt(page).as_usize() as *mut u8;
    // SAFETY: a whole page that was allocated just now.
    unsafe { bytes.write_bytes(0, PAGE_SIZE) };
    Ok(page)
}

/// The table below `entry`, made if there is none. Errors: ENOMEM; EEXIST when a large page is
/// in the way.
fn table_or_new(entry: &AtomicU64) -> Result<&'static Table> {
    let value = entry.load(Ordering::Relaxed);
    if let Some(table) = table_below(value) {
        return Ok(table);
    }
    if value != 0 {
        return Err(Errno::EEXIST);
    }
    let page = alloc_pgt_page()?;
    entry.store(page.as_u64() | KProt::TABLE.bits(), Ordering::Release);
    Ok(table_at(page))
}

/// The entry of `addr` at `level`, with tables made on the way. Errors as `table_or_new`; EFAULT
/// for an address outside the areas that boot prepared.
fn entry_or_new(addr: VirtAddr, level: Level) -> Result<&'static AtomicU64> {
    let mut table = table_at(init_top_pgt());
    for at in Level::DOWN {
        let entry = &table[at.index(addr)];
        if at == level {
            return Ok(entry);
        }
        // User tables have copied the top level by now: a new entry would be missing there.
        if at == Level::Pgd && entry.load(Ordering::Relaxed) == 0 && !memblock_is_active() {
            return Err(Errno::EFAULT);
        }
        table = table_or_new(entry)?;
    }
    unreachable!("every level is in the list")
}

/// The entry that decides about `addr`, present or not, and its level
/// (Linux: `lookup_address`).
pub fn lookup_address(addr: VirtAddr) -> (&'static AtomicU64, Level) {
    let mut table = table_at(init_top_pgt());
    for level in Level::DOWN {
        let entry = &table[level.index(addr)];
        match table_below(entry.load(Ordering::Relaxed)) {
            Some(below) if level != Level::Pte => table = below,
            _ => return (entry, level),
        }
    }
    unreachable!("the lowest level has no table below")
}

/// Makes the top-level entry of `addr`, so that it is in every user table made from now on.
/// Errors: ENOMEM.
pub(super) fn preallocate_pgd(addr: VirtAddr) -> Result {
    entry_or_new(addr, Level::Pud).map(|_| ())
}

/// Maps `size` bytes of `phys` at `addr`, with pages of at most `largest`
/// (Linux: `phys_pud_init` and below). All three are page aligned. What is mapped already with
/// the same frames gets the new protection. Errors: ENOMEM; EEXIST.
pub(super) fn map_range(
    addr: VirtAddr,
    phys: PhysAddr,
    size: u64,
    prot: KProt,
    largest: Level,
) -> Result {
    let _tables = TABLE_LOCK.lock();
    let mut done = 0;
    while done < size {
        let (to, from) = (addr + done, phys + done);
        let level = [Level::Pud, Level::Pmd, Level::Pte]
            .into_iter()
            .find(|&level| {
                level <= largest
                    && size - done >= level.size()
                    && (to.as_u64() | from.as_u64()) & (level.size() - 1) == 0
            })
            .unwrap_or(Level::Pte);
        let entry = entry_or_new(to, level)?;
        if table_below(entry.load(Ordering::Relaxed)).is_some() && level != Level::Pte {
            return Err(Errno::EEXIST);
        }
        let large = if level == Level::Pte {
            KProt::empty()
        } else {
            KProt::LARGE
        };
        entry.store(from.as_u64() | (prot | large).bits(), Ordering::Release);
        done += level.size();
    }
    Ok(())
}

/// Maps one page of the kernel half. Nothing may be mapped there; no flush is needed then.
/// Any context. Errors: ENOMEM; EEXIST.
pub fn map_kernel_page(addr: VirtAddr, pfn: Pfn, prot: KProt) -> Result {
    let _tables = TABLE_LOCK.lock();
    let entry = entry_or_new(addr, Level::Pte)?;
    if entry.load(Ordering::Relaxed) != 0 {
        return Err(Errno::EEXIST);
    }
    entry.store(pfn.phys().as_u64() | prot.bits(), Ordering::Release);
    Ok(())
}

/// Unmaps one page and says which frame was there. The caller flushes with
/// [`flush_tlb_kernel_range`] before the frame is used for something else. Any context.
pub fn unmap_kernel_page(addr: VirtAddr) -> Option<Pfn> {
    let _tables = TABLE_LOCK.lock();
    let (entry, level) = lookup_address(addr);
    let value = entry.load(Ordering::Relaxed);
    if level != Level::Pte || value & KProt::PRESENT.bits() == 0 {
        return None;
    }
    entry.store(0, Ordering::Release);
    Some(PhysAddr::new(value & ADDRESS).pfn())
}

/// Unmaps whatever is in `[addr, addr + size)` and flushes; large pages there must not reach
/// beyond the range.
pub(super) fn unmap_range(addr: VirtAddr, size: u64) {
    {
        let _tables = TABLE_LOCK.lock();
        let mut done = 0;
        while done < size {
            let (entry, level) = lookup_address(addr + done);
            entry.store(0, Ordering::Release);
            done += level.size();
        }
    }
    flush_tlb_kernel_range(addr, addr + size);
}

/// Physical address that a kernel address is mapped to (Linux: `slow_virt_to_phys`).
pub fn slow_virt_to_phys(addr: VirtAddr) -> Option<PhysAddr> {
    let (entry, level) = lookup_address(addr);
    let value = entry.load(Ordering::Relaxed);
    let offset = addr.as_u64() & (level.size() - 1);
    let base = value & ADDRESS & !(level.size() - 1);
    (value & KProt::PRESENT.bits() != 0).then(|| PhysAddr::new(base | offset))
}

/// The frame behind a kernel address: image, vmalloc, direct map, whatever is mapped.
pub fn kernel_virt_to_pfn(addr: VirtAddr) -> Option<Pfn> {
    slow_virt_to_phys(addr).map(PhysAddr::pfn)
}

/// Sets and clears bits of every entry of `nr_pages` mapped pages, large ones split where the
/// range cuts them (Linux: pat/set_memory.c, `change_page_attr_set_clr`). Flushes.
/// Errors: ENOMEM; EFAULT when something is not mapped.
pub(super) fn change_page_attr(addr: VirtAddr, nr_pages: u64, set: KProt, clear: KProt) -> Result {
    let changed = change_entries(addr, nr_pages, set, clear);
    flush_tlb_kernel_range(addr, addr + (nr_pages << 12));
    changed
}

/// `change_page_attr` without the flush, for a caller that changes many ranges.
pub(super) fn change_entries(addr: VirtAddr, nr_pages: u64, set: KProt, clear: KProt) -> Result {
    let size = nr_pages << 12;
    {
        let _tables = TABLE_LOCK.lock();
        let mut done = 0;
        while done < size {
            let at = addr + done;
            let (entry, level) = lookup_address(at);
            let value = entry.load(Ordering::Relaxed);
            if value & KProt::PRESENT.bits() == 0 {
                return Err(Errno::EFAULT);
            }
            let new = value & !clear.bits() | set.bits();
            let whole = at.as_u64() & (level.size() - 1) == 0 && size - done >= level.size();
            if new == value {
                done += level.size() - (at.as_u64() & (level.size() - 1));
            } else if whole {
                entry.store(new, Ordering::Release);
                done += level.size();
            } else {
                split_large_page(entry, value, level)?;
            }
        }
    }
    Ok(())
}

/// Replaces a large page by a table that maps the same (Linux: `split_large_page`).
fn split_large_page(entry: &AtomicU64, value: u64, level: Level) -> Result {
    let below = level.below();
    let page = alloc_pgt_page()?;
    let mut flags = value & !ADDRESS;
    if below == Level::Pte {
        flags &= !KProt::LARGE.bits(); // the bit would mean PAT there
    }
    let base = value & ADDRESS;
    for (index, slot) in table_at(page).iter().enumerate() {
        let frame = base + index as u64 * below.size();
        slot.store(frame | flags, Ordering::Relaxed);
    }
    entry.store(page.as_u64() | KProt::TABLE.bits(), Ordering::Release);
    Ok(())
}

/// Drops every translation of this CPU, global ones too: switching global pages off does it.
pub fn flush_tlb_all_local() {
    let flags = crate::arch::local_irq_save();
    let cr4 = read_cr4();
    // SAFETY: the same bits but for global pages, which only costs speed for a moment.
    unsafe { write_cr4(cr4 ^ Cr4::PGE.bits()) };
    // SAFETY: the value that was there.
    unsafe { write_cr4(cr4) };
    crate::arch::local_irq_restore(flags);
}
