//! Terminals (Linux: drivers/tty/).
//!
//! | file | part |
//! |---|---|
//! | `tty_io.rs` | the terminal: open, read, write, hang-up, the list of them |
//! | `n_tty.rs` | the line discipline: editing, echo, signals; pure, without tasks or devices |
//! | `tty_ioctl.rs` | termios and other ioctls |
//! | `tty_jobctrl.rs` | sessions, foreground groups, background reads |
//! | `serial/` | 8250 serial ports |
//! | `vt/` | the virtual terminal: screen and keyboard |
//!
//! Locks: `Tty::ldisc` may be taken in interrupts (a driver delivers input there); nothing that
//! sleeps happens under it. The driver's own lock comes after it.
#![forbid(unsafe_code)]

pub mod n_tty;
pub mod serial;
mod tty_io;
mod tty_ioctl;
mod tty_jobctrl;
pub mod vt;

pub use tty_io::{Tty, TtyDriver, console_init, tty_drivers_text, tty_register_device};
pub use tty_jobctrl::{disassociate_ctty, sys_vhangup};
