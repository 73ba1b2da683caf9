//! Pipes and FIFOs (Linux: fs/pipe.c).
//!
//! A pipe is a queue of pages. `lock` is held by the one reader or writer that moves bytes, and
//! may be held over page faults; `state` is a spin lock held for a few instructions, so that
//! poll and the other side's checks never wait for a copy.
#![forbid(unsafe_code)]

use alloc::collections::VecDeque;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use uapi::capability::CAP_SYS_RESOURCE;
use uapi::fcntl::*;
use uapi::ioctls::FIONREAD;
use uapi::poll::*;
use uapi::resource::RLIMIT_NOFILE;
use uapi::signal::SIGPIPE;
use uapi::stat::S_IFIFO;

use crate::arch::PAGE_SIZE;
use crate::fs::dcache::Dentry;
use crate::fs::fdtable::OnExec;
use crate::fs::file::{File, FileOperations, current_files};
use crate::fs::filesystems::FileSystemType;
use crate::fs::inode::{Inode, InodeInit, InodeOperations};
use crate::fs::libfs::{PseudoFs, pseudo_mount};
use crate::fs::mount::Mount;
use crate::fs::namei::Path;
use crate::fs::rlimit::rlimit;
use crate::fs::sleep_lock::SleepLock;
use crate::kernel::cred::Cred;
use crate::kernel::sched::current;
use crate::kernel::sched::wait::{PollTable, WaitQueueHead};
use crate::mm::UserAddr;
use crate::mm::gfp::Gfp;
use crate::mm::page::PageRef;
use crate::mm::page_alloc::alloc_pages;
use crate::mm::uaccess::{IovIter, put_user};
use crate::prelude::*;

/// Pages of a new pipe.
const PIPE_DEF_BUFFERS: usize = 16;
/// Greatest size that anybody may set, in bytes.
static PIPE_MAX_SIZE: AtomicUsize = AtomicUsize::new(1 << 20);

/// /proc/sys/fs/pipe-max-size.
pub fn pipe_max_size() -> usize {
    PIPE_MAX_SIZE.load(Ordering::Relaxed)
}
/// Changes it, rounded up to a power of two that is at least a page.
pub fn set_pipe_max_size(bytes: usize) {
    PIPE_MAX_SIZE.store(bytes.max(PAGE_SIZE).next_power_of_two(), Ordering::Relaxed);
}

/// One page of bytes.
struct Buffer {
    page: PageRef,
    offset: usize,
    len: usize,
    /// Written in packet mode (O_DIRECT): read as a whole, never merged.
    packet: bool,
}

struct State {
    buffers: VecDeque<Buffer>,
    max_buffers: usize,
    readers: u32,
    writers: u32,
    /// Opens of either side so far: what a FIFO's open waits for.
    reader_opens: u32,
    writer_opens: u32,
    /// An empty page kept for the next write.
    spare: Option<PageRef>,
}

impl State {
    fn is_full(&self) -> bool {
        self.buffers.len() >= self.max_buffers
    }
    fn bytes(&self) -> usize {
        self.buffers.iter().map(|buffer| buffer.len).sum()
    }
}

/// Bits of `Pipe::summary`.
mod summary {
    /// There are bytes to read.
    pub const READABLE: u32 = 1;
    /// There is room for a page.
    pub const WRITABLE: u32 = 2;
    /// Somebody may write.
    pub const HAS_WRITERS: u32 = 4;
    /// Somebody may read.
    pub const HAS_READERS: u32 = 8;
}

/// A pipe (Linux: `struct pipe_inode_info`).
pub struct Pipe {
    lock: SleepLock,
    state: SpinLock<State>,
    /// What pollers and sleepers ask, kept up to date by `State` changes so that they need no
    /// lock.
    summary: AtomicU32,
    /// Readers, and whoever polls for reading.
    rd_wait: WaitQueueHead,
    /// Writers, and whoever polls for writing.
    wr_wait: WaitQueueHead,
}

