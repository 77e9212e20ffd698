// The table of quick phases, by the name of C's function: for the module that the translator lifts, and for the tests.
operators! {
    "expf": quick_expf(x: u32) -> u64 = exponential::exponential(x);
    "powf": quick_powf(x: u32, y: u32) -> u64 = power::power(x, y);
    "logf": quick_logf(x: u32) -> u64 = logarithm::logarithm(x);
}
