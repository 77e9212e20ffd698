//! Launches that are recorded once more because they equal one before: what they depend on must tell them apart.

use std::sync::Arc;

use libtest_mimic::Failed;
use wavelift::device::gpu::{GpuDevice, GpuOptions};
use wavelift::device::{
    Access, BufferSpec, Caller, Context, GlobalValue, GuestModule, Launch, LaunchError, TableEntry, TrapKind,
};
use wavelift_translator as translator;

use super::support::{Buffers, adapter, buffer, check};

/// Kernels that mix all arguments into their second buffer; the last four read the caller's state, too: a global, the table,
/// linear memory, and a pointer that lies in linear memory.
const KERNELS: &str = r#"(module
  (type $kernel (func (param i32 i32 i32 i32 i32 i32 i32)))
  (memory 1)
  (global $g (mut i32) (i32.const 0))
  (table 2 funcref)
  (elem (i32.const 0) $six $seven)
  (func $six (result i32) (i32.const 6))
  (func $seven (result i32) (i32.const 7))
  (func $mix (param $i i32) (param $n i32) (param $b i32) (param $p i32) (param $pl i32) (param $q i32) (param $ql i32)
      (param $by i32)
    (local $at i32)
    (i32.store (local.tee $at (i32.add (local.get $q) (i32.shl (local.get $i) (i32.const 2))))
      (i32.add (i32.mul (i32.load (local.get $at)) (i32.const 31))
        (i32.add (i32.load (i32.add (local.get $p) (i32.shl (local.get $i) (i32.const 2))))
          (i32.add (i32.mul (local.get $n) (i32.const 1000))
            (i32.add (i32.mul (local.get $b) (i32.const 77))
              (i32.add (i32.mul (local.get $pl) (i32.const 7))
                (i32.add (i32.mul (local.get $ql) (i32.const 3)) (local.get $by)))))))))
  (func (type $kernel) (call $mix (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4) (local.get 5)
    (local.get 6) (i32.const 1)))
  (func (type $kernel) (call $mix (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4) (local.get 5)
    (local.get 6) (i32.const 2)))
  (func (type $kernel) (call $mix (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4) (local.get 5)
    (local.get 6) (global.get $g)))
  (func (type $kernel) (call $mix (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4) (local.get 5)
    (local.get 6) (call_indirect (result i32) (i32.and (local.get 0) (i32.const 1)))))
  (func (type $kernel) (call $mix (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4) (local.get 5)
    (local.get 6) (i32.load (i32.const 64))))
  (func (type $kernel) (call $mix (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4) (local.get 5)
    (local.get 6) (i32.load (i32.load (i32.const 128))))))"#;
/// The function number of the first kernel.
const FIRST: u32 = 3;
const KERNEL_COUNT: u32 = 6;

/// State that changes between launches.
struct State {
    memory: Vec<u8>,
    global: i32,
    swapped: bool,
}

impl Caller for State {
    fn memory_size(&mut self) -> u64 {
        self.memory.len() as u64
    }

    fn read_memory(&mut self, offset: u64, out: &mut [u8]) {
        out.copy_from_slice(&self.memory[offset as usize..][..out.len()]);
    }

    fn write_memory(&mut self, offset: u64, data: &[u8]) {
        self.memory[offset as usize..][..data.len()].copy_from_slice(data);
    }

    fn global(&mut self, _index: u32) -> Option<GlobalValue> {
        Some(GlobalValue::I32(self.global))
    }

    fn table(&mut self, _index: u32) -> Vec<TableEntry> {
        let entries = [TableEntry::Function(0), TableEntry::Function(1)];
        if self.swapped { entries.into_iter().rev().collect() } else { entries.to_vec() }
    }
}

/// Numbers that look random, the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

