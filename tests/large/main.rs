//! Launches beyond a device's limits: buffers larger than a binding, more buffers than bindings, more arguments than
//! immediates. The limits are lowered, so that small launches exceed them; results are compared with the CPU's.
//! Where there is no GPU driver each test shows as ignored.

#[path = "../gpu/support.rs"]
#[allow(dead_code)]
mod support;

mod kernels;

use std::time::{Duration, Instant};

use kernels::{Case, Outcome};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use support::{adapter, check};
use wavelift::device::gpu::{GpuDevice, GpuOptions, Limits, Transfers};
use wavelift::device::{Access, Context, Device, LaunchError, cpu};
use wavelift::text::Language;
use wavelift_translator::layout::{POOL_READ, POOL_WRITTEN};
use wavelift_translator::{BufferParam, Coarsen, Flatten, LINEAR, Layout, Options, Profile, Shape, translate};

/// Both profiles, each with one of the two ways of transfers.
const DEVICES: [(Profile, Transfers); 2] =
    [(Profile::Vulkan, Transfers::Mapped), (Profile::Portable, Transfers::Staged)];

/// A name, and what runs.
type Test = (&'static str, fn() -> Result<(), Failed>);

fn main() {
    let tests: [Test; 11] = [
        ("arguments_come_in_a_buffer", arguments_come_in_a_buffer),
        ("forty_buffers_of_one_launch", forty_buffers_of_one_launch),
        ("small_buffers_are_pooled", small_buffers_are_pooled),
        ("large_buffers_are_cut", large_buffers_are_cut),
        ("pools_and_memory_are_cut_too", pools_and_memory_are_cut_too),
        ("any_limits_give_the_same", any_limits_give_the_same),
        ("a_lost_device_makes_its_pools_anew", a_lost_device_makes_its_pools_anew),
        ("traps_stay_what_they_are", traps_stay_what_they_are),
        ("what_can_not_be_bound_is_refused", what_can_not_be_bound_is_refused),
        ("a_buffer_beyond_the_real_limit", a_buffer_beyond_the_real_limit),
        ("wrong_slices_are_seen", wrong_slices_are_seen),
    ];
    let trial = |(name, test): Test| {
        Trial::ignorable_test(name, move || match adapter() {
            Err(reason) => Ok(Completion::ignored_with(reason)),
            Ok(_) => test().map(|()| Completion::Completed),
        })
    };
    let mut trials: Vec<Trial> = tests.into_iter().map(trial).collect();
    trials.push(Trial::test("shader_text_of_every_layout", shader_text_of_every_layout));
    // They take memory or time.
    trials.push(Trial::test("the_largest_launch", the_largest_launch).with_ignored_flag(true));
    trials.push(
        Trial::test("the_largest_buffer", || sparse(open(DEVICES[0], Limits::NONE)?, 0x7fff_f000, 1 << 20))
            .with_ignored_flag(true),
    );
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn open((profile, transfers): (Profile, Transfers), limits: Limits) -> Result<GpuDevice, Failed> {
    let options = GpuOptions { profile, coarsen: Coarsen::Always, flatten: Flatten::Always, ..Default::default() };
    Ok(GpuDevice::open_limited(&adapter()?, &options, Some(transfers), limits)?)
}

/// The case's outcome on the CPU, which must be that of the device with these limits, in both profiles and twice.
fn compare(case: &Case, limits: Limits) -> Result<Outcome, Failed> {
    let want = case.run(&*cpu::all_cores_with(2), 1)?.remove(0);
    for profile in DEVICES {
        let device = open(profile, limits)?;
        for (round, got) in case.run(&device, 2)?.into_iter().enumerate() {
            if let Some(difference) = want.difference(&got) {
                return Err(format!("{profile:?}, {limits:?}, launch {round}: {difference}").into());
            }
        }
    }
    Ok(want)
}

fn arguments_come_in_a_buffer() -> Result<(), Failed> {
    for immediates_size in [12, 16, 40] {
        let want = compare(&kernels::work(300), Limits { immediates_size, ..Limits::NONE })?;
        check(want.trap.is_none() && want.changed(), "the kernel does nothing")?;
    }
    Ok(())
}

/// No limit is lowered: their arguments are more than any device's immediates hold.
fn forty_buffers_of_one_launch() -> Result<(), Failed> {
    let want = compare(&kernels::many(40, 100), Limits::NONE)?;
    check(want.changed(), "the kernel does nothing")
}

fn small_buffers_are_pooled() -> Result<(), Failed> {
    for bindings in [4, 5, 8] {
        check(compare(&kernels::many(13, 100), Limits { bindings, ..Limits::NONE })?.changed(), "nothing changed")?;
    }
    let limits = Limits { bindings: 4, immediates_size: 12, ..Limits::NONE };
    check(compare(&kernels::work(300), Limits { bindings: 5, ..limits })?.changed(), "nothing changed")?;
    compare(&kernels::many(13, 100), limits).map(drop)
}

fn large_buffers_are_cut() -> Result<(), Failed> {
    let limits = Limits { binding_size: 4096, ..Limits::NONE };
    check(compare(&kernels::work(1500), limits)?.changed(), "nothing changed")?;
    // A limit that is no power of two, and buffers that end at slices.
    let odd = Limits { binding_size: 4100, ..Limits::NONE };
    compare(&kernels::work(1024), odd).map(drop)
}

fn pools_and_memory_are_cut_too() -> Result<(), Failed> {
    let limits = Limits { binding_size: 1024, bindings: 11, immediates_size: 12, ..Limits::NONE };
    compare(&kernels::many(13, 100), limits)?;
    // Both pools, of which that of loads is cut.
    compare(&kernels::many(13, 100), Limits { binding_size: 2048, bindings: 7, ..Limits::NONE })?;
    let limits = Limits { binding_size: 4096, bindings: 14, immediates_size: 12, ..Limits::NONE };
    compare(&kernels::work(1000), limits).map(drop)
}

/// Limits at random: a launch is the same or refused, and most are not refused.
fn any_limits_give_the_same() -> Result<(), Failed> {
    let mut state = 7u32;
    let mut below = |n: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) % n
    };
    let mut refused = 0;
    for _ in 0..8 {
        let limits = Limits {
            binding_size: u64::from(256 + 4 * below(700)),
            bindings: 6 + below(10),
            immediates_size: 12 << below(5),
            ..Limits::NONE
        };
        let case = kernels::many(6 + below(8) as usize, 20 + below(100));
        let device = open(DEVICES[below(2) as usize], limits)?;
        let want = case.run(&*cpu::all_cores_with(2), 1)?.remove(0);
        match case.run(&device, 1) {
            Ok(got) => {
                check(want.difference(&got[0]).is_none(), format!("{limits:?}: {:?}", want.difference(&got[0])))?
            }
            Err(LaunchError::Unsupported(_)) => refused += 1,
            Err(error) => return Err(error.into()),
        }
    }
    check(refused <= 4, format!("{refused} of 8 launches were refused"))
}

