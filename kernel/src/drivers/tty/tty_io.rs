//! The terminal itself (Linux: drivers/tty/tty_io.c).

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use uapi::fcntl::{O_NOCTTY, O_NONBLOCK};
use uapi::major::{TTY_MAJOR, TTYAUX_MAJOR};
use uapi::poll::*;
use uapi::signal::{SIGCONT, SIGHUP};
use uapi::termios::*;

use super::n_tty::{Echo, Event, NTty, OutBytes, tty_std_termios};
use crate::drivers::base::device_create;
use crate::fs::char_dev::{CharDevice, DevT, register_chrdev};
use crate::fs::file::{File, FileOperations};
use crate::kernel::printk;
use crate::kernel::sched::current;
use crate::kernel::sched::task::Pid;
use crate::kernel::sched::wait::{PollTable, WaitQueueHead};
use crate::kernel::signal::kill_pgrp;
use crate::mm::UserAddr;
use crate::mm::uaccess::IovIter;
use crate::prelude::*;

/// A device that characters go to (Linux: `struct tty_operations`). Every function may be called
/// with interrupts off and must not sleep.
pub trait TtyDriver: Send + Sync {
    /// Takes as many bytes as there is room for; returns how many.
    fn write(&self, bytes: &[u8]) -> usize;
    /// Bytes that `write` would take now.
    fn write_room(&self) -> usize;
    /// Bytes that have not left yet (TIOCOUTQ, tcdrain).
    fn chars_in_buffer(&self) -> usize {
        0
    }
    /// Throws them away (TCOFLUSH).
    fn flush_buffer(&self) {}
    /// Output stops (true) or goes on.
    fn set_stopped(&self, _stopped: bool) {}
    /// The line settings changed.
    fn set_termios(&self, _new: &Termios) {}
    /// The driver's own ioctls. Errors: ENOIOCTLCMD for a command that is not its own.
    fn ioctl(&self, _cmd: u32, _arg: UserAddr) -> Result<i64> {
        Err(Errno::ENOIOCTLCMD)
    }
    /// Opened for the first time: start the hardware. Errors: EIO, EBUSY.
    fn open(&self) -> Result {
        Ok(())
    }
}

/// What the line discipline lock protects.
pub(super) struct Line {
    pub ldisc: NTty,
    pub termios: Termios,
    pub winsize: Winsize,
    /// Foreground process group; 0 when there is none.
    pub pgrp: Pid,
    /// Session that the terminal controls; 0 when there is none.
    pub session: Pid,
    /// Hung up: reads end, writes fail.
    pub hung_up: bool,
}

/// A terminal (Linux: `struct tty_struct`).
pub struct Tty {
    /// Name in /dev.
    pub name: String,
    /// Device number.
    pub dev: DevT,
    pub(super) driver: Arc<dyn TtyDriver>,
    pub(super) line: IrqSpinLock<Line>,
    pub(super) read_wait: WaitQueueHead,
    pub(super) write_wait: WaitQueueHead,
    /// Open files.
    count: AtomicUsize,
    /// TIOCEXCL.
    pub(super) exclusive: AtomicBool,
}

/// Every terminal that a driver registered.
static TTYS: IrqSpinLock<Vec<Arc<Tty>>> = SpinLock::new(Vec::new());

/// Adds a terminal and its node in /dev (Linux: `tty_register_device`).
/// `kind` is the word of /proc/tty/drivers.
pub fn tty_register_device(name: &str, dev: DevT, driver: Arc<dyn TtyDriver>) -> Result<Arc<Tty>> {
    let mut termios = tty_std_termios();
    if dev.minor() >= 64 {
        termios.c_cflag = B9600 | CS8 | CREAD | HUPCL | CLOCAL;
    }
    let tty = Arc::new(Tty {
        name: String::from(name),
        dev,
        driver,
        line: SpinLock::new(Line {
            ldisc: NTty::new(),
            termios,
            winsize: Winsize::default(),
            pgrp: 0,
            session: 0,
            hung_up: false,
        }),
        read_wait: WaitQueueHead::new(),
        write_wait: WaitQueueHead::new(),
        count: AtomicUsize::new(0),
        exclusive: AtomicBool::new(false),
    });
    TTYS.lock().push(tty.clone());
    device_create("tty", dev, name, 0o620)?;
    Ok(tty)
}

