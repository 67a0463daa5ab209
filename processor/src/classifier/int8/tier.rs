//! Which instructions a CPU has, and the only door to code that uses them.
//!
//! This is the one file with `unsafe` in it. Calling a function that is compiled for instructions which the CPU lacks is
//! undefined; nothing else is unsafe about the kernels, which use slices and safe intrinsics only. A [`Tier`] cannot be made
//! outside of this file, and in here only by [`Tier::of_cpu`], after the CPU was asked for each feature that the tier's functions are
//! compiled for; so who holds one may call them. `tests/tidy.rs` holds that no other file says `unsafe`.
//!
//! For matrix registers there are no intrinsics in stable Rust: [`Tiles`] uses them by assembly, and looks that all it reads and writes is
//! within the slices that it was given.

#![allow(
    unsafe_code,
    reason = "calls into code compiled for instructions that the CPU was asked for: see above"
)]

#[cfg(target_arch = "x86_64")]
use super::kernels::{amx, avx_vnni, avx2, avx512};
#[cfg(all(test, target_arch = "x86_64"))]
use super::kernels::{amx_by_avx512, avx_vnni_by_avx512};
use super::{
    weights::Layout,
    work::{Scratch, Work},
};
use crate::classifier::kernel::Kernel;
#[cfg(target_arch = "x86_64")]
pub(super) use tiles::{Factors, Tiles};

/// Kernels that the CPU can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::classifier) struct Tier(Set);

#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Set {
    AmxInt8,
    Avx512Vnni,
    AvxVnni,
    Avx2,
    #[cfg(test)]
    AmxByAvx512,
    #[cfg(test)]
    AvxVnniByAvx512,
}

/// No other CPU has kernels.
#[cfg(not(target_arch = "x86_64"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Set {}

#[cfg(target_arch = "x86_64")]
impl Set {
    fn is_here(self) -> bool {
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        let avx512 = || {
            is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vnni")
        };
        match self {
            Self::AmxInt8 => avx2 && avx512() && tiles::are_here(),
            Self::Avx512Vnni => avx2 && avx512(),
            Self::AvxVnni => avx2 && is_x86_feature_detected!("avxvnni"),
            Self::Avx2 => avx2,
            #[cfg(test)]
            Self::AmxByAvx512 | Self::AvxVnniByAvx512 => avx2 && avx512(),
        }
    }
}

impl Tier {
    /// The tier of `kernel`, if this CPU has its instructions; none of [`Kernel::Auto`] and [`Kernel::F32`].
    #[cfg(target_arch = "x86_64")]
    pub(in crate::classifier) fn of_cpu(kernel: Kernel) -> Option<Self> {
        let set = match kernel {
            Kernel::AmxInt8 => Set::AmxInt8,
            Kernel::Avx512Vnni => Set::Avx512Vnni,
            Kernel::AvxVnni => Set::AvxVnni,
            Kernel::Avx2 => Set::Avx2,
            Kernel::Auto | Kernel::F32 => return None,
        };
        set.is_here().then_some(Self(set))
    }

    /// No tier: this is another kind of CPU.
    #[cfg(not(target_arch = "x86_64"))]
    pub(in crate::classifier) fn of_cpu(_kernel: Kernel) -> Option<Self> {
        None
    }

    /// Which kernel this is.
    #[cfg(target_arch = "x86_64")]
    pub(in crate::classifier) fn kernel(self) -> Kernel {
        match self.0 {
            Set::AmxInt8 => Kernel::AmxInt8,
            Set::Avx512Vnni => Kernel::Avx512Vnni,
            Set::AvxVnni => Kernel::AvxVnni,
            Set::Avx2 => Kernel::Avx2,
            #[cfg(test)]
            Set::AmxByAvx512 => Kernel::AmxInt8,
            #[cfg(test)]
            Set::AvxVnniByAvx512 => Kernel::AvxVnni,
        }
    }

