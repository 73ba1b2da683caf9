//! Linux's x86_64 user space ABI: numbers and memory layouts, no behaviour.
#![no_std]
#![forbid(unsafe_code)]