/// The terminal with this device number.
pub fn find_tty(dev: DevT) -> Option<Arc<Tty>> {
    TTYS.lock().iter().find(|tty| tty.dev == dev).cloned()
}

/// /proc/tty/drivers.
pub fn tty_drivers_text() -> String {
    let mut text = String::new();
    text.push_str("/dev/tty             /dev/tty        5       0 system:/dev/tty\n");
    text.push_str("/dev/console         /dev/console    5       1 system:console\n");
    let ttys = TTYS.lock();
    let serial: Vec<u32> = ttys
        .iter()
        .map(|t| t.dev.minor())
        .filter(|m| *m >= 64)
        .collect();
    if let (Some(first), Some(last)) = (serial.iter().min(), serial.iter().max()) {
        text.push_str(&format!(
            "serial               /dev/ttyS       4 {first}-{last} serial\n"
        ));
    }
    if ttys.iter().any(|t| t.dev.minor() < 64) {
        text.push_str("unknown              /dev/tty        4 1-63 console\n");
    }
    text
}

/// Sends the echo straight to the driver.
struct DriverEcho<'a>(&'a dyn TtyDriver);

impl Echo for DriverEcho<'_> {
    fn echo(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }
}

impl Tty {
    /// Bytes from the device (Linux: `tty_insert_flip_string` and `flush_to_ldisc`). Any context.
    pub fn receive(&self, bytes: &[u8]) {
        let mut readable = false;
        for byte in bytes {
            readable |= self.receive_one(*byte);
        }
        if readable {
            self.read_wait.wake_up();
        }
    }

    /// One byte; true when a reader should look.
    fn receive_one(&self, byte: u8) -> bool {
        let (event, pgrp) = {
            let mut line = self.line.lock();
            let Line {
                ldisc,
                termios,
                pgrp,
                ..
            } = &mut *line;
            let event = ldisc.receive(byte, termios, &mut DriverEcho(&*self.driver));
            (event, *pgrp)
        };
        match event {
            Some(Event::Signal(signal)) => {
                if pgrp > 0 {
                    let _ = kill_pgrp(pgrp, signal);
                }
                false
            }
            Some(Event::FlowStopped(stopped)) => {
                self.driver.set_stopped(stopped);
                if !stopped {
                    self.write_wait.wake_up();
                }
                false
            }
            Some(Event::Readable) => true,
            None => false,
        }
    }

    /// The driver has room again (Linux: `tty_wakeup`). Any context.
    pub fn wakeup(&self) {
        if self.write_wait.is_active() {
            self.write_wait.wake_up();
        }
    }

    /// Changes the window size; the foreground group hears of it (Linux: `tty_do_resize`).
    pub fn resize(&self, size: Winsize) {
        let pgrp = {
            let mut line = self.line.lock();
            if line.winsize == size {
                return;
            }
            line.winsize = size;
            line.pgrp
        };
        if pgrp > 0 {
            let _ = kill_pgrp(pgrp, uapi::signal::SIGWINCH);
        }
    }

    /// The session loses its terminal: everybody who uses it is told (Linux: `__tty_hangup`).
    pub fn hangup(&self) {
        let (session, pgrp) = {
            let mut line = self.line.lock();
            line.hung_up = true;
            line.ldisc.flush_input();
            (
                core::mem::take(&mut line.session),
                core::mem::take(&mut line.pgrp),
            )
        };
        for group in [session, pgrp].into_iter().filter(|group| *group > 0) {
            let _ = kill_pgrp(group, SIGHUP);
            let _ = kill_pgrp(group, SIGCONT);
        }
        self.read_wait.wake_up_all();
        self.write_wait.wake_up_all();
    }

