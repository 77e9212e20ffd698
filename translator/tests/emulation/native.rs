//! The emulation's sources, compiled for the host.

#[path = "../../emulation/arithmetic.rs"]
mod arithmetic;
#[path = "../../emulation/convert.rs"]
mod convert;
#[path = "../../emulation/exponential.rs"]
mod exponential;
#[path = "../../emulation/format.rs"]
mod format;
#[path = "../../emulation/logarithm.rs"]
mod logarithm;
#[allow(dead_code, reason = "the translator compares these data with guests'")]
#[path = "../../emulation/musl.rs"]
mod musl;
#[path = "../../emulation/near.rs"]
mod near;
#[path = "../../emulation/normal.rs"]
mod normal;
#[path = "../../emulation/order.rs"]
mod order;
#[path = "../../emulation/power.rs"]
mod power;
#[path = "../../emulation/quick.rs"]
mod quick;
#[path = "../../emulation/words.rs"]
mod words;

use format::{MAGNITUDE, SIGN};

/// A function of the emulation; what it takes and gives are bits, in the low ones of 64.
pub type Native = fn(&[u64]) -> u64;

macro_rules! operators {
    ($($text:literal: $name:ident($($param:ident: $ty:ty),*) -> $result:ty = $value:expr;)*) => {
        $(
            fn $name(args: &[u64]) -> u64 {
                let mut args = args.iter().copied();
                $(let $param = args.next().unwrap() as $ty;)*
                let value: $result = $value;
                value.into()
            }
        )*

        /// All of them by name.
        pub const FUNCTIONS: &[(&str, Native)] = &[$(($text, $name as Native)),*];
    };
}

/// The quick phases of functions of C's library, and near functions.
pub mod library {
    use super::{Native, exponential, logarithm, near, power};

    include!("../../emulation/library.rs");
}

include!("../../emulation/operators.rs");
