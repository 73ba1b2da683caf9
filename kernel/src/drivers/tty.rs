//! Terminals (Linux: drivers/tty/).
/// A terminal (Linux: `struct tty_struct`). Owner: tty.
pub struct Tty {}