    /// The foreground process group, -1 when there is none (/proc/PID/stat).
    pub fn foreground_pgrp(&self) -> Pid {
        match self.line.lock().pgrp {
            0 => -1,
            pgrp => pgrp,
        }
    }

    // --- reading ---

    /// Linux: n_tty.c, `n_tty_read`.
    fn read(&self, file: &File, to: &mut IovIter<'_>) -> Result<usize> {
        self.job_control_read()?;
        let nonblocking = file.flags.load(Ordering::Relaxed) & O_NONBLOCK != 0;
        let wanted = to.count();
        if wanted == 0 {
            return Ok(0);
        }
        let rules = ReadRules::of(&self.line.lock().termios, wanted);
        let mut done = 0;
        loop {
            match self.take(wanted - done, &rules, done) {
                Taken::HungUp => return Ok(done),
                Taken::Bytes(bytes) => {
                    done += to.copy_to_iter(&bytes)?;
                    if rules.enough(done) {
                        return Ok(done);
                    }
                }
                Taken::EndOfFile => return Ok(done),
                Taken::Nothing if nonblocking => {
                    return if done > 0 {
                        Ok(done)
                    } else {
                        Err(Errno::EAGAIN)
                    };
                }
                Taken::Nothing if rules.poll => return Ok(done),
                Taken::Nothing => {}
            }
            match self.wait_for_input(&rules, done) {
                Ok(true) => {}
                Ok(false) => return Ok(done), // VTIME is over
                Err(errno) => return if done > 0 { Ok(done) } else { Err(errno) },
            }
            self.job_control_read()?;
        }
    }

    fn take(&self, room: usize, rules: &ReadRules, _done: usize) -> Taken {
        let mut line = self.line.lock();
        if line.hung_up {
            return Taken::HungUp;
        }
        let Line { ldisc, termios, .. } = &mut *line;
        if rules.canonical && !ldisc.has_line() || !rules.canonical && ldisc.available(termios) == 0
        {
            return Taken::Nothing;
        }
        let mut bytes = vec![0; room.min(super::n_tty::N_TTY_BUF_SIZE)];
        let n = ldisc.read(&mut bytes, termios);
        bytes.truncate(n);
        if n == 0 {
            Taken::EndOfFile
        } else {
            Taken::Bytes(bytes)
        }
    }

    fn input_ready(&self, rules: &ReadRules) -> bool {
        let line = self.line.lock();
        line.hung_up
            || if rules.canonical {
                line.ldisc.has_line()
            } else {
                line.ldisc.available(&line.termios) > 0
            }
    }

    /// False when the inter-byte (or total) time is over.
    fn wait_for_input(&self, rules: &ReadRules, done: usize) -> Result<bool> {
        let timed = rules.vtime_ns > 0 && (rules.vmin == 0 || done > 0);
        if timed {
            self.read_wait
                .wait_event_interruptible_timeout(rules.vtime_ns, || self.input_ready(rules))
        } else {
            self.read_wait
                .wait_event_interruptible(|| self.input_ready(rules))
                .map(|()| true)
        }
    }

    // --- writing ---

    /// Linux: n_tty.c, `n_tty_write`.
    fn write(&self, file: &File, from: &mut IovIter<'_>) -> Result<usize> {
        self.job_control_write()?;
        let nonblocking = file.flags.load(Ordering::Relaxed) & O_NONBLOCK != 0;
        let mut chunk = [0; 256];
        let mut done = 0;
        while from.count() > 0 {
            let len = from.count().min(chunk.len());
            let len = match from.copy_from_iter(&mut chunk[..len]) {
                Ok(len) => len,
                Err(errno) => return if done > 0 { Ok(done) } else { Err(errno) },
            };
            let written = self.write_chunk(&chunk[..len], nonblocking);
            match written {
                (n, Ok(())) => done += n,
                (n, Err(errno)) => {
                    done += n;
                    return if done > 0 { Ok(done) } else { Err(errno) };
                }
            }
        }
        Ok(done)
    }