impl Pipe {
    fn new() -> Arc<Pipe> {
        Arc::new(Self {
            lock: SleepLock::new(),
            state: SpinLock::new(State {
                buffers: VecDeque::new(),
                max_buffers: PIPE_DEF_BUFFERS,
                readers: 0,
                writers: 0,
                reader_opens: 0,
                writer_opens: 0,
                spare: None,
            }),
            summary: AtomicU32::new(summary::WRITABLE),
            rd_wait: WaitQueueHead::new(),
            wr_wait: WaitQueueHead::new(),
        })
    }

    /// Publishes a changed state. Context: the state's lock is held.
    fn publish(&self, state: &State) {
        let bit = |on: bool, bit: u32| if on { bit } else { 0 };
        let now = bit(!state.buffers.is_empty(), summary::READABLE)
            | bit(!state.is_full(), summary::WRITABLE)
            | bit(state.writers > 0, summary::HAS_WRITERS)
            | bit(state.readers > 0, summary::HAS_READERS);
        self.summary.store(now, Ordering::Release);
    }
    #[inline]
    fn summary(&self) -> u32 {
        self.summary.load(Ordering::Acquire)
    }

    /// The pipe behind an open file.
    pub fn of(file: &File) -> Option<Arc<Pipe>> {
        let ops = file.ops.as_any().downcast_ref::<PipeFile>()?;
        Some(ops.pipe.clone())
    }

    /// Capacity in bytes (F_GETPIPE_SZ).
    pub fn size(&self) -> usize {
        self.state.lock().max_buffers * PAGE_SIZE
    }

    /// F_SETPIPE_SZ: rounds up to a power of two of pages. Errors: EINVAL, EPERM above the limit
    /// without CAP_SYS_RESOURCE, EBUSY when the contents do not fit.
    pub fn set_size(&self, bytes: u64, cred: &Cred) -> Result<usize> {
        let bytes = usize::try_from(bytes).map_err(|_| Errno::EINVAL)?;
        if bytes > 1 << 31 {
            return Err(Errno::EINVAL);
        }
        let pages = bytes.max(1).div_ceil(PAGE_SIZE).next_power_of_two();
        let _moving = self.lock.lock();
        let mut state = self.state.lock();
        let grows = pages > state.max_buffers;
        if grows && pages * PAGE_SIZE > pipe_max_size() && !cred.has_cap(CAP_SYS_RESOURCE) {
            return Err(Errno::EPERM);
        }
        if pages < state.buffers.len() {
            return Err(Errno::EBUSY);
        }
        state.max_buffers = pages;
        self.publish(&state);
        drop(state);
        self.wr_wait.wake_up_all();
        Ok(pages * PAGE_SIZE)
    }

    fn has_data_or_end(&self) -> bool {
        let now = self.summary();
        now & summary::READABLE != 0 || now & summary::HAS_WRITERS == 0
    }
    fn has_room_or_end(&self) -> bool {
        let now = self.summary();
        now & summary::WRITABLE != 0 || now & summary::HAS_READERS == 0
    }

    /// Waits for the first byte or for the end. Errors: EAGAIN, ERESTARTSYS.
    fn wait_for_data(&self, nonblock: bool) -> Result {
        if self.has_data_or_end() {
            return Ok(());
        }
        if nonblock {
            return Err(Errno::EAGAIN);
        }
        self.rd_wait
            .wait_event_interruptible_exclusive(|| self.has_data_or_end())
    }

    /// Waits for room, or for the last reader to go. Errors: EAGAIN, ERESTARTSYS.
    fn wait_for_room(&self, nonblock: bool) -> Result {
        if self.has_room_or_end() {
            return Ok(());
        }
        if nonblock {
            return Err(Errno::EAGAIN);
        }
        self.wr_wait
            .wait_event_interruptible_exclusive(|| self.has_room_or_end())
    }

    /// Bytes to read, 0 at the end; waits for the first one. Errors: EAGAIN, ERESTARTSYS.
    pub fn wait_readable(&self, nonblock: bool) -> Result<usize> {
        self.wait_for_data(nonblock)?;
        Ok(self.state.lock().bytes())
    }

