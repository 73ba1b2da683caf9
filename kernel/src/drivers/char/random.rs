//! The random number generator (Linux: drivers/char/random.c).
//!
//! Whatever is hard to guess goes into the input pool; when it has enough, the generator is
//! seeded from it. Every CPU has a generator of its own whose key comes from the base one, so
//! that readers do not wait for each other.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use uapi::capability::CAP_SYS_ADMIN;
use uapi::random::*;

use crate::arch;
use crate::fs::char_dev::{CharDevice, DevT};
use crate::fs::file::{File, FileOperations};
use crate::fs::read_write::null_llseek;
use crate::kernel::sched::current;
use crate::kernel::sched::wait::{PollTable, WaitQueueHead};
use crate::kernel::sysctl::{CtlTable, register_sysctl};
use crate::lib::random::{Crng, InputPool, POOL_READY_BITS};
use crate::mm::UserAddr;
use crate::mm::uaccess::{IovIter, get_user, import_ubuf, put_user};
use crate::prelude::*;

/// ns after which the base generator is seeded again (Linux: `CRNG_RESEED_INTERVAL`).
const RESEED_INTERVAL_NS: u64 = 60_000_000_000;
/// Bytes made before one copy to the reader.
const CHUNK: usize = 256;

static INPUT_POOL: IrqSpinLock<InputPool> = IrqSpinLock::new(InputPool::new());
static BASE_CRNG: IrqSpinLock<Crng> = IrqSpinLock::new(Crng::new());
/// When the base generator was last seeded, ns since boot.
static LAST_SEED: AtomicU64 = AtomicU64::new(0);
static READY: AtomicBool = AtomicBool::new(false);
/// Readers of /dev/random and getrandom(2) before the generator is ready.
static CRNG_INIT_WAIT: WaitQueueHead = WaitQueueHead::new();

/// Whether the generator was seeded with enough entropy (Linux: `crng_ready`).
pub fn crng_ready() -> bool {
    READY.load(Ordering::Acquire)
}

/// What the CPU offers, possibly nothing.
fn arch_seed() -> [u8; 32] {
    let mut seed = [0; 32];
    for word in seed.chunks_exact_mut(8) {
        if let Some(random) = arch::arch_get_random() {
            word.copy_from_slice(&random.to_le_bytes());
        }
    }
    seed
}

/// Draws a seed from the pool for the base generator (Linux: `crng_reseed`).
fn crng_reseed() {
    let seed = INPUT_POOL.lock().extract(&arch_seed());
    BASE_CRNG.lock().reseed(&seed);
    LAST_SEED.store(crate::kernel::time::ktime_get(), Ordering::Relaxed);
}

/// Adds bytes that are worth no entropy by themselves: serial numbers, times
/// (Linux: `add_device_randomness`). Any context.
pub fn add_device_randomness(bytes: &[u8]) {
    let cycles = arch::get_cycles();
    let mut pool = INPUT_POOL.lock();
    pool.mix(&cycles.to_le_bytes());
    pool.mix(bytes);
}

/// Adds bytes worth `bits` of entropy (Linux: `add_bootloader_randomness`, `credit_init_bits`).
/// Process context.
pub fn add_entropy(bytes: &[u8], bits: usize) {
    let became_ready = {
        let mut pool = INPUT_POOL.lock();
        pool.mix(bytes);
        pool.credit(bits)
    };
    if became_ready {
        crng_reseed();
        if !READY.swap(true, Ordering::AcqRel) {
            pr_notice!("random: crng init done");
            CRNG_INIT_WAIT.wake_up_all();
        }
    }
}

/// Time stamps of interrupts: mixed in, at most a bit each; credited by the timer jitter of
/// `try_to_generate_entropy` (Linux: `add_interrupt_randomness`). Any context.
pub fn add_interrupt_randomness(line: u32) {
    let sample = arch::get_cycles() ^ u64::from(line) << 56;
    // An interrupt must not wait for a reader that draws a seed.
    if let Some(mut pool) = INPUT_POOL.try_lock() {
        pool.mix(&sample.to_le_bytes());
    }
}

/// Seeds from what there is at boot: the CPU's generator and the cycle counter
/// (Linux: `random_init_early`, `random_init`).
#[__init]
pub fn random_init() {
    let seed = arch_seed();
    let offered = seed.chunks_exact(8).filter(|word| **word != [0; 8]).count();
    add_device_randomness(crate::init::version::linux_banner().as_bytes());
    add_device_randomness(&crate::kernel::time::ktime_get_real().to_le_bytes());
    // The CPU's generator is trusted for what it says it gives.
    add_entropy(&seed, offered * 64);
    if !crng_ready() {
        crng_reseed();
    }
}