    /// Bytes written, and why it stopped before the end.
    fn write_chunk(&self, bytes: &[u8], nonblocking: bool) -> (usize, Result) {
        let mut done = 0;
        loop {
            // A fast line always has room, and then there is no wait that a signal could end.
            if current().signal_pending() {
                return (done, Err(Errno::ERESTARTSYS));
            }
            match self.write_some(&bytes[done..]) {
                Ok(n) => done += n,
                Err(errno) => return (done, Err(errno)),
            }
            if done == bytes.len() {
                return (done, Ok(()));
            }
            if nonblocking {
                return (done, Err(Errno::EAGAIN));
            }
            if let Err(errno) = self
                .write_wait
                .wait_event_interruptible(|| self.may_write())
            {
                return (done, Err(errno));
            }
        }
    }

    fn may_write(&self) -> bool {
        let line = self.line.lock();
        line.hung_up || !line.ldisc.is_stopped() && self.driver.write_room() >= 16
    }

    /// Writes what the driver takes now. Errors: EIO after a hang-up.
    fn write_some(&self, bytes: &[u8]) -> Result<usize> {
        let mut line = self.line.lock();
        if line.hung_up {
            return Err(Errno::EIO);
        }
        if line.ldisc.is_stopped() {
            return Ok(0);
        }
        let Line { ldisc, termios, .. } = &mut *line;
        if termios.c_oflag & OPOST == 0 {
            return Ok(self.driver.write(bytes));
        }
        let mut out = OutBytes::default();
        for (done, byte) in bytes.iter().enumerate() {
            // A processed byte is never split: eight is the longest.
            if self.driver.write_room() < 8 {
                return Ok(done);
            }
            out.clear();
            ldisc.process_output(*byte, termios, &mut out);
            self.driver.write(out.as_slice());
        }
        Ok(bytes.len())
    }

    /// Waits until everything has left (tcdrain). Errors: ERESTARTSYS.
    pub(super) fn wait_until_sent(&self) -> Result {
        while self.driver.chars_in_buffer() > 0 {
            self.write_wait
                .wait_event_interruptible_timeout(10_000_000, || {
                    self.driver.chars_in_buffer() == 0
                })?;
        }
        Ok(())
    }

    fn poll_events(&self, table: Option<&mut PollTable>) -> u32 {
        if let Some(table) = table {
            self.read_wait.poll_wait(table);
            self.write_wait.poll_wait(table);
        }
        let line = self.line.lock();
        let mut events = 0;
        let canonical = line.termios.c_lflag & ICANON != 0;
        let readable = match canonical {
            true => line.ldisc.has_line(),
            false => line.ldisc.available(&line.termios) > 0,
        };
        if readable {
            events |= POLLIN | POLLRDNORM;
        }
        if line.hung_up {
            events |= POLLHUP | POLLERR | POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM;
        } else if !line.ldisc.is_stopped() && self.driver.write_room() >= 16 {
            events |= POLLOUT | POLLWRNORM;
        }
        events
    }
}

/// What one read found.
enum Taken {
    HungUp,
    Bytes(Vec<u8>),
    EndOfFile,
    Nothing,
}

/// VMIN and VTIME at the time of the call.
struct ReadRules {
    canonical: bool,
    vmin: usize,
    vtime_ns: u64,
    /// VMIN and VTIME are 0: never wait.
    poll: bool,
}

impl ReadRules {
    fn of(termios: &Termios, wanted: usize) -> Self {
        let canonical = termios.c_lflag & ICANON != 0;
        let vmin = usize::from(termios.c_cc[VMIN]);
        let vtime_ns = u64::from(termios.c_cc[VTIME]) * 100_000_000;
        Self {
            canonical,
            vmin: vmin.min(wanted),
            vtime_ns: if canonical { 0 } else { vtime_ns },
            poll: !canonical && vmin == 0 && vtime_ns == 0,
        }
    }

    fn enough(&self, done: usize) -> bool {
        self.canonical || done >= self.vmin.max(1)
    }
}

// --- opening ---

/// An open terminal.
struct TtyFile {
    tty: Arc<Tty>,
    /// Opened as /dev/console.
    console: bool,
}

