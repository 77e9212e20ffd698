//! Groups of launches, whose size is chosen by what was measured: what launches compute does not depend on it.

use std::collections::BTreeSet;
use std::sync::Arc;

use libtest_mimic::Failed;
use wavelift::DiskCache;
use wavelift::device::gpu::{GpuContext, GpuDevice, GpuOptions};
use wavelift::device::{Context, GuestModule, Launch, LaunchError, Launched};

use wavelift_translator as translator;
use wavelift_translator::Profile;

use super::support::{Buffers, NoCaller, adapter, buffer, check, words};

/// Steps of a linear congruential generator, as many as the first buffer says; a word of the second is its end. Invocation 77 and
/// all behind it trap where there are none.
const KERNEL: &str = r#"(module (memory 1)
  (func (export "kernel") (param $i i32) (param $n i32) (param i32) (param $p i32) (param i32) (param $q i32) (param i32)
    (local $k i32) (local $x i32)
    (local.set $k (i32.load (local.get $p)))
    (local.set $x (local.get $i))
    (if (i32.and (i32.eqz (local.get $k)) (i32.ge_u (local.get $i) (i32.const 77))) (then (unreachable)))
    (block $done (loop $again
      (br_if $done (i32.eqz (local.get $k)))
      (local.set $x (i32.add (i32.mul (local.get $x) (i32.const 1664525)) (i32.const 1013904223)))
      (local.set $k (i32.sub (local.get $k) (i32.const 1)))
      (br $again)))
    (i32.store (i32.add (local.get $q) (i32.shl (local.get $i) (i32.const 2))) (local.get $x))))"#;

fn module() -> Result<Arc<GuestModule>, Failed> {
    Ok(GuestModule::new(translator::Module::parse(wat::parse_str(KERNEL)?)?))
}

fn launch(module: &Arc<GuestModule>, iterations: u32) -> Launch {
    let buffers = vec![buffer(1, 4), buffer(2, 4 * iterations as usize)];
    Launch { module: module.clone(), function: 0, iterations, block_size: 1, buffers }
}

/// What a launch leaves in the second buffer.
fn expected(iterations: u32, steps: u32) -> Vec<u32> {
    let step = |x: u32| x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    (0..iterations).map(|id| (0..steps).fold(id, |x, _| step(x))).collect()
}

/// Runs a launch so often, and gives the size of its groups each time.
fn sizes(context: &mut GpuContext, launch: &Launch, steps: u32, count: usize) -> Result<Vec<u32>, Failed> {
    let (steps_buffer, out) = (launch.buffers[0], launch.buffers[1]);
    context.fill(&steps_buffer, &steps.to_le_bytes())?;
    let expected = expected(launch.iterations, steps);
    let mut sizes = Vec::new();
    for _ in 0..count {
        context.fill(&out, &vec![0; out.size as usize])?;
        let times = match context.enqueue(launch, &mut NoCaller)? {
            Launched::Done(times) => times,
            Launched::Deferred => context.finish().pop().ok_or("a launch is lost")??,
        };
        sizes.push(times.group.ok_or("a GPU's launch has no groups")?);
        check(words(&context.bytes(&out)?) == expected, format!("{} invocations, {sizes:?}", launch.iterations))?;
    }
    Ok(sizes)
}

/// Rounds after which the choice is made: what comes before a trial, and three times three sizes.
const UNTIL_CHOSEN: usize = 12;

/// Launches of few and of many invocations, which try all sizes that may be best for them, and keep to one.
pub fn launches_in_groups_of_all_sizes_give_the_same() -> Result<(), Failed> {
    let profiles = [Profile::Vulkan, Profile::Portable];
    for (profile, (iterations, steps)) in
        profiles.iter().flat_map(|profile| [(3, 200_000), (100, 20_000), (30_001, 300)].map(|size| (*profile, size)))
    {
        let device = GpuDevice::open(&adapter()?, &GpuOptions { profile, ..GpuOptions::default() })?;
        device.try_group_sizes();
        let module = module()?;
        let mut context = device.new_gpu_context();
        let sizes = sizes(&mut context, &launch(&module, iterations), steps, UNTIL_CHOSEN + 3)?;
        let tried: BTreeSet<u32> = sizes.iter().copied().collect();
        check(tried.len() > 1, format!("{iterations} invocations try nothing: {sizes:?}"))?;
        let chosen = &sizes[UNTIL_CHOSEN..];
        check(chosen.iter().all(|size| *size == chosen[0]), format!("{iterations} invocations: {sizes:?}"))?;
    }
    Ok(())
}

/// The least iteration that traps, in groups of sizes that the embedder asks for.
pub fn the_least_trap_is_the_same_in_all_sizes() -> Result<(), Failed> {
    for size in [1, 8, 64, 256] {
        let options = GpuOptions { workgroup_size: Some(size), ..GpuOptions::default() };
        let device = GpuDevice::open(&adapter()?, &options)?;
        let mut context = device.new_gpu_context();
        let launch = launch(&module()?, 1000);
        check(sizes(&mut context, &launch, 5, 2)? == [size; 2], "another size than was asked for")?;
        context.write_buffer(launch.buffers[0].id, 0, &[0; 4])?;
        match context.launch(&launch, &mut NoCaller) {
            Err(LaunchError::Trap(trap)) => check(trap.iteration == 77, format!("groups of {size}: {trap:?}"))?,
            other => return Err(format!("groups of {size}: {other:?}").into()),
        }
    }
    Ok(())
}

/// A device that has not seen a kernel takes what another one found out.
pub fn sizes_are_remembered() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let module = module()?;
    let mut found = Vec::new();
    for _ in 0..2 {
        let cache = Arc::new(DiskCache::open(folder.path(), 64 << 20)?);
        let device = GpuDevice::open_with_cache(&adapter()?, &GpuOptions::default(), cache.clone())?;
        device.try_group_sizes();
        let sizes = sizes(&mut device.new_gpu_context(), &launch(&module, 30_001), 300, UNTIL_CHOSEN + 1)?;
        found.push((sizes, cache.statistics().groups));
    }
    let [(first, wrote), (second, read)] = [found.remove(0), found.remove(0)];
    check(wrote.stored == 1 && wrote.hits == 0, format!("{wrote:?}"))?;
    check(read.hits == 1 && read.stored == 0, format!("{read:?}"))?;
    check(second.iter().all(|size| Some(size) == first.last()), format!("{first:?} {second:?}"))
}
