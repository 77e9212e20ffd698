//! The kernels that are measured: sizes, and buffers with the bytes that the guests give them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use wavelift::device::{Access, BufferId, BufferSpec, GuestModule};
use wavelift::translator::{self, BufferParam, Shape};

/// Invocations of a workgroup, in the shaders and in the lifted kernels.
pub const GROUP: u32 = 64;
/// Groups of one row of a dispatch.
const ROW: u32 = 65_535;
/// What a GPU that fuses products and sums may change in numbers of size 1 to 10, summed up over some hundreds.
const CONTRACTION: f32 = 1e-4;

/// A buffer of a kernel.
pub struct Buffer {
    /// Its first bytes.
    pub bytes: Vec<u8>,
    pub access: Access,
    /// Parameters: a uniform buffer for the shader.
    pub params: bool,
}

/// One kernel at one size.
pub struct Case {
    pub name: &'static str,
    /// The guest's file, without its extension.
    program: &'static str,
    pub size: String,
    pub iterations: u32,
    pub buffers: Vec<Buffer>,
    /// Share of the output's words in which the shader may differ from the guest: its arithmetic may be reordered.
    pub tolerance: f64,
    /// What the output's floats may be off by without being different; 0: no bit.
    pub error: f32,
    /// Arguments of the guest program at the CPU part's size.
    pub guest_arguments: &'static [&'static str],
}

/// The kernels with a hand-written twin, at sizes whose launches take 20 ms and more on one core.
pub fn twins() -> Vec<Case> {
    vec![
        nstream(8 << 20),
        sgemm(384),
        stencil(2048, 1536),
        mandelbrot(1280, 960, 256),
        nbody(4096),
        histogram(4 << 20, 256),
    ]
}

/// The kernels of all guests, at such sizes.
pub fn guests() -> Vec<Case> {
    let mut cases = twins();
    cases.extend([saxpy(8 << 20), nstream_block(8 << 20)]);
    cases
}

/// The kernels with a hand-written twin that call the C library's mathematics, whose tables lie in linear memory.
pub fn mathematics() -> Vec<Case> {
    vec![black_scholes(1 << 18)]
}

fn case(name: &'static str, size: String, iterations: u32, buffers: Vec<Buffer>) -> Case {
    Case { name, program: name, size, iterations, buffers, tolerance: 0.0, error: 0.0, guest_arguments: &[] }
}

fn saxpy(length: u32) -> Case {
    let mut random = Random(1);
    let (x, y) = (random.floats(length), random.floats(length));
    let buffers = vec![input(x), buffer(y, Access::ReadWrite)];
    Case { error: CONTRACTION, program: "hello_parallel", ..case("saxpy", format!("{length}"), length, buffers) }
}

/// Each invocation takes a block of as many elements as a group has invocations.
fn nstream_block(length: u32) -> Case {
    let mut random = Random(1);
    let (b, c, a) = (random.floats(length), random.floats(length), random.floats(length));
    let buffers = vec![input(b), input(c), buffer(a, Access::ReadWrite)];
    case("nstream_block", format!("{length} in blocks of {GROUP}"), length / GROUP, buffers)
}

fn nstream(length: u32) -> Case {
    let mut random = Random(1);
    let (b, c, a) = (random.floats(length), random.floats(length), random.floats(length));
    let buffers = vec![input(b), input(c), buffer(a, Access::ReadWrite)];
    Case {
        error: CONTRACTION,
        guest_arguments: &["5", "8388608"],
        ..case("nstream", format!("{length}"), length, buffers)
    }
}

fn sgemm(n: u32) -> Case {
    let mut random = Random(1);
    let (a, b) = (random.centred(n * n, 0.5), random.centred(n * n, 0.5));
    let buffers =
        vec![params(&[n, 0, 0, 0]), input(a), input(b), buffer(vec![0; n as usize * n as usize * 4], Access::Write)];
    Case { error: CONTRACTION, guest_arguments: &["384"], ..case("sgemm", format!("{n} x {n}"), n * n, buffers) }
}

fn stencil(width: u32, height: u32) -> Case {
    let count = width * height;
    let from = Random(1).floats(count);
    let to = from.clone();
    let buffers = vec![params(&[width, height, 0, 0]), buffer(from, Access::ReadWrite), buffer(to, Access::ReadWrite)];
    Case {
        error: CONTRACTION,
        guest_arguments: &["2048", "1536", "5"],
        ..case("stencil", format!("{width} x {height}"), count, buffers)
    }
}

fn mandelbrot(width: u32, height: u32, max_steps: u32) -> Case {
    let (dx, dy) = (3.0 / width as f32, 2.5 / height as f32);
    let window = [-2.25f32, -1.25, dx, dy].map(f32::to_bits);
    let [left, top, dx, dy] = window;
    let count = width * height;
    let buffers = vec![
        params(&[width, height, max_steps, left, top, dx, dy, 0]),
        buffer(vec![0; count as usize * 4], Access::Write),
    ];
    let size = format!("{width} x {height}, {max_steps} steps");
    let arguments = &["1280", "960", "256"];
    Case { tolerance: 0.005, guest_arguments: arguments, ..case("mandelbrot", size, count, buffers) }
}

