//! Block loops whose iterations are invocations, against the CPU: bytes, traps, odd sizes, in both profiles.

use libtest_mimic::Failed;
use wavelift::device::gpu::{GpuDevice, GpuOptions};
use wavelift::device::{
    Access, BufferId, BufferSpec, Caller, Context, Device, GlobalValue, GuestModule, KernelTrap, Launch, LaunchError,
    TableEntry, cpu,
};
use wavelift::memory::AddressSpace;
use wavelift_translator::{Coarsen, Flatten, Module, Profile};

use super::support::{adapter, check};

/// Kernels of three buffers: one that divides in its loop, and one that goes down.
const KERNELS: &str = r#"(module (memory 1)
  (func $quotients (export "quotients") (param $i i32) (param $n i32) (param $block i32)
      (param $b i32) (param $b_bytes i32) (param $c i32) (param $c_bytes i32) (param $a i32) (param $a_bytes i32)
    (local $x i32) (local $end i32)
    (local.set $x (i32.shl (i32.mul (local.get $i) (local.get $block)) (i32.const 2)))
    (local.set $end (i32.add (local.get $x) (i32.shl (local.get $block) (i32.const 2))))
    (block $out (loop $again
      (br_if $out (i32.ge_u (local.get $x) (local.get $end)))
      (i32.store (i32.add (local.get $a) (local.get $x))
        (i32.div_u (i32.load (i32.add (local.get $b) (local.get $x))) (i32.load (i32.add (local.get $c) (local.get $x)))))
      (local.set $x (i32.add (local.get $x) (i32.const 4)))
      (br $again))))
  (func $down (export "down") (param $i i32) (param $n i32) (param $block i32)
      (param $b i32) (param $b_bytes i32) (param $c i32) (param $c_bytes i32) (param $a i32) (param $a_bytes i32)
    (local $x i32) (local $left i32)
    (local.set $x (i32.shl (i32.mul (i32.add (local.get $i) (i32.const 1)) (local.get $block)) (i32.const 2)))
    (local.set $left (local.get $block))
    (block $out (br_if $out (i32.eqz (local.get $left)))
      (loop $again
        (local.set $x (i32.sub (local.get $x) (i32.const 4)))
        (i32.store (i32.add (local.get $a) (local.get $x))
          (i32.sub (i32.load (i32.add (local.get $c) (local.get $x))) (i32.load (i32.add (local.get $b) (local.get $x)))))
        (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1))))))))"#;

/// Linear memory and the stack pointer of a guest that uses neither.
struct State;

impl Caller for State {
    fn memory_size(&mut self) -> u64 {
        1 << 20
    }

    fn read_memory(&mut self, _offset: u64, out: &mut [u8]) {
        out.fill(0);
    }

    fn write_memory(&mut self, _offset: u64, _data: &[u8]) {}

    fn global(&mut self, _index: u32) -> Option<GlobalValue> {
        Some(GlobalValue::I32(1 << 16))
    }

    fn table(&mut self, _index: u32) -> Vec<TableEntry> {
        Vec::new()
    }
}

#[derive(Clone, Copy, Debug)]
struct Case {
    iterations: u32,
    block: u32,
    /// Words of the three buffers.
    words: [u32; 3],
    /// Which word of the second is 0.
    zero: usize,
}

const CASES: [Case; 9] = [
    Case { iterations: 8, block: 64, words: [512; 3], zero: 9999 },
    Case { iterations: 3, block: 1000, words: [3000; 3], zero: 2345 },
    Case { iterations: 5, block: 13, words: [65; 3], zero: 9999 },
    Case { iterations: 5, block: 13, words: [65, 40, 65], zero: 9999 },
    Case { iterations: 7, block: 96, words: [672, 672, 500], zero: 3 },
    Case { iterations: 7, block: 97, words: [679, 679, 500], zero: 250 },
    Case { iterations: 1, block: 4001, words: [4001; 3], zero: 4000 },
    Case { iterations: 300, block: 32, words: [9600; 3], zero: 9999 },
    Case { iterations: 4, block: 0, words: [16; 3], zero: 0 },
];

