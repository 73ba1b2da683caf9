//! Who has which physical addresses (Linux: kernel/resource.c).
#![forbid(unsafe_code)]

use core::fmt::Write;

use crate::prelude::*;

/// A range that has a name (Linux: `struct resource`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Resource {
    start: u64,
    /// Last address, included.
    end: u64,
    name: &'static str,
}

/// Ranges that lie inside each other or apart, never across a border.
pub struct ResourceTree {
    /// Sorted by start, the enclosing one first.
    resources: SpinLock<Vec<Resource>>,
}

/// Physical memory and device memory (Linux: `iomem_resource`).
pub static IOMEM_RESOURCE: ResourceTree = ResourceTree::new();

impl ResourceTree {
    /// Nobody has anything.
    pub const fn new() -> Self {
        Self {
            resources: SpinLock::new(Vec::new()),
        }
    }

    /// Enters the range `start..=end` (Linux: `insert_resource`). Process context.
    /// Errors: EINVAL for an empty range; EBUSY if it cuts through another one; ENOMEM.
    pub fn insert(&self, start: u64, end: u64, name: &'static str) -> Result {
        if start > end {
            return Err(Errno::EINVAL);
        }
        let mut resources = self.resources.lock();
        let cuts = |other: &Resource| {
            let apart = end < other.start || other.end < start;
            let inside = other.start <= start && end <= other.end;
            let around = start <= other.start && other.end <= end;
            !(apart || inside || around)
        };
        if resources.iter().any(cuts) {
            return Err(Errno::EBUSY);
        }
        resources.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        // Of two equal ranges the later one is the inner one.
        let at =
            resources.partition_point(|r| r.start < start || (r.start == start && r.end >= end));
        resources.insert(at, Resource { start, end, name });
        Ok(())
    }

    /// Takes a range out again (Linux: `remove_resource`). Errors: EINVAL if it is not there.
    pub fn remove(&self, start: u64, end: u64) -> Result {
        let mut resources = self.resources.lock();
        let at = resources
            .iter()
            .rposition(|r| (r.start, r.end) == (start, end))
            .ok_or(Errno::EINVAL)?;
        resources.remove(at);
        Ok(())
    }

    /// One line for each range, inner ones indented.
    pub fn show(&self, text: &mut String) -> Result {
        let mut around: Vec<u64> = Vec::new();
        for resource in self.resources.lock().iter() {
            while around.last().is_some_and(|&end| end < resource.start) {
                around.pop();
            }
            let indent = 2 * around.len();
            let Resource { start, end, name } = resource;
            writeln!(text, "{:indent$}{start:08x}-{end:08x} : {name}", "")
                .map_err(|_| Errno::ENOMEM)?;
            around.push(*end);
        }
        Ok(())
    }
}

impl Default for ResourceTree {
    fn default() -> Self {
        Self::new()
    }
}

fn iomem_show(text: &mut String) -> Result {
    IOMEM_RESOURCE.show(text)
}

/// Linux: `ioresources_init`.
#[__init]
fn ioresources_init() -> Result {
    crate::fs::proc::proc_create_single("iomem", 0o400, iomem_show)
}
crate::fs_initcall!(ioresources_init);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inner_range_is_indented_below_the_one_around_it() {
        let tree = ResourceTree::new();
        tree.insert(0x20_0000, 0x2f_ffff, "Kernel code").unwrap();
        tree.insert(0x10_0000, 0xfff_ffff, "System RAM").unwrap();
        tree.insert(0xfee0_0000, 0xfee0_0fff, "Local APIC").unwrap();
        tree.insert(0, 0xfff, "Reserved").unwrap();
        let mut text = String::new();
        tree.show(&mut text).unwrap();
        assert_eq!(
            text,
            "00000000-00000fff : Reserved\n\
             00100000-0fffffff : System RAM\n  \
             00200000-002fffff : Kernel code\n\
             fee00000-fee00fff : Local APIC\n"
        );
    }

    #[test]
    fn a_range_across_a_border_is_refused() {
        let tree = ResourceTree::new();
        tree.insert(0x1000, 0x1fff, "a").unwrap();
        assert_eq!(tree.insert(0x1800, 0x2800, "b"), Err(Errno::EBUSY));
        assert_eq!(tree.insert(2, 1, "c"), Err(Errno::EINVAL));
        assert_eq!(tree.insert(0x1000, 0x1fff, "inner"), Ok(()));
        tree.remove(0x1000, 0x1fff).unwrap();
        let mut text = String::new();
        tree.show(&mut text).unwrap();
        assert_eq!(text, "00001000-00001fff : a\n");
    }
}
