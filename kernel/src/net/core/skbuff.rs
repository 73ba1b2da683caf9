//! The bytes of a message or packet (Linux: net/core/skbuff.c).
#![forbid(unsafe_code)]

use crate::arch::PAGE_SIZE;
use crate::mm::gfp::Gfp;
use crate::mm::page::PageRef;
use crate::mm::page_alloc::alloc_pages;
use crate::mm::uaccess::IovIter;
use crate::prelude::*;

/// Where the bytes are. Pages are never zeroed: only bytes that were written are read.
enum Pages {
    None,
    One(PageRef),
    Many(Vec<PageRef>),
}

/// Bytes in pages (Linux: the paged part of `struct sk_buff`).
pub struct SkBuff {
    pages: Pages,
    /// Bytes in front that were consumed.
    offset: usize,
    /// Bytes behind them.
    len: usize,
}

impl SkBuff {
    /// Copies `len` bytes from `from`. Errors: EFAULT when not all are readable, ENOMEM.
    pub fn copy_from(from: &mut IovIter<'_>, len: usize) -> Result<Self> {
        let mut skb = Self {
            pages: Pages::None,
            offset: 0,
            len: 0,
        };
        if len == 0 {
            return Ok(skb);
        }
        if len <= PAGE_SIZE {
            let page = alloc_page()?;
            skb.len = from.copy_page_from_iter(&page, 0, len)?;
            skb.pages = Pages::One(page);
        } else {
            let mut pages = Vec::new();
            pages
                .try_reserve_exact(len.div_ceil(PAGE_SIZE))
                .map_err(|_| Errno::ENOMEM)?;
            while skb.len < len {
                let step = (len - skb.len).min(PAGE_SIZE);
                let page = alloc_page()?;
                let copied = from.copy_page_from_iter(&page, 0, step)?;
                pages.push(page);
                skb.len += copied;
                if copied < step {
                    break;
                }
            }
            skb.pages = Pages::Many(pages);
        }
        if skb.len < len {
            Err(Errno::EFAULT)
        } else {
            Ok(skb)
        }
    }

    /// Copies up to one block's worth of bytes; stops early where memory is not readable.
    /// Blocks are the largest that are full and easy to get. Errors: EFAULT when nothing is
    /// readable, ENOMEM.
    #[inline]
    pub fn copy_some_from(from: &mut IovIter<'_>, len: usize) -> Result<Self> {
        let page = alloc_block(len)?;
        let len = from.copy_page_from_iter(&page, 0, len.min(page.size()))?;
        Ok(Self {
            pages: Pages::One(page),
            offset: 0,
            len,
        })
    }

    /// Bytes left.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }
    /// Whether no bytes are left.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
    /// Memory it occupies, bytes (Linux: `truesize`).
    #[inline]
    pub fn truesize(&self) -> usize {
        let bytes = match &self.pages {
            Pages::None => 0,
            Pages::One(page) => page.size(),
            Pages::Many(pages) => pages.len() * PAGE_SIZE,
        };
        bytes + 256
    }

    /// Takes bytes off the front.
    #[inline]
    pub fn pull(&mut self, count: usize) {
        let count = count.min(self.len);
        self.offset += count;
        self.len -= count;
    }

    /// The page with the byte at `at` behind the front, and where in it that is.
    #[inline]
    fn locate(&self, at: usize) -> Option<(&PageRef, usize)> {
        let position = self.offset + at;
        match &self.pages {
            Pages::None => None,
            Pages::One(page) => Some((page, position)),
            Pages::Many(pages) => {
                let page = pages.get(position / PAGE_SIZE)?;
                Some((page, position % PAGE_SIZE))
            }
        }
    }

    /// The page of the byte `skip` behind the front, where in it that is, and how many of the
    /// bytes follow there: for copies that take place while the buffer's owner is not locked.
    #[inline]
    pub fn piece(&self, skip: usize) -> Option<(PageRef, usize, usize)> {
        let left = self.len.checked_sub(skip).filter(|&left| left > 0)?;
        let (page, offset) = self.locate(skip)?;
        let room = page.size().checked_sub(offset).filter(|&room| room > 0)?;
        Some((page.clone(), offset, left.min(room)))
    }

