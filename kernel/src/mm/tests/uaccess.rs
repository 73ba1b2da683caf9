//! Copies to and from user space.

use uapi::mman::MAP_PRIVATE;

use super::{PAGE, RW, map, new_mm};
use crate::arch::{TASK_SIZE, switch_mm};
use crate::mm::UserAddr;
use crate::mm::gfp::Gfp;
use crate::mm::page_alloc::alloc_pages;
use crate::mm::uaccess::*;
use crate::prelude::*;

#[test]
fn user_copies_fault_pages_in_and_stop_at_bad_addresses() {
    let mm = new_mm();
    let at = map(&mm, 2, RW, MAP_PRIVATE);
    switch_mm(Some(&mm));
    let end = UserAddr::new(at + 2 * PAGE);
    assert_eq!(copy_to_user(end - 4, b"1234"), Ok(()));
    assert_eq!(copy_to_user(end - 4, b"12345"), Err(Errno::EFAULT));
    assert_eq!(get_user::<u32>(end - 4), Ok(u32::from_le_bytes(*b"1234")));
    assert_eq!(get_user::<u64>(end - 4), Err(Errno::EFAULT));
    assert_eq!(put_user(UserAddr::new(at), &0x1122_3344u32), Ok(()));
    assert_eq!(get_user::<u8>(UserAddr::new(at + 1)), Ok(0x33));
    assert_eq!(
        copy_from_user(&mut [0; 4], UserAddr::new(u64::MAX - 1)),
        Err(Errno::EFAULT)
    );
    assert_eq!(
        copy_from_user(&mut [0; 4], UserAddr::new(TASK_SIZE - 2)),
        Err(Errno::EFAULT)
    );

    let name = end - 6;
    copy_to_user(name, b"hello\0").unwrap();
    assert_eq!(
        strncpy_from_user(name, 4096).unwrap(),
        b"hello",
        "right before unmapped memory"
    );
    assert_eq!(strncpy_from_user(name, 5), Err(Errno::ENAMETOOLONG));
    copy_to_user(end - 1, b"x").unwrap();
    assert_eq!(strncpy_from_user(name, 4096), Err(Errno::EFAULT));
    let long = [b'n'; 5000];
    copy_to_user(UserAddr::new(at), &long).unwrap();
    put_user(UserAddr::new(at + 5000), &0u8).unwrap();
    assert_eq!(strncpy_from_user(UserAddr::new(at), 8192).unwrap(), long);
    clear_user(UserAddr::new(at), 5000).unwrap();
    assert_eq!(strncpy_from_user(UserAddr::new(at), 10).unwrap(), b"");
    switch_mm(None);
}

#[test]
fn iterators_walk_over_segments_and_report_faults_only_when_nothing_went() {
    let mm = new_mm();
    let at = map(&mm, 1, RW, MAP_PRIVATE);
    switch_mm(Some(&mm));
    let table = UserAddr::new(at + 1024);
    let entry = |index: u64, base: u64, len: u64| {
        put_user(table + index * 16, &[base, len]).unwrap();
    };
    entry(0, at, 3);
    entry(1, at + 100, 0);
    entry(2, at + 200, 4);
    let vecs = import_iovec(table, 3).unwrap();
    let mut iter = vecs.iter();
    assert_eq!((vecs.total(), iter.count()), (7, 7));
    assert_eq!(iter.copy_to_iter(b"ab"), Ok(2));
    assert_eq!(iter.copy_to_iter(b"cdefghij"), Ok(5));
    assert_eq!((iter.count(), iter.copy_to_iter(b"x")), (0, Ok(0)));
    let mut back = [0; 7];
    assert_eq!(vecs.iter().copy_from_iter(&mut back), Ok(7));
    assert_eq!(&back, b"abcdefg");
    let mut iter = vecs.iter();
    iter.advance(4);
    assert_eq!(
        (iter.count(), iter.copy_from_iter(&mut back[..1]), back[0]),
        (3, Ok(1), b'e')
    );

    entry(1, at + PAGE - 2, 8);
    let vecs = import_iovec(table, 2).unwrap();
    let mut iter = vecs.iter();
    assert_eq!(iter.copy_to_iter(b"0123456789"), Ok(5));
    assert_eq!(iter.copy_to_iter(b"56789"), Err(Errno::EFAULT));
    entry(0, at, u64::MAX);
    assert_eq!(import_iovec(table, 1).err(), Some(Errno::EINVAL));
    entry(0, TASK_SIZE, 1);
    assert_eq!(import_iovec(table, 1).err(), Some(Errno::EFAULT));
    assert_eq!(import_iovec(table, 1025).err(), Some(Errno::EINVAL));
    assert_eq!(import_iovec(UserAddr::new(8), 1).err(), Some(Errno::EFAULT));
    entry(0, 0x1_0000, 0x7fff_ffff);
    entry(1, 0x1_0000, 10);
    assert_eq!(import_iovec(table, 2).unwrap().total(), 0x7fff_f000);

    let page = alloc_pages(Gfp::KERNEL, 0).unwrap();
    page.write(10, b"page");
    let mut iter = import_ubuf(UserAddr::new(at), 6).unwrap();
    assert_eq!(iter.copy_page_to_iter(&page, 10, 4), Ok(4));
    assert_eq!((iter.zero_iter(9), iter.count()), (Ok(2), 0));
    let mut iter = import_ubuf(UserAddr::new(at), 6).unwrap();
    assert_eq!(iter.copy_page_from_iter(&page, 100, 6), Ok(6));
    let mut bytes = [9; 6];
    page.read(100, &mut bytes);
    assert_eq!(&bytes, b"page\0\0");
    switch_mm(None);
}