impl Case {
    fn contents(&self) -> [Vec<u8>; 3] {
        let fill = |words: u32, factor: u32| (0..words).map(move |at| at.wrapping_mul(factor) % 1000 + 1);
        let mut contents = [(0, 7), (1, 13), (2, 1)].map(|(number, factor)| fill(self.words[number], factor).collect());
        let second: &mut Vec<u32> = &mut contents[1];
        if let Some(word) = second.get_mut(self.zero) {
            *word = 0;
        }
        contents.map(|words| words.iter().flat_map(|word| word.to_le_bytes()).collect())
    }

    /// What a launch on a device leaves, its trap, and how many invocations stood for one.
    fn run(&self, device: &dyn Device, module: &std::sync::Arc<GuestModule>, function: u32) -> Result<Outcome, Failed> {
        let space = AddressSpace::detached()?;
        let mut buffers = Vec::new();
        let contents = self.contents();
        for (id, (bytes, access)) in (1..).zip(contents.iter().zip([Access::Read, Access::Read, Access::ReadWrite])) {
            let size = bytes.len() as u32;
            let address = space.allocate(size, 1 << 20).ok_or("no addresses")?;
            buffers.push(BufferSpec { id: BufferId(id), address, size, access });
        }
        let mut context = device.new_context(space)?;
        for (spec, bytes) in buffers.iter().zip(&contents) {
            context.create_buffer(spec)?;
            context.write_buffer(spec.id, 0, bytes)?;
        }
        let (iterations, block_size) = (self.iterations, self.block);
        let launch = Launch { module: module.clone(), function, iterations, block_size, buffers: buffers.clone() };
        let (mut trap, mut rounds) = (None, 0);
        match context.launch(&launch, &mut State) {
            Ok(times) => rounds = times.rounds,
            Err(LaunchError::Trap(found)) => trap = Some(found),
            Err(error) => return Err(error.into()),
        }
        let mut result = contents[2].clone();
        context.read_buffer(buffers[2].id, 0, &mut result)?;
        Ok(Outcome { result, trap, rounds })
    }
}

struct Outcome {
    result: Vec<u8>,
    trap: Option<KernelTrap>,
    rounds: u32,
}

/// All kernels and cases on the CPU and, in all ways, on the GPU.
pub fn block_loops_are_flattened() -> Result<(), Failed> {
    let bytes = |file: &str| std::fs::read(format!("{}/benches/guests/{file}", env!("CARGO_MANIFEST_DIR")));
    let modules = [
        (bytes("nstream_blocks.wasm")?, vec!["nstream_block"]),
        (bytes("nstream_blocks.simd.wasm")?, vec!["nstream_block"]),
        (wat::parse_str(KERNELS)?, vec!["quotients", "down"]),
    ];
    let mut devices = Vec::new();
    for profile in [Profile::Vulkan, Profile::Portable] {
        for (coarsen, flatten) in [(Coarsen::Never, Flatten::Always), (Coarsen::Always, Flatten::Always)] {
            let options = GpuOptions { profile, coarsen, flatten, ..GpuOptions::default() };
            devices.push((GpuDevice::open(&adapter()?, &options)?, format!("{profile:?}, {coarsen:?}")));
        }
    }
    let (mut flattened, mut traps) = (0, 0);
    for (bytes, names) in modules {
        let module = GuestModule::new(Module::parse(bytes)?);
        for name in names {
            let function = module.wasm.find_function(name).ok_or("no such kernel")?;
            for case in CASES {
                let want = case.run(&*cpu::sequential(), &module, function)?;
                for (device, way) in &devices {
                    let got = case.run(device, &module, function)?;
                    let what = format!("{name}, {way}, {case:?}");
                    let of = |outcome: &Outcome| outcome.trap.map(|trap| (trap.kind, trap.iteration));
                    check(of(&got) == of(&want), format!("{what}: {:?} instead of {:?}", got.trap, want.trap))?;
                    check(want.trap.is_some() || got.result == want.result, format!("{what}: other bytes"))?;
                    flattened += u32::from(got.rounds > 1);
                    traps += u32::from(got.trap.is_some());
                }
            }
        }
    }
    check(flattened > 60 && traps > 20, format!("{flattened} flattened, {traps} traps"))
}
