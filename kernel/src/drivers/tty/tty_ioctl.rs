//! Terminal ioctls (Linux: drivers/tty/tty_ioctl.c, tty_io.c `tty_ioctl`).

use core::sync::atomic::Ordering;

use uapi::ioctls::*;
use uapi::signal::SIGTTOU;
use uapi::termios::*;

use super::n_tty::NTty;
use super::tty_io::{Line, Tty};
use crate::kernel::sched::current;
use crate::mm::UserAddr;
use crate::mm::uaccess::{get_user, put_user};
use crate::prelude::*;

const CAP_SYS_ADMIN: u32 = 21;

impl Tty {
    /// ioctl(2) on a terminal. Errors: ENOTTY for what nobody knows, EIO after a hang-up.
    pub(super) fn ioctl(self: &Arc<Self>, cmd: u32, arg: UserAddr) -> Result<i64> {
        if self.line.lock().hung_up {
            return Err(if cmd == TIOCSPGRP {
                Errno::ENOTTY
            } else {
                Errno::EIO
            });
        }
        match self.driver.ioctl(cmd, arg) {
            Err(Errno::ENOIOCTLCMD) => {}
            result => return result,
        }
        self.common_ioctl(cmd, arg)
    }

    fn common_ioctl(self: &Arc<Self>, cmd: u32, arg: UserAddr) -> Result<i64> {
        match cmd {
            TCGETS => put_user(arg, &self.line.lock().termios)?,
            TCSETS => self.set_termios(get_user(arg)?, When::Now)?,
            TCSETSW => self.set_termios(get_user(arg)?, When::Drained)?,
            TCSETSF => self.set_termios(get_user(arg)?, When::DrainedAndFlushed)?,
            TCSBRK | TCSBRKP => {
                self.check_change(SIGTTOU)?;
                self.wait_until_sent()?;
            }
            TCXONC => self.tcxonc(arg.as_u64() as u32)?,
            TCFLSH => self.tcflsh(arg.as_u64() as u32)?,
            TIOCEXCL => self.exclusive.store(true, Ordering::Relaxed),
            TIOCNXCL => self.exclusive.store(false, Ordering::Relaxed),
            TIOCGEXCL => put_user(arg, &i32::from(self.exclusive.load(Ordering::Relaxed)))?,
            TIOCSCTTY => self.tiocsctty(arg.as_u64() == 1)?,
            TIOCNOTTY => self.tiocnotty()?,
            TIOCGPGRP => self.tiocgpgrp(arg)?,
            TIOCSPGRP => self.tiocspgrp(arg)?,
            TIOCGSID => self.tiocgsid(arg)?,
            TIOCOUTQ => put_user(arg, &(self.driver.chars_in_buffer() as i32))?,
            FIONREAD => {
                let line = self.line.lock();
                let available = line.ldisc.available(&line.termios) as i32;
                drop(line);
                put_user(arg, &available)?;
            }
            TIOCGWINSZ => {
                let size = self.line.lock().winsize;
                put_user(arg, &size)?;
            }
            TIOCSWINSZ => self.resize(get_user(arg)?),
            TIOCSTI => self.tiocsti(get_user(arg)?)?,
            TIOCGETD => put_user(arg, &N_TTY)?,
            TIOCSETD if get_user::<i32>(arg)? == N_TTY => {}
            TIOCSETD => return Err(Errno::EINVAL),
            TIOCVHANGUP if current().cred().has_cap(CAP_SYS_ADMIN) => self.hangup(),
            TIOCVHANGUP => return Err(Errno::EPERM),
            TIOCGDEV => put_user(
                arg,
                &(uapi::major::mkdev(self.dev.major(), self.dev.minor()) as u32),
            )?,
            TIOCGLCKTRMIOS => put_user(arg, &Termios::default())?,
            TIOCSLCKTRMIOS if !current().cred().has_cap(CAP_SYS_ADMIN) => return Err(Errno::EPERM),
            TIOCSLCKTRMIOS => {
                get_user::<Termios>(arg)?;
            }
            _ => return Err(Errno::ENOTTY),
        }
        Ok(0)
    }

    fn set_termios(&self, new: Termios, when: When) -> Result {
        self.check_change(SIGTTOU)?;
        if when != When::Now {
            self.wait_until_sent()?;
        }
        let mut line = self.line.lock();
        if when == When::DrainedAndFlushed {
            line.ldisc.flush_input();
        }
        let Line { ldisc, termios, .. } = &mut *line;
        NTty::set_termios(ldisc, termios, &new);
        *termios = new;
        let stopped = ldisc.is_stopped();
        drop(line);
        self.driver.set_termios(&new);
        if !stopped {
            self.driver.set_stopped(false);
        }
        self.read_wait.wake_up_all(); // the rules of waiting readers changed
        Ok(())
    }

    fn tcxonc(&self, action: u32) -> Result {
        self.check_change(SIGTTOU)?;
        match action {
            TCOOFF | TCOON => {
                let stopped = action == TCOOFF;
                self.line.lock().ldisc.set_stopped(stopped);
                self.driver.set_stopped(stopped);
                if !stopped {
                    self.write_wait.wake_up_all();
                }
            }
            TCIOFF | TCION => {
                let line = self.line.lock();
                let which = if action == TCIOFF { VSTOP } else { VSTART };
                let byte = line.termios.c_cc[which];
                if byte != VDISABLE {
                    self.driver.write(&[byte]);
                }
            }
            _ => return Err(Errno::EINVAL),
        }
        Ok(())
    }

    fn tcflsh(&self, queue: u32) -> Result {
        self.check_change(SIGTTOU)?;
        if queue > TCIOFLUSH {
            return Err(Errno::EINVAL);
        }
        if queue != TCOFLUSH {
            self.line.lock().ldisc.flush_input();
        }
        if queue != TCIFLUSH {
            self.driver.flush_buffer();
            self.write_wait.wake_up_all();
        }
        Ok(())
    }

    fn tiocnotty(&self) -> Result {
        if !self.controls_current() {
            return Err(Errno::ENOTTY);
        }
        super::disassociate_ctty(false);
        Ok(())
    }

    /// Pretends that a byte was typed. Errors: EPERM.
    fn tiocsti(&self, byte: u8) -> Result {
        if !self.controls_current() && !current().cred().has_cap(CAP_SYS_ADMIN) {
            return Err(Errno::EPERM);
        }
        self.receive(&[byte]);
        Ok(())
    }
}

/// When new settings take effect.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    Now,
    Drained,
    DrainedAndFlushed,
}
