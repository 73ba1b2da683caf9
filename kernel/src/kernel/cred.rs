//! Credentials (Linux: kernel/cred.c).
#![forbid(unsafe_code)]

use crate::mm::slab_common::ArcCache;
use crate::mm::slub::SlabKind;
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

impl Cred {
    /// What changing user ids does to the capabilities: leaving root loses them, becoming root
    /// in effect gets them back (Linux: security/commoncap.c, `cap_task_fix_setuid`).
    pub fn fix_capabilities_after_setuid(&mut self, before: &Cred) {
        let was_root = [before.uid, before.euid, before.suid].contains(&0);
        let is_root = [self.uid, self.euid, self.suid].contains(&0);
        if was_root && !is_root {
            self.cap_permitted = 0;
            self.cap_effective = 0;
        }
        if before.euid == 0 && self.euid != 0 {
            self.cap_effective = 0;
        }
        if before.euid != 0 && self.euid == 0 {
            self.cap_effective = self.cap_permitted;
        }
    }
}

/// Linux: `cred_jar`.
static CRED_JAR: ArcCache<Cred> = ArcCache::new("cred_jar", SlabKind::Plain);

/// Makes the cache of credentials (Linux: `cred_init`).
#[__init]
pub fn cred_init() {
    CRED_JAR.create();
}

/// Makes these the running task's credentials (Linux: `commit_creds`).
pub fn commit_creds(cred: Cred) {
    *crate::kernel::sched::current().cred.lock() = CRED_JAR.arc(cred);
}

#[cfg(test)]
mod setuid_tests {
    use super::*;

    #[test]
    fn leaving_root_for_good_loses_every_capability() {
        let root = Cred::root();
        let mut user = root.clone();
        (user.uid, user.euid, user.suid) = (1000, 1000, 1000);
        user.fix_capabilities_after_setuid(&root);
        assert_eq!((user.cap_effective, user.cap_permitted), (0, 0));
    }

    #[test]
    fn a_saved_root_can_come_back() {
        let root = Cred::root();
        let mut lowered = root.clone();
        lowered.euid = 1000;
        lowered.fix_capabilities_after_setuid(&root);
        assert_eq!(lowered.cap_effective, 0);
        let mut back = lowered.clone();
        back.euid = 0;
        back.fix_capabilities_after_setuid(&lowered);
        assert_eq!(back.cap_effective, root.cap_effective);
    }
}
