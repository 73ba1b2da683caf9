//! Checks of the kernel's address space that only a running machine can make; test images carry
//! them. Each prints one line, and a failed one panics.

use super::dump_pagetables::debug_checkwx;
use super::init_64::{Cache, lookup_address, slow_virt_to_phys};
use super::ioremap::{ioremap, iounmap};
use super::nofault::probe_kernel_write;
use super::set_memory::{set_memory_ro, set_memory_rw, set_memory_x};
use crate::arch::x86::asm::page::{PAGE_SIZE, phys_to_virt};
use crate::arch::x86::kernel::head64::init_stack;
use crate::arch::x86::kernel::sections;
use crate::mm::gfp::Gfp;
use crate::mm::page_alloc::alloc_pages;
use crate::mm::percpu::{nr_cpu_ids, per_cpu_offset};
use crate::mm::{PhysAddr, VirtAddr};
use crate::prelude::*;

fn writable(addr: VirtAddr) -> bool {
    // SAFETY: callers pass pages of their own, or expect a fault.
    unsafe { probe_kernel_write(addr, 0) }
}

fn a_page_can_be_made_read_only_and_writable_again() {
    let page = alloc_pages(Gfp::KERNEL, 0).expect("memory for a test");
    let addr = phys_to_virt(page.phys());
    assert!(writable(addr));
    set_memory_ro(addr, 1).expect("the direct map is there");
    assert!(!writable(addr));
    let neighbour = VirtAddr::new(addr.as_u64() ^ PAGE_SIZE as u64);
    assert_eq!(
        slow_virt_to_phys(neighbour).map(phys_to_virt),
        Some(neighbour)
    );
    set_memory_rw(addr, 1).expect("the direct map is there");
    assert!(writable(addr));
}

fn an_executable_writable_page_is_found() {
    let page = alloc_pages(Gfp::KERNEL, 0).expect("memory for a test");
    let addr = phys_to_virt(page.phys());
    set_memory_x(addr, 1).expect("the direct map is there");
    assert!(!debug_checkwx());
    super::set_memory::set_memory_nx(addr, 1).expect("the direct map is there");
    assert!(debug_checkwx());
}

fn device_memory_is_mapped_where_asked_and_its_room_used_again() {
    let local_apic = PhysAddr::new(0xfee0_0030);
    let small = ioremap(local_apic, 4, Cache::Uncached).expect("room for a page");
    assert_eq!(slow_virt_to_phys(small), Some(local_apic));
    let large_at = PhysAddr::new(0xc030_1000);
    let large = ioremap(large_at, 5 << 20, Cache::WriteCombining).expect("room for 5 MiB");
    let middle = (large + (2 << 20), large_at + (2 << 20));
    assert_eq!(slow_virt_to_phys(middle.0), Some(middle.1));
    assert_ne!(lookup_address(middle.0).1, super::init_64::Level::Pte);
    iounmap(large);
    assert_eq!(slow_virt_to_phys(large), None);
    assert_eq!(ioremap(large_at, 5 << 20, Cache::Uncached), Ok(large));
    iounmap(large);
    iounmap(small);
}

fn text_constants_and_the_guard_page_cannot_be_written() {
    assert!(!writable(sections::text_start()));
    assert!(!writable(sections::rodata_start()));
    let (stack, _) = init_stack();
    assert!(!writable(VirtAddr::new(stack - 8)));
}

fn every_cpu_has_an_area_of_its_own() {
    let mut offsets: Vec<usize> = (0..nr_cpu_ids()).map(per_cpu_offset).collect();
    offsets.sort_unstable();
    offsets.dedup();
    assert_eq!(offsets.len(), nr_cpu_ids());
    assert!(!offsets.contains(&0));
}

#[__init]
fn address_space_selftest() -> Result {
    let tests: [(&str, fn()); 5] = [
        (
            "a page can be made read-only and writable again",
            a_page_can_be_made_read_only_and_writable_again,
        ),
        (
            "an executable writable page is found",
            an_executable_writable_page_is_found,
        ),
        (
            "device memory is mapped where asked and its room used again",
            device_memory_is_mapped_where_asked_and_its_room_used_again,
        ),
        (
            "text, constants and the guard page cannot be written",
            text_constants_and_the_guard_page_cannot_be_written,
        ),
        (
            "every CPU has an area of its own",
            every_cpu_has_an_area_of_its_own,
        ),
    ];
    for (sentence, test) in tests {
        test();
        pr_info!("selftest: {sentence}: ok");
    }
    Ok(())
}
crate::late_initcall!(address_space_selftest);