    /// Which kernel this is.
    #[cfg(not(target_arch = "x86_64"))]
    pub(in crate::classifier) fn kernel(self) -> Kernel {
        match self.0 {}
    }

    /// How it wants its weights.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn layout(self) -> Layout {
        match self.0 {
            Set::AmxInt8 => amx::LAYOUT,
            Set::Avx512Vnni => avx512::LAYOUT,
            Set::AvxVnni => avx_vnni::LAYOUT,
            Set::Avx2 => avx2::LAYOUT,
            #[cfg(test)]
            Set::AmxByAvx512 => amx_by_avx512::LAYOUT,
            #[cfg(test)]
            Set::AvxVnniByAvx512 => avx_vnni_by_avx512::LAYOUT,
        }
    }

    /// How it wants its weights.
    #[cfg(not(target_arch = "x86_64"))]
    pub(super) fn layout(self) -> Layout {
        match self.0 {}
    }

    /// Does `work`, whose weights have this tier's layout.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn run(self, work: Work<'_>, scratch: &mut Scratch) {
        // SAFETY: `self` exists, so the CPU has what the function is compiled for; it asks for nothing else.
        match self.0 {
            Set::AmxInt8 => unsafe { amx::run(work, scratch) },
            Set::Avx512Vnni => unsafe { avx512::run(work, scratch) },
            Set::AvxVnni => unsafe { avx_vnni::run(work, scratch) },
            Set::Avx2 => unsafe { avx2::run(work, scratch) },
            #[cfg(test)]
            Set::AmxByAvx512 => unsafe { amx_by_avx512::run(work, scratch) },
            #[cfg(test)]
            Set::AvxVnniByAvx512 => unsafe { avx_vnni_by_avx512::run(work, scratch) },
        }
    }

    /// Does `work`.
    #[cfg(not(target_arch = "x86_64"))]
    pub(super) fn run(self, _work: Work<'_>, _scratch: &mut Scratch) {
        match self.0 {}
    }

    /// Every tier that this CPU can run, those for tests included.
    #[cfg(all(test, target_arch = "x86_64"))]
    pub(super) fn all() -> Vec<Self> {
        let sets = [
            Set::AmxInt8,
            Set::AmxByAvx512,
            Set::Avx512Vnni,
            Set::AvxVnniByAvx512,
            Set::AvxVnni,
            Set::Avx2,
        ];
        sets.into_iter().filter(|set| set.is_here()).map(Self).collect()
    }

    /// None.
    #[cfg(all(test, not(target_arch = "x86_64")))]
    pub(super) fn all() -> Vec<Self> {
        Vec::new()
    }
}

/// Matrix registers (AMX): eight, of sixteen rows of 64 bytes each (Intel 64 and IA-32 Software Developer's Manual, volume 1, chapter 18).
#[cfg(target_arch = "x86_64")]
mod tiles {
    use std::{
        arch::{
            asm,
            x86_64::{__cpuid_count, __m512i},
        },
        cell::Cell,
        marker::PhantomData,
        sync::OnceLock,
    };

    use super::super::weights::Line;

    /// Rows of a register.
    const ROWS: usize = 16;
    /// Bytes of a row of one, and of sixteen sums.
    const BYTES: usize = 64;

    /// Sixteen rows of 64 bytes in each of the registers: what `LDTILECFG` reads.
    #[repr(align(64))]
    struct Configuration([u8; 64]);

    static CONFIGURATION: Configuration = {
        let mut bytes = [0; 64];
        // The palette, of which there is one; two bytes a register for the bytes of a row, and one for the rows.
        bytes[0] = 1;
        let mut register = 0;
        while register < 8 {
            bytes[16 + 2 * register] = 64;
            bytes[48 + register] = 16;
            register += 1;
        }
        Configuration(bytes)
    };

    thread_local! {
        /// How many [`Tiles`] this thread holds.
        static HELD: Cell<usize> = const { Cell::new(0) };
    }