impl TtyFile {
    fn open(tty: Arc<Tty>, flags: u32, console: bool) -> Result<Arc<dyn FileOperations>> {
        if tty.exclusive.load(Ordering::Relaxed) && !current().cred().has_cap(21) {
            return Err(Errno::EBUSY);
        }
        if tty.count.fetch_add(1, Ordering::AcqRel) == 0 {
            tty.line.lock().hung_up = false;
            if let Err(errno) = tty.driver.open() {
                tty.count.fetch_sub(1, Ordering::AcqRel);
                return Err(errno);
            }
        }
        if !console && flags & O_NOCTTY == 0 {
            tty.open_proc_set_tty();
        }
        Ok(Arc::new(Self { tty, console }))
    }
}

impl FileOperations for TtyFile {
    fn read_iter(&self, file: &File, to: &mut IovIter<'_>, _pos: &mut u64) -> Result<usize> {
        self.tty.read(file, to)
    }
    fn write_iter(&self, file: &File, from: &mut IovIter<'_>, _pos: &mut u64) -> Result<usize> {
        self.tty.write(file, from)
    }
    fn poll(&self, _file: &File, table: Option<&mut PollTable>) -> u32 {
        self.tty.poll_events(table)
    }
    fn ioctl(&self, _file: &File, cmd: u32, arg: UserAddr) -> Result<i64> {
        self.tty.ioctl(cmd, arg)
    }
    fn release(&self, _file: &File) {
        let _ = self.console;
        self.tty.count.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Majors 4 and 5.
struct TtyDevices;

impl CharDevice for TtyDevices {
    fn open(&self, dev: DevT, flags: u32) -> Result<Arc<dyn FileOperations>> {
        match (dev.major(), dev.minor()) {
            (TTYAUX_MAJOR, 0) => {
                let tty = current().signal.tty.lock().clone().ok_or(Errno::ENXIO)?;
                TtyFile::open(tty, flags | O_NOCTTY, false)
            }
            (TTYAUX_MAJOR, 1) => {
                let dev = printk::console_device().ok_or(Errno::ENODEV)?;
                TtyFile::open(find_tty(dev).ok_or(Errno::ENODEV)?, flags | O_NOCTTY, true)
            }
            (TTY_MAJOR, 0) => {
                let dev = DevT::new(TTY_MAJOR, super::vt::foreground() as u32);
                TtyFile::open(find_tty(dev).ok_or(Errno::ENXIO)?, flags | O_NOCTTY, false)
            }
            _ => TtyFile::open(find_tty(dev).ok_or(Errno::ENXIO)?, flags, false),
        }
    }
}

/// /dev/tty, /dev/console and the device numbers of all terminals (Linux: `tty_init`).
#[__init]
fn tty_init() -> Result {
    let devices: Arc<dyn CharDevice> = Arc::new(TtyDevices);
    register_chrdev(TTYAUX_MAJOR, 0, 1, "/dev/tty", devices.clone())?;
    register_chrdev(TTYAUX_MAJOR, 1, 1, "/dev/console", devices.clone())?;
    register_chrdev(TTY_MAJOR, 0, 1, "/dev/vc/0", devices.clone())?;
    register_chrdev(TTY_MAJOR, 1, 63, "tty", devices.clone())?;
    register_chrdev(TTY_MAJOR, 64, 4, "ttyS", devices)?;
    device_create("tty", DevT::new(TTYAUX_MAJOR, 0), "tty", 0o666)?;
    device_create("tty", DevT::new(TTYAUX_MAJOR, 1), "console", 0o600)?;
    device_create("tty", DevT::new(TTY_MAJOR, 0), "tty0", 0o620)?;
    Ok(())
}
fs_initcall!(tty_init);

/// Lets the console drivers register; from here on the log is seen where `console=` says
/// (Linux: kernel/printk/printk.c, `console_init`).
#[__init]
pub fn console_init() {
    crate::init::initcall::do_console_initcalls();
    printk::apply_console_options();
}