fn a_lost_device_makes_its_pools_anew() -> Result<(), Failed> {
    let limits = Limits { bindings: 4, immediates_size: 12, ..Limits::NONE };
    let case = kernels::many(9, 50);
    let want = case.run(&*cpu::sequential(), 1)?.remove(0);
    let device = open(DEVICES[0], limits)?;
    let specs = case.specs()?;
    let mut context = device.new_gpu_context();
    for _ in 0..2 {
        for spec in &specs {
            context.create_buffer(spec)?;
        }
        let got = case.run_once(&mut context, &specs)?;
        check(want.difference(&got).is_none(), format!("{:?}", want.difference(&got)))?;
        device.lose();
    }
    Ok(())
}

fn traps_stay_what_they_are() -> Result<(), Failed> {
    let limits = Limits { binding_size: 4096, bindings: 14, immediates_size: 12, ..Limits::NONE };
    // Multiples of 256: the CPU's buffers end at a page's end then.
    for (slot, short) in [(0, 15_360), (1, 2304), (2, 2048), (3, 256), (4, 3840)] {
        let mut case = kernels::work(1000);
        case.buffers[slot].bytes.truncate(short);
        let want = compare(&case, limits)?;
        check(want.trap.is_some(), format!("a short buffer {slot} makes no trap"))?;
        let usual = case.run(&open(DEVICES[0], Limits::NONE)?, 1)?.remove(0);
        let limited = case.run(&open(DEVICES[0], limits)?, 1)?.remove(0);
        check(usual.trap == limited.trap, format!("{:?} instead of {:?}", limited.trap, usual.trap))?;
    }
    let mut case = kernels::work(1000);
    case.buffers[2].access = Access::Read;
    check(compare(&case, limits)?.trap.is_some(), "a store to a read buffer makes no trap")
}

fn what_can_not_be_bound_is_refused() -> Result<(), Failed> {
    let limits = Limits { binding_size: 1024, bindings: 8, ..Limits::NONE };
    for profile in DEVICES {
        let refused = kernels::work(1500).run(&open(profile, limits)?, 1);
        match refused {
            Err(LaunchError::Unsupported(text)) => {
                let says = |part: &str| text.contains(part);
                check(says("The kernel reaches 6 buffers of") && says("at most 8 ranges of 1024 bytes"), text.clone())?;
            }
            other => return Err(format!("no refusal, but {:?}", other.map(|outcomes| outcomes.len())).into()),
        }
    }
    let limits = Limits { bindings: 4, buffer_size: 4096, ..Limits::NONE };
    let refused = kernels::many(13, 250).run(&open(DEVICES[0], limits)?, 1);
    let outcome = format!("{:?}", refused.as_ref().map(Vec::len));
    check(matches!(refused, Err(LaunchError::Unsupported(_))), format!("a pool larger than a buffer: {outcome}"))
}

/// 160 MiB, touched here and there, with no limit lowered.
fn a_buffer_beyond_the_real_limit() -> Result<(), Failed> {
    const SIZE: u32 = 160 << 20;
    const TOUCHED: u32 = 20_000;
    for device in DEVICES {
        sparse(open(device, Limits::NONE)?, SIZE, TOUCHED)?;
    }
    Ok(())
}

