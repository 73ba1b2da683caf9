//! Checks on slab objects (Linux: mm/slub.c under CONFIG_SLUB_DEBUG).
//!
//! `slub_debug` (all checks, all caches), `slub_debug=FZ`, `slub_debug=P,kmalloc-64,dentry`:
//! F sanity checks on free, Z a word behind each object that tells whether it is in use, P a
//! pattern in free objects. U and T (who allocated, traces) are accepted and do nothing.

use core::sync::atomic::{AtomicU32, Ordering};

use super::page_poison;
use super::slub::{KmemCache, cache_of, slab_offset};
use crate::prelude::*;

bitflags::bitflags! {
    /// What is done to each object beyond allocation.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct SlabDebug: u32 {
        /// Sanity checks on free (F).
        const CONSISTENCY = 1;
        /// A word that tells whether the object is in use (Z).
        const RED_ZONE = 2;
        /// A pattern in free objects (P).
        const POISON = 4;
        /// Zeroed when allocated (`init_on_alloc=1`).
        const INIT_ON_ALLOC = 8;
        /// Zeroed when freed (`init_on_free=1`).
        const INIT_ON_FREE = 16;
    }
}

impl SlabDebug {
    /// Whether there is anything to do.
    #[inline]
    pub(super) fn is_on(self) -> bool {
        !self.is_empty()
    }
    /// Bytes behind each object.
    pub(super) fn redzone_size(self) -> u32 {
        if self.contains(SlabDebug::RED_ZONE) {
            8
        } else {
            0
        }
    }
    /// The letters of the boot parameter.
    fn parse(letters: &str) -> Self {
        let one = |letter: char| match letter.to_ascii_uppercase() {
            'F' => SlabDebug::CONSISTENCY,
            'Z' => SlabDebug::RED_ZONE,
            'P' => SlabDebug::POISON,
            _ => SlabDebug::empty(),
        };
        letters.chars().map(one).collect()
    }
    const ALL: SlabDebug = SlabDebug::CONSISTENCY
        .union(SlabDebug::RED_ZONE)
        .union(SlabDebug::POISON);
}

/// The checks that the boot parameter asks for.
#[__ro_after_init]
static SLUB_DEBUG: AtomicU32 = AtomicU32::new(0);

/// The caches that it names, separated by commas; all when empty.
static CACHE_NAMES: IrqSpinLock<NameList> = IrqSpinLock::new(NameList {
    text: [0; 128],
    len: 0,
});

struct NameList {
    text: [u8; 128],
    len: usize,
}

