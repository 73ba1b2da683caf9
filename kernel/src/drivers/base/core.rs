//! The list of devices (Linux: drivers/base/core.c).
#![forbid(unsafe_code)]

use super::devtmpfs;
use crate::fs::char_dev::DevT;
use crate::prelude::*;

/// A device that has a node in /dev.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its class, a directory of /sys/class.
    pub class: &'static str,
    /// Its number.
    pub dev: DevT,
    /// Path of its node below /dev.
    pub name: String,
    /// Permissions of the node; 0 means 0600.
    pub mode: u32,
}

static DEVICES: SpinLock<Vec<Device>> = SpinLock::new(Vec::new());

/// Announces a character device: devtmpfs makes the node /dev/`name` with `mode`
/// (Linux: `device_create`). May sleep. Errors: EEXIST when the name is taken.
pub fn device_create(class: &'static str, dev: DevT, name: &str, mode: u32) -> Result {
    let device = Device {
        class,
        dev,
        name: String::from(name),
        mode,
    };
    {
        let mut devices = DEVICES.lock();
        if devices.iter().any(|known| known.name == name) {
            return Err(Errno::EEXIST);
        }
        devices.push(device.clone());
    }
    devtmpfs::create_node(&device);
    Ok(())
}

/// The device goes, and its node (Linux: `device_destroy`). May sleep. Errors: ENOENT.
pub fn device_destroy(dev: DevT) -> Result {
    let device = {
        let mut devices = DEVICES.lock();
        let index = devices.iter().position(|device| device.dev == dev);
        devices.remove(index.ok_or(Errno::ENOENT)?)
    };
    devtmpfs::delete_node(&device);
    Ok(())
}

/// All devices in the order of their announcement.
pub fn devices() -> Vec<Device> {
    DEVICES.lock().clone()
}