fn sparse(device: GpuDevice, size: u32, touched: u32) -> Result<(), Failed> {
    let start = Instant::now();
    let largest = device.info().max_binding_size;
    let case = kernels::sparse(size, touched);
    let spec = case.specs()?[0];
    let mut context = device.new_gpu_context();
    context.create_buffer(&spec)?;
    case.launch(&mut context, &[spec])?;
    let stride = (size / touched) & !3;
    for i in (0..touched).step_by(37).chain([touched - 1]) {
        let mut word = [0; 4];
        context.read_buffer(spec.id, i * stride, &mut word)?;
        check(u32::from_le_bytes(word) == i ^ 0x5a5a_0000, format!("the word of invocation {i} is {word:?}"))?;
    }
    // The words between are zero still.
    let mut part = vec![0; 1 << 20];
    context.read_buffer(spec.id, (128 << 20) - (1 << 19), &mut part)?;
    let at = |i: usize| ((128 << 20) - (1 << 19) + 4 * i as u32).is_multiple_of(stride);
    let stray = support::words(&part).iter().enumerate().find(|(i, word)| !at(*i) && **word != 0).map(|(i, _)| i);
    check(stray.is_none(), format!("word {stray:?} around 128 MiB was touched"))?;
    println!("{} MiB where a binding has {largest} bytes: {:?}", size >> 20, start.elapsed());
    check(start.elapsed() < Duration::from_secs(20), "a sparse launch takes too long")
}

/// A comparison that would not see a wrong slice shows nothing: slices of half the size are bound than the shader takes.
fn wrong_slices_are_seen() -> Result<(), Failed> {
    let device = open(DEVICES[0], Limits::NONE)?;
    let case = kernels::sparse(4096, 1024);
    let specs = case.specs()?;
    let mut got = Vec::new();
    for bound_bits in [10, 9] {
        let layout = Layout { slice_bits: 10, slices: [(0, 4)].into(), ..Layout::default() };
        let shape = Shape { layout, ..Shape::distinct(1) };
        let mut shader = translate(&case.module.wasm, 0, &shape, &Options::default()).map_err(|e| e.to_string())?;
        shader.interface.layout.slice_bits = bound_bits;
        shader.interface.layout.slices = [(0, 1 << (12 - bound_bits))].into();
        // SAFETY: every index that the shader forms lies in the buffer; drivers keep accesses within what is bound.
        let kernel = unsafe { device.prepare(shader) }?;
        let mut context = device.new_gpu_context();
        context.create_buffer(&specs[0])?;
        context.run(&kernel, 1024, 1, &specs)?;
        let mut bytes = vec![0; 4096];
        context.read_buffer(specs[0].id, 0, &mut bytes)?;
        got.push(support::words(&bytes));
    }
    let want: Vec<u32> = (0..1024).map(|i| i ^ 0x5a5a_0000).collect();
    check(got[0] == want, "the right slices give wrong words")?;
    check(got[1] != want, "wrong slices went unseen")
}

/// naga's writers for Metal and DX12 take slices, pools and arguments in a buffer.
fn shader_text_of_every_layout() -> Result<(), Failed> {
    let case = kernels::work(1);
    let accesses = case.buffers.iter().map(|buffer| buffer.access);
    let buffers = (0..).zip(accesses).map(|(slot, access)| BufferParam { slot, access }).collect();
    let shape = Shape::of(buffers);
    let pooled = [(0, POOL_READ), (1, POOL_READ), (2, POOL_WRITTEN), (3, POOL_WRITTEN)].into();
    let layouts = [
        (
            Layout { slice_bits: 12, slices: [(0, 3), (2, 2), (LINEAR, 2)].into(), ..Layout::default() },
            "load_quad_buffer_0",
        ),
        (Layout { pooled, slice_bits: 12, slices: [(POOL_WRITTEN, 2)].into(), parameters: true }, "store_pool_written"),
    ];
    let options = Options { profile: Profile::Portable, ..Options::default() };
    for (layout, function) in layouts {
        let shape = Shape { layout, ..shape.clone() };
        let shader = translate(&case.module.wasm, 0, &shape, &options).map_err(|e| e.to_string())?;
        for language in [Language::Wgsl, Language::Msl, Language::Hlsl] {
            let text = wavelift::text::write(&shader, language)?;
            check(text.contains(function), format!("no function `{function}` in {language:?}: {text}"))?;
        }
    }
    Ok(())
}

/// Run with `--ignored`: four thousand million invocations of a lifted kernel, of which the last stores its number.
fn the_largest_launch() -> Result<(), Failed> {
    let start = Instant::now();
    let outcome = kernels::last().run(&open(DEVICES[0], Limits::NONE)?, 1)?.remove(0);
    println!("the largest launch takes {:?}", start.elapsed());
    check(support::words(&outcome.buffers[0]) == [u32::MAX - 1], format!("{:?}", outcome.buffers[0]))
}
