//! Sequence numbers: 32 bits that wrap (RFC 9293 §3.4).

/// Whether `a` comes before `b`.
#[inline]
pub(super) const fn before(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() < 0
}

/// Whether `a` comes after `b`.
#[inline]
pub(super) const fn after(a: u32, b: u32) -> bool {
    before(b, a)
}

/// Whether `x` lies in `first..=last`.
#[inline]
pub(super) const fn lies_in(x: u32, first: u32, last: u32) -> bool {
    !before(x, first) && !after(x, last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_compare_across_the_wrap() {
        assert!(before(u32::MAX, 0) && after(0, u32::MAX));
        assert!(before(u32::MAX - 10, 10) && !before(10, u32::MAX - 10));
        assert!(!before(7, 7) && !after(7, 7));
        assert!(lies_in(2, u32::MAX - 2, 5) && !lies_in(6, u32::MAX - 2, 5));
        assert!(!lies_in(u32::MAX - 3, u32::MAX - 2, 5));
    }
}
