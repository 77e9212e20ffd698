//! Kernels as the translator would emit them, written in WGSL: arguments in the immediates, slot `s` at binding
//! `s + 1`, the trap record at binding 0.

use std::sync::Arc;

use libtest_mimic::Failed;
use naga::back::spv;
use naga::valid::{Capabilities, ValidationFlags, Validator};
use wavelift::device::gpu::{GpuDevice, Kernel};
use wavelift_translator::{Binding, Interface, Layout, Location, Shader, TrapKind, TrapSite};

/// A kernel's text and what its interface says.
pub struct Source {
    /// Slots bound, from 0 on.
    slots: u32,
    /// Trap sites.
    sites: &'static [TrapSite],
    /// Invocations of a group.
    workgroup_size: u32,
    /// Declarations, then the statements of an invocation, which finds its iteration in `id`.
    declarations: &'static str,
    statements: &'static str,
}

/// `y[i] += 2.5 * x[i]`
pub const SAXPY: Source = Source {
    slots: 2,
    sites: &[],
    workgroup_size: 1,
    declarations: "@group(0) @binding(1) var<storage, read_write> x: array<f32>;
        @group(0) @binding(2) var<storage, read_write> y: array<f32>;",
    statements: "y[id] = 2.5 * x[id] + y[id];",
};

/// Counts each iteration's invocations.
pub const COUNT: Source = Source {
    slots: 1,
    sites: &[],
    workgroup_size: 1,
    declarations: "@group(0) @binding(1) var<storage, read_write> x: array<atomic<u32>>;",
    statements: "if id < args.slots[0].y / 4u { atomicAdd(&x[id], 1u); }",
};

/// The same after much work.
pub const SLOW: Source = Source {
    slots: 1,
    sites: &[],
    workgroup_size: 64,
    declarations: "@group(0) @binding(1) var<storage, read_write> x: array<atomic<u32>>;",
    statements: "var seed = id;
        for (var i = 0u; i < 600u; i++) { seed = seed * 1664525u + 1013904223u; }
        atomicAdd(&x[id], select(1u, 2u, seed == args.zero && id != args.zero && seed != 0u));",
};

/// Stores its arguments.
pub const ARGUMENTS: Source = Source {
    slots: 2,
    sites: &[],
    workgroup_size: 64,
    declarations: "@group(0) @binding(1) var<storage, read_write> x: array<atomic<u32>>;
        @group(0) @binding(2) var<storage, read_write> unused: array<u32>;",
    statements: "atomicStore(&x[0], args.iterations);
        atomicStore(&x[1], args.block_size);
        atomicStore(&x[2], args.zero);
        atomicStore(&x[3], args.slots[0].x);
        atomicStore(&x[4], args.slots[0].y);
        atomicStore(&x[5], args.slots[1].x);
        atomicStore(&x[6], args.slots[1].y);
        atomicAdd(&x[7], 1u);",
};

/// Traps at site 0 from iteration `x[0]` on, and at site 1 from `x[1]` on.
pub const TRAP: Source = Source {
    slots: 1,
    sites: &[
        TrapSite { at: Location { function: 1, offset: 11 }, kind: TrapKind::OutOfBounds },
        TrapSite { at: Location { function: 1, offset: 22 }, kind: TrapKind::DivideByZero },
    ],
    workgroup_size: 64,
    declarations: "@group(0) @binding(0) var<storage, read_write> traps: array<atomic<u32>>;
        @group(0) @binding(1) var<storage, read_write> x: array<u32>;",
    statements: "if id >= x[1] { atomicMin(&traps[args.traps + 1u], id); }
        if id >= x[0] { atomicMin(&traps[args.traps], id); }",
};

/// A shader for the raw interface: `x[i] = 2 * x[i] + add`.
pub const DOUBLE: &str = "
@group(0) @binding(0) var<storage, read_write> x: array<u32>;
@group(0) @binding(1) var<uniform> add: u32;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < arrayLength(&x) { x[id.x] = 2u * x[id.x] + add; }
}";

/// The SPIR-V of a kernel, with its interface.
pub fn compile(source: &Source) -> Result<Shader, Failed> {
    let text = format!(
        "struct Args {{ first: u32, count: u32, traps: u32, iterations: u32, block_size: u32, zero: u32, {} }}
        var<immediate> args: Args;
        {}
        @compute @workgroup_size({}) fn main(@builtin(global_invocation_id) global: vec3<u32>) {{
            if global.x >= args.count {{ return; }}
            let id = args.first + global.x;
            {}
        }}",
        (0..source.slots).map(|s| format!("address{s}: u32, length{s}: u32")).collect::<Vec<_>>().join(", "),
        source.declarations,
        source.workgroup_size,
        with_slots(source.statements, source.slots),
    );
    let module = naga::front::wgsl::parse_str(&text).map_err(|error| error.emit_to_string(&text))?;
    let info = Validator::new(ValidationFlags::all(), Capabilities::all()).validate(&module)?;
    let options = spv::Options { lang_version: (1, 3), ..Default::default() };
    let words = spv::write_vec(&module, &info, &options, None)?;
    let bindings = (0..source.slots)
        .map(|slot| Binding { binding: slot + 1, slot, slice: 0, writable: true, uniform: false })
        .collect();
    let interface = Interface {
        workgroup_size: source.workgroup_size,
        lanes: 1,
        bindings,
        immediates_size: 24 + 8 * source.slots,
        parameters_size: 0,
        data: [].into(),
        trap_sites: source.sites.to_vec(),
        inputs: vec![],
        layout: Layout::default(),
    };
    Ok(Shader::new(words, interface))
}

/// `args.slots[s].x` and `.y` to the members that stand for them: an array in the immediates would need padding.
fn with_slots(statements: &str, slots: u32) -> String {
    (0..slots).fold(statements.to_string(), |text, s| {
        text.replace(&format!("args.slots[{s}].x"), &format!("args.address{s}"))
            .replace(&format!("args.slots[{s}].y"), &format!("args.length{s}"))
    })
}

/// The kernel on a device.
pub fn prepare(device: &GpuDevice, source: &Source) -> Result<Arc<Kernel>, Failed> {
    // SAFETY: the words are naga's, valid SPIR-V; the tests keep invocations within the buffers they bind.
    Ok(unsafe { device.prepare(compile(source)?) }?)
}
