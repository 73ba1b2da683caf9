//! The heap