fn nbody(bodies: u32) -> Case {
    let mut random = Random(1);
    let mut before = random.centred(bodies * 4, 1.0);
    for mass in before.chunks_exact_mut(16) {
        let value = random.next() / bodies as f32;
        mass[12..].copy_from_slice(&value.to_le_bytes());
    }
    let empty = vec![0; bodies as usize * 16];
    let buffers = vec![
        params(&[bodies, 0.01f32.to_bits(), 0.001f32.to_bits(), 0]),
        buffer(before, Access::ReadWrite),
        buffer(empty.clone(), Access::ReadWrite),
        buffer(empty, Access::ReadWrite),
    ];
    Case {
        error: CONTRACTION,
        guest_arguments: &["4096", "2"],
        ..case("nbody", format!("{bodies} bodies"), bodies, buffers)
    }
}

fn histogram(length: u32, bins: u32) -> Case {
    let mut random = Random(1);
    let data = (0..length).flat_map(|_| (random.word() >> 12).to_le_bytes()).collect();
    let buffers = vec![input(data), buffer(vec![0; 4 * bins as usize], Access::ReadWrite)];
    let arguments = &["4194304", "256"];
    Case { guest_arguments: arguments, ..case("histogram", format!("{length} in {bins} bins"), length, buffers) }
}

/// A price may be off by what single precision is, as in the guest: 2e-6 of the sum of spot and strike price, 130 at most.
fn black_scholes(count: u32) -> Case {
    let mut random = Random(1);
    let mut option = || [5.0 + 25.0 * random.next(), 1.0 + 99.0 * random.next(), 0.25 + 9.75 * random.next(), 0.0];
    let options = (0..count).flat_map(|_| option()).flat_map(f32::to_le_bytes).collect();
    let buffers = vec![input(options), buffer(vec![0; 8 * count as usize], Access::Write)];
    Case { error: 2.6e-4, ..case("black_scholes", format!("{count} options"), count, buffers) }
}

fn buffer(bytes: Vec<u8>, access: Access) -> Buffer {
    Buffer { bytes, access, params: false }
}

fn input(bytes: Vec<u8>) -> Buffer {
    buffer(bytes, Access::Read)
}

fn params(words: &[u32]) -> Buffer {
    let bytes = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    Buffer { bytes, access: Access::Read, params: true }
}

/// Numbers that are the same everywhere.
struct Random(u32);

impl Random {
    /// In [0, 1).
    fn next(&mut self) -> f32 {
        (self.word() >> 8) as f32 / 16_777_216.0
    }

    fn word(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.0
    }

    /// Bytes of floats in [0, 1).
    fn floats(&mut self, count: u32) -> Vec<u8> {
        (0..count).flat_map(|_| self.next().to_le_bytes()).collect()
    }

    /// Bytes of floats in [-half, half).
    fn centred(&mut self, count: u32, half: f32) -> Vec<u8> {
        (0..count).flat_map(|_| ((self.next() * 2.0 - 1.0) * half).to_le_bytes()).collect()
    }
}

impl Case {
    /// The buffers as a guest creates them.
    pub fn specs(&self) -> Vec<BufferSpec> {
        let mut address = 0xffff_0000u32;
        let spec = |(id, buffer): (u64, &Buffer)| {
            let size = buffer.bytes.len() as u32;
            address -= size.next_multiple_of(0x1_0000);
            BufferSpec { id: BufferId(id), address, size, access: buffer.access }
        };
        (1..).zip(&self.buffers).map(spec).collect()
    }

    /// The launch's immediates, but for those of a single dispatch.
    pub fn immediates(&self) -> Vec<u32> {
        let slots = self.specs().into_iter().flat_map(|spec| [spec.address, spec.size]);
        [0, 0, self.iterations, GROUP, 0].into_iter().chain(slots).collect()
    }

    /// The launch's part that the lifted kernel depends on.
    pub fn shape(&self) -> Shape {
        let buffers = (0..).zip(&self.buffers).map(|(slot, b)| BufferParam { slot, access: b.access });
        Shape::of(buffers.collect())
    }

    /// The guest's module, and the kernel's number in it.
    pub fn kernel(&self) -> Result<(Arc<GuestModule>, u32)> {
        let path = self.guest();
        let bytes = std::fs::read(&path).with_context(|| format!("`{}` can't be read", path.display()))?;
        let wasm = translator::Module::parse(bytes)?;
        let function = wasm.find_function(self.name).with_context(|| format!("no kernel in `{}`", path.display()))?;
        Ok((Arc::new(GuestModule { id: 0, wasm }), function))
    }

    /// The guest program.
    pub fn guest(&self) -> PathBuf {
        root().join(format!("examples/guests/{}.wasm", self.program))
    }

    /// The hand-written shader.
    pub fn shader(&self) -> Result<String> {
        let path = root().join(format!("shaders/{}.wgsl", self.name));
        std::fs::read_to_string(&path).with_context(|| format!("`{}` can't be read", path.display()))
    }

    /// The dispatch of the shader that has an invocation for each iteration.
    pub fn groups(&self) -> [u32; 3] {
        let groups = self.iterations.div_ceil(GROUP);
        if groups <= ROW {
            return [groups, 1, 1];
        }
        let rows = groups.div_ceil(ROW);
        [groups.div_ceil(rows), rows, 1]
    }
}

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
