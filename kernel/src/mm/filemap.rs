//! The page cache (Linux: mm/filemap.c, mm/truncate.c).
//!
//! Pages of files in memory are never written back, so a cached page is the file. The lock of an
//! address space is a leaf held for one lookup; contents are copied without it, through counted
//! handles. Writers of one file take turns under its inode's lock; readers and faults need none.
#![forbid(unsafe_code)]

use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};

use super::gfp::Gfp;
use super::page::PageRef;
use super::page_alloc::alloc_pages;
use super::uaccess::IovIter;
use crate::arch::{PAGE_SHIFT, PAGE_SIZE};
use crate::fs::atime::file_accessed;
use crate::fs::attr::file_remove_privs;
use crate::fs::file::File;
use crate::fs::inode::Inode;
use crate::fs::rlimit::rlimit;
use crate::fs::truncate::MAX_FILE_SIZE;
use crate::lib::xarray::XArray;
use crate::prelude::*;

/// Who pays for cached pages: a file system with a size limit.
pub trait PageAccount: Send + Sync {
    /// Errors: ENOSPC.
    fn charge(&self, nr_pages: u64) -> Result;
    /// Gives pages back.
    fn uncharge(&self, nr_pages: u64);
}

/// Who has pages of a file mapped, and must let go of them when the file shrinks
/// (Linux: `i_mmap` and `unmap_mapping_range`).
pub trait MappingUser: Send + Sync {
    /// Unmaps the pages `first..end` of the mapping wherever this user shows them.
    fn unmap_pages(&self, mapping: &AddressSpace, first: u64, end: u64);
}

/// Cached pages by index. Page 0 has a place of its own: most files are not larger.
struct Pages {
    first: Option<PageRef>,
    rest: XArray<PageRef>,
}

impl Pages {
    #[inline]
    fn get(&self, index: u64) -> Option<&PageRef> {
        match index {
            0 => self.first.as_ref(),
            _ => self.rest.get(index),
        }
    }
    fn insert(&mut self, index: u64, page: PageRef) {
        match index {
            0 => self.first = Some(page),
            _ => {
                self.rest.insert(index, page);
            }
        }
    }
    /// The first cached index in `range`.
    fn next(&self, range: Range<u64>) -> Option<u64> {
        if range.start == 0 && range.end > 0 && self.first.is_some() {
            return Some(0);
        }
        let (index, _) = self.rest.find(range.start)?;
        (index < range.end).then_some(index)
    }
    fn remove(&mut self, index: u64) -> Option<PageRef> {
        match index {
            0 => self.first.take(),
            _ => self.rest.remove(index),
        }
    }
}

/// The cached pages of one file (Linux: `struct address_space`).
pub struct AddressSpace {
    pages: SpinLock<Pages>,
    nr_pages: AtomicU64,
    anonymous_pages: u64,
    account: Option<Arc<dyn PageAccount>>,
    users: SpinLock<Vec<Weak<dyn MappingUser>>>,
}

/// Pages in all caches, for /proc/meminfo's `Cached`.
static NR_FILE_PAGES: AtomicU64 = AtomicU64::new(0);

/// Pages of files, memory of tmpfs included.
pub fn nr_file_pages() -> u64 {
    NR_FILE_PAGES.load(Ordering::Relaxed)
}

impl AddressSpace {
    fn build(anonymous_pages: u64, account: Option<Arc<dyn PageAccount>>) -> Arc<AddressSpace> {
        Arc::new(Self {
            pages: SpinLock::new(Pages {
                first: None,
                rest: XArray::default(),
            }),
            nr_pages: AtomicU64::new(0),
            anonymous_pages,
            account,
            users: SpinLock::new(Vec::new()),
        })
    }

    /// An empty cache; `account` pays for its pages.
    pub fn new(account: Option<Arc<dyn PageAccount>>) -> Arc<AddressSpace> {
        Self::build(0, account)
    }

    /// Zeroes of a fixed size that are shared by whoever maps them (Linux: `shmem_zero_setup`).
    pub fn new_anonymous(pages: u64) -> Result<Arc<AddressSpace>> {
        Ok(Self::build(pages, None))
    }
    /// Size in pages of memory from `new_anonymous`.
    pub fn anonymous_pages(&self) -> u64 {
        self.anonymous_pages
    }
    /// Number of cached pages.
    #[inline]
    pub fn nr_pages(&self) -> u64 {
        self.nr_pages.load(Ordering::Relaxed)
    }

