//! Between counts and real numbers: the only casts of this crate, because each of them may round.

/// What one stands for in a fixed-point sum. Integers add up to the same sum in every order; floats do not.
pub const UNIT: i64 = 1 << 20;

/// `count` as a real number.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts stay below 2^53, where every integer is exact"
)]
pub(crate) fn real(count: u64) -> f64 {
    count as f64
}

/// A length as a count.
pub(crate) fn count(length: usize) -> u64 {
    // No machine has lengths of more than 64 bits.
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// `part` of `whole`, 0 to 1; 0 of nothing.
pub(crate) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { real(part) / real(whole) }
}

/// The nearest fixed-point number; not a number becomes 0, and what is out of range becomes the nearest bound.
#[expect(clippy::cast_possible_truncation, reason = "a cast from float to integer saturates")]
pub(crate) fn fixed(value: f64) -> i64 {
    (value * real(UNIT.unsigned_abs())).round() as i64
}

/// The value of a fixed-point sum.
pub(crate) fn value(sum: i64) -> f64 {
    let magnitude = real(sum.unsigned_abs()) / real(UNIT.unsigned_abs());
    if sum < 0 { -magnitude } else { magnitude }
}

/// The nearest 8-bit integer; not a number becomes 0, and what is out of range becomes the nearest bound.
#[expect(clippy::cast_possible_truncation, reason = "a cast from float to integer saturates")]
pub(crate) fn int8(value: f64) -> i8 {
    value.round() as i8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_point_number_is_within_half_a_unit_of_what_it_stands_for() {
        for number in [0.0, 1.0, -1.0, 0.123_456_789, -31.999_999_9] {
            assert!((value(fixed(number)) - number).abs() <= 0.5 / real(UNIT.unsigned_abs()));
        }
        assert_eq!((fixed(f64::NAN), int8(1e9), int8(-1e9)), (0, i8::MAX, i8::MIN));
    }
}
