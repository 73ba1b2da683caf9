//! Device drivers (Linux: drivers/).
pub mod acpi;
pub mod rtc;
pub mod tty;
/// devtmpfs and the device list (Linux: drivers/base/).
pub mod base {
    use crate::fs::char_dev::DevT;
    use crate::prelude::*;
    /// Announces a character device: devtmpfs makes the node /dev/`name` with `mode` (Linux: `device_create`).
    pub fn device_create(class: &'static str, dev: DevT, name: &str, mode: u32) -> Result {
        let _ = (class, dev, name, mode);
        todo!()
    }
}
