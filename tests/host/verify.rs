//! Verification finds a device that is wrong, and leaves right ones alone.

use wavelift::device::LaunchError;
use wavelift::{Config, DeviceChoice, Error, Runtime};

use super::devices::{Behaviour, Own};
use super::{DRIVER, Guest, filled, table};

fn verifying() -> Config {
    Config { verify: true, ..Config::default() }
}

#[test]
fn equal_results_pass() {
    let mut guest = Guest::new(&Own::runtime(verifying(), Behaviour::Fill), DRIVER);
    let buffer = guest.buffer(40, 2);
    assert_eq!(guest.launch(table::FILL, 10, &[], &[buffer]).unwrap(), 0);
    assert_eq!(guest.words(buffer, 10), filled(10));
    assert_eq!(guest.instance.report().launches()[0].verified, 1);
}

#[test]
fn a_wrong_word_is_found() {
    let mut guest = Guest::new(&Own::runtime(verifying(), Behaviour::FillWrongly(6)), DRIVER);
    let buffer = guest.buffer(40, 2);
    let error = guest.launch(table::FILL, 10, &[], &[buffer]).unwrap_err();
    let Error::Mismatch(mismatch) = &error else { panic!("{error}") };
    assert_eq!((mismatch.launch, mismatch.kernel.as_str()), (1, "fill"));
    assert_eq!(mismatch.device, "the test's own");
    // 3 * 6 + 10, and one more on the device.
    let expected = "buffer 0 of the call differs at byte offset 24: 0x0000001d, expected 0x0000001c";
    assert!(mismatch.what.starts_with(expected), "{}", mismatch.what);
}

#[test]
fn the_cpu_is_compared_with_itself_in_order() {
    for device in [DeviceChoice::Cpu, DeviceChoice::Sequential] {
        let config = Config { device, ..verifying() };
        let mut guest = Guest::new(&Runtime::new(config).unwrap(), DRIVER);
        let buffer = guest.buffer(40, 2);
        guest.set_words(buffer, &[1, 2, 3]);
        assert_eq!(guest.launch(table::DOUBLE, 10, &[buffer], &[buffer]).unwrap(), 0);
        assert_eq!(guest.words(buffer, 4), [2, 4, 6, 0]);
        assert_eq!(guest.launch(table::MEMORY, 4, &[], &[]).unwrap(), 0);
        assert_eq!(guest.load(4096 + 12), 4);
        assert!(guest.instance.report().launches().iter().all(|l| l.verified == 1));
    }
}

#[test]
fn a_fallback_is_verified_and_a_kernel_that_calls_the_host_is_not_repeated() {
    let error = LaunchError::Unsupported("Not here.".to_string());
    let mut guest = Guest::new(&Own::runtime(verifying(), Behaviour::Fail(error)), DRIVER);
    let buffer = guest.buffer(40, 2);
    assert_eq!(guest.launch(table::FILL, 10, &[], &[buffer]).unwrap(), 0);
    assert_eq!(guest.words(buffer, 10), filled(10));
    assert_eq!(guest.launch(table::CALLS_HOST, 3, &[], &[buffer]).unwrap(), 0);
    let verified: Vec<u64> = guest.instance.report().launches().iter().map(|l| l.verified).collect();
    assert_eq!(verified, [1, 0]);
}