    /// The page at `index` if it is cached (Linux: `filemap_get_folio`).
    #[inline]
    pub fn find_page(&self, index: u64) -> Option<PageRef> {
        self.pages.lock().get(index).cloned()
    }

    /// The page at `index` (in pages), created as zeroes when it is not cached. May sleep.
    /// Errors: ENOMEM, ENOSPC.
    pub fn read_mapping_page(&self, index: u64) -> Result<PageRef> {
        if let Some(page) = self.find_page(index) {
            return Ok(page);
        }
        let page = self.new_page(Gfp::USER | Gfp::ZERO)?;
        Ok(self.add_page(index, page))
    }

    /// Fills `pages` with the pages from `first` on that are cached; never sleeps.
    pub fn find_get_pages(&self, first: u64, pages: &mut [Option<PageRef>]) {
        let cached = self.pages.lock();
        for (index, page) in (first..).zip(pages) {
            *page = cached.get(index).cloned();
        }
    }

    /// A page that is paid for but not in the cache yet. Errors: ENOSPC, ENOMEM.
    fn new_page(&self, gfp: Gfp) -> Result<PageRef> {
        if let Some(account) = &self.account {
            account.charge(1)?;
        }
        let page = alloc_pages(gfp, 0);
        if page.is_none() {
            self.uncharge(1);
        }
        page.ok_or(Errno::ENOMEM)
    }

    fn uncharge(&self, nr_pages: u64) {
        if let Some(account) = &self.account {
            account.uncharge(nr_pages);
        }
    }

    /// Puts a page from `new_page` into the cache; when somebody was faster, theirs is returned.
    fn add_page(&self, index: u64, page: PageRef) -> PageRef {
        let faster = {
            let mut pages = self.pages.lock();
            match pages.get(index) {
                Some(other) => other.clone(),
                None => {
                    pages.insert(index, page.clone());
                    self.nr_pages.fetch_add(1, Ordering::Relaxed);
                    NR_FILE_PAGES.fetch_add(1, Ordering::Relaxed);
                    return page;
                }
            }
        };
        self.uncharge(1);
        faster
    }

    /// Whether the page at `index` is cached.
    pub fn contains(&self, index: u64) -> bool {
        self.pages.lock().get(index).is_some()
    }
    /// The first cached index in `range`: where data begins.
    pub fn next_data(&self, range: Range<u64>) -> Option<u64> {
        self.pages.lock().next(range)
    }
    /// The first index at `start` or above that is not cached: where a hole begins.
    pub fn next_hole(&self, start: u64) -> u64 {
        let pages = self.pages.lock();
        if start == 0 && pages.first.is_none() {
            return 0;
        }
        pages.rest.find_free(start.max(1)).unwrap_or(u64::MAX)
    }

    /// Drops the pages `first..end` out of the cache.
    pub fn remove_pages(&self, first: u64, end: u64) {
        const BATCH: usize = 32;
        let mut next = first;
        loop {
            let mut removed = [const { None }; BATCH];
            let mut count = 0;
            {
                let mut pages = self.pages.lock();
                while count < BATCH
                    && let Some(index) = pages.next(next..end)
                {
                    removed[count] = pages.remove(index);
                    next = index + 1;
                    count += 1;
                }
            }
            self.nr_pages.fetch_sub(count as u64, Ordering::Relaxed);
            NR_FILE_PAGES.fetch_sub(count as u64, Ordering::Relaxed);
            self.uncharge(count as u64);
            if count < BATCH {
                return;
            }
        }
    }

    /// Zeroes the cached part of the bytes `range`, which lies in one page.
    fn zero_in_page(&self, range: Range<u64>) {
        let page = self.find_page(range.start >> PAGE_SHIFT);
        if let Some(page) = page
            && !range.is_empty()
        {
            let offset = range.start as usize % PAGE_SIZE;
            page.fill(offset, (range.end - range.start) as usize, 0);
        }
    }

