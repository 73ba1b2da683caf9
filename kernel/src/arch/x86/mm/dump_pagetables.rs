//! The walk that looks for memory both writable and executable
//! (Linux: arch/x86/mm/dump_pagetables.c, `ptdump_walk_pgd_level_checkwx`).

use core::sync::atomic::Ordering;

use super::init_64::{KProt, Level, Table, init_top_pgt, table_at, table_below};
use crate::mm::VirtAddr;
use crate::prelude::*;

/// First entry of the top table's kernel half.
const FIRST_KERNEL_ENTRY: usize = 256;

/// What the walk found.
#[derive(Default)]
struct Findings {
    pages: u64,
    first: Option<VirtAddr>,
}

/// Checks every kernel mapping and tells the result (Linux: `debug_checkwx`). Returns whether
/// there is none that is both writable and executable.
pub fn debug_checkwx() -> bool {
    let mut findings = Findings::default();
    let top = table_at(init_top_pgt());
    // What an address allows is what every level on the way to it allows.
    let everything = KProt::RW;
    walk(top, Level::Pgd, VirtAddr::new(0), everything, &mut findings);
    match findings.first {
        None => pr_info!("x86/mm: Checked W+X mappings: passed, no W+X pages found."),
        Some(addr) => {
            pr_warn!("x86/mm: Found insecure W+X mapping at address {addr:#x}");
            pr_info!(
                "x86/mm: Checked W+X mappings: FAILED, {} W+X pages found.",
                findings.pages
            );
        }
    }
    findings.first.is_none()
}

fn walk(table: &Table, level: Level, base: VirtAddr, above: KProt, findings: &mut Findings) {
    let first = if level == Level::Pgd {
        FIRST_KERNEL_ENTRY
    } else {
        0
    };
    for (index, slot) in table.iter().enumerate().skip(first) {
        let entry = slot.load(Ordering::Relaxed);
        let own = KProt::from_bits_truncate(entry);
        if !own.contains(KProt::PRESENT) {
            continue;
        }
        let effective = (above & own & KProt::RW) | ((above | own) & KProt::NX);
        let addr = child_base(base, level, index);
        match table_below(entry) {
            Some(below) if level != Level::Pte => {
                walk(below, level.below(), addr, effective, findings);
            }
            _ if effective == KProt::RW => {
                findings.pages += level.size() >> 12;
                findings.first.get_or_insert(addr);
            }
            _ => {}
        }
    }
}

/// Address that entry `index` maps, sign-extended at the top level.
fn child_base(base: VirtAddr, level: Level, index: usize) -> VirtAddr {
    let addr = base.as_u64() + ((index as u64) << level.shift());
    if level == Level::Pgd && index >= FIRST_KERNEL_ENTRY {
        return VirtAddr::new(addr | 0xffff_0000_0000_0000);
    }
    VirtAddr::new(addr)
}
