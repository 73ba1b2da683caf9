//! The memory of a machine, as QEMU writes it.

use std::fmt;
use std::str::FromStr;

use crate::qemu::Firmware;

const MIB: u64 = 1 << 20;

/// A size in QEMU's syntax: a number, by itself in MiB, or with one of the letters B, K, M, G and T.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemorySize {
    text: String,
    bytes: u64,
}

impl MemorySize {
    /// A sentence if our image cannot boot with so little.
    pub fn too_little_for(&self, firmware: Firmware) -> Option<String> {
        let least = least_mib(firmware);
        let name = match firmware {
            Firmware::Bios => "a boot by BIOS",
            Firmware::Uefi => "a boot by UEFI",
            Firmware::Direct => "a direct boot",
        };
        (self.bytes < least * MIB)
            .then(|| format!("--memory {self} is too little: {name} needs at least {least}M"))
    }
}

/// The least memory, MiB, with which the shell of the default image appears, as measured. The firmware and the boot
/// loader's page tables take most of the difference.
fn least_mib(firmware: Firmware) -> u64 {
    match firmware {
        Firmware::Bios => 26,
        Firmware::Uefi => 49,
        Firmware::Direct => 14,
    }
}

impl FromStr for MemorySize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (digits, unit) = match text.char_indices().next_back() {
            Some((end, letter)) if letter.is_ascii_alphabetic() => (&text[..end], letter),
            _ => (text, 'M'),
        };
        let unit = match unit.to_ascii_uppercase() {
            'B' => 1,
            'K' => 1 << 10,
            'M' => MIB,
            'G' => 1 << 30,
            'T' => 1 << 40,
            _ => return Err(malformed()),
        };
        if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(malformed());
        }
        let bytes = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(unit));
        match bytes {
            Some(0) => Err("a machine needs memory".into()),
            Some(bytes) => Ok(Self {
                text: text.into(),
                bytes,
            }),
            None => Err("no machine has so much".into()),
        }
    }
}

fn malformed() -> String {
    "it must be a number with K, M, G or T, such as 64M or 2G; without a letter it is in MiB".into()
}

impl fmt::Display for MemorySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_qemu_reads_them() {
        for (text, bytes) in [
            ("64", 64 * MIB),
            ("64M", 64 * MIB),
            ("64m", 64 * MIB),
            ("65536K", 64 * MIB),
            ("67108864b", 64 * MIB),
            ("2G", 2048 * MIB),
            ("1T", 1 << 40),
        ] {
            assert_eq!(text.parse::<MemorySize>().unwrap().bytes, bytes, "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused_with_a_sentence() {
        for text in [
            "", "M", "lots", "64Q", "64MB", "-1", "+64", "6 4", "1.5G", "0x40", "64\u{b5}",
        ] {
            assert_eq!(text.parse::<MemorySize>(), Err(malformed()), "{text}");
        }
        for text in ["0", "0G", "99999999999999999999", "99999999999T"] {
            assert!(text.parse::<MemorySize>().is_err(), "{text}");
        }
    }

    #[test]
    fn each_firmware_has_its_least_size() {
        let is_enough = |text: &str, firmware| {
            let size: MemorySize = text.parse().unwrap();
            size.too_little_for(firmware).is_none()
        };
        assert!(is_enough("14M", Firmware::Direct) && !is_enough("13M", Firmware::Direct));
        assert!(is_enough("26M", Firmware::Bios) && !is_enough("25M", Firmware::Bios));
        assert!(is_enough("49M", Firmware::Uefi) && !is_enough("48M", Firmware::Uefi));
        assert!(!is_enough("640K", Firmware::Direct));
    }
}
