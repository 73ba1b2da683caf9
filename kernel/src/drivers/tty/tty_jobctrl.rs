//! Sessions and foreground groups (Linux: drivers/tty/tty_jobctrl.c).

use core::sync::atomic::Ordering;

use uapi::signal::{SIG_IGN, SIGCONT, SIGHUP, SIGTTIN, SIGTTOU, sigmask};
use uapi::termios::TOSTOP;

use super::tty_io::Tty;
use crate::kernel::pid;
use crate::kernel::sched::current;
use crate::kernel::sched::task::{Pid, tif};
use crate::kernel::signal::kill_pgrp;
use crate::mm::UserAddr;
use crate::mm::uaccess::{get_user, put_user};
use crate::prelude::*;

const CAP_SYS_ADMIN: u32 = 21;

impl Tty {
    /// Whether this terminal controls the running task's session.
    pub(super) fn controls_current(&self) -> bool {
        let mine = current().signal.tty.lock().clone();
        mine.is_some_and(|tty| core::ptr::eq(&*tty, self))
    }

    /// The running task is in the background of this terminal.
    fn in_background(&self) -> bool {
        let foreground = self.line.lock().pgrp;
        self.controls_current() && foreground != 0 && foreground != current().signal.pgrp()
    }

    /// Reading from the background stops the group. Errors: EIO when that is impossible.
    pub(super) fn job_control_read(&self) -> Result {
        self.check_change(SIGTTIN)
    }

    /// Writing from the background stops the group if TOSTOP is set.
    pub(super) fn job_control_write(&self) -> Result {
        if self.line.lock().termios.c_lflag & TOSTOP == 0 {
            return Ok(());
        }
        self.check_change(SIGTTOU)
    }

    /// Changing the terminal from the background stops the group (Linux: `tty_check_change`).
    /// Errors: EIO for an orphaned group, ERESTARTSYS.
    pub(super) fn check_change(&self, signal: i32) -> Result {
        if !self.in_background() {
            return Ok(());
        }
        let task = current();
        let blocked = task.blocked.load(Ordering::Relaxed) & sigmask(signal) != 0;
        let handler = task.sighand.lock().clone().action(signal).handler;
        if blocked || handler == SIG_IGN {
            return if signal == SIGTTIN {
                Err(Errno::EIO)
            } else {
                Ok(())
            };
        }
        if pid::is_current_pgrp_orphaned() {
            return Err(Errno::EIO);
        }
        let _ = kill_pgrp(task.signal.pgrp(), signal);
        task.set_tif(tif::SIGPENDING);
        Err(Errno::ERESTARTSYS)
    }

    /// A session leader without terminal that opens one gets it (Linux: `tty_open_proc_set_tty`).
    pub(super) fn open_proc_set_tty(self: &Arc<Self>) {
        let signal = &current().signal;
        let leader = signal.leader.load(Ordering::Relaxed);
        if !leader || signal.tty.lock().is_some() || self.line.lock().session != 0 {
            return;
        }
        self.proc_set_tty();
    }

    fn proc_set_tty(self: &Arc<Self>) {
        let signal = &current().signal;
        {
            let mut line = self.line.lock();
            line.pgrp = signal.pgrp();
            line.session = signal.session();
        }
        *signal.tty.lock() = Some(self.clone());
    }

    /// TIOCSCTTY: make this the controlling terminal. Errors: EPERM.
    pub(super) fn tiocsctty(self: &Arc<Self>, steal: bool) -> Result {
        let signal = &current().signal;
        let session = self.line.lock().session;
        let leader = signal.leader.load(Ordering::Relaxed);
        if leader && session == signal.session() && self.controls_current() {
            return Ok(());
        }
        if !leader || signal.tty.lock().is_some() {
            return Err(Errno::EPERM);
        }
        if session != 0 {
            if !steal || !current().cred().has_cap(CAP_SYS_ADMIN) {
                return Err(Errno::EPERM);
            }
            clear_session_tty(session);
        }
        self.proc_set_tty();
        Ok(())
    }

    /// TIOCGPGRP. Errors: ENOTTY.
    pub(super) fn tiocgpgrp(&self, arg: UserAddr) -> Result {
        if !self.controls_current() {
            return Err(Errno::ENOTTY);
        }
        put_user(arg, &self.line.lock().pgrp)
    }

    /// TIOCSPGRP. Errors: ENOTTY, EINVAL, ESRCH, EPERM, and those of a background change.
    pub(super) fn tiocspgrp(&self, arg: UserAddr) -> Result {
        match self.check_change(SIGTTOU) {
            Err(Errno::EIO) => return Err(Errno::ENOTTY),
            result => result?,
        }
        let session = current().signal.session();
        if !self.controls_current() || self.line.lock().session != session {
            return Err(Errno::ENOTTY);
        }
        let pgrp: Pid = get_user(arg)?;
        if pgrp < 0 {
            return Err(Errno::EINVAL);
        }
        let members = pid::processes_of_group(pgrp);
        let member = members.first().ok_or(Errno::ESRCH)?;
        if member.signal.session() != session {
            return Err(Errno::EPERM);
        }
        self.line.lock().pgrp = pgrp;
        Ok(())
    }

    /// TIOCGSID. Errors: ENOTTY.
    pub(super) fn tiocgsid(&self, arg: UserAddr) -> Result {
        let session = self.line.lock().session;
        if !self.controls_current() || session == 0 {
            return Err(Errno::ENOTTY);
        }
        put_user(arg, &session)
    }
}

/// Every process of the session forgets its terminal (Linux: `session_clear_tty`).
fn clear_session_tty(session: Pid) {
    for process in pid::all_processes() {
        if process.signal.session() == session {
            *process.signal.tty.lock() = None;
        }
    }
}

/// The session leader exits (`Why::Exit`) or gives the terminal up (TIOCNOTTY): the foreground
/// group is hung up, the session has no terminal any more (Linux: `disassociate_ctty`).
pub fn disassociate_ctty(on_exit: bool) {
    let signal = &current().signal;
    let Some(tty) = signal.tty.lock().take() else {
        return;
    };
    if !signal.leader.load(Ordering::Relaxed) {
        return;
    }
    let (session, pgrp) = {
        let mut line = tty.line.lock();
        if line.session != signal.session() {
            return;
        }
        (
            core::mem::take(&mut line.session),
            core::mem::take(&mut line.pgrp),
        )
    };
    if pgrp > 0 {
        let _ = kill_pgrp(pgrp, SIGHUP);
        if !on_exit {
            let _ = kill_pgrp(pgrp, SIGCONT);
        }
    }
    clear_session_tty(session);
}

/// vhangup(2): hangs the caller's terminal up. Errors: EPERM.
pub fn sys_vhangup() -> Result {
    if !current()
        .cred()
        .has_cap(uapi::capability::CAP_SYS_TTY_CONFIG)
    {
        return Err(Errno::EPERM);
    }
    let tty = current().signal.tty.lock().clone();
    if let Some(tty) = tty {
        tty.hangup();
    }
    Ok(())
}
