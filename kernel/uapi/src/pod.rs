//! Values that are plain bytes in user memory, and their conversion without `unsafe`.

/// A value with a fixed little-endian layout, as user programs see it.
///
/// The conversions copy field by field at constant offsets; after inlining they are plain moves.
/// `[T; N]` is `Pod` for every `N`, which is why the trait has [`Pod::zeroed`] instead of
/// requiring [`Default`] (arrays above 32 elements have none). Structures of this crate have both.
pub trait Pod: Copy {
    /// Size in user memory, in bytes, with C's trailing padding.
    const SIZE: usize;

    /// The value whose bytes are all zero.
    fn zeroed() -> Self;

    /// Writes the value to the first `SIZE` bytes of `out`; padding becomes zero.
    ///
    /// # Panics
    /// If `out` is shorter than `SIZE`.
    fn write_to(&self, out: &mut [u8]);

    /// Reads a value from the first `SIZE` bytes of `bytes`; padding is ignored.
    ///
    /// # Panics
    /// If `bytes` is shorter than `SIZE`.
    fn read_from(bytes: &[u8]) -> Self;
}

macro_rules! pod_integer {
    ($($int:ty),*) => {$(
        impl Pod for $int {
            const SIZE: usize = size_of::<$int>();

            #[inline(always)]
            fn zeroed() -> Self {
                0
            }

            #[inline(always)]
            fn write_to(&self, out: &mut [u8]) {
                out[..size_of::<$int>()].copy_from_slice(&self.to_le_bytes());
            }

            #[inline(always)]
            fn read_from(bytes: &[u8]) -> Self {
                let mut raw = [0; size_of::<$int>()];
                raw.copy_from_slice(&bytes[..size_of::<$int>()]);
                <$int>::from_le_bytes(raw)
            }
        }
    )*};
}

pod_integer!(u8, u16, u32, u64, usize, i8, i16, i32, i64, isize);

impl<T: Pod, const N: usize> Pod for [T; N] {
    const SIZE: usize = T::SIZE * N;

    #[inline(always)]
    fn zeroed() -> Self {
        [T::zeroed(); N]
    }

    #[inline(always)]
    fn write_to(&self, out: &mut [u8]) {
        let out = &mut out[..Self::SIZE];
        for (element, slot) in self.iter().zip(out.chunks_exact_mut(T::SIZE)) {
            element.write_to(slot);
        }
    }

    #[inline(always)]
    fn read_from(bytes: &[u8]) -> Self {
        let bytes = &bytes[..Self::SIZE];
        core::array::from_fn(|i| T::read_from(&bytes[i * T::SIZE..]))
    }
}

/// Declares `#[repr(C)]` structures and implements [`Pod`] and `Default` for them.
macro_rules! pod_struct {
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident {
            $( $(#[$field_meta:meta])* pub $field:ident : $type:ty ),* $(,)?
        }
    )*) => {$(
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name {
            $( $(#[$field_meta])* pub $field: $type ),*
        }

        impl $crate::Pod for $name {
            const SIZE: usize = size_of::<$name>();

            #[inline]
            fn zeroed() -> Self {
                Self { $( $field: <$type as $crate::Pod>::zeroed() ),* }
            }

            #[inline]
            fn write_to(&self, out: &mut [u8]) {
                let out = &mut out[..size_of::<$name>()];
                const PAYLOAD: usize = 0 $( + <$type as $crate::Pod>::SIZE )*;
                if PAYLOAD < size_of::<$name>() {
                    out.fill(0);
                }
                $(
                    $crate::Pod::write_to(
                        &self.$field,
                        &mut out[core::mem::offset_of!($name, $field)..],
                    );
                )*
            }

            #[inline]
            fn read_from(bytes: &[u8]) -> Self {
                let bytes = &bytes[..size_of::<$name>()];
                Self {
                    $(
                        $field: <$type as $crate::Pod>::read_from(
                            &bytes[core::mem::offset_of!($name, $field)..],
                        )
                    ),*
                }
            }
        }

        impl Default for $name {
            #[inline]
            fn default() -> Self {
                <Self as $crate::Pod>::zeroed()
            }
        }
    )*};
}

#[cfg(test)]
mod tests {
    use super::Pod;

    pod_struct! {
        /// Has a hole after `small` and padding at its end.
        pub struct Holey {
            pub small: u8,
            pub wide: u64,
            pub tail: [u16; 3],
        }
    }

    #[test]
    fn a_structure_takes_its_c_layout_and_zeroes_its_padding() {
        assert_eq!(Holey::SIZE, 24);
        let value = Holey {
            small: 0xab,
            wide: 0x0102_0304_0506_0708,
            tail: [1, 2, 3],
        };
        let mut bytes = [0xffu8; 24];
        value.write_to(&mut bytes);
        assert_eq!(
            bytes,
            [
                0xab, 0, 0, 0, 0, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1, 1, 0, 2, 0, 3, 0, 0, 0
            ]
        );
        assert_eq!(Holey::read_from(&bytes), value);
    }

    #[test]
    fn integers_are_little_endian_and_keep_their_sign() {
        let mut bytes = [0u8; 8];
        (-2i64).write_to(&mut bytes);
        assert_eq!(bytes, [0xfe, 255, 255, 255, 255, 255, 255, 255]);
        assert_eq!(i32::read_from(&bytes), -2);
        assert_eq!(u16::read_from(&bytes), 0xfffe);
        assert_eq!(<[u8; 65]>::zeroed(), [0; 65]);
    }

    #[test]
    #[should_panic(expected = "range end index")]
    fn a_short_buffer_is_refused() {
        Holey::default().write_to(&mut [0; 23]);
    }
}
