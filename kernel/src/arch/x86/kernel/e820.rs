//! The firmware's memory map (Linux: arch/x86/kernel/e820.c).
//!
//! Pure code without a machine behind it: the host port compiles it too, for its tests.
#![forbid(unsafe_code)]

use core::fmt;

/// Most entries a table holds (Linux: `E820_MAX_ENTRIES`, 128 and 3 for each NUMA node).
pub const E820_MAX_ENTRIES: usize = 320;
const PAGE_SHIFT: u32 = 12;

/// What a piece of memory is good for, by E820's numbers. Where pieces overlap, the higher
/// number wins (Linux: `e820__update_table`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(transparent)]
pub struct E820Kind(u32);

impl E820Kind {
    /// Ordinary memory.
    pub const RAM: Self = Self(1);
    /// Not to be touched.
    pub const RESERVED: Self = Self(2);
    /// ACPI tables.
    pub const ACPI: Self = Self(3);
    /// ACPI's own memory, kept over sleep.
    pub const NVS: Self = Self(4);
    /// Faulty memory.
    pub const UNUSABLE: Self = Self(5);
    /// Persistent memory.
    pub const PMEM: Self = Self(7);
    /// Persistent memory by the old number.
    pub const PRAM: Self = Self(12);

    /// What /proc/iomem calls it (Linux: `e820_type_to_string`).
    pub const fn resource_name(self) -> &'static str {
        match self {
            Self::RAM => "System RAM",
            Self::ACPI => "ACPI Tables",
            Self::NVS => "ACPI Non-volatile Storage",
            Self::UNUSABLE => "Unusable memory",
            Self::PMEM => "Persistent Memory",
            Self::PRAM => "Persistent Memory (legacy)",
            Self::RESERVED => "Reserved",
            _ => "Unknown E820 type",
        }
    }
    /// The number as firmware gives it; the meaningless 0 is reserved.
    pub const fn from_raw(raw: u32) -> Self {
        match raw {
            0 => Self::RESERVED,
            raw => Self(raw),
        }
    }
}

impl fmt::Display for E820Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::RAM => f.write_str("usable"),
            Self::RESERVED => f.write_str("reserved"),
            Self::ACPI => f.write_str("ACPI data"),
            Self::NVS => f.write_str("ACPI NVS"),
            Self::UNUSABLE => f.write_str("unusable"),
            Self::PMEM | Self::PRAM => write!(f, "persistent (type {})", self.0),
            Self(raw) => write!(f, "type {raw}"),
        }
    }
}

/// One piece of the map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct E820Entry {
    /// First byte.
    pub addr: u64,
    /// Size in bytes, never 0.
    pub size: u64,
    /// What it is.
    pub kind: E820Kind,
}

impl E820Entry {
    const NONE: Self = Self {
        addr: 0,
        size: 0,
        kind: E820Kind(0),
    };
    /// One past the last byte.
    pub fn end(&self) -> u64 {
        self.addr + self.size
    }
}

impl fmt::Display for E820Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.end() - 1;
        write!(f, "[mem {:#018x}-{last:#018x}] {}", self.addr, self.kind)
    }
}

/// A memory map. All zeroes is an empty one, so that a static costs no room in the file.
pub struct E820Table {
    entries: [E820Entry; E820_MAX_ENTRIES],
    len: usize,
    /// Pieces that did not fit.
    dropped: usize,
}

impl E820Table {
    /// An empty map.
    pub const fn new() -> Self {
        Self {
            entries: [E820Entry::NONE; E820_MAX_ENTRIES],
            len: 0,
            dropped: 0,
        }
    }
    /// The pieces.
    pub fn entries(&self) -> &[E820Entry] {
        &self.entries[..self.len]
    }
    /// How many pieces did not fit.
    pub fn dropped(&self) -> usize {
        self.dropped
    }
    /// Appends a piece (Linux: `e820__range_add`). Empty ones are left out, the end of the
    /// address space cuts, and a piece that goes on where the last one ends extends it.
    pub fn add(&mut self, addr: u64, size: u64, kind: E820Kind) {
        let size = size.min(u64::MAX - addr);
        if size == 0 {
            return;
        }
        if let Some(last) = self.entries[..self.len].last_mut()
            && last.kind == kind
            && last.end() == addr
        {
            last.size += size;
        } else if self.len == E820_MAX_ENTRIES {
            self.dropped += 1;
        } else {
            self.entries[self.len] = E820Entry { addr, size, kind };
            self.len += 1;
        }
    }
    /// Empties the map.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Sorts the map and resolves overlaps (Linux: `e820__update_table`); `scratch` is any table
    /// and is empty afterwards. The pieces of `self` then neither overlap nor touch with the
    /// same kind.
    pub fn sanitize(&mut self, scratch: &mut E820Table) {
        self.entries[..self.len].sort_unstable_by_key(|entry| (entry.addr, entry.size));
        scratch.clear();
        let mut at = 0;
        while let Some((end, kind)) = self.piece_after(at) {
            if let Some(kind) = kind {
                scratch.add(at, end - at, kind);
            }
            at = end;
        }
        self.copy_from(scratch);
        scratch.clear();
    }

