//! Sets of small numbers, such as CPU masks. Linux: lib/bitmap.c, lib/bitmap-str.c.
#![forbid(unsafe_code)]

use core::fmt;

use uapi::errno::Errno;

use super::kstrtox::simple_strtoull;
use super::string_helpers::is_space;

/// `WORDS * 64` bits. It is `Copy` and can stand in a `static`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bitmap<const WORDS: usize> {
    words: [u64; WORDS],
}

impl<const WORDS: usize> Bitmap<WORDS> {
    /// Number of bits.
    pub const BITS: usize = WORDS * 64;

    /// The empty set.
    pub const fn new() -> Self {
        Self { words: [0; WORDS] }
    }

    /// The set `0..nr_bits`.
    pub fn first_n(nr_bits: usize) -> Self {
        let mut set = Self::new();
        set.set_range(0, nr_bits);
        set
    }

    /// The set whose bits are in `words`, the lowest first.
    pub const fn from_words(words: [u64; WORDS]) -> Self {
        Self { words }
    }

    /// The bits, the lowest word first.
    pub const fn words(&self) -> &[u64; WORDS] {
        &self.words
    }

    /// True if `bit` is in the set; numbers beyond the set are not.
    pub fn test(&self, bit: usize) -> bool {
        self.words
            .get(bit / 64)
            .is_some_and(|word| word >> (bit % 64) & 1 != 0)
    }

    /// Puts `bit` in; true if it was not there before.
    ///
    /// # Panics
    /// If `bit` is beyond the set.
    pub fn set(&mut self, bit: usize) -> bool {
        let word = &mut self.words[bit / 64];
        let before = *word;
        *word |= 1 << (bit % 64);
        *word != before
    }

    /// Takes `bit` out; true if it was there.
    pub fn clear(&mut self, bit: usize) -> bool {
        let was_set = self.test(bit);
        if was_set {
            self.words[bit / 64] &= !(1 << (bit % 64));
        }
        was_set
    }

    /// Puts `count` bits from `start` on in. Linux: `bitmap_set`.
    ///
    /// # Panics
    /// If the range ends beyond the set.
    pub fn set_range(&mut self, start: usize, count: usize) {
        (start..start + count).for_each(|bit| {
            self.set(bit);
        });
    }

    /// Takes `count` bits from `start` on out. Linux: `bitmap_clear`.
    pub fn clear_range(&mut self, start: usize, count: usize) {
        (start..start + count).for_each(|bit| {
            self.clear(bit);
        });
    }

    /// Number of bits in the set. Linux: `bitmap_weight`.
    pub fn weight(&self) -> usize {
        self.words
            .iter()
            .map(|word| word.count_ones() as usize)
            .sum()
    }

