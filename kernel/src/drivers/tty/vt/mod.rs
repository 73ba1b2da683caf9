//! The virtual terminal: a screen in the framebuffer and the keyboard (Linux: drivers/tty/vt/).
#![forbid(unsafe_code)]

mod fbcon;
mod keyboard;
mod screen;

use alloc::vec::Vec;

use uapi::kd::*;
use uapi::major::TTY_MAJOR;
use uapi::termios::Winsize;
use uapi::vt::*;

use crate::arch;
use crate::drivers::tty::{Tty, TtyDriver, tty_register_device};
use crate::fs::char_dev::DevT;
use crate::kernel::panic::in_panic;
use crate::kernel::printk::{self, Console, Replay};
use crate::kernel::time::timer::{Timer, jiffies};
use crate::mm::UserAddr;
use crate::mm::uaccess::{get_user, put_user};
use crate::prelude::*;
use fbcon::FbCon;
use screen::{Cell, Screen};

/// Jiffies between a change and its drawing: many changes are drawn at once.
const DRAW_DELAY: u64 = 4;
/// Room that the screen always has: it never makes a writer wait.
const WRITE_ROOM: usize = 8192;

/// Number of the virtual terminal on the screen.
pub fn foreground() -> usize {
    1
}

/// What a drawing needs; only one at a time.
struct Drawing {
    con: FbCon,
    copy: Vec<Cell>,
}

/// tty1.
struct Vt {
    screen: IrqSpinLock<Screen>,
    parser: IrqSpinLock<vte::Parser>,
    drawing: SpinLock<Drawing>,
    timer: spin::Once<Arc<Timer>>,
    tty: spin::Once<Arc<Tty>>,
    size: (usize, usize),
}

static VT: spin::Once<Arc<Vt>> = spin::Once::new();

impl Vt {
    /// Shows bytes; draws them soon. Answers to reports would come back through the terminal's
    /// lock, which the caller may hold: a tasklet delivers them.
    fn feed(&self, bytes: &[u8]) {
        let answer = {
            let mut parser = self.parser.lock();
            let mut screen = self.screen.lock();
            parser.advance(&mut *screen, bytes);
            !screen.replies.is_empty()
        };
        if answer {
            ANSWERS.schedule();
        }
        self.draw_soon();
    }

    fn draw_soon(&self) {
        if in_panic() {
            self.draw();
        } else if let Some(timer) = self.timer.get()
            && !timer.is_pending()
        {
            timer.mod_timer(jiffies() + DRAW_DELAY);
        }
    }

    /// Draws now. A CPU that finds another one drawing leaves it to that one.
    fn draw(&self) {
        if let Some(mut drawing) = self.drawing.try_lock() {
            let Drawing { con, copy } = &mut *drawing;
            fbcon::draw_changes(con, &self.screen, copy);
        }
    }
}

impl TtyDriver for Vt {
    fn write(&self, bytes: &[u8]) -> usize {
        self.feed(bytes);
        bytes.len()
    }

    fn write_room(&self) -> usize {
        WRITE_ROOM
    }

    fn ioctl(&self, cmd: u32, arg: UserAddr) -> Result<i64> {
        match cmd {
            KDGKBTYPE => put_user(arg, &0x02u8)?, // KB_101
            KDGETMODE => put_user(arg, &(KD_TEXT as i32))?,
            KDSETMODE if arg.as_u64() <= 1 => {}
            KDGKBMODE => put_user(arg, &(K_UNICODE as i32))?,
            KDSKBMODE if matches!(arg.as_u64() as u32, K_XLATE | K_UNICODE) => {}
            KDSKBMODE => return Err(Errno::EINVAL),
            KDSIGACCEPT => {}
            KDGETLED | KDGKBLED => put_user(arg, &0u8)?,
            KDSETLED | KDSKBLED => {}
            KIOCSOUND | KDMKTONE => {}
            VT_GETSTATE => put_user(
                arg,
                &VtStat {
                    v_active: 1,
                    v_signal: 0,
                    v_state: 0b11,
                },
            )?,
            VT_OPENQRY => put_user(arg, &-1i32)?,
            VT_ACTIVATE | VT_WAITACTIVE if arg.as_u64() == 1 => {}
            VT_ACTIVATE | VT_WAITACTIVE => return Err(Errno::ENXIO),
            VT_GETMODE => put_user(arg, &VtMode::default())?,
            VT_SETMODE => {
                get_user::<VtMode>(arg)?;
            }
            _ => return Err(Errno::ENOIOCTLCMD),
        }
        Ok(0)
    }
}

/// Delivers the screen's answers as input, outside the terminal's lock.
static ANSWERS: crate::kernel::softirq::Tasklet =
    crate::kernel::softirq::Tasklet::new(deliver_answers, 0);

fn deliver_answers(_data: usize) {
    if let Some(vt) = VT.get()
        && let Some(tty) = vt.tty.get()
    {
        let replies = core::mem::take(&mut vt.screen.lock().replies);
        tty.receive(&replies);
    }
}

/// The console on the screen.
struct VtConsole(Arc<Vt>);

impl Console for VtConsole {
    fn name(&self) -> &str {
        "tty0"
    }
    fn write(&self, text: &[u8]) {
        for line in text.split_inclusive(|b| *b == b'\n') {
            match line.strip_suffix(b"\n") {
                Some(line) => {
                    self.0.feed(line);
                    self.0.feed(b"\r\n");
                }
                None => self.0.feed(line),
            }
        }
    }
    fn device(&self) -> Option<DevT> {
        Some(DevT::new(TTY_MAJOR, 1))
    }
}

/// Takes the framebuffer, if there is one, and makes it a console (Linux: `con_init`).
#[__init]
fn con_init() -> Result {
    let Some(fb) = arch::framebuffer() else {
        pr_info!("Console: colour dummy device 80x25"); // what Linux calls no screen at all
        return Ok(());
    };
    let con = FbCon::new(fb);
    let size @ (cols, rows) = con.text_size();
    if cols == 0 || rows == 0 {
        return Err(Errno::ENODEV);
    }
    pr_info!("Console: colour frame buffer device {cols}x{rows}");
    let vt = Arc::new(Vt {
        screen: SpinLock::new(Screen::new(cols, rows)),
        parser: SpinLock::new(vte::Parser::new()),
        drawing: SpinLock::new(Drawing {
            con,
            copy: Vec::new(),
        }),
        timer: spin::Once::new(),
        tty: spin::Once::new(),
        size,
    });
    let drawn = Arc::downgrade(&vt);
    vt.timer.call_once(|| {
        Timer::new(move || {
            if let Some(vt) = drawn.upgrade() {
                vt.draw();
            }
        })
    });
    VT.call_once(|| vt.clone());
    if printk::console_wanted("tty0") {
        printk::register_console(Arc::new(VtConsole(vt.clone())), Replay::All);
    }
    vt.draw();
    Ok(())
}
console_initcall!(con_init);

/// tty1 in /dev, with the keyboard (Linux: `vty_init`).
#[__init]
fn vty_init() -> Result {
    let Some(vt) = VT.get() else {
        return Ok(());
    };
    let tty = tty_register_device("tty1", DevT::new(TTY_MAJOR, 1), vt.clone())?;
    tty.resize(Winsize {
        ws_col: vt.size.0 as u16,
        ws_row: vt.size.1 as u16,
        ..Winsize::default()
    });
    vt.tty.call_once(|| tty.clone());
    keyboard::start(tty, |code| match VT.get() {
        Some(vt) if code => vt.screen.lock().cursor_keys,
        _ => false,
    });
    Ok(())
}
device_initcall!(vty_init);
