//! The kernels of the suite: their guests, at three sizes, what a round of each is worth, and its hand-written shaders.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// How large the kernels' data are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Size {
    /// Seconds in all on a software GPU and two cores.
    Small,
    /// For the CPU and software GPUs.
    Medium,
    /// For GPUs whose launches else end before they can be measured.
    Large,
}

/// What arithmetic a kernel's operations are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    F32,
    F64,
    I32,
}

/// What a round of a kernel is worth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Work {
    /// Bytes that it must move at least, each once.
    pub bytes: f64,
    /// Operations that it must do at least.
    pub operations: f64,
    pub kind: Kind,
    /// What the kernel's own rate counts, in `unit` * second.
    pub amount: f64,
    pub unit: &'static str,
}

/// What the outputs of less exact engines may be off by. Strict ones give equal bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tolerance {
    /// Nothing.
    Exact,
    /// Each f32 by this much, absolutely, or this share of it.
    F32(f32, f32),
    /// Each f64 by this share.
    F64(f64),
    /// This share of the 32-bit words may be any.
    Words(f64),
}

/// A kernel of the suite.
pub struct Kernel {
    pub name: &'static str,
    /// Folder of the guest's module.
    folder: &'static str,
    /// The guest's sizes, small, medium and large.
    sizes: [&'static [u64]; 3],
    /// What a round is worth at these sizes.
    work: fn(&[u64]) -> Work,
    pub tolerance: Tolerance,
    /// Shaders that do the same as those called as the kernel's functions: name, what they are instead of, and their grids.
    pub tuned: &'static [Tuned],
    /// Whether it calls the C library's mathematical functions, which fast floats make the device's own, as WGSL does.
    pub mathematics: bool,
    /// Why the hand-written shader is under 70% of its roofline where it is.
    pub bound: &'static str,
}

/// A shader that is faster than the plain one.
pub struct Tuned {
    /// The kernel's function.
    pub function: &'static str,
    pub shader: &'static str,
    /// Workgroups, from the words of the launch's first buffer and its iterations.
    pub groups: fn(&[u32], u32) -> [u32; 3],
}

impl Kernel {
    /// The guest's sizes.
    pub fn sizes(&self, size: Size) -> &'static [u64] {
        self.sizes[size as usize]
    }

    /// The guest's arguments. The example guests compare bit for bit unless they are told that floats are not exact.
    pub fn arguments(&self, size: Size, exact: bool) -> Vec<String> {
        let tolerance = ["--tolerance", if self.name == "mandelbrot" { "0.01" } else { "0.001" }];
        let sizes = self.sizes(size).iter().map(u64::to_string);
        sizes.chain(tolerance.iter().filter(|_| !exact).map(|word| word.to_string())).collect()
    }

    /// What a round is worth.
    pub fn work(&self, size: Size) -> Work {
        (self.work)(self.sizes(size))
    }

    /// The guest's module; `simd`: as it is built with vector instructions.
    pub fn module(&self, simd: bool) -> std::path::PathBuf {
        let root = crate::root();
        match simd {
            true => root.join(format!("benches/guests/{}.simd.wasm", self.name)),
            false => root.join(format!("{}/{}.wasm", self.folder, self.name)),
        }
    }
}

const EXAMPLES: &str = "examples/guests";
const BENCHES: &str = "benches/guests";

fn work(bytes: u64, operations: u64, kind: Kind, amount: f64, unit: &'static str) -> Work {
    Work { bytes: bytes as f64, operations: operations as f64, kind, amount, unit }
}

/// Megabytes a second.
fn moved(bytes: u64, operations: u64) -> Work {
    work(bytes, operations, Kind::F32, 1e-6 * bytes as f64, "MB/s")
}

/// Millions of floating-point operations a second.
fn computed(bytes: u64, operations: u64, kind: Kind) -> Work {
    work(bytes, operations, kind, 1e-6 * operations as f64, "MF/s")
}

const LATENCY: &str =
    "Each anti-diagonal is a launch of few invocations: the time is that of starting and ending launches.";
const RANDOM: &str = "Updates go to places all over memory, and 1,024 streams are few invocations: the time is that of the \
                      memory's latency.";
const TRIPS: &str = "How often points stay in the loop is counted as an average; neighbours wait for each other.";
const ROW: &str =
    "Invocations beside each other read rows that lie apart, so that of each line of memory little is used at once.";