    /// The stretch from `at` to the next address where an entry begins or ends, and the kind
    /// that holds there. `None` when there is no such address.
    fn piece_after(&self, at: u64) -> Option<(u64, Option<E820Kind>)> {
        let mut end = u64::MAX;
        let mut kind = None;
        for entry in self.entries() {
            if entry.addr > at {
                end = end.min(entry.addr);
                break; // sorted: the rest begins later still
            }
            if entry.end() > at {
                end = end.min(entry.end());
                kind = kind.max(Some(entry.kind));
            }
        }
        let covered = kind.is_some() || end != u64::MAX;
        covered.then_some((end, kind))
    }

    fn copy_from(&mut self, other: &E820Table) {
        self.len = other.len;
        self.entries[..self.len].copy_from_slice(other.entries());
        self.dropped += other.dropped;
    }

    /// Makes `[start, end)` of kind `new` where it is of kind `old`; with `new` = `None` that
    /// part leaves the map (Linux: `e820__range_update`, `e820__range_remove`). The map must be
    /// sanitised and is again afterwards.
    pub fn update(
        &mut self,
        start: u64,
        end: u64,
        old: E820Kind,
        new: Option<E820Kind>,
        scratch: &mut E820Table,
    ) {
        scratch.clear();
        for entry in self.entries() {
            let from = entry.addr.max(start);
            let to = entry.end().min(end);
            if entry.kind != old || from >= to {
                scratch.add(entry.addr, entry.size, entry.kind);
                continue;
            }
            scratch.add(entry.addr, from - entry.addr, entry.kind);
            if let Some(new) = new {
                scratch.add(from, to - from, new);
            }
            scratch.add(to, entry.end() - to, entry.kind);
        }
        self.copy_from(scratch);
        scratch.clear();
    }

    /// Whether all of `[start, end)` is of kind `kind` (Linux: `e820__mapped_all`). The map must
    /// be sanitised.
    pub fn all_is(&self, start: u64, end: u64, kind: E820Kind) -> bool {
        self.entries()
            .iter()
            .any(|entry| entry.kind == kind && entry.addr <= start && end <= entry.end())
    }

    /// Whole pages of RAM as (first byte, end), in order. The map must be sanitised.
    pub fn ram_pages(&self) -> impl Iterator<Item = (u64, u64)> {
        const PAGE: u64 = 1 << PAGE_SHIFT;
        self.entries()
            .iter()
            .filter(|entry| entry.kind == E820Kind::RAM)
            .map(|entry| (entry.addr.div_ceil(PAGE) * PAGE, entry.end() & !(PAGE - 1)))
            .filter(|(start, end)| start < end)
    }

    /// One past the last page frame of RAM below `limit_pfn` (Linux: `e820_end_pfn`).
    pub fn end_pfn(&self, limit_pfn: u64) -> u64 {
        self.ram_pages()
            .filter(|(start, _)| start >> PAGE_SHIFT < limit_pfn)
            .map(|(_, end)| (end >> PAGE_SHIFT).min(limit_pfn))
            .max()
            .unwrap_or(0)
    }
}

impl Default for E820Table {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(pieces: &[(u64, u64, E820Kind)]) -> Box<E820Table> {
        let mut table = Box::new(E820Table::new());
        for &(start, end, kind) in pieces {
            table.add(start, end - start, kind);
        }
        table.sanitize(&mut Box::new(E820Table::new()));
        table
    }
    fn pieces(table: &E820Table) -> Vec<(u64, u64, E820Kind)> {
        let entries = table.entries().iter();
        entries.map(|e| (e.addr, e.end(), e.kind)).collect()
    }
    const RAM: E820Kind = E820Kind::RAM;
    const RESERVED: E820Kind = E820Kind::RESERVED;

    #[test]
    fn the_higher_kind_wins_where_pieces_overlap() {
        let table = table(&[(0x2000, 0x3000, RESERVED), (0, 0x8000, RAM)]);
        assert_eq!(
            pieces(&table),
            [
                (0, 0x2000, RAM),
                (0x2000, 0x3000, RESERVED),
                (0x3000, 0x8000, RAM)
            ]
        );
    }