    /// True if no bit is in the set.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|&word| word == 0)
    }

    /// The lowest bit in the set.
    pub fn first(&self) -> Option<usize> {
        self.next(0)
    }

    /// The lowest bit in the set that is not below `start`. Linux: `find_next_bit`.
    pub fn next(&self, start: usize) -> Option<usize> {
        find_next(&self.words, start, |word| word)
    }

    /// The lowest bit outside the set that is not below `start`. Linux: `find_next_zero_bit`.
    pub fn next_zero(&self, start: usize) -> Option<usize> {
        find_next(&self.words, start, |word| !word)
    }

    /// First of `count` bits outside the set, `start` or above, at a multiple of `align`.
    /// Linux: `bitmap_find_next_zero_area`.
    pub fn next_zero_area(&self, start: usize, count: usize, align: usize) -> Option<usize> {
        let mut at = start;
        loop {
            at = self.next_zero(at)?.next_multiple_of(align);
            if at + count > Self::BITS {
                return None;
            }
            match self.next(at) {
                Some(busy) if busy < at + count => at = busy + 1,
                _ => return Some(at),
            }
        }
    }

    /// The bits in the set, in rising order.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        core::iter::successors(self.first(), |&bit| self.next(bit + 1))
    }

    /// The ranges `first..=last` of neighbouring bits, in rising order.
    pub fn ranges(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let mut at = 0;
        core::iter::from_fn(move || {
            let first = self.next(at)?;
            let end = self.next_zero(first).unwrap_or(Self::BITS);
            at = end;
            Some((first, end - 1))
        })
    }

    /// The bits that are in both sets.
    pub fn and(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a & b)
    }

    /// The bits that are in one of the sets.
    pub fn or(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a | b)
    }

    /// The bits that are in this set and not in `other`.
    pub fn and_not(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a & !b)
    }

    /// True if the sets share a bit.
    pub fn intersects(&self, other: &Self) -> bool {
        !self.and(other).is_empty()
    }

    /// True if every bit of this set is in `other`.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.and_not(other).is_empty()
    }

    fn zip(&self, other: &Self, op: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            words: core::array::from_fn(|i| op(self.words[i], other.words[i])),
        }
    }

    /// The set as a list such as `0-3,5`; nothing for the empty set. Linux: `%*pbl`.
    pub fn list(&self) -> impl fmt::Display + '_ {
        fmt::from_fn(move |f| {
            for (i, (first, last)) in self.ranges().enumerate() {
                let comma = if i > 0 { "," } else { "" };
                match last - first {
                    0 => write!(f, "{comma}{first}")?,
                    _ => write!(f, "{comma}{first}-{last}")?,
                }
            }
            Ok(())
        })
    }

    /// The lowest `nr_bits` as hexadecimal words of 32 bits, the highest first: `f` for 4 bits,
    /// `00000000,0000000f` for 64. Linux: `%*pb`.
    pub fn mask(&self, nr_bits: usize) -> impl fmt::Display + '_ {
        fmt::from_fn(move |f| {
            let nr_bits = nr_bits.min(Self::BITS);
            for chunk in (0..nr_bits.div_ceil(32)).rev() {
                let bits = (nr_bits - chunk * 32).min(32);
                let word = self.words[chunk / 2] >> (chunk % 2 * 32) & (u64::MAX >> (64 - bits));
                let comma = if chunk > 0 { "," } else { "" };
                write!(f, "{word:00$x}{comma}", bits.div_ceil(4))?;
            }
            Ok(())
        })
    }

    /// Reads a list of bits below `nr_bits` such as `0-3,5,8-15:1/4`: separated by commas or white
    /// space; `all` and `N` (the last bit) are understood; `:used/group` takes the first `used` of
    /// every `group` bits. Linux: `bitmap_parselist`.
    ///
    /// # Errors
    /// `EINVAL` if the text is malformed, `ERANGE` if it names a bit that is too great.
    pub fn parse_list(text: &str, nr_bits: usize) -> Result<Self, Errno> {
        let mut set = Self::new();
        parse_list(text, nr_bits.min(Self::BITS), |bit| {
            set.set(bit);
        })?;
        Ok(set)
    }

    /// Reads hexadecimal words of 32 bits separated by commas, the highest first.
    /// Linux: `bitmap_parse`.
    ///
    /// # Errors
    /// `EINVAL` if the text is malformed, `EOVERFLOW` if a word has more than 32 bits or a bit is
    /// not below `nr_bits`.
    pub fn parse_mask(text: &str, nr_bits: usize) -> Result<Self, Errno> {
        let mut set = Self::new();
        for (chunk, word) in text.trim_ascii().rsplit(',').enumerate() {
            if word.is_empty() || !word.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(Errno::EINVAL);
            }
            let word = u32::from_str_radix(word, 16).map_err(|_| Errno::EOVERFLOW)?;
            for bit in (0..32).filter(|bit| word >> bit & 1 != 0) {
                let bit = chunk * 32 + bit;
                if bit >= nr_bits.min(Self::BITS) {
                    return Err(Errno::EOVERFLOW);
                }
                set.set(bit);
            }
        }
        Ok(set)
    }
}

/// The lowest bit from `start` on that is set after `view` has turned each word.
fn find_next(words: &[u64], start: usize, view: impl Fn(u64) -> u64) -> Option<usize> {
    let first = start / 64;
    let mut mask = u64::MAX << (start % 64);
    for (i, &word) in words.iter().enumerate().skip(first) {
        let bits = view(word) & mask;
        if bits != 0 {
            return Some(i * 64 + bits.trailing_zeros() as usize);
        }
        mask = u64::MAX;
    }
    None
}

/// Calls `found` for each number of a list such as `0-3,5`, below `nr_bits`; the grammar is that
/// of [`Bitmap::parse_list`].
///
/// # Errors
/// `EINVAL` if the text is malformed, `ERANGE` if it names a number that is too great.
pub fn parse_list(text: &str, nr_bits: usize, mut found: impl FnMut(usize)) -> Result<(), Errno> {
    let separator = |c: char| c == ',' || u8::try_from(c).is_ok_and(is_space);
    for region in text.split(separator).filter(|region| !region.is_empty()) {
        let (first, last, used, group) = parse_region(region, nr_bits)?;
        if last >= nr_bits {
            return Err(Errno::ERANGE);
        }
        (first..=last)
            .filter(|bit| (bit - first) % group < used)
            .for_each(&mut found);
    }
    Ok(())
}

/// `first[-last[:used/group]]`, or `all[:used/group]`.
fn parse_region(region: &str, nr_bits: usize) -> Result<(usize, usize, usize, usize), Errno> {
    let (range, pattern) = match region.split_once(':') {
        Some((range, pattern)) => (range, Some(pattern)),
        None => (region, None),
    };
    let number = |text: &str| match text {
        "N" => nr_bits.checked_sub(1).ok_or(Errno::ERANGE),
        text => match simple_strtoull(text, 10) {
            (number, "") if !text.is_empty() => {
                usize::try_from(number).map_err(|_| Errno::EOVERFLOW)
            }
            _ => Err(Errno::EINVAL),
        },
    };
    let (first, last) = match range.split_once('-') {
        _ if range.eq_ignore_ascii_case("all") => (0, number("N")?),
        Some((first, last)) => (number(first)?, number(last)?),
        None if pattern.is_some() => return Err(Errno::EINVAL),
        None => (number(range)?, number(range)?),
    };
    let (used, group) = match pattern
        .map(|p| p.split_once('/').ok_or(Errno::EINVAL))
        .transpose()?
    {
        Some((used, group)) => (number(used)?, number(group)?),
        None => (1, 1),
    };
    if first > last || group == 0 || used > group {
        return Err(Errno::EINVAL);
    }
    Ok((first, last, used, group))
}

