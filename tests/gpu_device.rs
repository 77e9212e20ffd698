//! The GPU device below the translator: transfers, dispatches, traps, errors, loss. Shaders are written in WGSL here
//! and compiled to SPIR-V with the interface that lifted kernels have.
//!
//! Where the machine has no GPU driver each test shows as ignored, with the reason.

mod gpu {
    pub mod again;
    pub mod deferred;
    pub mod flatten;
    pub mod group_size;
    pub mod shaders;
    pub mod support;
    pub mod views;
}

use std::sync::Arc;
use std::time::Instant;

use gpu::shaders;
use gpu::support::{Buffers, NoCaller, adapter, buffer, check, fails_with, open, words};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use wavelift::device::gpu::raw::WgslKernel;
use wavelift::device::gpu::{self as wgpu_device, GpuDevice, GpuOptions, Transfers};
use wavelift::device::{
    BufferId, Context, Device, DeviceError, DeviceKind, GuestModule, KernelTrap, Launch, LaunchError, TrapKind,
};
use wavelift::memory::AddressSpace;
use wavelift_translator as translator;

type Outcome = Result<(), Failed>;
type Test = fn() -> Outcome;

fn main() {
    let tests: [(&str, Test); 33] = [
        ("saxpy_beyond_one_dispatch", saxpy_beyond_one_dispatch),
        ("every_invocation_runs_exactly_once", every_invocation_runs_exactly_once),
        ("slow_launches_are_cut_and_stay_right", slow_launches_are_cut_and_stay_right),
        ("arguments_reach_the_kernel", arguments_reach_the_kernel),
        ("the_portable_profile_gives_the_same", the_portable_profile_gives_the_same),
        ("odd_transfers_mapped", || odd_transfers(Transfers::Mapped)),
        ("odd_transfers_staged", || odd_transfers(Transfers::Staged)),
        ("large_transfers_mapped", || large_transfers(Transfers::Mapped)),
        ("large_transfers_staged", || large_transfers(Transfers::Staged)),
        ("buffers_of_size_zero", buffers_of_size_zero),
        ("fresh_buffers_are_zero", fresh_buffers_are_zero),
        ("one_buffer_twice", one_buffer_twice),
        ("the_least_trapping_iteration_is_reported", the_least_trapping_iteration_is_reported),
        ("timed_launches_give_plausible_times", timed_launches_give_plausible_times),
        ("deferred_launches_run_in_order", gpu::deferred::deferred_launches_run_in_order),
        ("the_first_deferred_trap_counts", gpu::deferred::the_first_deferred_trap_counts),
        ("deferred_launches_of_a_lost_device_fail", gpu::deferred::deferred_launches_of_a_lost_device_fail),
        ("equal_launches_are_told_from_others", gpu::again::equal_launches_are_told_from_others),
        ("sizes_in_buffers_are_those_of_each_launch", gpu::again::sizes_in_buffers_are_those_of_each_launch),
        ("block_loops_are_flattened", gpu::flatten::block_loops_are_flattened),
        ("groups_of_all_sizes_give_the_same", gpu::group_size::launches_in_groups_of_all_sizes_give_the_same),
        ("the_least_trap_is_the_same_in_all_sizes", gpu::group_size::the_least_trap_is_the_same_in_all_sizes),
        ("group_sizes_are_remembered", gpu::group_size::sizes_are_remembered),
        ("contexts_are_isolated", contexts_are_isolated),
        ("contexts_work_on_several_threads", contexts_work_on_several_threads),
        ("broken_shaders_are_errors", broken_shaders_are_errors),
        ("limits_are_refused_with_a_sentence", limits_are_refused_with_a_sentence),
        ("unknown_and_freed_buffers_are_errors", unknown_and_freed_buffers_are_errors),
        ("what_cannot_be_lifted_is_unsupported", what_cannot_be_lifted_is_unsupported),
        ("views_of_bytes_and_words_show_the_same", gpu::views::show_the_same),
        ("a_lost_device_is_opened_anew", a_lost_device_is_opened_anew),
        ("the_probe_agrees_with_what_is_known", the_probe_agrees_with_what_is_known),
        ("hand_written_shaders_run_and_are_timed", hand_written_shaders_run_and_are_timed),
    ];
    let mut trials: Vec<Trial> = tests.into_iter().map(|(name, test)| on_a_gpu(name, test)).collect();
    trials.push(Trial::test("an_unknown_adapter_is_an_error", an_unknown_adapter_is_an_error));
    // They take long, and what they show is for people.
    trials.push(on_a_gpu("measure_rates", measure_rates).with_ignored_flag(true));
    trials.push(on_a_gpu("the_largest_launch", the_largest_launch).with_ignored_flag(true));
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn on_a_gpu(name: &str, test: Test) -> Trial {
    Trial::ignorable_test(name, move || match adapter() {
        Err(reason) => Ok(Completion::ignored_with(reason)),
        Ok(_) => test().map(|()| Completion::Completed),
    })
}

fn saxpy_beyond_one_dispatch() -> Outcome {
    const N: usize = 70_001;
    let device = open(Transfers::Mapped)?;
    // Groups of one invocation: 65,535 of them fill a dispatch.
    let saxpy = shaders::prepare(&device, &shaders::SAXPY)?;
    let mut context = device.new_gpu_context();
    let x: Vec<f32> = (0..N).map(|i| i as f32 * 0.25).collect();
    let y: Vec<f32> = (0..N).map(|i| 1.0 - i as f32).collect();
    let specs = [buffer(0, N * 4), buffer(1, N * 4)];
    context.fill(&specs[0], bytemuck::cast_slice(&x))?;
    context.fill(&specs[1], bytemuck::cast_slice(&y))?;
    context.run(&saxpy, N as u32, 1, &specs)?;
    let got: Vec<f32> = bytemuck::pod_collect_to_vec(&context.bytes(&specs[1])?);
    let want: Vec<f32> = x.iter().zip(&y).map(|(x, y)| 2.5 * x + y).collect();
    check(got == want, "saxpy differs from the host's")
}

fn every_invocation_runs_exactly_once() -> Outcome {
    let device = open(Transfers::Mapped)?;
    let count = shaders::prepare(&device, &shaders::COUNT)?;
    let mut context = device.new_gpu_context();
    for (id, n) in (0..).zip([1u32, 63, 64, 65, 65_534, 65_535, 65_536, 131_071, 300_000]) {
        let spec = buffer(id, n as usize * 4 + 8);
        context.create_buffer(&spec)?;
        context.run(&count, n, 1, &[spec])?;
        let got = words(&context.bytes(&spec)?);
        let ran = &got[..n as usize];
        check(ran.iter().all(|times| *times == 1), format!("of {n} invocations some ran not once"))?;
        check(got[n as usize..] == [0, 0], format!("more than {n} invocations ran"))?;
    }
    Ok(())
}

fn slow_launches_are_cut_and_stay_right() -> Outcome {
    const N: u32 = 300_000;
    let device = open(Transfers::Mapped)?;
    let slow = shaders::prepare(&device, &shaders::SLOW)?;
    let mut context = device.new_gpu_context();
    let spec = buffer(1, N as usize * 4);
    context.create_buffer(&spec)?;
    let mut run = |round: u32| -> Outcome {
        context.run(&slow, N, 1, &[spec])?;
        let got = words(&context.bytes(&spec)?);
        check(got.iter().all(|times| *times == round), format!("round {round} missed or repeated invocations"))
    };
    run(1)?;
    // As if the first launch had run for minutes: what follows goes in the smallest pieces.
    slow.set_pace(1);
    run(2)?;
    slow.set_pace(100_001);
    run(3)
}

fn arguments_reach_the_kernel() -> Outcome {
    let device = open(Transfers::Mapped)?;
    let arguments = shaders::prepare(&device, &shaders::ARGUMENTS)?;
    let mut context = device.new_gpu_context();
    let specs = [buffer(4, 32), buffer(9, 13)];
    for spec in &specs {
        context.create_buffer(spec)?;
    }
    context.run(&arguments, 3, 77, &specs)?;
    let got = words(&context.bytes(&specs[0])?);
    check(got == [3, 77, 0, specs[0].address, 32, specs[1].address, 13, 3], format!("the kernel saw {got:?}"))
}

fn the_portable_profile_gives_the_same() -> Outcome {
    let options = GpuOptions { profile: translator::Profile::Portable, ..Default::default() };
    let device = GpuDevice::open(&adapter()?, &options)?;
    check(!device.options().features.preserve_f32, "float controls don't survive naga and must not be declared")?;
    let saxpy = shaders::prepare(&device, &shaders::SAXPY)?;
    let mut context = device.new_gpu_context();
    let specs = [buffer(0, 12), buffer(1, 12)];
    context.fill(&specs[0], bytemuck::cast_slice(&[1.0f32, 2.0, 3.0]))?;
    context.fill(&specs[1], bytemuck::cast_slice(&[0.5f32, 0.5, 0.5]))?;
    context.run(&saxpy, 3, 1, &specs)?;
    let got: Vec<f32> = bytemuck::pod_collect_to_vec(&context.bytes(&specs[1])?);
    check(got == [3.0, 5.5, 8.0], format!("{got:?}"))?;
    let trap = shaders::prepare(&device, &shaders::TRAP)?;
    let from = buffer(2, 8);
    context.fill(&from, bytemuck::cast_slice(&[90u32, 70]))?;
    let trapped = context.run(&trap, 100, 1, &[from]);
    check(matches!(trapped, Err(LaunchError::Trap(trap)) if trap.iteration == 70), format!("{trapped:?}"))
}

/// Writes and reads of every small length at every small offset, against a copy in the host's memory.
fn odd_transfers(transfers: Transfers) -> Outcome {
    const SIZE: usize = 1003;
    let device = open(transfers)?;
    let mut context = device.new_gpu_context();
    let spec = buffer(1, SIZE);
    let mut model: Vec<u8> = (0..SIZE).map(|i| i as u8).collect();
    context.fill(&spec, &model)?;
    let mut next = 200u8;
    let lengths = [1, 2, 3, 4, 5, 7, 8, 9, 31];
    for offset in (0..12).chain(SIZE - 9..SIZE) {
        for len in lengths.into_iter().filter(|len| offset + len <= SIZE) {
            let data: Vec<u8> = (0..len).map(|i| next.wrapping_add(i as u8)).collect();
            next = next.wrapping_mul(31).wrapping_add(7);
            context.write_buffer(spec.id, offset as u32, &data)?;
            model[offset..offset + len].copy_from_slice(&data);
            let mut part = vec![0; len];
            context.read_buffer(spec.id, offset as u32, &mut part)?;
            check(part == data, format!("{len} bytes at {offset} came back changed"))?;
        }
        check(context.bytes(&spec)? == model, format!("writes at {offset} disturbed their neighbours"))?;
    }
    context.write_buffer(spec.id, SIZE as u32, &[])?;
    context.read_buffer(spec.id, SIZE as u32, &mut [])?;
    fails_with(context.write_buffer(spec.id, SIZE as u32 - 3, &[1; 4]), "leaves a buffer of 1003 bytes")
}

/// Longer than one piece of a staged transfer, and not aligned at either end.
fn large_transfers(transfers: Transfers) -> Outcome {
    const SIZE: usize = (33 << 20) + 5;
    let device = open(transfers)?;
    let mut context = device.new_gpu_context();
    let data: Vec<u8> = (0..SIZE as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let spec = buffer(1, SIZE + 6);
    context.create_buffer(&spec)?;
    context.write_buffer(spec.id, 3, &data)?;
    let got = context.bytes(&spec)?;
    check(got[..3] == [0; 3] && got[SIZE + 3..] == [0; 3], "neighbours changed")?;
    check(got[3..SIZE + 3] == data, "the bytes came back changed")?;
    let mut part = vec![0; SIZE - 2];
    context.read_buffer(spec.id, 4, &mut part)?;
    check(part == data[1..SIZE - 1], "a part came back changed")
}

fn buffers_of_size_zero() -> Outcome {
    for transfers in [Transfers::Mapped, Transfers::Staged] {
        let device = open(transfers)?;
        let count = shaders::prepare(&device, &shaders::COUNT)?;
        let mut context = device.new_gpu_context();
        let empty = buffer(1, 0);
        context.fill(&empty, &[])?;
        check(context.bytes(&empty)?.is_empty(), "an empty buffer has bytes")?;
        fails_with(context.write_buffer(empty.id, 0, &[1]), "leaves a buffer of 0 bytes")?;
        // The shader's own bounds check keeps every invocation out.
        context.run(&count, 100, 1, &[empty])?;
    }
    Ok(())
}

fn fresh_buffers_are_zero() -> Outcome {
    for transfers in [Transfers::Mapped, Transfers::Staged] {
        let device = open(transfers)?;
        for round in 0..4 {
            let mut context = device.new_gpu_context();
            let spec = buffer(1, 1 << 20);
            context.create_buffer(&spec)?;
            check(context.bytes(&spec)?.iter().all(|b| *b == 0), format!("round {round} sees another's bytes"))?;
            context.write_buffer(spec.id, 0, &vec![0xab; 1 << 20])?;
            context.free_buffer(spec.id);
            context.create_buffer(&spec)?;
            check(context.bytes(&spec)?.iter().all(|b| *b == 0), format!("round {round} sees a freed buffer's bytes"))?;
            context.write_buffer(spec.id, 0, &vec![0xcd; 1 << 20])?;
        }
    }
    Ok(())
}

fn one_buffer_twice() -> Outcome {
    let device = open(Transfers::Mapped)?;
    let count = shaders::prepare(&device, &shaders::COUNT)?;
    let mut context = device.new_gpu_context();
    let spec = buffer(5, 40);
    context.create_buffer(&spec)?;
    context.run(&count, 10, 1, &[spec, spec])?;
    context.run(&count, 10, 1, &[spec])?;
    check(words(&context.bytes(&spec)?) == [2; 10], "a buffer that is listed twice has one binding")
}

fn the_least_trapping_iteration_is_reported() -> Outcome {
    for transfers in [Transfers::Mapped, Transfers::Staged] {
        let device = open(transfers)?;
        let trap = shaders::prepare(&device, &shaders::TRAP)?;
        let mut context = device.new_gpu_context();
        let spec = buffer(1, 8);
        // Site 0 from iteration words[0] on, site 1 from words[1] on.
        let mut run = |from: [u32; 2], n| -> Result<Option<KernelTrap>, Failed> {
            context.fill(&spec, bytemuck::cast_slice(&from))?;
            match context.run(&trap, n, 1, &[spec]) {
                Ok(_) => Ok(None),
                Err(LaunchError::Trap(trap)) => Ok(Some(trap)),
                Err(other) => Err(other.into()),
            }
        };
        let never = u32::MAX;
        check(run([never, never], 1000)?.is_none(), "a trap was seen where none is")?;
        let first = run([500, 123], 1000)?.ok_or("no trap was seen")?;
        check(
            (first.iteration, first.kind, first.at.offset) == (123, TrapKind::DivideByZero, 22),
            format!("{first:?}"),
        )?;
        check(run([never, never], 1000)?.is_none(), "the record of the trap before was not reset")?;
        let tie = run([7, 7], 1000)?.ok_or("no trap was seen")?;
        check((tie.iteration, tie.kind, tie.at.offset) == (7, TrapKind::OutOfBounds, 11), format!("{tie:?}"))?;
        let late = run([never, 130_000], 200_000)?.ok_or("no trap was seen")?;
        check(late.iteration == 130_000, format!("{late:?}"))?;
        check(run([never, 1000], 1000)?.is_none(), "an invocation beyond the last one ran")?;
    }
    Ok(())
}

fn timed_launches_give_plausible_times() -> Outcome {
    for transfers in [Transfers::Mapped, Transfers::Staged] {
        let device = open(transfers)?;
        // Enough work that the kernel takes longer than a launch does.
        let n: u32 = if device.info().kind == DeviceKind::SoftwareGpu { 100_000 } else { 32 << 20 };
        let slow = shaders::prepare(&device, &shaders::SLOW)?;
        let mut context = device.new_gpu_context();
        let spec = buffer(1, n as usize * 4);
        context.create_buffer(&spec)?;
        let first = context.run(&slow, n, 1, &[spec])?;
        // The pipeline was made before; the launch did not lift.
        check(first.lift.is_zero() && first.compile.is_zero() && !first.run.is_zero(), format!("{first:?}"))?;
        let start = Instant::now();
        let times = context.time_runs(&slow, n, 1, &[spec], 3)?;
        let wall = start.elapsed();
        let sum: std::time::Duration = times.iter().sum();
        check(times.len() == 3 && sum <= wall, format!("{times:?} are longer than the {wall:?} that went by"))?;
        // The clock of the device and that of the host agree that most of the time went into the kernel.
        check(sum * 4 > wall, format!("{times:?} are too short for the {wall:?} that went by"))?;
        check(words(&context.bytes(&spec)?).iter().all(|times| *times == 4), "a timed launch missed invocations")?;
        let trap = shaders::prepare(&device, &shaders::TRAP)?;
        let from = buffer(2, 8);
        context.fill(&from, bytemuck::cast_slice(&[5u32, u32::MAX]))?;
        let trapped = context.time_runs(&trap, 10, 1, &[from], 1);
        check(matches!(trapped, Err(LaunchError::Trap(trap)) if trap.iteration == 5), format!("{trapped:?}"))?;
    }
    Ok(())
}

fn contexts_are_isolated() -> Outcome {
    let device = open(Transfers::Mapped)?;
    let (mut one, mut two) = (device.new_gpu_context(), device.new_gpu_context());
    let spec = buffer(1, 64);
    one.fill(&spec, &[1; 64])?;
    two.create_buffer(&spec)?;
    check(two.bytes(&spec)? == [0; 64], "a context sees another's buffer of the same number")?;
    two.write_buffer(spec.id, 0, &[2; 64])?;
    check(one.bytes(&spec)? == [1; 64], "a context's write reached another's buffer")?;
    let trap = shaders::prepare(&device, &shaders::TRAP)?;
    two.fill(&spec, &[0; 64])?;
    check(matches!(two.run(&trap, 10, 1, &[spec]), Err(LaunchError::Trap(_))), "no trap was seen")?;
    one.fill(&spec, &[0xff; 64])?;
    one.run(&trap, 10, 1, &[spec])?;
    fails_with(one.read_buffer(BufferId(2), 0, &mut [0]), "no buffer with the number 2")
}

fn contexts_work_on_several_threads() -> Outcome {
    let device = Arc::new(open(Transfers::Mapped)?);
    let count = shaders::prepare(&device, &shaders::COUNT)?;
    let threads: Vec<_> = (0..4usize)
        .map(|thread| {
            let (device, count) = (device.clone(), count.clone());
            std::thread::spawn(move || -> Result<bool, LaunchError> {
                let mut context = device.new_gpu_context();
                let n = 1000 + thread * 10;
                let spec = buffer(1, n * 4);
                context.create_buffer(&spec)?;
                for _ in 0..20 {
                    context.run(&count, n as u32, 1, &[spec])?;
                }
                let mut bytes = vec![0; n * 4];
                context.read_buffer(spec.id, 0, &mut bytes)?;
                Ok(words(&bytes).iter().all(|times| *times == 20))
            })
        })
        .collect();
    for thread in threads {
        check(thread.join().map_err(|_| "a thread panicked")??, "a thread's launches were lost or mixed up")?;
    }
    Ok(())
}

fn broken_shaders_are_errors() -> Outcome {
    let options = GpuOptions { profile: translator::Profile::Portable, ..Default::default() };
    let device = GpuDevice::open(&adapter()?, &options)?;
    let mut shader = shaders::compile(&shaders::COUNT)?;
    // The instructions end where the declarations do: whole words, half a shader.
    shader.words.truncate(end_of_declarations(&shader.words));
    // SAFETY: naga validates the words in this profile; that it does is what is tested.
    let broken = unsafe { device.prepare(shader) };
    check(matches!(broken, Err(LaunchError::Device(DeviceError::Failed { .. }))), "half a shader was taken")?;
    let mut shader = shaders::compile(&shaders::COUNT)?;
    let last = shader.words.len() - 1;
    shader.words[last] = 0;
    // SAFETY: as above.
    let cut = unsafe { device.prepare(shader) };
    check(matches!(cut, Err(LaunchError::Internal(_))), "a shader of torn instructions was taken")?;
    let mut shader = shaders::compile(&shaders::COUNT)?;
    shader.interface.bindings.clear();
    // SAFETY: as above.
    let unbound = unsafe { device.prepare(shader) };
    check(matches!(unbound, Err(LaunchError::Internal(_))), "a shader was taken that binds what the interface lacks")?;
    fails_with(WgslKernel::new(&device, "fn main( {").map(drop), "expected")?;
    let kernel = WgslKernel::new(&device, shaders::DOUBLE)?;
    fails_with(kernel.bind(&[], &[]).map(drop), "bind group")?;
    // The device goes on.
    let buffer = kernel.buffer(bytemuck::cast_slice(&[1u32, 2, 3]))?;
    kernel.bind(&[&buffer], bytemuck::cast_slice(&[10u32, 0, 0, 0]))?.dispatch([1, 1, 1])?;
    check(words(&buffer.read()?) == [12, 14, 16], "the device gives wrong results after an error")
}

/// The word at which the first function starts.
fn end_of_declarations(words: &[u32]) -> usize {
    const OP_FUNCTION: u32 = 54;
    let mut at = 5;
    while at < words.len() && words[at] & 0xffff != OP_FUNCTION {
        at += (words[at] >> 16) as usize;
    }
    at
}

fn limits_are_refused_with_a_sentence() -> Outcome {
    let device = open(Transfers::Mapped)?;
    let info = device.info().clone();
    let mut context = device.new_gpu_context();
    let mut shader = shaders::compile(&shaders::COUNT)?;
    shader.interface.immediates_size = 1 << 20;
    // SAFETY: the words are naga's output; the interface is refused before they are used.
    let refused = unsafe { device.prepare(shader) }.map(drop);
    fails_with(refused, "The kernel's arguments take 1048576 bytes")?;
    let mut shader = shaders::compile(&shaders::COUNT)?;
    shader.interface.workgroup_size = info.max_workgroup_size + 1;
    // SAFETY: as above.
    fails_with(unsafe { device.prepare(shader) }.map(drop), "runs in groups of")?;

    let count = shaders::prepare(&device, &shaders::COUNT)?;
    if info.max_binding_size + 4 <= info.max_buffer_size.min(u64::from(u32::MAX)) {
        let large = buffer(1, info.max_binding_size as usize + 4);
        context.create_buffer(&large)?;
        let refused = context.run(&count, 1, 1, &[large]);
        check(matches!(refused, Err(LaunchError::Unsupported(_))), "a launch beyond the binding limit is unsupported")?;
        fails_with(refused.map(drop), "this device binds at most")?;
    }
    if info.max_buffer_size < u64::from(u32::MAX) {
        let refused = context.create_buffer(&buffer(2, u32::MAX as usize));
        check(matches!(refused, Err(DeviceError::OutOfMemory { .. })), "a buffer beyond the limit was created")?;
    }
    Ok(())
}

fn unknown_and_freed_buffers_are_errors() -> Outcome {
    let device = open(Transfers::Mapped)?;
    let count = shaders::prepare(&device, &shaders::COUNT)?;
    let mut context = device.new_gpu_context();
    let spec = buffer(3, 16);
    context.fill(&spec, &[0; 16])?;
    context.run(&count, 4, 1, &[spec])?;
    context.free_buffer(spec.id);
    context.free_buffer(spec.id);
    fails_with(context.run(&count, 4, 1, &[spec]).map(drop), "no buffer with the number 3")?;
    fails_with(context.write_buffer(spec.id, 0, &[1]), "no buffer with the number 3")?;
    check(matches!(context.run(&count, 4, 1, &[]), Err(LaunchError::Internal(_))), "a slot was missing unseen")
}

fn what_cannot_be_lifted_is_unsupported() -> Outcome {
    let device = wgpu_device::open(&adapter()?, &GpuOptions::default())?;
    let space = AddressSpace::detached().map_err(|error| format!("{error:?}"))?;
    let mut context = device.new_context(space)?;
    let bytes = wat::parse_str("(module (func $f (param i32)))")?;
    let module = Arc::new(GuestModule { id: 1, wasm: translator::Module::parse(bytes)? });
    let launch = Launch { module, function: 0, iterations: 1, block_size: 1, buffers: vec![] };
    let refused = context.launch(&launch, &mut NoCaller);
    check(matches!(refused, Err(LaunchError::Unsupported(_))), format!("{refused:?}"))
}

fn a_lost_device_is_opened_anew() -> Outcome {
    for transfers in [Transfers::Mapped, Transfers::Staged] {
        let device = open(transfers)?;
        let count = shaders::prepare(&device, &shaders::COUNT)?;
        let (mut one, mut two) = (device.new_gpu_context(), device.new_gpu_context());
        let spec = buffer(1, 16);
        one.fill(&spec, &[9; 16])?;
        two.create_buffer(&spec)?;
        two.run(&count, 4, 1, &[spec])?;
        device.lose();
        let lost = |result: Result<(), LaunchError>| {
            check(matches!(result, Err(LaunchError::Device(DeviceError::Lost { .. }))), format!("{result:?}"))
        };
        lost(one.read_buffer(spec.id, 0, &mut [0; 16]).map_err(Into::into))?;
        lost(one.write_buffer(spec.id, 0, &[0; 16]).map_err(Into::into))?;
        lost(two.run(&count, 4, 1, &[spec]).map(drop))?;
        for context in [&mut one, &mut two] {
            context.create_buffer(&spec)?;
            context.run(&count, 4, 1, &[spec])?;
            check(words(&context.bytes(&spec)?) == [1; 4], "the new device gives wrong results")?;
        }
    }
    Ok(())
}

fn the_probe_agrees_with_what_is_known() -> Outcome {
    let device = open(Transfers::Mapped)?;
    let (features, probed) = (device.options().features, device.probe()?);
    let known = [
        (features.exact_div_f32, probed.f32.division, "f32 division"),
        (features.exact_sqrt_f32, probed.f32.square_root, "f32 square root"),
        (features.subnormals_f32, probed.f32.subnormals, "f32 subnormals"),
        (features.exact_arithmetic_f32, probed.f32.arithmetic, "f32 arithmetic"),
        (features.close_f32, probed.f32.close, "f32 guesses"),
        (features.exact_conversions_f32, probed.conversions, "conversions to f32"),
        (features.exact_conversions_i64, probed.wide_conversions, "conversions of 64-bit integers"),
        (features.compares_subnormals_f32, probed.comparisons, "f32 comparisons"),
        (features.compares_subnormals_f64, probed.wide_comparisons, "f64 comparisons"),
        (features.converts_subnormals, probed.float_conversions, "conversions between floats"),
        (features.exact_div_f64, probed.f64.division, "f64 division"),
        (features.exact_sqrt_f64, probed.f64.square_root, "f64 square root"),
        (features.subnormals_f64, probed.f64.subnormals, "f64 subnormals"),
        (features.exact_arithmetic_f64, probed.f64.arithmetic, "f64 arithmetic"),
        (features.close_f64, probed.f64.close, "f64 guesses"),
    ];
    for (known, probed, what) in known {
        check(known == probed, format!("{what}: taken to be exact: {known}, found by the probe: {probed}"))?;
    }
    let info = device.info();
    check(features.int64 == info.int64 && features.float64 == info.float64, "two answers on 64-bit types")?;
    check(!info.name.is_empty() && !info.backend.is_empty() && info.max_buffers >= 3, format!("{info:?}"))
}

fn hand_written_shaders_run_and_are_timed() -> Outcome {
    let device = open(Transfers::Mapped)?;
    // SAFETY: the shader keeps within its bindings.
    let unchecked = unsafe { WgslKernel::new_unchecked(&device, shaders::DOUBLE) }?;
    for kernel in [WgslKernel::new(&device, shaders::DOUBLE)?, unchecked] {
        let buffer = kernel.buffer(bytemuck::cast_slice(&[1u32, 2, 3, 4, 5]))?;
        let launch = kernel.bind(&[&buffer], bytemuck::cast_slice(&[1u32]))?;
        let times = launch.time_launches([1, 1, 1], 2)?;
        check(times.len() == 2 && times.iter().all(|t| !t.is_zero()), format!("{times:?}"))?;
        check(words(&buffer.read()?) == [7, 11, 15, 19, 23], "two launches of 2 * x + 1 give something else")?;
        buffer.write(4, bytemuck::cast_slice(&[0u32]))?;
        check(words(&buffer.read()?)[..2] == [7, 0], "a write is not seen")?;
    }
    Ok(())
}

fn an_unknown_adapter_is_an_error() -> Outcome {
    let count = wgpu_device::adapters().len();
    for asked in ["no such adapter", "", "4294967296", &count.to_string()] {
        let error = wgpu_device::find(asked).err().ok_or("an adapter was found")?;
        let text = error.to_string();
        check(text.starts_with(&format!("There is no GPU adapter `{asked}`")), text)?;
    }
    for (index, adapter) in wgpu_device::adapters().iter().enumerate() {
        check(adapter.index() == index, "an adapter's number is not its place")?;
        let by_number = wgpu_device::find(&index.to_string())?;
        check(by_number.info().name == adapter.info().name, "an adapter is not found by its number")?;
        wgpu_device::find(&adapter.info().name.to_uppercase())?;
    }
    Ok(())
}

/// Run with `--ignored`: four thousand million invocations, of which the last traps.
fn the_largest_launch() -> Outcome {
    let device = open(Transfers::Mapped)?;
    let trap = shaders::prepare(&device, &shaders::TRAP)?;
    let mut context = device.new_gpu_context();
    let spec = buffer(1, 8);
    context.fill(&spec, bytemuck::cast_slice(&[u32::MAX, u32::MAX - 1]))?;
    let start = Instant::now();
    let trapped = context.run(&trap, u32::MAX, 1, &[spec]);
    println!("the largest launch takes {:?}", start.elapsed());
    check(matches!(trapped, Err(LaunchError::Trap(trap)) if trap.iteration == u32::MAX - 1), format!("{trapped:?}"))
}

/// Run with `--ignored`: what launches and transfers cost.
fn measure_rates() -> Outcome {
    for transfers in [Transfers::Mapped, Transfers::Staged] {
        let device = open(transfers)?;
        let mut context = device.new_gpu_context();
        let spec = buffer(1, 64 << 20);
        let mut bytes = vec![1; 64 << 20];
        context.fill(&spec, &bytes)?;
        let small = buffer(2, 256);
        context.create_buffer(&small)?;
        let kernels = [("empty", &shaders::COUNT), ("empty, with trap sites", &shaders::TRAP)];
        for (name, source) in kernels {
            let kernel = shaders::prepare(&device, source)?;
            context.write_buffer(small.id, 0, &[0xff; 256])?;
            context.run(&kernel, 1, 1, &[small])?;
            let launch = best_of(|| context.run(&kernel, 1, 1, &[small]).map(drop).map_err(Failed::from))?;
            println!("{transfers:?}: launch ({name}) {launch:.1} µs");
            let round = best_of(|| {
                context.write_buffer(small.id, 0, &[0xff; 256])?;
                context.run(&kernel, 1, 1, &[small])?;
                Ok(context.read_buffer(small.id, 0, &mut [0; 256])?)
            })?;
            println!("{transfers:?}: write 256 B, launch ({name}), read back {round:.1} µs");
        }
        let rate = |micros: f64| f64::from(64u32 << 20) / micros / 1e3;
        let write = best_of(|| Ok(context.write_buffer(spec.id, 0, &bytes)?))?;
        println!("{transfers:?}: write {:.1} GB/s", rate(write));
        let read = best_of(|| Ok(context.read_buffer(spec.id, 0, &mut bytes)?))?;
        println!("{transfers:?}: read {:.1} GB/s", rate(read));
        let software = device.info().kind == DeviceKind::SoftwareGpu;
        let mut copy = vec![0; bytes.len()];
        let copied = best_of(|| {
            std::hint::black_box(&mut copy).copy_from_slice(std::hint::black_box(&bytes));
            Ok(())
        })?;
        println!("memcpy of as much {:.1} GB/s", rate(copied));
        println!("{:?}\n{:?}", device.info(), device.options().features);
        println!("{} ({})", device.info().name, if software { "software" } else { "hardware" });
    }
    Ok(())
}

/// Microseconds of one call: the least mean of 20 blocks, as others use the machine too.
fn best_of(mut call: impl FnMut() -> Outcome) -> Result<f64, Failed> {
    let once = Instant::now();
    call()?;
    let calls = (2e-3 / once.elapsed().as_secs_f64()).clamp(1.0, 50.0) as u32;
    let mut best = f64::MAX;
    for _ in 0..20 {
        let start = Instant::now();
        for _ in 0..calls {
            call()?;
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e6 / f64::from(calls));
    }
    Ok(best)
}
