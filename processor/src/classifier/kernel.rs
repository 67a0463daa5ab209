//! Which kernels multiply a network that may be computed in int8.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::int8::Tier;

/// What a network is computed with, if its bundle allows int8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kernel {
    /// The fastest of the others that the CPU can run.
    #[default]
    Auto,
    /// int8 with AMX and AVX-512 VNNI: Intel's Xeons from Sapphire Rapids on, where the kernel (Linux from 5.16 on) allows it.
    AmxInt8,
    /// int8 with AVX-512 VNNI: Intel from Ice Lake on, AMD from Zen 4 on.
    Avx512Vnni,
    /// int8 with AVX-VNNI: Intel from Alder Lake on, AMD from Zen 5 on.
    AvxVnni,
    /// int8 with AVX2 and FMA: nearly every x86-64 CPU since 2013 (Intel) and 2015 (AMD).
    Avx2,
    /// float32, on any CPU.
    F32,
}

/// A kernel that was asked for and that the CPU cannot run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "processor.kernel is {0}, which this CPU does not have: set it to auto, which takes the fastest that it has, or to f32"
)]
pub struct KernelMissing(pub Kernel);

/// Fastest first.
const BY_SPEED: [Kernel; 4] = [Kernel::AmxInt8, Kernel::Avx512Vnni, Kernel::AvxVnni, Kernel::Avx2];

impl Kernel {
    /// Whether this CPU can run it: for whoever is told it as a setting, before a model is loaded.
    pub fn check(self) -> Result<(), KernelMissing> {
        self.tier().map(drop)
    }

    /// The integer kernels to use, none for float32.
    pub(super) fn tier(self) -> Result<Option<Tier>, KernelMissing> {
        match self {
            Self::Auto => Ok(BY_SPEED.into_iter().find_map(Tier::of_cpu)),
            Self::F32 => Ok(None),
            named => Tier::of_cpu(named).map(Some).ok_or(KernelMissing(named)),
        }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Auto => "auto",
            Self::AmxInt8 => "amx-int8",
            Self::Avx512Vnni => "avx512-vnni",
            Self::AvxVnni => "avx-vnni",
            Self::Avx2 => "avx2",
            Self::F32 => "f32",
        })
    }
}
