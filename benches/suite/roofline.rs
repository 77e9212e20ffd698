//! What a GPU can do at most, measured: bytes that it copies, and operations of each kind.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use wavelift::device::gpu::GpuDevice;
use wavelift::device::gpu::raw::{WgslBinding, WgslKernel};

use crate::facts;
use crate::kernels::{Kind, Size, Work, rows};
use crate::measure::{Clock, timed};

/// Runs of each measurement; the best counts, for the ceiling is what is possible.
const RUNS: usize = 12;
/// Invocations that compute, rounds of their loops, steps of a round, and chains of which each step has a multiplication and an
/// addition (of whole numbers: an addition and an exclusive or) that do not depend on each other.
const INVOCATIONS: u32 = 64 * 4096;
/// The same of large sizes.
const MANY_INVOCATIONS: u32 = 64 * 65_535;
const ROUNDS: u32 = 64;
const STEPS: u32 = 16;
const CHAINS: u32 = 8;

/// Ceilings of a device, in bytes and operations a second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Roofline {
    pub copy: f64,
    pub f32: f64,
    /// 0 where the device has no such floats.
    pub f64: f64,
    pub i32: f64,
}

impl Roofline {
    /// Measures a device.
    ///
    /// # Errors
    /// The device fails.
    pub fn measure(device: &GpuDevice, size: Size, clock: Clock) -> Result<Roofline> {
        let bytes = match size {
            Size::Small => 16 << 20,
            Size::Medium => 64 << 20,
            Size::Large => 512 << 20,
        };
        let invocations = if size == Size::Large { MANY_INVOCATIONS } else { INVOCATIONS };
        let compute = |ty, a, b, step| compute(device, clock, invocations, [ty, a, b, step]);
        let f64 = match device.options().features.float64 {
            true => compute("f64", "f64(1.0000001)", "f64(0.25)", "X * a + b")?,
            false => 0.0,
        };
        let f32 = |with| compute("f32", "1.0000001", "0.25", with);
        Ok(Roofline {
            copy: copy(device, clock, bytes, "u32")?.max(copy(device, clock, bytes, "f32")?),
            f32: f32("X * a + b")?.max(f32("fma(X, a, b)")?),
            f64,
            i32: compute("u32", "1664525u", "1013904223u", "(X + a) ^ b")?,
        })
    }

    /// Operations a second of a kind.
    pub fn operations(&self, kind: Kind) -> f64 {
        match kind {
            Kind::F32 => self.f32,
            Kind::F64 => self.f64,
            Kind::I32 => self.i32,
        }
    }

    /// What share of the ceiling that is the lower one for this work a kernel reaches in that time, and whether that is the
    /// copy bandwidth.
    pub fn share(&self, work: &Work, seconds: f64) -> (f64, bool) {
        let (moved, computed) = (work.bytes / self.copy, work.operations / self.operations(work.kind).max(1.0));
        (moved.max(computed) / seconds, moved >= computed)
    }
}

/// The best of several dispatches, by the clock that takes the kernels' times, too.
fn best(kernel: &WgslKernel, bindings: &[WgslBinding<'_>], groups: [u32; 3], clock: Clock) -> Result<f64> {
    let launch = kernel.bind_all(bindings)?;
    let mut best = f64::INFINITY;
    for _ in 0..RUNS {
        let seconds = timed(clock, facts::threads(), || Ok(launch.dispatch(groups)?.as_secs_f64()))?;
        best = best.min(seconds.max(1e-9));
    }
    Ok(best)
}

/// Bytes read and written a second.
fn copy(device: &GpuDevice, clock: Clock, bytes: u32, ty: &str) -> Result<f64> {
    let source = "@group(0) @binding(0) var<storage, read> source: array<vec4<TYPE>>;
        @group(0) @binding(1) var<storage, read_write> to: array<vec4<TYPE>>;
        @compute @workgroup_size(64)
        fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
            let i = id.y * groups.x * 64u + id.x;
            if i < arrayLength(&to) { to[i] = source[i]; }
        }";
    // SAFETY: an invocation that has no element does nothing.
    let kernel = unsafe { WgslKernel::new_unchecked(device, &source.replace("TYPE", ty)) }?;
    let (from, to) = (kernel.buffer(&vec![1; bytes as usize])?, kernel.buffer(&vec![0; bytes as usize])?);
    let bindings = [WgslBinding::Storage(&from), WgslBinding::Storage(&to)];
    Ok(2.0 * f64::from(bytes) / best(&kernel, &bindings, rows(bytes.div_ceil(16 * 64)), clock)?)
}

/// Operations a second, a multiplication and an addition being two.
fn compute(device: &GpuDevice, clock: Clock, invocations: u32, [ty, a, b, step]: [&str; 4]) -> Result<f64> {
    let each = |text: &dyn Fn(u32) -> String| (0..CHAINS).map(text).collect::<String>();
    let declare = each(&|chain| format!("var x{chain} = {ty}(id.x + {chain}u);\n"));
    let step = |chain: u32| format!("x{chain} = {};\n", step.replace('X', &format!("x{chain}")));
    // Written out several times, so that the loop itself is little of the work.
    let body = each(&step).repeat(STEPS as usize);
    // What is computed must be of use.
    let sum = (0..CHAINS).map(|chain| format!("x{chain}")).collect::<Vec<_>>().join(" + ");
    let source = format!(
        "@group(0) @binding(0) var<storage, read_write> out: array<u32>;
        @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {{
            let a = {a}; let b = {b};
            {declare}
            for (var round = 0u; round < {ROUNDS}u; round++) {{ {body} }}
            out[id.x] = u32({sum});
        }}"
    );
    let kernel = WgslKernel::new(device, &source)?;
    let out = kernel.buffer(&vec![0; invocations as usize * 4])?;
    let seconds = best(&kernel, &[WgslBinding::Storage(&out)], [invocations / 64, 1, 1], clock)?;
    Ok(2.0 * f64::from(invocations) * f64::from(ROUNDS * CHAINS * STEPS) / seconds)
}