impl NameList {
    fn set(&mut self, names: &str) -> Result {
        let room = self.text.get_mut(..names.len()).ok_or(Errno::EINVAL)?;
        room.copy_from_slice(names.as_bytes());
        self.len = names.len();
        Ok(())
    }
    /// Whether the list is empty or names the cache; a name may end in `*`.
    fn selects(&self, cache: &str) -> bool {
        let names = core::str::from_utf8(&self.text[..self.len]).unwrap_or("");
        names.is_empty() || names.split(',').any(|name| matches(name, cache))
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}

#[__init]
fn setup_slub_debug(value: &str) -> Result {
    let (letters, names) = value.split_once(',').unwrap_or((value, ""));
    let flags = match letters {
        "" | "1" => SlabDebug::ALL,
        "-" | "0" => SlabDebug::empty(),
        letters => SlabDebug::parse(letters),
    };
    CACHE_NAMES.lock().set(names)?;
    SLUB_DEBUG.store(flags.bits(), Ordering::Relaxed);
    Ok(())
}
crate::early_param!("slub_debug", setup_slub_debug);
crate::early_param!("slab_debug", setup_slub_debug);

/// The checks for a cache that is being created.
pub(super) fn flags_for(name: &str) -> SlabDebug {
    let mut flags = SlabDebug::from_bits_truncate(SLUB_DEBUG.load(Ordering::Relaxed));
    if !CACHE_NAMES.lock().selects(name) {
        flags = SlabDebug::empty();
    }
    flags.set(SlabDebug::INIT_ON_ALLOC, page_poison::init_on_alloc());
    flags.set(SlabDebug::INIT_ON_FREE, page_poison::init_on_free());
    flags
}

/// The word behind an object that is free (Linux: SLUB_RED_INACTIVE).
const RED_INACTIVE: u64 = 0xbbbb_bbbb_bbbb_bbbb;
/// The word behind an object in use (Linux: SLUB_RED_ACTIVE).
const RED_ACTIVE: u64 = 0xcccc_cccc_cccc_cccc;
/// Bytes of a free object (Linux: POISON_FREE).
const POISON_FREE: u8 = 0x6b;
/// Last byte of a free object (Linux: POISON_END).
const POISON_END: u8 = 0xa5;
/// The link of a free object: not part of the pattern.
const LINK: usize = 8;

fn redzone(cache: &KmemCache, object: *mut u8) -> *mut u64 {
    let offset = cache.object_size().max(8).next_multiple_of(8);
    object.wrapping_add(offset).cast()
}
fn read_redzone(cache: &KmemCache, object: *mut u8) -> u64 {
    // SAFETY: a cache with RED_ZONE has a word there, aligned.
    unsafe { redzone(cache, object).read() }
}
fn write_redzone(cache: &KmemCache, object: *mut u8, word: u64) {
    // SAFETY: as above.
    unsafe { redzone(cache, object).write(word) };
}

/// Makes untouched memory a free object.
#[cold]
pub(super) fn init_object(cache: &KmemCache, object: *mut u8) {
    if cache.debug().contains(SlabDebug::RED_ZONE) {
        write_redzone(cache, object, RED_INACTIVE);
    }
    if cache.debug().contains(SlabDebug::POISON) {
        fill(cache, object);
    }
}

fn fill(cache: &KmemCache, object: *mut u8) {
    let len = cache.object_size();
    // SAFETY: the object is free, hence ours, and that large.
    unsafe { object.write_bytes(POISON_FREE, len) };
    // SAFETY: its last byte.
    unsafe { object.wrapping_add(len - 1).write(POISON_END) };
}

/// Checks a free object that is about to be used.
#[cold]
pub(super) fn alloc_object(cache: &KmemCache, object: *mut u8) {
    let debug = cache.debug();
    if debug.contains(SlabDebug::RED_ZONE) {
        if read_redzone(cache, object) != RED_INACTIVE {
            object_err(cache, object, "Right Redzone overwritten");
        }
        write_redzone(cache, object, RED_ACTIVE);
    }
    if debug.contains(SlabDebug::POISON) {
        check_poison(cache, object);
    }
    if debug.contains(SlabDebug::INIT_ON_ALLOC) {
        // SAFETY: the object belongs to nobody yet.
        unsafe { object.write_bytes(0, cache.object_size()) };
    }
}

fn check_poison(cache: &KmemCache, object: *mut u8) {
    let len = cache.object_size();
    for offset in LINK..len {
        // SAFETY: within the object.
        let byte = unsafe { object.wrapping_add(offset).read() };
        let expected = if offset == len - 1 {
            POISON_END
        } else {
            POISON_FREE
        };
        if byte != expected {
            object_err(cache, object, "Poison overwritten");
        }
    }
}

/// Checks an object that is being freed and makes it a free one.
#[cold]
pub(super) fn free_object(cache: &KmemCache, object: *mut u8) {
    let debug = cache.debug();
    if debug.contains(SlabDebug::CONSISTENCY) {
        check_pointer(cache, object);
    }
    if debug.contains(SlabDebug::RED_ZONE) {
        match read_redzone(cache, object) {
            RED_ACTIVE => write_redzone(cache, object, RED_INACTIVE),
            RED_INACTIVE => object_err(cache, object, "Object already free"),
            _ => object_err(cache, object, "Right Redzone overwritten"),
        }
    }
    if debug.contains(SlabDebug::INIT_ON_FREE) {
        // SAFETY: the object is free and that large.
        unsafe { object.write_bytes(0, cache.object_size()) };
    }
    if debug.contains(SlabDebug::POISON) {
        fill(cache, object);
    }
}

fn check_pointer(cache: &KmemCache, object: *mut u8) {
    if !cache_of(object).is_some_and(|owner| core::ptr::eq(owner, cache)) {
        object_err(cache, object, "Object of another cache");
    }
    if !slab_offset(object).is_multiple_of(cache.stride()) {
        object_err(cache, object, "Invalid object pointer");
    }
}

/// An object was freed that is the last one freed before.
#[cold]
pub(super) fn double_free(cache: &KmemCache, object: *mut u8) -> ! {
    object_err(cache, object, "Object already free")
}

/// Reports damage (Linux: `object_err`). Memory cannot be trusted any more: stop.
#[cold]
fn object_err(cache: &KmemCache, object: *mut u8, reason: &str) -> ! {
    pr_err!("=============================================================================");
    pr_err!("BUG {} (Not tainted): {reason}", cache.name());
    pr_err!("-----------------------------------------------------------------------------");
    let size = cache.object_size();
    panic!(
        "BUG {}: {reason}, object {object:p} of {size} bytes",
        cache.name()
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::gfp::Gfp;
    use crate::mm::slub::{SlabKind, kmem_cache_create_debug};

    fn checked(name: &'static str) -> &'static KmemCache {
        kmem_cache_create_debug(name, 40, 8, SlabKind::Plain, SlabDebug::ALL)
    }

    #[test]
    fn a_checked_cache_serves_objects_as_any_other() {
        let cache = checked("debug-plain");
        let objects: Vec<_> = (0..500)
            .map(|_| cache.alloc(Gfp::KERNEL).expect("memory"))
            .collect();
        for object in objects {
            // SAFETY: allocated above, used by nobody.
            unsafe { object.as_ptr().write_bytes(0x11, 40) };
            // SAFETY: as above.
            unsafe { cache.free(object) };
        }
        assert_eq!(cache.info().active_objs, 0);
    }

    #[test]
    #[should_panic(expected = "Object already free")]
    fn a_double_free_with_another_free_between_is_noticed() {
        let cache = checked("debug-double");
        let first = cache.alloc(Gfp::KERNEL).expect("memory");
        let second = cache.alloc(Gfp::KERNEL).expect("memory");
        for object in [first, second, first] {
            // SAFETY: the third one is the bug that must be caught.
            unsafe { cache.free(object) };
        }
    }

    #[test]
    #[should_panic(expected = "Right Redzone overwritten")]
    fn a_write_past_the_end_is_noticed_when_the_object_is_freed() {
        let cache = checked("debug-overrun");
        let object = cache.alloc(Gfp::KERNEL).expect("memory");
        // SAFETY: the byte behind the object is the check word: the bug that must be caught.
        unsafe { object.as_ptr().wrapping_add(40).write(1) };
        // SAFETY: allocated above.
        unsafe { cache.free(object) };
    }

    #[test]
    #[should_panic(expected = "Poison overwritten")]
    fn a_write_after_free_is_noticed_when_the_object_is_used_again() {
        let cache = checked("debug-uaf");
        let object = cache.alloc(Gfp::KERNEL).expect("memory");
        // SAFETY: allocated above.
        unsafe { cache.free(object) };
        // SAFETY: the memory is mapped; the write is the bug that must be caught.
        unsafe { object.as_ptr().wrapping_add(20).write(1) };
        let _ = cache.alloc(Gfp::KERNEL);
    }

    #[test]
    #[should_panic(expected = "Invalid object pointer")]
    fn freeing_the_middle_of_an_object_is_noticed() {
        let cache = checked("debug-middle");
        let object = cache.alloc(Gfp::KERNEL).expect("memory");
        // SAFETY: the bug that must be caught.
        let middle = unsafe { object.add(8) };
        // SAFETY: as above.
        unsafe { cache.free(middle) };
    }

    #[test]
    fn the_parameter_names_letters_and_caches() {
        assert_eq!(
            SlabDebug::parse("fZu"),
            SlabDebug::CONSISTENCY | SlabDebug::RED_ZONE
        );
        let mut names = NameList {
            text: [0; 128],
            len: 0,
        };
        assert!(names.selects("dentry"));
        names.set("kmalloc-*,filp").expect("room");
        assert!(names.selects("kmalloc-64") && names.selects("filp"));
        assert!(!names.selects("dentry"));
        assert_eq!(names.set(&"x".repeat(129)), Err(Errno::EINVAL));
    }
}
