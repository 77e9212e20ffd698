//! Random sequences of host calls with random arguments: each returns a code of the ABI or stops the guest with a sentence,
//! and another guest's buffer stays as it is.
//!
//! `WAVELIFT_FUZZ_SECONDS=600 cargo test --test host random` runs for so long.

use std::time::Duration;

use super::launches::devices;
use super::modules::{Form, KERNEL_AT, Launcher};
use super::session::{Host, judge, runtime};

fn budget() -> Duration {
    let seconds = std::env::var("WAVELIFT_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(3))
}

#[test]
fn random_calls() {
    let mut hosts: Vec<Host> = devices().into_iter().map(Host::new).collect();
    let mut steps = 0;
    arbtest::arbtest(|u| {
        let which = u.choose_index(hosts.len())?;
        steps += hosts[which].random_calls(u)?;
        Ok(())
    })
    .budget(budget());
    println!("{steps} random calls");
    assert!(steps > 100, "{steps} calls only");
}

/// Kernel modules of random bytes, and good ones with some bytes changed.
#[test]
fn random_kernel_modules() {
    let kernel = wat::parse_str(
        r#"(module (import "env" "memory" (memory 1)) (global $g (mut i32) (i32.const 3))
          (func (export "kernel") (param $i i32) (param i32 i32) (param $p i32) (param $l i32)
            (if (i32.lt_u (i32.shl (local.get $i) (i32.const 2)) (local.get $l)) (then
              (i32.store (i32.add (local.get $p) (i32.shl (local.get $i) (i32.const 2)))
                (i32.add (global.get $g) (i32.load offset=64 (i32.and (local.get $i) (i32.const 1020)))))))))"#,
    )
    .unwrap();
    let mut launches = 0;
    for device in devices() {
        let runtime = runtime(device);
        arbtest::arbtest(|u| {
            let mut launcher = Launcher::of(&runtime, Form::Exec);
            let buffer = launcher.buffer(400, 2);
            let mut bytes = kernel.clone();
            for _ in 0..u.int_in_range(0..=3)? {
                let at = u.choose_index(bytes.len())?;
                bytes[at] ^= 1 << u.int_in_range(0..=7)?;
            }
            if u.ratio(1, 8)? {
                bytes = u.arbitrary()?;
            }
            launcher.put_bytes(&bytes);
            let outs: &[i32] = if u.ratio(1, 8)? { &[] } else { &[buffer] };
            judge(launcher.launch(20, &[], outs), &format!("a kernel module at {KERNEL_AT}"));
            judge(launcher.guest.call("read_buffer", &[buffer, 1024, 4]), "read_buffer");
            launches += 1;
            Ok(())
        })
        .budget(budget() / 3);
    }
    println!("{launches} random kernel modules");
    assert!(launches > 20, "{launches} launches only");
}
