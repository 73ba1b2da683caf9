//! Faults: demand paging, copy-on-write, stack growth (Linux: mm/memory.c).