/// Launches at random of which many equal one before, or differ in one thing only, in one context that need not wait and one
/// that waits for each.
pub fn equal_launches_are_told_from_others() -> Result<(), Failed> {
    let device = GpuDevice::open(&adapter()?, &GpuOptions::default())?;
    let wasm = |text: &str| -> Result<Arc<GuestModule>, Failed> {
        Ok(GuestModule::new(translator::Module::parse(wat::parse_str(text)?)?))
    };
    // The same numbers of functions, and other constants.
    let modules = [wasm(KERNELS)?, wasm(&KERNELS.replace("(i32.const 31)", "(i32.const 37)"))?];
    let mut contexts = [device.new_gpu_context(), device.new_gpu_context()];
    let mut buffers: Vec<BufferSpec> = [64, 64, 128, 128].iter().zip(1..).map(|(size, id)| buffer(id, *size)).collect();
    buffers[3].access = Access::Read;
    for context in &mut contexts {
        for spec in &buffers {
            context.fill(spec, &vec![spec.id.0 as u8; spec.size as usize])?;
        }
    }
    let mut state = State { memory: vec![0; 1 << 16], global: 0, swapped: false };
    let mut random = Random(1);
    for step in 0..1500u32 {
        let (module, iterations, block_size) = (random.below(2), 15 + random.below(2), 1 + random.below(2));
        let function = FIRST + random.below(KERNEL_COUNT as usize) as u32;
        let [p, q] = [buffers[random.below(4)], buffers[random.below(3)]];
        state.global = random.below(2) as i32;
        state.swapped = random.below(2) == 0;
        state.memory[64] = random.below(2) as u8;
        let pointer = 64 + 4 * random.below(2) as u32;
        state.memory[128..132].copy_from_slice(&pointer.to_le_bytes());
        let module = modules[module].clone();
        let launch = Launch {
            module,
            function,
            iterations: iterations as u32,
            block_size: block_size as u32,
            buffers: vec![p, q],
        };
        contexts[0].enqueue(&launch, &mut state)?;
        contexts[1].launch(&launch, &mut state)?;
        if step % 97 == 96 {
            // Another buffer at the same address.
            let new = BufferSpec { id: wavelift::device::BufferId(100 + u64::from(step)), ..buffers[1] };
            for context in &mut contexts {
                context.free_buffer(buffers[1].id);
                context.fill(&new, &[step as u8; 64])?;
            }
            buffers[1] = new;
        }
        if step % 50 == 49 {
            for spec in &buffers {
                let [got, expected] = [contexts[0].bytes(spec)?, contexts[1].bytes(spec)?];
                check(got == expected, format!("buffer {} after {step} launches: {got:?}, {expected:?}", spec.id.0))?;
            }
        }
    }
    check(contexts[0].finish().iter().all(Result::is_ok), "a launch failed")
}

/// A number of rounds that stands in the first buffer, each of which stores to a word of the second.
const COUNTED: &str = r#"(module (memory 1)
  (func (export "kernel") (param $i i32) (param i32 i32) (param $p i32) (param i32) (param $q i32) (param i32)
    (local $k i32) (local $n i32) (local $at i32)
    (local.set $n (i32.load offset=4 (local.get $p)))
    (loop $again
      (local.set $at (i32.add (local.get $q) (i32.shl (local.get $k) (i32.const 2))))
      (i32.store (local.get $at) (i32.add (local.get $k) (local.get $n)))
      (br_if $again (i32.lt_u (local.tee $k (i32.add (local.get $k) (i32.const 1))) (local.get $n))))))"#;

/// Where a buffer to which kernels may not store says how often a loop runs, launches run without checks of bounds, as long as that
/// is what it says: written between launches, by the host or, where kernels may store to it, by one of these.
pub fn sizes_in_buffers_are_those_of_each_launch() -> Result<(), Failed> {
    let device = GpuDevice::open(&adapter()?, &GpuOptions::default())?;
    let module = GuestModule::new(translator::Module::parse(wat::parse_str(COUNTED)?)?);
    for access in [Access::Read, Access::ReadWrite] {
        let mut context = device.new_gpu_context();
        let (mut sizes, out) = (buffer(1, 8), buffer(2, 64));
        sizes.access = access;
        context.create_buffer(&sizes)?;
        context.create_buffer(&out)?;
        let mut state = State { memory: vec![0; 1 << 16], global: 0, swapped: false };
        let launch =
            Launch { module: module.clone(), function: 0, iterations: 1, block_size: 1, buffers: vec![sizes, out] };
        let mut random = Random(7);
        let mut size = 0;
        for step in 0..120 {
            if step == 0 || random.below(3) == 0 {
                size = [1, 15, 16, 17, 18, 1 << 30][random.below(6)];
                context.write_buffer(sizes.id, 4, &u32::to_le_bytes(size))?;
            }
            let ended = match step % 2 {
                0 => context.launch(&launch, &mut state).map(|_| ()),
                _ => match context.enqueue(&launch, &mut state) {
                    Ok(_) => context.finish().into_iter().try_for_each(|ended| ended.map(|_| ())),
                    Err(error) => Err(error),
                },
            };
            let trapped = matches!(&ended, Err(LaunchError::Trap(trap)) if trap.kind == TrapKind::OutOfBounds);
            check(trapped || ended.is_ok(), format!("{access:?}, size {size}: {ended:?}"))?;
            check(trapped == (size > 16), format!("{access:?}, step {step}, size {size}: {ended:?}"))?;
            if !trapped {
                let words = context.bytes(&out)?;
                let last = 4 * (size as usize - 1);
                let found = words[last..].first_chunk().map(|word| u32::from_le_bytes(*word));
                check(found == Some(2 * size - 1), format!("{access:?}, size {size}: {found:?}"))?;
            }
        }
    }
    Ok(())
}
