// The table of quick phases, by the name of C's function, and of near functions: for the module that the translator lifts,
// and for the tests.
operators! {
    "expf": quick_expf(x: u32) -> u64 = exponential::exponential(x);
    "powf": quick_powf(x: u32, y: u32) -> u64 = power::power(x, y);
    "logf": quick_logf(x: u32) -> u64 = logarithm::logarithm(x);
    "near.expf": near_expf(x: u32) -> u32 = near::exponential(f32::from_bits(x)).to_bits();
    "near.logf": near_logf(x: u32) -> u32 = near::logarithm(f32::from_bits(x)).to_bits();
}
