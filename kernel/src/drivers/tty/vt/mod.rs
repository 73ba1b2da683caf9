//! The virtual terminal (Linux: drivers/tty/vt/).

/// Number of the virtual terminal on the screen.
pub fn foreground() -> usize {
    1
}
