//! A buffer that a shader sees as bytes, as 16-bit words and as words.

use libtest_mimic::Failed;
use wavelift::device::gpu::{GpuDevice, GpuOptions};
use wavelift::device::{Context, Device, GuestModule, Launch};
use wavelift_translator::Module;

use super::support::{Buffers, NoCaller, adapter, buffer, check, words};

/// Stores of bytes, 16-bit words and words, and loads between them: the first buffer's bytes are an invocation's each, the
/// second's words are.
const VIEWS: &str = "(module (memory 1) (func (export \"kernel\") (param $i i32) (param i32 i32)
    (param $p i32) (param i32) (param $q i32) (param i32) (local $k i32) (local $sum i32)
    (local.set $p (i32.add (local.get $p) (local.get $i)))
    (local.set $q (i32.add (local.get $q) (i32.shl (local.get $i) (i32.const 2))))
    (loop
      (i32.store8 (local.get $p) (i32.add (local.get $sum) (local.get $i)))
      (local.set $sum (i32.add (i32.mul (local.get $sum) (i32.const 31)) (i32.load8_u (local.get $p))))
      (i32.store8 offset=1 (local.get $q) (local.get $sum))
      (i32.store (local.get $q) (i32.add (i32.mul (i32.load (local.get $q)) (i32.const 3)) (local.get $k)))
      (i32.store16 offset=2 (local.get $q) (i32.add (i32.load (local.get $q)) (local.get $sum)))
      (local.set $sum (i32.xor (local.get $sum) (i32.load (local.get $q))))
      (local.set $k (i32.add (local.get $k) (i32.const 1)))
      (br_if 0 (i32.lt_u (local.get $k) (i32.const 9))))))";

/// The bytes that an invocation of `VIEWS` leaves in each buffer.
fn seen(i: u32) -> (u8, u32) {
    let (mut byte, mut word, mut sum) = (0, 0u32, 0u32);
    for k in 0..9 {
        byte = sum.wrapping_add(i) as u8;
        sum = sum.wrapping_mul(31).wrapping_add(byte.into());
        word = word & !0xff00 | (sum & 0xff) << 8;
        word = word.wrapping_mul(3).wrapping_add(k);
        word = word & 0xffff | word.wrapping_add(sum) << 16;
        sum ^= word;
    }
    (byte, word)
}

/// Each way of storing, as far as the device has it.
pub fn show_the_same() -> Result<(), Failed> {
    let module = GuestModule::new(Module::parse(wat::parse_str(VIEWS)?)?);
    let count = 5000;
    for (storage8, storage16) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut had = (false, false);
        let device = GpuDevice::open_changed(&adapter()?, &GpuOptions::default(), None, |features| {
            had = (features.storage8, features.storage16);
            features.storage8 &= storage8;
            features.storage16 &= storage16;
        })?;
        let info = device.info();
        check(had == (info.int8, info.int16), format!("{had:?}, and the device says {info:?}"))?;
        let mut context = device.new_gpu_context();
        let specs = vec![buffer(1, count), buffer(2, 4 * count)];
        for spec in &specs {
            context.create_buffer(spec)?;
        }
        let (module, iterations) = (module.clone(), count as u32);
        let launch = Launch { module, function: 0, iterations, block_size: 1, buffers: specs.clone() };
        context.launch(&launch, &mut NoCaller)?;
        let (bytes, all) = (context.bytes(&specs[0])?, words(&context.bytes(&specs[1])?));
        for (i, got) in bytes.into_iter().zip(all).enumerate() {
            let expected = seen(i as u32);
            check(got == expected, format!("{storage8} {storage16} {i}: {got:x?} instead of {expected:x?}"))?;
        }
    }
    Ok(())
}
