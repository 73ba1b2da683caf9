//! Arguments and environment on their way to a new program's stack (Linux: fs/exec.c,
//! `copy_strings`; the pages of `struct linux_binprm`).
//!
//! The strings are copied once, from the old program's memory straight into the pages that the new
//! stack will begin with: argv, then envp, then the file name, one after the other.
#![forbid(unsafe_code)]

use uapi::limits::{MAX_ARG_STRINGS, MAX_ARG_STRLEN};
use uapi::resource::_STK_LIM;

use crate::arch::PAGE_SIZE;
use crate::mm::UserAddr;
use crate::mm::gfp::Gfp;
use crate::mm::mmap::MmStruct;
use crate::mm::page::PageRef;
use crate::mm::page_alloc::alloc_pages;
use crate::mm::uaccess::{for_each_string_chunk, get_user};
use crate::prelude::*;

/// Room in front of argv[0] for what `#!` lines put there: five levels of an interpreter, its
/// argument and a path.
const HEADROOM: usize = 8 * PAGE_SIZE;
/// Least room for strings and pointers whatever the stack limit is (Linux: `ARG_MAX`).
const ARG_MIN: u64 = 131_072;
/// Zero bytes that stay between the last string and the end of the stack.
const END_MARKER: usize = 8;

/// A list of strings for a new program.
#[derive(Clone, Copy)]
pub enum Strings<'a> {
    /// A NULL-terminated array of pointers in user memory; NULL stands for an empty one.
    User(UserAddr),
    /// The kernel's own.
    Kernel(&'a [&'a [u8]]),
}

/// The strings, and where they are in the area.
pub struct ArgArea {
    /// The area's pages; those in front may never come to exist.
    pages: Vec<Option<PageRef>>,
    /// First byte of argv[0].
    start: usize,
    /// First byte after the last string.
    end: usize,
    /// Bytes that strings and pointers may take.
    limit: usize,
    argv: Vec<usize>,
    envp: Vec<usize>,
    execfn: usize,
}

impl ArgArea {
    /// An empty area under a stack limit in bytes (Linux: `bprm_stack_limits`).
    pub fn new(stack_limit: u64) -> ArgArea {
        let limit = (_STK_LIM / 4 * 3).min(stack_limit / 4).max(ARG_MIN);
        ArgArea {
            pages: Vec::new(),
            start: HEADROOM,
            end: HEADROOM,
            limit: limit as usize,
            argv: Vec::new(),
            envp: Vec::new(),
            execfn: HEADROOM,
        }
    }

    /// Copies all strings. Errors: E2BIG, EFAULT, ENOMEM.
    pub fn fill(&mut self, argv: Strings<'_>, envp: Strings<'_>, filename: &[u8]) -> Result {
        self.argv = self.push_all(argv)?;
        if self.argv.is_empty() {
            // A program may rely on argv[0]: nobody gets an empty list.
            self.argv.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
            self.argv.push(self.end);
            self.push(b"\0")?;
        }
        self.envp = self.push_all(envp)?;
        self.execfn = self.end;
        self.push(filename)?;
        self.push(b"\0")
    }

    fn push_all(&mut self, strings: Strings<'_>) -> Result<Vec<usize>> {
        let mut positions = Vec::new();
        while positions.len() < MAX_ARG_STRINGS {
            let position = self.end;
            if !self.push_one(strings, positions.len())? {
                return Ok(positions);
            }
            positions.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
            positions.push(position);
            self.check_limit(positions.len())?;
        }
        Err(Errno::E2BIG)
    }

    /// Copies the string at `index`; false at the end of the list.
    fn push_one(&mut self, strings: Strings<'_>, index: usize) -> Result<bool> {
        match strings {
            Strings::Kernel(list) => {
                let Some(text) = list.get(index) else {
                    return Ok(false);
                };
                self.push(text)?;
            }
            Strings::User(array) if array.is_null() => return Ok(false),
            Strings::User(array) => {
                let entry = array.checked_add(index as u64 * 8).ok_or(Errno::EFAULT)?;
                let text = UserAddr::new(get_user(entry)?);
                if text.is_null() {
                    return Ok(false);
                }
                let ended = for_each_string_chunk(text, MAX_ARG_STRLEN, |chunk| self.push(chunk))?;
                if !ended {
                    return Err(Errno::E2BIG);
                }
            }
        }
        self.push(b"\0")?;
        Ok(true)
    }