    /// Copies `len` bytes, `skip` behind the front, to `to`; fewer when the room there ends.
    /// Errors: EFAULT when nothing could be copied.
    #[inline]
    pub fn copy_to(&self, skip: usize, len: usize, to: &mut IovIter<'_>) -> Result<usize> {
        let len = len.min(self.len.saturating_sub(skip));
        let mut done = 0;
        while done < len {
            let Some((page, offset)) = self.locate(skip + done) else {
                break;
            };
            let step = (len - done).min(page.size().saturating_sub(offset));
            match to.copy_page_to_iter(page, offset, step) {
                Ok(copied) => {
                    done += copied;
                    if copied < step || step == 0 {
                        break;
                    }
                }
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    /// Room behind the last byte of its one page.
    #[inline]
    pub fn tailroom(&self) -> usize {
        match &self.pages {
            Pages::One(page) => page.size().saturating_sub(self.offset + self.len),
            _ => 0,
        }
    }

    /// Where to write up to `tailroom` bytes behind the last one; `added` counts them.
    #[inline]
    pub fn tail_page(&self) -> Option<(PageRef, usize)> {
        match &self.pages {
            Pages::One(page) => Some((page.clone(), self.offset + self.len)),
            _ => None,
        }
    }

    /// Counts `count` bytes that were written behind the last one.
    #[inline]
    pub fn added(&mut self, count: usize) {
        self.len += count.min(self.tailroom());
    }

    /// The bytes in one piece, for packets that are parsed.
    pub fn to_vec(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        bytes
            .try_reserve_exact(self.len)
            .map_err(|_| Errno::ENOMEM)?;
        bytes.resize(self.len, 0);
        let mut to = IovIter::kernel_dst(&mut bytes);
        self.copy_to(0, self.len, &mut to)?;
        Ok(bytes)
    }

    /// Bytes of the kernel. Errors: ENOMEM.
    pub fn from_slice(bytes: &[u8]) -> Result<Self> {
        Self::copy_from(&mut IovIter::kernel_src(bytes), bytes.len())
    }
}

/// Largest block of a stream: 32 KiB (Linux: `SKB_MAX_ALLOC`).
const MAX_ORDER: u32 = 3;

/// A block that `len` bytes fill, or a single page for what is less or when memory is short.
#[inline]
fn alloc_block(len: usize) -> Result<PageRef> {
    if len >= 2 * PAGE_SIZE {
        let order = (len / PAGE_SIZE).ilog2().min(MAX_ORDER);
        if let Some(block) = alloc_pages(Gfp::NOWARN, order) {
            return Ok(block);
        }
    }
    alloc_page()
}

fn alloc_page() -> Result<PageRef> {
    alloc_pages(Gfp::KERNEL | Gfp::NOWARN, 0).ok_or(Errno::ENOMEM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_in_order_across_pages() {
        let bytes: Vec<u8> = (0..10_000u32).map(|i| i as u8).collect();
        let mut skb = SkBuff::from_slice(&bytes).unwrap();
        assert_eq!(skb.len(), 10_000);
        skb.pull(4090);
        let mut out = [0; 20];
        let mut to = IovIter::kernel_dst(&mut out);
        assert_eq!(skb.copy_to(2, 20, &mut to), Ok(20));
        assert_eq!(out[..], bytes[4092..4112]);
        assert_eq!(skb.to_vec().unwrap(), bytes[4090..]);
    }

    #[test]
    fn an_empty_message_holds_no_page() {
        let skb = SkBuff::from_slice(&[]).unwrap();
        assert!(skb.is_empty());
        assert_eq!(skb.truesize(), 256);
        assert_eq!(skb.to_vec().unwrap(), []);
    }

    #[test]
    fn bytes_are_added_behind_the_last_one() {
        let mut skb = SkBuff::from_slice(b"abc").unwrap();
        let (page, offset) = skb.tail_page().unwrap();
        page.write(offset, b"def");
        skb.added(3);
        skb.pull(1);
        assert_eq!(skb.to_vec().unwrap(), b"bcdef");
        assert_eq!(skb.tailroom(), PAGE_SIZE - 6);
    }
}