    /// Room for writing in bytes; waits for it. A pipe without readers has room for an EPIPE.
    /// Errors: EAGAIN, ERESTARTSYS.
    pub fn wait_writable(&self, nonblock: bool) -> Result<usize> {
        self.wait_for_room(nonblock)?;
        let state = self.state.lock();
        let free = state.max_buffers.saturating_sub(state.buffers.len());
        Ok(free.max(1) * PAGE_SIZE)
    }

    /// The first buffer with at least one byte: its page and where its bytes are.
    fn front(&self) -> Option<(PageRef, usize, usize, bool)> {
        let state = self.state.lock();
        let buffer = state.buffers.front()?;
        Some((
            buffer.page.clone(),
            buffer.offset,
            buffer.len,
            buffer.packet,
        ))
    }

    /// Takes `count` bytes off the first buffer; an emptied page is kept for the next write.
    /// Returns whether the pipe was full before.
    fn consume(&self, count: usize, whole: bool) -> bool {
        let mut state = self.state.lock();
        let was_full = state.is_full();
        let Some(buffer) = state.buffers.front_mut() else {
            return was_full;
        };
        buffer.offset += count;
        buffer.len -= count;
        let emptied = if buffer.len == 0 || whole {
            state.buffers.pop_front()
        } else {
            None
        };
        let surplus = match emptied {
            Some(buffer) if state.spare.is_none() => state.spare.replace(buffer.page),
            Some(buffer) => Some(buffer.page),
            None => None,
        };
        self.publish(&state);
        drop(state);
        drop(surplus);
        was_full
    }

    /// Moves what is there to `to`; returns bytes moved and whether a writer may wait.
    /// Context: `lock` held.
    fn read_available(&self, to: &mut IovIter<'_>) -> Result<(usize, bool)> {
        let mut total = 0;
        let mut was_full = false;
        while let Some((page, offset, len, packet)) = self.front() {
            let wanted = len.min(to.count());
            let moved = match to.copy_page_to_iter(&page, offset, wanted) {
                Ok(moved) => moved,
                Err(error) if total == 0 => return Err(error),
                Err(_) => break,
            };
            drop(page);
            was_full |= self.consume(moved, packet);
            total += moved;
            if moved < wanted || packet || to.count() == 0 {
                break;
            }
        }
        Ok((total, was_full))
    }

    fn read(&self, file: &File, to: &mut IovIter<'_>) -> Result<usize> {
        if to.count() == 0 {
            return Ok(0);
        }
        loop {
            let (total, was_full) = {
                let _moving = self.lock.lock();
                self.read_available(to)?
            };
            if was_full {
                self.wr_wait.wake_up();
            }
            if total > 0 {
                // A sleeper that was passed over for this reader takes what is left.
                if self.summary() & summary::READABLE != 0 {
                    self.rd_wait.wake_up();
                }
                return Ok(total);
            }
            // Empty, and nobody writes any more: the end.
            if self.summary() & (summary::HAS_WRITERS | summary::READABLE) == 0 {
                return Ok(0);
            }
            self.wait_for_data(file.is_nonblocking())?;
        }
    }

    /// Adds `len` bytes to the last page when they fit. Context: `lock` held.
    fn merge(&self, from: &mut IovIter<'_>, len: usize) -> Result<usize> {
        let last = {
            let state = self.state.lock();
            state.buffers.back().and_then(|buffer| {
                let end = buffer.offset + buffer.len;
                let fits = !buffer.packet && buffer.len > 0 && end + len <= PAGE_SIZE;
                fits.then(|| (buffer.page.clone(), end))
            })
        };
        let Some((page, end)) = last else {
            return Ok(0);
        };
        let moved = from.copy_page_from_iter(&page, end, len)?;
        if let Some(buffer) = self.state.lock().buffers.back_mut() {
            buffer.len += moved;
        }
        Ok(moved)
    }

