//! ACPI tables (Linux: drivers/acpi/). What the firmware says about the machine; no AML is
//! executed.

pub mod tables;