    /// Makes the bytes from `start` to `end` a hole: whole pages go, the edges are zeroed
    /// (Linux: `truncate_inode_pages_range`, `unmap_mapping_range`).
    pub fn punch(&self, start: u64, end: u64) {
        let page = PAGE_SIZE as u64;
        let (first, last) = (start.div_ceil(page), end / page);
        if first > last {
            self.zero_in_page(start..end);
            return;
        }
        self.zero_in_page(start..(first * page).min(end));
        self.unmap_users(first, last);
        self.remove_pages(first, last);
        if last * page >= start {
            self.zero_in_page(last * page..end);
        }
    }

    /// The file now ends at `size`: everything behind goes. The inode's size is set already.
    pub fn truncate(&self, size: u64) {
        let first = size.div_ceil(PAGE_SIZE as u64);
        self.zero_in_page(size..first * PAGE_SIZE as u64);
        self.unmap_users(first, u64::MAX);
        self.remove_pages(first, u64::MAX);
    }

    /// Lets an address space hear when pages go.
    pub fn add_user(&self, user: Weak<dyn MappingUser>) {
        let mut users = self.users.lock();
        users.retain(|known| known.strong_count() != 0 && !known.ptr_eq(&user));
        users.push(user);
    }
    fn unmap_users(&self, first: u64, end: u64) {
        if first >= end {
            return;
        }
        let users: Vec<_> = self.users.lock().iter().filter_map(Weak::upgrade).collect();
        for user in users {
            user.unmap_pages(self, first, end);
        }
    }

    /// Fills a page that is not cached from `from`, then adds it. `offset` is the place in the
    /// page. Nobody sees the page before all of it is written or zeroed.
    fn write_new_page(
        &self,
        index: u64,
        offset: usize,
        len: usize,
        from: &mut IovIter<'_>,
    ) -> Result<usize> {
        let page = self.new_page(Gfp::USER)?;
        let copied = from.copy_page_from_iter(&page, offset, len);
        let Ok(copied @ 1..) = copied else {
            self.uncharge(1);
            return copied;
        };
        page.fill(0, offset, 0);
        page.fill(offset + copied, PAGE_SIZE - offset - copied, 0);
        let own = page.pfn();
        let cached = self.add_page(index, page.clone());
        if cached.pfn() != own {
            // A fault made the page meanwhile; it is all zeroes but for what was stored there.
            let mut bytes = vec![0; copied];
            page.read(offset, &mut bytes);
            cached.write(offset, &bytes);
        }
        Ok(copied)
    }

    /// Writes at byte `pos` as much as fits into its page.
    fn write_page(&self, pos: u64, len: usize, from: &mut IovIter<'_>) -> Result<usize> {
        let index = pos >> PAGE_SHIFT;
        let offset = pos as usize % PAGE_SIZE;
        let len = len.min(PAGE_SIZE - offset);
        match self.find_page(index) {
            Some(page) => from.copy_page_from_iter(&page, offset, len),
            None => self.write_new_page(index, offset, len, from),
        }
    }
}

impl Drop for AddressSpace {
    fn drop(&mut self) {
        self.remove_pages(0, u64::MAX);
    }
}

fn mapping_of(inode: &Inode) -> Result<&Arc<AddressSpace>> {
    inode.mapping.as_ref().ok_or(Errno::EINVAL)
}

/// Reads a file through its page cache; holes are zeroes (Linux: `generic_file_read_iter`).
pub fn generic_file_read_iter(file: &File, to: &mut IovIter<'_>, pos: &mut u64) -> Result<usize> {
    let mapping = mapping_of(&file.inode)?;
    let mut left = to.count();
    let mut total = 0;
    while left > 0 {
        let size = file.inode.size();
        if *pos >= size {
            break;
        }
        let offset = *pos as usize % PAGE_SIZE;
        let len = left
            .min(PAGE_SIZE - offset)
            .min(usize::try_from(size - *pos).unwrap_or(usize::MAX));
        let copied = match mapping.find_page(*pos >> PAGE_SHIFT) {
            Some(page) => to.copy_page_to_iter(&page, offset, len),
            None => to.zero_iter(len),
        };
        let copied = match copied {
            Ok(copied) => copied,
            Err(error) if total == 0 => return Err(error),
            Err(_) => break,
        };
        *pos += copied as u64;
        total += copied;
        left -= copied;
        if copied < len {
            break;
        }
    }
    file_accessed(file);
    Ok(total)
}

