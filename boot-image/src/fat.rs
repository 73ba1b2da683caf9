//! FAT file systems in memory: read one out, write one with large clusters.
//!
//! The BIOS stages of the boot loader read 16 KiB for every cluster, whatever its size, and look at the allocation
//! table each time. With clusters of 16 KiB they read nothing twice: a boot takes a fifth of the time.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read, Write};

use fatfs::{FatType, FileSystem, FormatVolumeOptions, FsOptions, ReadWriteSeek};

use crate::error::{Error, Result};

const CLUSTER: u32 = 16 * 1024;
const SECTOR: usize = crate::mbr::SECTOR;
/// The boot sector, both tables and the root folder, generously: a FAT12 table is at most 12 sectors.
const OVERHEAD: usize = 64 * 1024;

/// Contents by path, for example `efi/boot/bootx64.efi`.
pub type Files = BTreeMap<String, Vec<u8>>;

/// Reads all files of a file system.
pub fn read(volume: &[u8]) -> Result<Files> {
    let mut files = Files::new();
    let mut copy = Cursor::new(volume.to_vec());
    FileSystem::new(&mut copy, FsOptions::new())
        .and_then(|file_system| read_folder(&file_system.root_dir(), "", &mut files))
        .map_err(error("read the boot partition"))?;
    Ok(files)
}

/// Makes a file system that holds `files` and little room besides.
pub fn write(files: &Files, label: [u8; 11]) -> Result<Vec<u8>> {
    let mut volume = Cursor::new(vec![0; volume_size(files)]);
    let options = FormatVolumeOptions::new()
        .bytes_per_cluster(CLUSTER)
        .fat_type(FatType::Fat12)
        .volume_label(label);
    fatfs::format_volume(&mut volume, options)
        .and_then(|()| FileSystem::new(&mut volume, FsOptions::new()))
        .and_then(|file_system| {
            write_files(&file_system.root_dir(), files)?;
            file_system.unmount()
        })
        .map_err(error("write the boot partition"))?;
    Ok(volume.into_inner())
}

/// Whole clusters for every file and every folder on its way.
fn volume_size(files: &Files) -> usize {
    let cluster = CLUSTER as usize;
    let data: usize = files
        .iter()
        .map(|(path, contents)| {
            contents.len().next_multiple_of(cluster) + path.matches('/').count() * cluster
        })
        .sum();
    (data + OVERHEAD)
        .next_multiple_of(cluster)
        .next_multiple_of(SECTOR)
}

fn read_folder<T: ReadWriteSeek>(
    folder: &fatfs::Dir<'_, T>,
    prefix: &str,
    files: &mut Files,
) -> io::Result<()> {
    for entry in folder.iter() {
        let entry = entry?;
        let name = entry.file_name();
        let path = format!("{prefix}{name}");
        if entry.is_file() {
            let mut contents = Vec::new();
            entry.to_file().read_to_end(&mut contents)?;
            files.insert(path, contents);
        } else if entry.is_dir() && name != "." && name != ".." {
            read_folder(&entry.to_dir(), &format!("{path}/"), files)?;
        }
    }
    Ok(())
}

fn write_files<T: ReadWriteSeek>(root: &fatfs::Dir<'_, T>, files: &Files) -> io::Result<()> {
    for (path, contents) in files {
        for (end, _) in path.match_indices('/') {
            root.create_dir(&path[..end])?;
        }
        root.create_file(path)?.write_all(contents)?;
    }
    Ok(())
}

fn error(doing: &'static str) -> impl Fn(io::Error) -> Error {
    move |error| Error::Other(format!("cannot {doing}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Files {
        Files::from([
            ("kernel-x86_64".to_owned(), vec![1; 70_000]),
            ("boot.json".to_owned(), b"{}".to_vec()),
            ("efi/boot/bootx64.efi".to_owned(), vec![2; 5]),
            ("empty".to_owned(), Vec::new()),
        ])
    }

    #[test]
    fn what_is_written_is_read_back() {
        let volume = write(&sample(), *b"KINDLING   ").unwrap();
        assert_eq!(read(&volume).unwrap(), sample());
    }

    #[test]
    fn clusters_are_16_kib_and_the_table_has_12_bits() {
        let volume = write(&sample(), *b"KINDLING   ").unwrap();
        assert_eq!(volume[13], 32, "sectors per cluster");
        assert_eq!(&volume[54..62], b"FAT12   ");
    }

    #[test]
    fn a_volume_is_sized_for_the_largest_image() {
        let files = Files::from([("ramdisk".to_owned(), vec![3; 29 << 20])]);
        assert_eq!(
            read(&write(&files, *b"KINDLING   ").unwrap()).unwrap(),
            files
        );
    }
}
