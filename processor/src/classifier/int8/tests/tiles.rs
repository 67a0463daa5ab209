//! Matrix registers, where the CPU has them.

use crate::classifier::{
    int8::{
        Tier,
        tier::{Factors, Tiles},
        weights::Line,
    },
    kernel::Kernel,
};

/// What there are sums of: `rows` rows and `columns` columns of `words` words, made of bytes that differ.
fn products(rows: usize, columns: usize, words: usize) -> (Vec<i32>, Vec<Line>) {
    let byte = |number: usize| (number * 89 % 251).to_le_bytes()[0];
    let word = |number: usize| i32::from_le_bytes([0, 1, 2, 3].map(|at| byte(number * 4 + at)));
    let line = |number: usize| Line(std::array::from_fn(|at| byte(number * 64 + at + 7)));
    ((0..rows * words).map(word).collect(), (0..columns / 16 * words).map(line).collect())
}

/// The same sums one by one: for sixteen columns a line for each row, then for the next sixteen.
fn expected(rows: &[i32], lines: &[Line], words: usize) -> Vec<[i32; 16]> {
    let sum = |row: &[i32], lines: &[Line], column: usize| -> i32 {
        let bytes = row.iter().zip(lines).flat_map(|(word, Line(line))| {
            word.to_le_bytes().into_iter().zip(line.iter().skip(column * 4))
        });
        bytes.map(|(value, weight)| i32::from(value) * i32::from(weight.cast_signed())).sum()
    };
    let of_row = |row, lines| std::array::from_fn(|column| sum(row, lines, column));
    lines
        .chunks_exact(words)
        .flat_map(|lines| rows.chunks_exact(words).map(move |row| of_row(row, lines)))
        .collect()
}

fn sums<const R: usize, const C: usize>(tiles: &Tiles, words: usize) {
    let (rows, lines) = products(16 * R, 16 * C, words);
    // One more line, which is left alone.
    let mut into = vec![bytemuck::cast([7_i32; 16]); 16 * R * C + 1];
    tiles.sums::<R, C>(Factors { rows: &rows, words, lines: &lines }, &mut into);
    let found: Vec<[i32; 16]> = into.into_iter().map(bytemuck::cast).collect();
    assert_eq!(found[..16 * R * C], expected(&rows, &lines, words));
    assert_eq!(found[16 * R * C], [7; 16]);
}

fn are_here() -> bool {
    Tier::of_cpu(Kernel::AmxInt8).is_some()
}

#[test]
fn sums_are_those_of_their_definition() {
    if !are_here() {
        return;
    }
    let tiles = Tiles::held();
    for words in [16, 32, 96] {
        sums::<2, 2>(&tiles, words);
        sums::<2, 1>(&tiles, words);
        sums::<1, 2>(&tiles, words);
        sums::<1, 1>(&tiles, words);
    }
}

#[test]
fn who_holds_them_keeps_them_when_another_lets_go() {
    if !are_here() {
        return;
    }
    let first = Tiles::held();
    let second = Tiles::held();
    drop(first);
    sums::<2, 2>(&second, 16);
    drop(second);
    sums::<1, 1>(&Tiles::held(), 16);
    // Each thread has its own.
    let other = std::thread::spawn(|| sums::<2, 2>(&Tiles::held(), 16));
    assert!(other.join().is_ok());
}

#[test]
fn what_is_too_short_is_not_read() {
    if !are_here() {
        return;
    }
    let tiles = Tiles::held();
    let (rows, lines) = products(32, 32, 16);
    let try_sums = |rows: &[i32], words: usize, lines: &[Line], into: usize| {
        let mut into = vec![bytemuck::cast([0_i32; 16]); into];
        let factors = Factors { rows, words, lines };
        let tried = std::panic::AssertUnwindSafe(|| tiles.sums::<2, 2>(factors, &mut into));
        std::panic::catch_unwind(tried).is_ok()
    };
    assert!(try_sums(&rows, 16, &lines, 64));
    assert!(!try_sums(&rows[1..], 16, &lines, 64));
    assert!(!try_sums(&rows, 16, &lines[1..], 64));
    assert!(!try_sums(&rows, 16, &lines, 63));
    assert!(!try_sums(&rows, 0, &lines, 64) && !try_sums(&rows, 15, &lines, 64));
}
