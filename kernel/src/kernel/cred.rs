//! Credentials (Linux: kernel/cred.c).
#![forbid(unsafe_code)]

use crate::prelude::*;

/// Who a task acts as. Never changed in place: a new one replaces it.
#[derive(Clone, Debug)]
pub struct Cred {
    /// Real user.
    pub uid: u32,
    /// Real group.
    pub gid: u32,
    /// Saved user.
    pub suid: u32,
    /// Saved group.
    pub sgid: u32,
    /// Effective user.
    pub euid: u32,
    /// Effective group.
    pub egid: u32,
    /// User for file access.
    pub fsuid: u32,
    /// Group for file access.
    pub fsgid: u32,
    /// Supplementary groups, sorted.
    pub groups: Arc<[u32]>,
    /// Capabilities, bit n for capability n.
    pub cap_effective: u64,
    /// Capabilities it may raise.
    pub cap_permitted: u64,
    /// Capabilities kept over exec.
    pub cap_inheritable: u64,
    /// Upper limit of what exec may grant.
    pub cap_bset: u64,
}

impl Cred {
    /// Root with every capability (Linux: `init_cred`).
    pub fn root() -> Self {
        let all = (1u64 << 41) - 1;
        Self {
            uid: 0,
            gid: 0,
            suid: 0,
            sgid: 0,
            euid: 0,
            egid: 0,
            fsuid: 0,
            fsgid: 0,
            groups: Arc::from([]),
            cap_effective: all,
            cap_permitted: all,
            cap_inheritable: 0,
            cap_bset: all,
        }
    }
    /// Whether the capability `cap` is effective (Linux: `capable`).
    pub fn has_cap(&self, cap: u32) -> bool {
        self.cap_effective & (1 << cap) != 0
    }
    /// Whether `gid` is the file-access group or a supplementary one (Linux: `in_group_p`).
    pub fn in_group(&self, gid: u32) -> bool {
        self.fsgid == gid || self.groups.binary_search(&gid).is_ok()
    }
}