/// Random bytes for the kernel; before the generator is ready they may be guessed
/// (Linux: `get_random_bytes`). Any context.
pub fn get_random_bytes(out: &mut [u8]) {
    let now = crate::kernel::time::ktime_get();
    let age = now.saturating_sub(LAST_SEED.load(Ordering::Relaxed));
    if age > RESEED_INTERVAL_NS {
        crng_reseed();
    }
    // The lock is held for one block: long requests work with a generator of their own.
    if out.len() <= 32 {
        BASE_CRNG.lock().fill(out);
        return;
    }
    let mut own = BASE_CRNG.lock().split();
    own.fill(out);
}

/// One random word (Linux: `get_random_u64`).
pub fn get_random_u64() -> u64 {
    let mut bytes = [0; 8];
    get_random_bytes(&mut bytes);
    u64::from_le_bytes(bytes)
}

/// The jitter of the cycle counter against the rest of the machine, until the pool is ready
/// (Linux: `try_to_generate_entropy`). Sleeps a tick now and then.
fn try_to_generate_entropy() {
    let mut last = arch::get_cycles();
    for round in 0..POOL_READY_BITS as u32 * 4 {
        if crng_ready() || current().signal_pending() {
            return;
        }
        let sample = arch::get_cycles();
        let differs = sample != last;
        last = sample;
        add_entropy(
            &sample.to_le_bytes(),
            usize::from(differs && round % 4 == 3),
        );
        crate::kernel::sched::yield_now();
    }
}

/// Waits until the generator is ready (Linux: `wait_for_random_bytes`). Errors: ERESTARTSYS.
pub fn wait_for_random_bytes() -> Result {
    while !crng_ready() {
        try_to_generate_entropy();
        CRNG_INIT_WAIT.wait_event_interruptible_timeout(1_000_000_000, crng_ready)?;
    }
    Ok(())
}

/// Fills user memory, piece by piece (Linux: `get_random_bytes_user`).
fn get_random_bytes_user(to: &mut IovIter<'_>) -> Result<usize> {
    if to.count() == 0 {
        return Ok(0);
    }
    let mut generator = None;
    let mut buffer = [0; CHUNK];
    let mut total = 0;
    loop {
        let piece = &mut buffer[..CHUNK.min(to.count())];
        if piece.len() <= 32 && generator.is_none() {
            get_random_bytes(piece);
        } else {
            generator
                .get_or_insert_with(|| BASE_CRNG.lock().split())
                .fill(piece);
        }
        let wanted = piece.len();
        let copied = match to.copy_to_iter(piece) {
            Ok(copied) => copied,
            Err(error) if total == 0 => return Err(error),
            Err(_) => return Ok(total),
        };
        total += copied;
        let page_done = total % arch::PAGE_SIZE == 0;
        let stop = page_done && current().signal_pending();
        if copied < wanted || to.count() == 0 || stop {
            return Ok(total);
        }
    }
}

/// getrandom(2). Errors: EINVAL, EAGAIN, EFAULT, ERESTARTSYS.
pub fn sys_getrandom(buf: UserAddr, len: usize, flags: u32) -> Result<usize> {
    let insecure_random = GRND_INSECURE | GRND_RANDOM;
    if flags & !(GRND_NONBLOCK | GRND_RANDOM | GRND_INSECURE) != 0
        || flags & insecure_random == insecure_random
    {
        return Err(Errno::EINVAL);
    }
    if !crng_ready() && flags & GRND_INSECURE == 0 {
        if flags & GRND_NONBLOCK != 0 {
            return Err(Errno::EAGAIN);
        }
        wait_for_random_bytes()?;
    }
    get_random_bytes_user(&mut import_ubuf(buf, len)?)
}

/// /dev/random and /dev/urandom.
#[derive(Clone, Copy)]
pub enum RandomDevice {
    /// Waits for the generator to be ready.
    Random,
    /// Never waits.
    Urandom,
}

impl CharDevice for RandomDevice {
    fn open(&self, _dev: DevT, _flags: u32) -> Result<Arc<dyn FileOperations>> {
        Ok(Arc::new(*self))
    }
}

