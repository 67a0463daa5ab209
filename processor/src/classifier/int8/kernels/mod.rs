//! The arithmetic, written once over sixteen lanes and made for each tier.
//!
//! A tier is a module that says what sixteen lanes are and how integers are multiplied, and takes the rest from the macros
//! in here: code that uses a CPU's instructions has to be compiled for them as a whole, which neither a generic nor a trait
//! does. All tiers do the same operations in the same order, so a text gets the same bits from each of them.
//!
//! No row's result depends on another's, so a text gets the same bits alone and in a batch.
//!
//! # Layout
//! - [`amx`], [`avx512`], [`avx_vnni`], [`avx2`]: the tiers
//! - `linear`: rounding, products, and what turns them into float32
//! - `matrix`: products in matrix registers
//! - `attention`: scores, softmax and the weighted sum of values
//! - `blocks`: normalisation, and a layer's two halves, kept in the cache
//! - `whole`, `halves`: sixteen lanes in a register of 512 bits, or in two of 256

/// Does the next rows of a tile with the smallest function that has room for all that are `$left`, of a quarter, a half, three quarters
/// or all of [`ROWS`](avx512) rows, so that a short tile costs little; and says how many rows those were.
macro_rules! by_quarters {
    ($left:expr, $name:ident$(::<$($constant:ident),*>)?($($argument:expr),*)) => {{
        const QUARTER: usize = ROWS / 4;
        const HALF: usize = ROWS / 2;
        const MOST: usize = ROWS - QUARTER;
        if MOST < $left {
            $name::<ROWS $($(, $constant)*)?>($($argument),*);
            ROWS
        } else if HALF < $left {
            $name::<MOST $($(, $constant)*)?>($($argument),*);
            MOST
        } else if QUARTER < $left {
            $name::<HALF $($(, $constant)*)?>($($argument),*);
            HALF
        } else {
            $name::<QUARTER $($(, $constant)*)?>($($argument),*);
            QUARTER
        }
    }};
}

#[macro_use]
mod linear;
#[macro_use]
mod attention;
#[macro_use]
mod blocks;
#[macro_use]
mod halves;
#[macro_use]
mod matrix;
#[macro_use]
mod whole;

pub(super) mod amx;
pub(super) mod avx2;
pub(super) mod avx512;
pub(super) mod avx_vnni;

#[cfg(test)]
pub(super) mod amx_by_avx512;
#[cfg(test)]
pub(super) mod avx_vnni_by_avx512;