/// How much of a write at `pos` the limits allow (Linux: `generic_write_checks`). Errors: EFBIG.
fn write_limit(pos: u64, count: usize) -> Result<usize> {
    let limit = rlimit(uapi::resource::RLIMIT_FSIZE).min(MAX_FILE_SIZE);
    if pos >= limit {
        // Says SIGXFSZ when it was the resource limit.
        crate::fs::truncate::newsize_ok(0, pos.saturating_add(1))?;
        return Err(Errno::EFBIG);
    }
    Ok(count.min(usize::try_from(limit - pos).unwrap_or(usize::MAX)))
}

/// Writes a file through its page cache (Linux: `generic_file_write_iter`). Errors: EFBIG,
/// ENOSPC, ENOMEM, EFAULT. `check` is asked under the inode's lock with position and length.
pub fn generic_file_write_iter(
    file: &File,
    from: &mut IovIter<'_>,
    pos: &mut u64,
    check: impl FnOnce(u64, usize) -> Result,
) -> Result<usize> {
    let inode = &file.inode;
    let mapping = mapping_of(inode)?;
    let count = from.count();
    if count == 0 {
        return Ok(0);
    }
    let _locked = inode.lock.lock();
    if file.flags() & uapi::fcntl::O_APPEND != 0 {
        *pos = inode.size();
    }
    let mut left = write_limit(*pos, count)?;
    check(*pos, left)?;
    file_privs_and_time(inode);
    let mut total = 0;
    while left > 0 {
        let copied = match mapping.write_page(*pos, left, from) {
            Ok(0) => break,
            Ok(copied) => copied,
            Err(error) if total == 0 => return Err(error),
            Err(_) => break,
        };
        *pos += copied as u64;
        total += copied;
        left -= copied;
        if *pos > inode.size() {
            inode.set_size(*pos);
        }
    }
    Ok(total)
}

/// What every write changes besides the contents.
fn file_privs_and_time(inode: &Inode) {
    if inode.mode() & (uapi::stat::S_ISUID | uapi::stat::S_ISGID) != 0 {
        file_remove_privs(inode, &crate::kernel::sched::current().cred());
    }
    inode.touch_mtime();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_punched_hole_keeps_the_bytes_around_it() {
        let mapping = AddressSpace::new(None);
        for index in 0..4 {
            mapping
                .read_mapping_page(index)
                .unwrap()
                .fill(0, PAGE_SIZE, 7);
        }
        mapping.punch(100, 3 * PAGE_SIZE as u64 + 50);
        assert_eq!(mapping.nr_pages(), 2);
        let byte = |pos: u64| {
            let mut byte = [9];
            if let Some(page) = mapping.find_page(pos >> PAGE_SHIFT) {
                page.read(pos as usize % PAGE_SIZE, &mut byte);
            }
            byte[0]
        };
        let page = PAGE_SIZE as u64;
        assert_eq!(
            (byte(99), byte(100), byte(page - 1), byte(page)),
            (7, 0, 0, 9)
        );
        assert_eq!(
            (byte(3 * page), byte(3 * page + 49), byte(3 * page + 50)),
            (0, 0, 7)
        );
    }

    #[test]
    fn a_hole_inside_one_page_is_zeroed() {
        let mapping = AddressSpace::new(None);
        mapping.read_mapping_page(5).unwrap().fill(0, PAGE_SIZE, 7);
        let base = 5 * PAGE_SIZE as u64;
        mapping.punch(base + 10, base + 20);
        let mut bytes = [0; 12];
        mapping.find_page(5).unwrap().read(9, &mut bytes);
        assert_eq!(bytes, [7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
    }

    #[test]
    fn data_and_holes_are_found() {
        let mapping = AddressSpace::new(None);
        for index in [0, 1, 5] {
            mapping.read_mapping_page(index).unwrap();
        }
        assert_eq!(mapping.next_data(0..10), Some(0));
        assert_eq!(mapping.next_data(2..10), Some(5));
        assert_eq!(mapping.next_data(2..5), None);
        assert_eq!((mapping.next_hole(0), mapping.next_hole(5)), (2, 6));
        mapping.truncate(1);
        assert_eq!(mapping.nr_pages(), 1);
        mapping.truncate(0);
        assert_eq!((mapping.nr_pages(), mapping.next_hole(0)), (0, 0));
    }
}
