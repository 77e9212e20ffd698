//! Launches that are not waited for: their order, their traps, and what becomes of them when the device is lost.

use wavelift::device::gpu::Transfers;
use wavelift::device::{Context, DeviceError, LaunchError, Launched};

use super::shaders;
use super::support::{Buffers, buffer, check, open, words};

type Outcome = Result<(), libtest_mimic::Failed>;

/// Launches that are not waited for, with everything between them that a guest may do.
pub fn deferred_launches_run_in_order() -> Outcome {
    for transfers in [Transfers::Mapped, Transfers::Staged] {
        let device = open(transfers)?;
        let (count, saxpy) = (shaders::prepare(&device, &shaders::COUNT)?, shaders::prepare(&device, &shaders::SAXPY)?);
        let mut context = device.new_gpu_context();
        let (counted, x, y) = (buffer(1, 40), buffer(2, 16), buffer(3, 16));
        for spec in [&counted, &x, &y] {
            context.create_buffer(spec)?;
        }
        const TIMES: u32 = 3000;
        for round in 0..TIMES {
            let launched = context.run_deferred(&count, 10, 1, &[counted])?;
            check(launched == Launched::Deferred, "a launch was waited for that need not be")?;
            // What is queued behind launches under way, and before those to come.
            if round % 100 == 0 {
                context.write_buffer(x.id, 0, bytemuck::cast_slice(&[round as f32; 4]))?;
                context.run_deferred(&saxpy, 4, 1, &[x, y])?;
                let freed = buffer(100 + u64::from(round), 64);
                context.create_buffer(&freed)?;
                context.run_deferred(&count, 16, 1, &[freed])?;
                context.free_buffer(freed.id);
            }
            if round == TIMES / 2 {
                let half = words(&context.bytes(&counted)?);
                check(half == [round + 1; 10], format!("{half:?} after {round} launches"))?;
            }
        }
        let ended = context.finish();
        check(ended.len() == (TIMES + 2 * TIMES / 100) as usize, format!("{} launches ended", ended.len()))?;
        check(ended.iter().all(Result::is_ok) && context.finish().is_empty(), "not all launches ended well, and once")?;
        check(words(&context.bytes(&counted)?) == [TIMES; 10], "launches were lost")?;
        let sum = (0..TIMES).step_by(100).map(|round| 2.5 * round as f32).sum::<f32>();
        let got: Vec<f32> = bytemuck::pod_collect_to_vec(&context.bytes(&y)?);
        check(got == [sum; 4], format!("{got:?} instead of {sum}: writes did not come between launches"))?;
    }
    Ok(())
}

pub fn the_first_deferred_trap_counts() -> Outcome {
    for transfers in [Transfers::Mapped, Transfers::Staged] {
        let device = open(transfers)?;
        let (count, trap) = (shaders::prepare(&device, &shaders::COUNT)?, shaders::prepare(&device, &shaders::TRAP)?);
        let mut context = device.new_gpu_context();
        let specs = [buffer(0, 8), buffer(1, 8), buffer(2, 8), buffer(3, 40)];
        let never = u32::MAX;
        for (spec, from) in specs.iter().zip([[never, never], [50, 60], [9, 8], [0, 0]]) {
            context.fill(spec, bytemuck::cast_slice(&from))?;
        }
        for order in [[0, 1, 2], [0, 2, 1]] {
            for which in order {
                context.run_deferred(&trap, 1000, 1, &[specs[which]])?;
                context.run_deferred(&count, 10, 1, &[specs[3]])?;
            }
            let ended = context.finish();
            let trap_of = |ended: &Result<_, LaunchError>| match ended {
                Err(LaunchError::Trap(trap)) => Some(trap.iteration),
                _ => None,
            };
            let traps: Vec<_> = ended.iter().map(trap_of).collect();
            let lowest = |which: usize| [None, Some(50), Some(8)][which];
            let expected: Vec<_> = order.iter().flat_map(|which| [lowest(*which), None]).collect();
            check(traps == expected, format!("{traps:?} instead of {expected:?}"))?;
            check(context.run(&trap, 1000, 1, &[specs[0]]).is_ok(), "the record of the traps before was not reset")?;
        }
        // A launch that is waited for does not run behind one that trapped.
        let before = words(&context.bytes(&specs[3])?);
        context.run_deferred(&trap, 1000, 1, &[specs[1]])?;
        let late = context.run(&count, 10, 1, &[specs[3]]);
        check(late.is_err() && words(&context.bytes(&specs[3])?) == before, "a launch ran behind a trap")?;
        let ended = context.finish();
        check(ended.len() == 2 && ended[0].is_err(), format!("{ended:?}"))?;
    }
    Ok(())
}

pub fn deferred_launches_of_a_lost_device_fail() -> Outcome {
    for transfers in [Transfers::Mapped, Transfers::Staged] {
        let device = open(transfers)?;
        let count = shaders::prepare(&device, &shaders::COUNT)?;
        let mut context = device.new_gpu_context();
        let spec = buffer(1, 40);
        context.create_buffer(&spec)?;
        for _ in 0..5 {
            context.run_deferred(&count, 10, 1, &[spec])?;
        }
        device.lose();
        let ended = context.finish();
        let lost = |ended: &Result<_, LaunchError>| matches!(ended, Err(LaunchError::Device(DeviceError::Lost { .. })));
        check(ended.len() == 5 && ended.iter().all(lost), format!("{ended:?}"))?;
        context.create_buffer(&spec)?;
        context.run_deferred(&count, 10, 1, &[spec])?;
        check(context.finish().iter().all(Result::is_ok), "the device opened anew runs nothing")?;
        check(words(&context.bytes(&spec)?) == [1; 10], "the device opened anew gives wrong results")?;
    }
    Ok(())
}