    /// Fills one more page. Context: `lock` held, the pipe is not full.
    fn append(&self, from: &mut IovIter<'_>, packet: bool) -> Result<usize> {
        let spare = self.state.lock().spare.take();
        let page = match spare {
            Some(page) => page,
            None => alloc_pages(Gfp::USER, 0).ok_or(Errno::ENOMEM)?,
        };
        let moved = from.copy_page_from_iter(&page, 0, from.count().min(PAGE_SIZE));
        let mut state = self.state.lock();
        match moved {
            Ok(len) if len > 0 => {
                state.buffers.push_back(Buffer {
                    page,
                    offset: 0,
                    len,
                    packet,
                });
                self.publish(&state);
                Ok(len)
            }
            other => {
                let unused = state.spare.replace(page);
                drop(state);
                drop(unused);
                other
            }
        }
    }

    /// Writes until the source is empty or the pipe is full. Context: `lock` held.
    fn write_available(&self, from: &mut IovIter<'_>, packet: bool) -> Result<usize> {
        let mut total = 0;
        let tail = from.count() % PAGE_SIZE;
        if tail > 0 && !packet {
            total += self.merge(from, tail)?;
        }
        while from.count() > 0 && self.summary() & summary::WRITABLE != 0 {
            match self.append(from, packet) {
                Ok(0) => break,
                Ok(moved) => total += moved,
                Err(error) if total == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(total)
    }

    fn write(&self, file: &File, from: &mut IovIter<'_>) -> Result<usize> {
        let packet = file.flags() & O_DIRECT != 0;
        let mut total = 0;
        if from.count() == 0 {
            return Ok(0);
        }
        loop {
            let step = {
                let _moving = self.lock.lock();
                if self.summary() & summary::HAS_READERS == 0 {
                    Err(Errno::EPIPE)
                } else {
                    self.write_available(from, packet)
                }
            };
            match step {
                Ok(moved) => total += moved,
                Err(Errno::EPIPE) => {
                    let _ = crate::kernel::signal::send_sig(SIGPIPE, &current().to_arc());
                    return if total > 0 {
                        Ok(total)
                    } else {
                        Err(Errno::EPIPE)
                    };
                }
                Err(error) if total == 0 => return Err(error),
                Err(_) => return Ok(total),
            }
            self.rd_wait.wake_up();
            let full = self.summary() & summary::WRITABLE == 0;
            if from.count() == 0 || step == Ok(0) && !full {
                if !full {
                    self.wr_wait.wake_up();
                }
                return Ok(total);
            }
            match self.wait_for_room(file.is_nonblocking()) {
                Ok(()) => {}
                Err(error) if total == 0 => return Err(error),
                Err(_) => return Ok(total),
            }
        }
    }

    /// One side is opened or closed.
    fn add_sides(&self, reads: bool, writes: bool) -> Sides {
        let mut state = self.state.lock();
        if reads {
            state.readers += 1;
            state.reader_opens = state.reader_opens.wrapping_add(1);
        }
        if writes {
            state.writers += 1;
            state.writer_opens = state.writer_opens.wrapping_add(1);
        }
        self.publish(&state);
        Sides {
            readers: state.readers,
            writers: state.writers,
            reader_opens: state.reader_opens,
            writer_opens: state.writer_opens,
        }
    }
    fn remove_sides(&self, reads: bool, writes: bool) {
        {
            let mut state = self.state.lock();
            state.readers -= u32::from(reads);
            state.writers -= u32::from(writes);
            self.publish(&state);
        }
        self.rd_wait.wake_up_all();
        self.wr_wait.wake_up_all();
    }
}

/// One open end of a pipe; the side is closed when this is dropped.
struct PipeFile {
    pipe: Arc<Pipe>,
    reads: bool,
    writes: bool,
    /// `writer_opens` when a reader opened a FIFO that had no writer: no hang-up until one came.
    no_writer_yet: Option<u32>,
}

/// Who had the pipe open in the moment that a side was added: the other side may come, write and
/// go before the one that was just added looks again.
#[derive(Clone, Copy)]
struct Sides {
    readers: u32,
    writers: u32,
    reader_opens: u32,
    writer_opens: u32,
}

impl PipeFile {
    #[cold]
    fn register(&self, table: &mut PollTable) {
        if self.reads {
            self.pipe.rd_wait.poll_wait(table);
        }
        if self.writes {
            self.pipe.wr_wait.poll_wait(table);
        }
    }
    /// Whether there was a writer since this side was opened.
    #[cold]
    fn had_writer(&self) -> bool {
        self.no_writer_yet
            .is_none_or(|opens| opens != self.pipe.state.lock().writer_opens)
    }
    fn open(pipe: &Arc<Pipe>, flags: u32) -> (Self, Sides) {
        let mode = flags & O_ACCMODE;
        let (reads, writes) = (mode != O_WRONLY, mode != O_RDONLY);
        let sides = pipe.add_sides(reads, writes);
        let end = Self {
            pipe: pipe.clone(),
            reads,
            writes,
            no_writer_yet: None,
        };
        (end, sides)
    }
}

impl Drop for PipeFile {
    fn drop(&mut self) {
        self.pipe.remove_sides(self.reads, self.writes);
    }
}

impl FileOperations for PipeFile {
    fn read_iter(&self, file: &File, to: &mut IovIter<'_>, _pos: &mut u64) -> Result<usize> {
        self.pipe.read(file, to)
    }
    fn write_iter(&self, file: &File, from: &mut IovIter<'_>, _pos: &mut u64) -> Result<usize> {
        self.pipe.write(file, from)
    }
    #[inline]
    fn poll(&self, _file: &File, table: Option<&mut PollTable>) -> u32 {
        if let Some(table) = table {
            self.register(table);
        }
        let now = self.pipe.summary();
        let mut mask = 0;
        if self.reads {
            if now & summary::READABLE != 0 {
                mask |= POLLIN | POLLRDNORM;
            }
            if now & summary::HAS_WRITERS == 0 && self.had_writer() {
                mask |= POLLHUP;
            }
        }
        if self.writes {
            if now & summary::WRITABLE != 0 {
                mask |= POLLOUT | POLLWRNORM;
            }
            if now & summary::HAS_READERS == 0 {
                mask |= POLLERR;
            }
        }
        mask
    }
    fn can_poll(&self) -> bool {
        true
    }
    fn ioctl(&self, _file: &File, cmd: u32, arg: UserAddr) -> Result<i64> {
        if cmd != FIONREAD {
            return Err(Errno::ENOTTY);
        }
        let bytes = self.pipe.state.lock().bytes();
        put_user(arg, &i32::try_from(bytes).unwrap_or(i32::MAX))?;
        Ok(0)
    }
    fn as_any(&self) -> &dyn core::any::Any {
        self
    }
}

/// Whether an open file is a pipe or FIFO.
pub fn is_pipe(file: &File) -> bool {
    file.ops.as_any().is::<PipeFile>()
}

/// Opens a FIFO; the other side is waited for unless O_NONBLOCK or O_RDWR (Linux: `fifo_open`).
/// Errors: ENXIO for a writer that need not wait and has no reader, ERESTARTSYS.
pub fn fifo_open(inode: &Arc<Inode>, flags: u32) -> Result<Arc<dyn FileOperations>> {
    let pipe = {
        let mut slot = inode.fifo.lock();
        match slot.upgrade() {
            Some(pipe) => pipe,
            None => {
                let pipe = Pipe::new();
                *slot = Arc::downgrade(&pipe);
                pipe
            }
        }
    };
    let nonblock = flags & O_NONBLOCK != 0;
    let mode = flags & O_ACCMODE;
    if mode == O_WRONLY && nonblock && pipe.state.lock().readers == 0 {
        return Err(Errno::ENXIO);
    }
    let (mut end, sides) = PipeFile::open(&pipe, flags);
    // Whoever is woken may run at once, write and close: only `sides` tells what was there.
    pipe.rd_wait.wake_up_all();
    pipe.wr_wait.wake_up_all();
    match mode {
        O_RDONLY if sides.writers == 0 && nonblock => {
            end.no_writer_yet = Some(sides.writer_opens);
        }
        O_RDONLY if sides.writers == 0 => pipe
            .rd_wait
            .wait_event_interruptible(|| pipe.state.lock().writer_opens != sides.writer_opens)?,
        O_WRONLY if sides.readers == 0 => pipe
            .wr_wait
            .wait_event_interruptible(|| pipe.state.lock().reader_opens != sides.reader_opens)?,
        _ => {}
    }
    Ok(Arc::new(end))
}

/// The inode of a pipe that has no name.
struct PipeInode;

impl InodeOperations for PipeInode {
    fn open(&self, inode: &Arc<Inode>, flags: u32) -> Result<Arc<dyn FileOperations>> {
        // Through /proc/PID/fd: it has had its readers and writers, nobody waits for the first.
        let pipe = inode.fifo.lock().upgrade().ok_or(Errno::ENXIO)?;
        let (end, _) = PipeFile::open(&pipe, flags);
        Ok(Arc::new(end))
    }
}

static PIPE_FS: FileSystemType = FileSystemType {
    name: "pipefs",
    requires_dev: false,
    mount: |_, _| Err(Errno::EINVAL),
};

fn pipe_mount() -> &'static Arc<Mount> {
    static MOUNT: spin::Once<Arc<Mount>> = spin::Once::new();
    MOUNT.call_once(|| {
        pseudo_mount(PseudoFs {
            fs_type: &PIPE_FS,
            magic: uapi::magic::PIPEFS_MAGIC,
            dname: |dentry| format!("pipe:[{}]", dentry.inode.ino),
        })
    })
}

/// Makes a pipe: the reading and the writing file (Linux: `create_pipe_files`). `flags` may have
/// O_NONBLOCK and O_DIRECT. Errors: ENFILE.
pub fn create_pipe_files(flags: u32) -> Result<(Arc<File>, Arc<File>)> {
    let mnt = pipe_mount();
    let cred = current().cred();
    let mut init = InodeInit::new(S_IFIFO | 0o600);
    (init.uid, init.gid) = (cred.fsuid, cred.fsgid);
    let inode = Inode::new(&mnt.sb, mnt.sb.next_ino(), Box::new(PipeInode), init);
    let pipe = Pipe::new();
    *inode.fifo.lock() = Arc::downgrade(&pipe);
    let path = Path {
        mnt: mnt.clone(),
        dentry: Dentry::new_anonymous(inode, b""),
    };
    let flags = flags & (O_NONBLOCK | O_DIRECT);
    let reader: Arc<dyn FileOperations> = Arc::new(PipeFile::open(&pipe, O_RDONLY).0);
    let writer: Arc<dyn FileOperations> = Arc::new(PipeFile::open(&pipe, O_WRONLY).0);
    let read_file = File::new_pseudo(path.clone(), O_RDONLY | flags & O_NONBLOCK, reader)?;
    let write_file = File::new_pseudo(path, O_WRONLY | flags, writer)?;
    Ok((read_file, write_file))
}

/// pipe2(2). Errors: EINVAL, EMFILE, ENFILE, EFAULT.
pub fn sys_pipe2(fildes: UserAddr, flags: u32) -> Result {
    if flags & !(O_CLOEXEC | O_NONBLOCK | O_DIRECT) != 0 {
        return Err(Errno::EINVAL);
    }
    let (reader, writer) = create_pipe_files(flags)?;
    let files = current_files()?;
    let on_exec = OnExec::from_flag(flags, O_CLOEXEC);
    let limit = rlimit(RLIMIT_NOFILE);
    let read_fd = files.alloc(0, limit, on_exec)?;
    let write_fd = files.alloc(0, limit, on_exec)?;
    put_user(fildes, &[read_fd.number(), write_fd.number()])?;
    read_fd.install(reader);
    write_fd.install(writer);
    Ok(())
}

/// pipe(2).
pub fn sys_pipe(fildes: UserAddr) -> Result {
    sys_pipe2(fildes, 0)
}
