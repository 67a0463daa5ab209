//! Which instructions a CPU has, and the only door to code that uses them.
//!
//! This is the one file with `unsafe` in it. Calling a function that is compiled for instructions which the CPU lacks is
//! undefined; nothing else is unsafe about the kernels, which use slices and safe intrinsics only. A [`Tier`] cannot be made
//! outside of this file, and in here only by [`Tier::of_cpu`], after the CPU was asked for each feature that the tier's functions are
//! compiled for; so who holds one may call them. `tests/tidy.rs` holds that no other file says `unsafe`.

#![allow(
    unsafe_code,
    reason = "calls into code compiled for instructions that the CPU was asked for: see above"
)]

#[cfg(all(test, target_arch = "x86_64"))]
use super::kernels::avx_vnni_by_avx512;
#[cfg(target_arch = "x86_64")]
use super::kernels::{avx_vnni, avx2, avx512};
use super::{
    weights::Layout,
    work::{Scratch, Work},
};
use crate::classifier::kernel::Kernel;

/// Kernels that the CPU can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::classifier) struct Tier(Set);

#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Set {
    Avx512Vnni,
    AvxVnni,
    Avx2,
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
            Self::Avx512Vnni => avx2 && avx512(),
            Self::AvxVnni => avx2 && is_x86_feature_detected!("avxvnni"),
            Self::Avx2 => avx2,
            #[cfg(test)]
            Self::AvxVnniByAvx512 => avx2 && avx512(),
        }
    }
}

impl Tier {
    /// The tier of `kernel`, if this CPU has its instructions; none of [`Kernel::Auto`] and [`Kernel::F32`].
    #[cfg(target_arch = "x86_64")]
    pub(in crate::classifier) fn of_cpu(kernel: Kernel) -> Option<Self> {
        let set = match kernel {
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
            Set::Avx512Vnni => Kernel::Avx512Vnni,
            Set::AvxVnni => Kernel::AvxVnni,
            Set::Avx2 => Kernel::Avx2,
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
            Set::Avx512Vnni => avx512::LAYOUT,
            Set::AvxVnni => avx_vnni::LAYOUT,
            Set::Avx2 => avx2::LAYOUT,
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
            Set::Avx512Vnni => unsafe { avx512::run(work, scratch) },
            Set::AvxVnni => unsafe { avx_vnni::run(work, scratch) },
            Set::Avx2 => unsafe { avx2::run(work, scratch) },
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
        let sets = [Set::Avx512Vnni, Set::AvxVnniByAvx512, Set::AvxVnni, Set::Avx2];
        sets.into_iter().filter(|set| set.is_here()).map(Self).collect()
    }

    /// None.
    #[cfg(all(test, not(target_arch = "x86_64")))]
    pub(super) fn all() -> Vec<Self> {
        Vec::new()
    }
}