    /// Whether this CPU has matrix registers for bytes and the kernel lets this process use them: it asks for them once.
    pub(super) fn are_here() -> bool {
        static ANSWER: OnceLock<bool> = OnceLock::new();
        *ANSWER.get_or_init(|| {
            const TILE: u32 = 1 << 24;
            const INT8: u32 = 1 << 25;
            // SAFETY: every CPU of this architecture has the instruction, and it only tells. Leaf 7 is there wherever AVX2 is, for which
            // the caller asked.
            #[allow(unused_unsafe, reason = "later compilers know that it is safe")]
            let features = unsafe { __cpuid_count(7, 0) }.edx;
            features & (TILE | INT8) == TILE | INT8 && is_allowed()
        })
    }

    /// Asks the kernel for the registers' state, which is 8 KiB a thread (`Documentation/arch/x86/xstate.rst` of Linux).
    #[cfg(target_os = "linux")]
    fn is_allowed() -> bool {
        const ARCH_REQ_XCOMP_PERM: libc::c_ulong = 0x1023;
        const XFEATURE_XTILEDATA: libc::c_ulong = 18;
        // SAFETY: the call takes two numbers and changes nothing but what this process may use.
        let answer =
            unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) };
        answer == 0
    }

    /// Nobody to ask is known.
    #[cfg(not(target_os = "linux"))]
    fn is_allowed() -> bool {
        false
    }

    /// This thread's matrix registers, set up while one of these lives: a thread that holds none has less to be saved when it is
    /// switched out.
    pub(in super::super) struct Tiles(PhantomData<*const ()>);

    /// What is multiplied: rows of bytes with lines of sixteen columns, four bytes each.
    #[derive(Clone, Copy, Debug)]
    pub(in super::super) struct Factors<'a> {
        /// Row after row, of `words` of four bytes each.
        pub(in super::super) rows: &'a [i32],
        /// A multiple of sixteen.
        pub(in super::super) words: usize,
        /// For sixteen columns one for each word, for the next sixteen the same again.
        pub(in super::super) lines: &'a [Line],
    }

    impl Tiles {
        /// # Panics
        /// If this CPU has none, or the kernel does not let us.
        pub(in super::super) fn held() -> Self {
            assert!(are_here(), "a kernel for matrix registers on a CPU without them");
            HELD.with(|held| {
                if held.get() == 0 {
                    // SAFETY: the CPU has the instruction and the kernel allows it; it reads 64 bytes, which are all there.
                    unsafe {
                        asm!("ldtilecfg [{}]", in(reg) CONFIGURATION.0.as_ptr(), options(nostack, readonly));
                    }
                }
                held.set(held.get() + 1);
            });
            Self(PhantomData)
        }

        /// Sums of `16 R` rows times `16 C` columns over all words: for sixteen columns a line for each row, then for the next sixteen. Bytes of
        /// rows are unsigned, those of lines signed.
        ///
        /// # Panics
        /// If there are fewer rows or lines, or if `into` is shorter. More than two `R` or `C` are not compiled.
        #[expect(clippy::unused_self, reason = "who has one has set the registers up")]
        #[inline]
        pub(in super::super) fn sums<const R: usize, const C: usize>(
            &self,
            Factors { rows, words, lines }: Factors<'_>,
            into: &mut [__m512i],
        ) {
            const { assert!(1 <= R && R <= 2 && 1 <= C && C <= 2) };
            assert!(
                0 < words
                    && words.is_multiple_of(ROWS)
                    && R * ROWS * words <= rows.len()
                    && C * words <= lines.len()
                    && R * ROWS * C <= into.len()
            );
            let stride = words * 4;
            let rows = rows.as_ptr().cast::<u8>();
            let lines = lines.as_ptr().cast::<u8>();
            let into = into.as_mut_ptr().cast::<u8>();
            // The registers 0 to 3 hold sums, 4 and 5 rows, 6 and 7 lines.
            macro_rules! multiply {
                ([$($sums:literal)*], [$($step:literal,)*], [$($store:literal)*]) => {
                    // SAFETY: the CPU has the instructions, the kernel allows them and `self` has set the registers up. They read `16 R` rows of
                    // `words` and `16 C` columns of as many lines, and write `C` lines for each of those rows: what the slices have, which was looked at
                    // above. Where there is no second register of rows or columns, its pointer is not used.
                    unsafe {
                        asm!(
                            $(concat!("tilezero tmm", $sums),)*
                            "2:",
                            $($step,)*
                            "add {row}, 64",
                            "add {second_row}, 64",
                            "add {column}, 1024",
                            "add {second_column}, 1024",
                            "dec {steps}",
                            "jnz 2b",
                            $($store,)*
                            steps = inout(reg) words / ROWS => _,
                            row = inout(reg) rows => _,
                            second_row = inout(reg) rows.wrapping_add(ROWS * stride) => _,
                            column = inout(reg) lines => _,
                            second_column = inout(reg) lines.wrapping_add(words * BYTES) => _,
                            stride = in(reg) stride,
                            line = in(reg) BYTES,
                            into = in(reg) into,
                            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                            options(nostack)
                        );
                    }
                };
            }
            match (R, C) {
                (2, 2) => multiply!(
                    ["0" "1" "2" "3"],
                    [
                        "tileloadd tmm6, [{column} + {line}]",
                        "tileloadd tmm4, [{row} + {stride}]", "tdpbusd tmm0, tmm4, tmm6",
                        "tileloadd tmm7, [{second_column} + {line}]", "tdpbusd tmm1, tmm4, tmm7",
                        "tileloadd tmm5, [{second_row} + {stride}]", "tdpbusd tmm2, tmm5, tmm6",
                        "tdpbusd tmm3, tmm5, tmm7",
                    ],
                    ["tilestored [{into} + {line}], tmm0" "tilestored [{into} + {line} + 1024], tmm2"
                     "tilestored [{into} + {line} + 2048], tmm1" "tilestored [{into} + {line} + 3072], tmm3"]
                ),
                (2, 1) => multiply!(
                    ["0" "2"],
                    [
                        "tileloadd tmm6, [{column} + {line}]",
                        "tileloadd tmm4, [{row} + {stride}]", "tdpbusd tmm0, tmm4, tmm6",
                        "tileloadd tmm5, [{second_row} + {stride}]", "tdpbusd tmm2, tmm5, tmm6",
                    ],
                    ["tilestored [{into} + {line}], tmm0" "tilestored [{into} + {line} + 1024], tmm2"]
                ),
                (1, 2) => multiply!(
                    ["0" "1"],
                    [
                        "tileloadd tmm4, [{row} + {stride}]",
                        "tileloadd tmm6, [{column} + {line}]", "tdpbusd tmm0, tmm4, tmm6",
                        "tileloadd tmm7, [{second_column} + {line}]", "tdpbusd tmm1, tmm4, tmm7",
                    ],
                    ["tilestored [{into} + {line}], tmm0" "tilestored [{into} + {line} + 1024], tmm1"]
                ),
                _ => multiply!(
                    ["0"],
                    [
                        "tileloadd tmm4, [{row} + {stride}]",
                        "tileloadd tmm6, [{column} + {line}]",
                        "tdpbusd tmm0, tmm4, tmm6",
                    ],
                    ["tilestored [{into} + {line}], tmm0"]
                ),
            }
        }
    }

    impl Drop for Tiles {
        fn drop(&mut self) {
            HELD.with(|held| {
                held.set(held.get() - 1);
                if held.get() == 0 {
                    // SAFETY: as in `held`; nobody's registers are let go.
                    unsafe { asm!("tilerelease", options(nostack, nomem)) };
                }
            });
        }
    }
}
