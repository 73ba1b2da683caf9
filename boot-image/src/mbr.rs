//! The partition table in the first sector of a disk image.

use crate::error::{Error, Result};

/// Bytes per sector.
pub const SECTOR: usize = 512;

const TABLE_OFFSET: usize = 446;
const ENTRY_SIZE: usize = 16;
const ENTRIES: usize = 4;
const SIGNATURE: [u8; 2] = [0x55, 0xaa];
const ACTIVE: u8 = 0x80;
/// FAT with LBA addressing.
const TYPE_FAT_LBA: u8 = 0x0c;

/// Where the entry of a partition is, and where that partition begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    index: usize,
    /// First sector.
    pub start: u32,
    /// Number of sectors.
    pub sectors: u32,
}

/// Finds the FAT partition of an image that the `bootloader` crate made.
pub fn fat_partition(image: &[u8]) -> Result<Partition> {
    if image.get(SECTOR - 2..SECTOR) != Some(&SIGNATURE) {
        return Err(Error::Other("the disk image has no partition table".into()));
    }
    (0..ENTRIES)
        .find(|index| image[entry(*index) + 4] == TYPE_FAT_LBA)
        .map(|index| Partition {
            index,
            start: number(image, entry(index) + 8),
            sectors: number(image, entry(index) + 12),
        })
        .ok_or_else(|| Error::Other("the disk image has no FAT partition".into()))
}

/// Records the partition's new size and leaves the first used entry as the only active one: strict firmware does not
/// boot a disk with two.
pub fn update(image: &mut [u8], partition: Partition, sectors: u32) {
    let at = entry(partition.index) + 12;
    image[at..at + 4].copy_from_slice(&sectors.to_le_bytes());
    let first_used = (0..ENTRIES).find(|index| image[entry(*index) + 4] != 0);
    for index in 0..ENTRIES {
        image[entry(index)] = if Some(index) == first_used { ACTIVE } else { 0 };
    }
}

fn entry(index: usize) -> usize {
    TABLE_OFFSET + index * ENTRY_SIZE
}

fn number(image: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([image[at], image[at + 1], image[at + 2], image[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Vec<u8> {
        let mut image = vec![0; SECTOR];
        image[510..].copy_from_slice(&SIGNATURE);
        for (index, kind, start) in [(0, 0x20, 1_u32), (1, TYPE_FAT_LBA, 40)] {
            image[entry(index)] = ACTIVE;
            image[entry(index) + 4] = kind;
            image[entry(index) + 8..][..4].copy_from_slice(&start.to_le_bytes());
        }
        image
    }

    #[test]
    fn the_fat_partition_is_found_by_its_type() {
        let partition = fat_partition(&table()).unwrap();
        assert_eq!((partition.index, partition.start), (1, 40));
    }

    #[test]
    fn after_an_update_one_entry_is_active() {
        let mut image = table();
        let partition = fat_partition(&image).unwrap();
        update(&mut image, partition, 99);
        let flags: Vec<u8> = (0..ENTRIES).map(|index| image[entry(index)]).collect();
        assert_eq!(flags, [ACTIVE, 0, 0, 0]);
        assert_eq!(fat_partition(&image).unwrap().sectors, 99);
    }

    #[test]
    fn a_file_without_a_signature_is_refused() {
        assert!(fat_partition(&[0; SECTOR]).is_err());
        assert!(fat_partition(&[]).is_err());
    }
}