impl FileOperations for RandomDevice {
    fn read_iter(&self, file: &File, to: &mut IovIter<'_>, _pos: &mut u64) -> Result<usize> {
        match self {
            RandomDevice::Random if !crng_ready() => {
                if file.is_nonblocking() {
                    return Err(Errno::EAGAIN);
                }
                wait_for_random_bytes()?;
            }
            RandomDevice::Urandom if !crng_ready() => try_to_generate_entropy(),
            _ => {}
        }
        get_random_bytes_user(to)
    }
    /// What programs write is mixed in without credit.
    fn write_iter(&self, _file: &File, from: &mut IovIter<'_>, _pos: &mut u64) -> Result<usize> {
        let mut total = 0;
        let mut block = [0; 64];
        while from.count() > 0 {
            let wanted = block.len().min(from.count());
            let copied = match from.copy_from_iter(&mut block[..wanted]) {
                Ok(copied) => copied,
                Err(error) if total == 0 => return Err(error),
                Err(_) => break,
            };
            INPUT_POOL.lock().mix(&block[..copied]);
            total += copied;
            if copied < wanted || current().signal_pending() {
                break;
            }
        }
        Ok(total)
    }
    fn poll(&self, _file: &File, table: Option<&mut PollTable>) -> u32 {
        if let Some(table) = table {
            CRNG_INIT_WAIT.poll_wait(table);
        }
        if crng_ready() {
            uapi::poll::DEFAULT_POLLMASK
        } else {
            uapi::poll::POLLOUT | uapi::poll::POLLWRNORM
        }
    }
    fn can_poll(&self) -> bool {
        matches!(self, RandomDevice::Random)
    }
    fn ioctl(&self, _file: &File, cmd: u32, arg: UserAddr) -> Result<i64> {
        random_ioctl(cmd, arg)
    }
    fn llseek(&self, file: &File, _offset: i64, _whence: u32) -> Result<u64> {
        null_llseek(file)
    }
    fn seekable(&self) -> bool {
        true
    }
}

/// Linux: `random_ioctl`. Errors: EPERM, EINVAL, EFAULT, ENODATA.
fn random_ioctl(cmd: u32, arg: UserAddr) -> Result<i64> {
    let privileged = || {
        let allowed = current().cred().has_cap(CAP_SYS_ADMIN);
        if allowed { Ok(()) } else { Err(Errno::EPERM) }
    };
    match cmd {
        RNDGETENTCNT => {
            let bits = INPUT_POOL.lock().entropy_bits() as i32;
            put_user(arg, &bits).map(|()| 0)
        }
        RNDADDTOENTCNT => {
            privileged()?;
            let bits: i32 = get_user(arg)?;
            let bits = usize::try_from(bits).map_err(|_| Errno::EINVAL)?;
            add_entropy(&[], bits.min(POOL_READY_BITS));
            Ok(0)
        }
        RNDADDENTROPY => {
            privileged()?;
            let [bits, size]: [i32; 2] = get_user(arg)?;
            let bits = usize::try_from(bits).map_err(|_| Errno::EINVAL)?;
            let size = usize::try_from(size).map_err(|_| Errno::EINVAL)?;
            let from = arg.checked_add(8).ok_or(Errno::EFAULT)?;
            let mut iter = import_ubuf(from, size)?;
            let mut block = [0; 64];
            while iter.count() > 0 {
                let wanted = block.len().min(iter.count());
                if iter.copy_from_iter(&mut block[..wanted])? != wanted {
                    return Err(Errno::EFAULT);
                }
                add_device_randomness(&block[..wanted]);
            }
            add_entropy(&[], bits.min(POOL_READY_BITS));
            Ok(0)
        }
        RNDZAPENTCNT | RNDCLEARPOOL => privileged().map(|()| 0),
        RNDRESEEDCRNG => {
            privileged()?;
            if !crng_ready() {
                return Err(Errno::ENODATA);
            }
            crng_reseed();
            Ok(0)
        }
        _ => Err(Errno::ENOTTY),
    }
}

/// A random UUID of version 4 as text (Linux: lib/uuid.c, `generate_random_uuid`).
fn random_uuid() -> String {
    let mut bytes = [0; 16];
    get_random_bytes(&mut bytes);
    let number = u128::from_be_bytes(bytes) & !(0xf << 76 | 3 << 62) | 4 << 76 | 2 << 62;
    let hex = format!("{number:032x}");
    let part = |range| hex.get(range).unwrap_or_default();
    [
        part(0..8),
        part(8..12),
        part(12..16),
        part(16..20),
        part(20..32),
    ]
    .join("-")
}

/// The UUID of this boot, made when it is first asked for.
fn boot_id() -> String {
    static BOOT_ID: spin::Once<String> = spin::Once::new();
    BOOT_ID.call_once(random_uuid).clone()
}

static RANDOM_TABLE: &[CtlTable] = &[
    CtlTable {
        path: "kernel/random/boot_id",
        get: boot_id,
        set: None,
    },
    CtlTable {
        path: "kernel/random/uuid",
        get: random_uuid,
        set: None,
    },
    CtlTable {
        path: "kernel/random/entropy_avail",
        get: || format!("{}", INPUT_POOL.lock().entropy_bits()),
        set: None,
    },
    CtlTable {
        path: "kernel/random/poolsize",
        get: || format!("{POOL_READY_BITS}"),
        set: None,
    },
];

#[__init]
fn random_sysctl_init() -> Result {
    register_sysctl(RANDOM_TABLE);
    Ok(())
}
fs_initcall!(random_sysctl_init);