const WORDS: &str =
    "Invocations load single words; the device copies vectors of four faster, or a round is too short to fill it.";
const GEMM: &str =
    "Each multiplication and addition takes two loads from the cache. The tuned one keeps tiles in shared memory.";
const CACHE: &str = "Every element is loaded many times, from the cache: its bandwidth is the limit.";
const ATOMICS: &str = "Atomic additions to few places wait for each other.";
const EXP: &str = "The time is that of the exponential function, which counts as one operation.";
const INTEGERS: &str = "Rotations and logical operators are counted as written; a device may have instructions for several, or need \
                        several for one.";
const CONVERT: &str =
    "Bytes are unpacked and packed, roots are taken: more instructions than the operations that are counted.";

/// Square tiles.
fn tiles(n: u32, tile: u32) -> [u32; 3] {
    [n.div_ceil(tile), n.div_ceil(tile), 1]
}

/// Groups of one row of a dispatch.
const MOST_GROUPS: u32 = 65_535;

/// So many groups, in rows.
pub fn rows(groups: u32) -> [u32; 3] {
    let rows = groups.div_ceil(MOST_GROUPS).max(1);
    [groups.div_ceil(rows), rows, 1]
}

/// All of them.
pub fn all() -> Vec<Kernel> {
    vec![
        Kernel {
            name: "nstream",
            folder: EXAMPLES,
            sizes: [&[1, 1 << 16], &[1, 8 << 20], &[1, 64 << 20]],
            work: |n| moved(16 * n[1], 3 * n[1]),
            tolerance: Tolerance::F32(0.0, 1e-6),
            tuned: &[Tuned { function: "nstream", shader: "nstream_tuned", groups: |_, n| rows(n.div_ceil(256)) }],
            mathematics: false,
            bound: WORDS,
        },
        Kernel {
            name: "transpose",
            folder: BENCHES,
            sizes: [&[256], &[2048], &[7168]],
            // The published rate counts each matrix once.
            work: |n| Work { amount: 8e-6 * (n[0] * n[0]) as f64, ..moved(16 * n[0] * n[0], 2 * n[0] * n[0]) },
            tolerance: Tolerance::F32(0.0, 1e-6),
            tuned: &[Tuned { function: "transpose", shader: "transpose_tuned", groups: |p, _| tiles(p[0], 32) }],
            mathematics: false,
            bound: ROW,
        },
        Kernel {
            name: "star",
            folder: BENCHES,
            sizes: [&[256], &[2048], &[8192]],
            work: |n| {
                // The grid is read, then read and written, and the result read and written.
                let inner = (n[0] - 4) * (n[0] - 4);
                computed(20 * n[0] * n[0], 19 * inner, Kind::F32)
            },
            tolerance: Tolerance::F32(1e-3, 1e-5),
            tuned: &[],
            mathematics: false,
            bound: WORDS,
        },
        Kernel {
            name: "gemm_f32",
            folder: BENCHES,
            sizes: [&[96], &[384], &[1024]],
            work: |n| computed(16 * n[0] * n[0], 2 * n[0] * n[0] * n[0], Kind::F32),
            tolerance: Tolerance::F32(0.0, 1e-4),
            tuned: &[Tuned { function: "gemm_f32", shader: "gemm_f32_tuned", groups: |p, _| tiles(p[0], 64) }],
            mathematics: false,
            bound: GEMM,
        },
        Kernel {
            name: "gemm_f64",
            folder: BENCHES,
            sizes: [&[64], &[256], &[1024]],
            work: |n| computed(32 * n[0] * n[0], 2 * n[0] * n[0] * n[0], Kind::F64),
            tolerance: Tolerance::F64(1e-12),
            tuned: &[Tuned { function: "gemm_f64", shader: "gemm_f64_tuned", groups: |p, _| tiles(p[0], 16) }],
            mathematics: false,
            bound: GEMM,
        },
        Kernel {
            name: "sparse",
            folder: BENCHES,
            sizes: [&[7, 4], &[10, 4], &[11, 4]],
            work: |n| {
                let rows = 1 << (2 * n[0]);
                let entries = rows * (4 * n[1] + 1);
                // Of each entry the number and the column; the vector is read and written, and read; the result the same.
                computed(8 * entries + 20 * rows, 2 * entries, Kind::F32)
            },
            tolerance: Tolerance::F32(0.0, 1e-5),
            tuned: &[],
            mathematics: false,
            bound: "Scrambled columns: each entry loads a word from another line of memory, and rows lie apart.",
        },
        Kernel {
            name: "p2p",
            folder: BENCHES,
            sizes: [&[64], &[512], &[2048]],
            work: |n| computed(8 * n[0] * n[0], 2 * (n[0] - 1) * (n[0] - 1), Kind::F32),
            tolerance: Tolerance::Exact,
            tuned: &[],
            mathematics: false,
            bound: LATENCY,
        },
        Kernel {
            name: "reduce",
            folder: BENCHES,
            sizes: [&[1024, 32], &[4096, 512], &[65536, 1024]],
            work: |n| computed(8 * n[0] * n[1], (2 * n[1] - 1) * n[0], Kind::F32),
            tolerance: Tolerance::Exact,
            tuned: &[Tuned { function: "reduce", shader: "reduce_tuned", groups: |p, _| [p[0].div_ceil(64), 16, 1] }],
            mathematics: false,
            bound: WORDS,
        },
        Kernel {
            name: "random",
            folder: EXAMPLES,
            sizes: [&[12, 4], &[20, 4], &[24, 4]],
            work: |n| {
                let updates = (1u64 << n[0]) * n[1];
                work(16 * updates, 4 * updates, Kind::I32, 1e-9 * updates as f64, "GUPS")
            },
            tolerance: Tolerance::Exact,
            tuned: &[],
            mathematics: false,
            bound: RANDOM,
        },
        Kernel {
            name: "branch",
            folder: BENCHES,
            sizes: [&[1 << 12, 20], &[1 << 18, 100], &[1 << 22, 200]],
            work: |n| work(12 * n[0], 4 * n[0] * n[1], Kind::I32, 4e-6 * (n[0] * n[1]) as f64, "Mops/s"),
            tolerance: Tolerance::Exact,
            tuned: &[],
            mathematics: false,
            bound: "Each iteration loads and stores the element again, as the index may name any: the cache's latency is the limit.",
        },
        Kernel {
            name: "pic",
            folder: BENCHES,
            sizes: [&[32, 2], &[256, 8], &[998, 16]],
            work: |n| {
                let particles = n[0] * n[0] * n[1];
                let bytes = 36 * particles + 4 * (n[0] + 1) * (n[0] + 1);
                work(bytes, 76 * particles, Kind::F32, 1e-6 * particles as f64, "Mparticles/s")
            },
            tolerance: Tolerance::F32(1e-3, 1e-4),
            tuned: &[],
            mathematics: false,
            bound: "Divisions and roots count as one operation each, and particles lie as structures, of which all words are moved.",
        },
        Kernel {
            name: "saxpy",
            folder: BENCHES,
            sizes: [&[1 << 16], &[8 << 20], &[64 << 20]],
            work: |n| moved(12 * n[0], 2 * n[0]),
            tolerance: Tolerance::F32(0.0, 1e-6),
            tuned: &[Tuned { function: "saxpy", shader: "saxpy_tuned", groups: |_, n| rows(n.div_ceil(256)) }],
            mathematics: false,
            bound: WORDS,
        },
        Kernel {
            name: "mandelbrot",
            folder: EXAMPLES,
            sizes: [&[128, 96, 64], &[1280, 960, 256], &[4096, 3072, 256]],
            // A quarter of the window's points is in the set; the others leave it after ten steps or so.
            work: |n| {
                let steps = n[0] * n[1] * (n[2] / 4 + 10);
                work(4 * n[0] * n[1], 8 * steps, Kind::F32, 1e-6 * (n[0] * n[1]) as f64, "Mpoints/s")
            },
            tolerance: Tolerance::Words(0.01),
            tuned: &[],
            mathematics: false,
            bound: TRIPS,
        },
        Kernel {
            name: "nbody",
            folder: EXAMPLES,
            sizes: [&[256, 1], &[4096, 1], &[16384, 1]],
            work: |n| computed(64 * n[0], 20 * n[0] * n[0], Kind::F32),
            tolerance: Tolerance::F32(1e-5, 1e-3),
            tuned: &[],
            mathematics: false,
            bound: "A root and a division, each counted as one operation, take longer than an addition.",
        },
        Kernel {
            name: "black_scholes",
            folder: EXAMPLES,
            sizes: [&[2000], &[1 << 18], &[8 << 20]],
            work: |n| work(24 * n[0], 60 * n[0], Kind::F32, 1e-6 * n[0] as f64, "Moptions/s"),
            tolerance: Tolerance::F32(2.6e-4, 0.0),
            tuned: &[],
            mathematics: true,
            bound: EXP,
        },
        Kernel {
            name: "sobel",
            folder: BENCHES,
            sizes: [&[320, 240], &[2048, 1536], &[16384, 8192]],
            work: |n| {
                let pixels = n[0] * n[1];
                work(2 * pixels, 16 * pixels, Kind::I32, 1e-6 * pixels as f64, "Mpixels/s")
            },
            tolerance: Tolerance::Exact,
            tuned: &[],
            mathematics: false,
            bound: CONVERT,
        },
        Kernel {
            name: "histogram",
            folder: EXAMPLES,
            sizes: [&[1 << 16, 256], &[4 << 20, 256], &[128 << 20, 256]],
            work: |n| work(4 * n[0], 2 * n[0], Kind::I32, 1e-6 * n[0] as f64, "Mvalues/s"),
            tolerance: Tolerance::Exact,
            tuned: &[],
            mathematics: false,
            bound: ATOMICS,
        },
        Kernel {
            name: "scan",
            folder: BENCHES,
            sizes: [&[1 << 16], &[4 << 20], &[128 << 20]],
            work: |n| work(12 * n[0], 2 * n[0], Kind::I32, 1e-6 * n[0] as f64, "Mvalues/s"),
            tolerance: Tolerance::Exact,
            tuned: &[],
            mathematics: false,
            bound: ROW,
        },
        Kernel {
            name: "sha256",
            folder: BENCHES,
            sizes: [&[1 << 10], &[1 << 17], &[1 << 20]],
            // Two blocks of 64 rounds, most of them with the schedule's operators.
            work: |n| work(96 * n[0], 2 * 64 * 40 * n[0], Kind::I32, 1e-6 * n[0] as f64, "Mhashes/s"),
            tolerance: Tolerance::Exact,
            tuned: &[],
            mathematics: false,
            bound: INTEGERS,
        },
        Kernel {
            name: "kmeans",
            folder: BENCHES,
            sizes: [&[1 << 12], &[1 << 18], &[1 << 22]],
            work: |n| work(20 * n[0], 16 * 13 * n[0], Kind::F32, 1e-6 * n[0] as f64, "Mpoints/s"),
            // Of centres, in coordinates up to 1024: some points may have joined another one that is as near. Labels, read as
            // floats, are next to nothing.
            tolerance: Tolerance::F32(0.1, 1e-3),
            tuned: &[],
            mathematics: false,
            bound: ATOMICS,
        },
        Kernel {
            name: "bilateral",
            folder: BENCHES,
            sizes: [&[96, 64], &[512, 384], &[3072, 2048]],
            work: |n| {
                let pixels = n[0] * n[1];
                work(8 * pixels, 25 * 9 * pixels, Kind::F32, 1e-6 * pixels as f64, "Mpixels/s")
            },
            tolerance: Tolerance::F32(1e-5, 1e-5),
            tuned: &[],
            mathematics: true,
            bound: EXP,
        },
        Kernel {
            name: "fft",
            folder: BENCHES,
            sizes: [&[10], &[20], &[22]],
            work: |n| computed((16 * n[0]) << n[0], (5 * n[0]) << n[0], Kind::F32),
            // Of the largest amplitude, 1, in each stage.
            tolerance: Tolerance::F32(3e-5, 1e-5),
            tuned: &[],
            mathematics: false,
            bound: CACHE,
        },
        Kernel {
            name: "softmax",
            folder: BENCHES,
            sizes: [&[256, 32], &[4096, 256], &[65536, 512]],
            work: |n| {
                let values = n[0] * n[1];
                work(8 * values, 5 * values, Kind::F32, 1e-6 * values as f64, "Mvalues/s")
            },
            tolerance: Tolerance::F32(1e-7, 1e-4),
            tuned: &[],
            mathematics: true,
            bound: ROW,
        },
    ]
}
