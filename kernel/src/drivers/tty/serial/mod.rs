//! Serial ports (Linux: drivers/tty/serial/).

mod uart_8250;