impl<const WORDS: usize> Default for Bitmap<WORDS> {
    fn default() -> Self {
        Self::new()
    }
}

/// Prints the list form.
impl<const WORDS: usize> fmt::Debug for Bitmap<WORDS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}}}", self.list())
    }
}

impl<const WORDS: usize> FromIterator<usize> for Bitmap<WORDS> {
    fn from_iter<I: IntoIterator<Item = usize>>(bits: I) -> Self {
        let mut set = Self::new();
        bits.into_iter().for_each(|bit| {
            set.set(bit);
        });
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec::Vec;

    type Set = Bitmap<2>;

    fn set(bits: &[usize]) -> Set {
        bits.iter().copied().collect()
    }

    #[test]
    fn a_list_joins_neighbours() {
        assert_eq!(set(&[0, 1, 2, 3, 5]).list().to_string(), "0-3,5");
        assert_eq!(set(&[63, 64, 127]).list().to_string(), "63-64,127");
        assert_eq!(set(&[]).list().to_string(), "");
        assert_eq!(Set::first_n(128).list().to_string(), "0-127");
    }

    #[test]
    fn a_mask_has_as_many_digits_as_bits_need() {
        let low = Set::first_n(4);
        assert_eq!(low.mask(4).to_string(), "f");
        assert_eq!(low.mask(64).to_string(), "00000000,0000000f");
        assert_eq!(set(&[32]).mask(40).to_string(), "01,00000000");
        assert_eq!(set(&[3, 4]).mask(4).to_string(), "8");
    }

    #[test]
    fn lists_are_read_with_ranges_groups_and_names() {
        let list = |text| Set::parse_list(text, 8).map(|set| set.list().to_string());
        assert_eq!(list("0-3,5"), Ok("0-3,5".into()));
        assert_eq!(list("0-7:1/4"), Ok("0,4".into()));
        assert_eq!(list(" 1 , N\n"), Ok("1,7".into()));
        assert_eq!(list("all"), Ok("0-7".into()));
        assert_eq!(list(""), Ok("".into()));
        assert_eq!(list("8"), Err(Errno::ERANGE));
        for bad in [
            "3-1", "a", "1-", "-1", "0-3:2", "0-3:5/4", "0-3:0/0", "1:1/2", "1x",
        ] {
            assert_eq!(list(bad), Err(Errno::EINVAL), "{bad}");
        }
    }

    #[test]
    fn masks_are_read_from_the_right() {
        assert_eq!(Set::parse_mask("1,00000001\n", 64), Ok(set(&[0, 32])));
        assert_eq!(Set::parse_mask("f", 4), Ok(Set::first_n(4)));
        assert_eq!(Set::parse_mask("1f", 4), Err(Errno::EOVERFLOW));
        assert_eq!(Set::parse_mask("x", 4), Err(Errno::EINVAL));
        assert_eq!(Set::parse_mask("1,,1", 4), Err(Errno::EINVAL));
        assert_eq!(Set::parse_mask("100000000", 64), Err(Errno::EOVERFLOW));
    }

    #[test]
    fn searching_crosses_words() {
        let some = set(&[1, 70]);
        assert_eq!(
            (some.first(), some.next(2), some.next(71)),
            (Some(1), Some(70), None)
        );
        assert_eq!(some.iter().collect::<Vec<_>>(), [1, 70]);
        assert_eq!(Set::first_n(65).next_zero(0), Some(65));
        assert_eq!(Set::first_n(128).next_zero(0), None);
        assert_eq!(some.next(1000), None);
    }

    #[test]
    fn an_area_is_found_where_it_fits_and_is_aligned() {
        let some = set(&[0, 5]);
        assert_eq!(some.next_zero_area(0, 4, 1), Some(1));
        assert_eq!(some.next_zero_area(0, 5, 1), Some(6));
        assert_eq!(some.next_zero_area(0, 4, 4), Some(8));
        assert_eq!(some.next_zero_area(100, 100, 1), None);
        assert_eq!(Set::first_n(127).next_zero_area(0, 1, 64), None);
    }

    #[test]
    fn sets_combine() {
        let (a, b) = (set(&[1, 2]), set(&[2, 3]));
        assert_eq!(
            (a.and(&b), a.or(&b), a.and_not(&b)),
            (set(&[2]), set(&[1, 2, 3]), set(&[1]))
        );
        assert!(a.intersects(&b) && !a.is_subset(&b) && set(&[2]).is_subset(&b));
        assert_eq!((a.weight(), a.is_empty()), (2, false));
    }

    #[test]
    fn setting_and_clearing_tell_whether_something_changed() {
        let mut some = Set::new();
        assert!(some.set(9) && !some.set(9) && some.test(9));
        assert!(some.clear(9) && !some.clear(9) && !some.clear(5000));
        assert!(!some.test(5000));
    }
}