    #[test]
    fn touching_pieces_of_one_kind_become_one_whatever_their_order() {
        let table = table(&[
            (0x3000, 0x4000, RAM),
            (0, 0x1000, RAM),
            (0x1000, 0x3000, RAM),
            (0x800, 0x1800, RAM),
        ]);
        assert_eq!(pieces(&table), [(0, 0x4000, RAM)]);
    }

    #[test]
    fn unaligned_ram_counts_by_whole_pages_only() {
        let table = table(&[(0, 0x9fc00, RAM), (0x10_0001, 0x10_0fff, RAM)]);
        assert_eq!(table.ram_pages().collect::<Vec<_>>(), [(0, 0x9f000)]);
        assert_eq!(table.end_pfn(u64::MAX), 0x9f);
    }

    #[test]
    fn a_map_of_hundreds_of_touching_pieces_shrinks_to_one() {
        let mut map = Box::new(E820Table::new());
        for index in (0..300).rev() {
            map.add(index * 0x1000, 0x1000, RAM);
        }
        map.sanitize(&mut Box::new(E820Table::new()));
        assert_eq!(pieces(&map), [(0, 300 * 0x1000, RAM)]);
        assert_eq!(map.dropped(), 0);
    }

    #[test]
    fn pieces_beyond_the_table_are_counted_not_written() {
        let mut map = Box::new(E820Table::new());
        for index in 0..E820_MAX_ENTRIES as u64 + 5 {
            map.add(index * 0x2000, 0x1000, RAM);
        }
        assert_eq!(map.dropped(), 5);
        map.sanitize(&mut Box::new(E820Table::new()));
        assert_eq!(map.entries().len(), E820_MAX_ENTRIES);
    }

    #[test]
    fn pieces_at_the_end_of_the_address_space_do_not_wrap() {
        let mut map = Box::new(E820Table::new());
        map.add(u64::MAX - 0xfff, 0x2000, RESERVED);
        map.add(0x1000, u64::MAX, RAM);
        map.sanitize(&mut Box::new(E820Table::new()));
        assert_eq!(map.entries().last().map(|e| e.end()), Some(u64::MAX));
    }

    #[test]
    fn every_address_keeps_its_highest_kind_in_any_map() {
        let mut seed = 1u64;
        let mut random = move |below: u64| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1);
            (seed >> 33) % below
        };
        for _ in 0..200 {
            let raw: Vec<_> = (0..random(40))
                .map(|_| {
                    let start = random(64);
                    (start, start + random(16), E820Kind(1 + random(4) as u32))
                })
                .collect();
            let table = table(&raw);
            for at in 0..100 {
                let holds = |&&(start, end, _): &&(u64, u64, E820Kind)| start <= at && at < end;
                let expected = raw.iter().filter(holds).map(|piece| piece.2).max();
                let cleaned = pieces(&table);
                let mut found = cleaned.iter().filter(holds);
                assert_eq!(found.next().map(|piece| piece.2), expected);
                assert!(found.next().is_none());
            }
            let entries = table.entries();
            let sorted = entries.windows(2).all(|w| {
                w[0].end() < w[1].addr || (w[0].end() == w[1].addr && w[0].kind != w[1].kind)
            });
            assert!(sorted);
        }
    }

    #[test]
    fn an_update_splits_what_it_cuts_into() {
        let mut map = table(&[(0, 0x9_fc00, RAM), (0x10_0000, 0x100_0000, RAM)]);
        let mut scratch = Box::new(E820Table::new());
        map.update(0, 0x1000, RAM, Some(RESERVED), &mut scratch);
        map.update(0x80_0000, 0x90_0000, RAM, None, &mut scratch);
        assert_eq!(
            pieces(&map),
            [
                (0, 0x1000, RESERVED),
                (0x1000, 0x9_fc00, RAM),
                (0x10_0000, 0x80_0000, RAM),
                (0x90_0000, 0x100_0000, RAM)
            ]
        );
        assert!(map.all_is(0x2000, 0x3000, RAM));
        assert!(!map.all_is(0x70_0000, 0x90_0001, RAM));
    }

    #[test]
    fn a_piece_prints_as_linux_prints_it() {
        let entry = E820Entry {
            addr: 0x10_0000,
            size: 0xfee_0000,
            kind: RAM,
        };
        assert_eq!(
            entry.to_string(),
            "[mem 0x0000000000100000-0x000000000ffdffff] usable"
        );
    }
}