    fn check_limit(&self, more_pointers: usize) -> Result {
        let pointers = (self.argv.len() + self.envp.len() + more_pointers) * 8;
        if self.end - self.start + pointers > self.limit {
            Err(Errno::E2BIG)
        } else {
            Ok(())
        }
    }

    fn push(&mut self, bytes: &[u8]) -> Result {
        if self.end - self.start + bytes.len() > self.limit {
            return Err(Errno::E2BIG);
        }
        self.write(self.end, bytes)?;
        self.end += bytes.len();
        Ok(())
    }

    /// Writes anywhere in the area; pages come to exist as needed. Errors: ENOMEM.
    fn write(&mut self, at: usize, mut bytes: &[u8]) -> Result {
        let mut at = at;
        while !bytes.is_empty() {
            let step = bytes.len().min(PAGE_SIZE - at % PAGE_SIZE);
            self.page(at / PAGE_SIZE)?
                .write(at % PAGE_SIZE, &bytes[..step]);
            bytes = &bytes[step..];
            at += step;
        }
        Ok(())
    }

    fn page(&mut self, index: usize) -> Result<&PageRef> {
        if index >= self.pages.len() {
            let missing = index + 1 - self.pages.len();
            self.pages.try_reserve(missing).map_err(|_| Errno::ENOMEM)?;
            self.pages.resize_with(index + 1, || None);
        }
        let slot = &mut self.pages[index];
        if slot.is_none() {
            // Zeroed: the program sees the bytes around the strings.
            *slot = alloc_pages(Gfp::USER_ANON | Gfp::ZERO, 0);
        }
        slot.as_ref().ok_or(Errno::ENOMEM)
    }

    /// Takes argv[0] away (Linux: `remove_arg_zero`).
    pub fn remove_arg_zero(&mut self) {
        if !self.argv.is_empty() {
            self.argv.remove(0);
        }
        self.start = self
            .argv
            .first()
            .or(self.envp.first())
            .copied()
            .unwrap_or(self.execfn);
    }

    /// Puts a string in front of argv. Errors: E2BIG, ENOMEM.
    pub fn prepend(&mut self, text: &[u8]) -> Result {
        let start = self.start.checked_sub(text.len() + 1).ok_or(Errno::E2BIG)?;
        self.write(start, text)?;
        self.write(start + text.len(), b"\0")?;
        self.start = start;
        self.argv.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        self.argv.insert(0, start);
        Ok(())
    }

    /// Number of arguments.
    pub fn argc(&self) -> usize {
        self.argv.len()
    }

    /// Number of environment strings.
    pub fn envc(&self) -> usize {
        self.envp.len()
    }

    /// Where everything is once the area ends at `top`, page aligned.
    pub fn place(&self, top: u64) -> Placed<'_> {
        let end = (self.end + END_MARKER).next_multiple_of(PAGE_SIZE);
        Placed {
            area: self,
            offset: top - end as u64,
        }
    }

    /// Hands the pages to the stack area that ends at `top`. Errors: ENOMEM.
    pub fn install(&mut self, mm: &MmStruct, top: u64) -> Result {
        let last = (self.end + END_MARKER - 1) / PAGE_SIZE;
        self.page(last)?;
        let offset = self.place(top).offset;
        let first = self.start / PAGE_SIZE;
        let used = self.pages.iter_mut().enumerate().skip(first);
        for (index, page) in used {
            if let Some(page) = page.take() {
                mm.install_anon_page(offset + (index * PAGE_SIZE) as u64, page)?;
            }
        }
        Ok(())
    }
}

/// The area in its place: positions become addresses.
pub struct Placed<'a> {
    area: &'a ArgArea,
    offset: u64,
}

impl Placed<'_> {
    fn at(&self, position: usize) -> u64 {
        self.offset + position as u64
    }
    /// First byte of the strings.
    pub fn arg_start(&self) -> u64 {
        self.at(self.area.start)
    }
    /// First byte after argv, where envp begins.
    pub fn arg_end(&self) -> u64 {
        self.at(self.area.envp.first().copied().unwrap_or(self.area.execfn))
    }
    /// First byte after envp.
    pub fn env_end(&self) -> u64 {
        self.execfn()
    }
    /// The file name.
    pub fn execfn(&self) -> u64 {
        self.at(self.area.execfn)
    }
    /// Addresses of the arguments.
    pub fn argv(&self) -> impl Iterator<Item = u64> {
        self.area.argv.iter().map(|&position| self.at(position))
    }
    /// Addresses of the environment strings.
    pub fn envp(&self) -> impl Iterator<Item = u64> {
        self.area.envp.iter().map(|&position| self.at(position))
    }
}
