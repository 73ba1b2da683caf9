//! Caches (Linux: mm/slab_common.c).
