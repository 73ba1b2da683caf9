//! The driver core (Linux: drivers/base/).
#![forbid(unsafe_code)]

mod core;
pub mod devtmpfs;

pub use self::core::{Device, device_create, device_destroy, devices};

use crate::prelude::*;

/// Brings the driver core up (Linux: drivers/base/init.c, `driver_init`).
#[__init]
pub fn driver_init() {
    devtmpfs::devtmpfs_init(); // first: drivers announce their devices to it
}
