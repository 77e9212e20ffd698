//! The kernels of the benchmark suite as a Rust programmer writes them for a CPU, with rayon: what the CPU device is measured
//! against. A twin does a round of its kernel on the guest's buffers, in the order in which the guest creates them; it may go
//! about it in any way that is faster.
//!
//! The suite links this crate as it is built for every processor of the family. `scripts/build-native` builds it for this
//! machine's, too, as a library that the suite loads.

mod dense;
mod grids;
mod images;
mod particles;
mod prk;
mod series;
mod words;

/// A kernel's buffers.
pub type Buffers<'a> = [&'a mut [u8]];

/// Does a round of a kernel; whether there is one of this name.
///
/// # Panics
/// The buffers are not those of the kernel's guest.
pub fn run(kernel: &str, buffers: &mut Buffers<'_>) -> bool {
    let twin: fn(&mut Buffers<'_>) = match kernel {
        "nstream" => prk::nstream,
        "saxpy" => prk::saxpy,
        "transpose" => grids::transpose,
        "star" => grids::star,
        "p2p" => grids::p2p,
        "gemm_f32" => dense::gemm_f32,
        "gemm_f64" => dense::gemm_f64,
        "sparse" => prk::sparse,
        "reduce" => prk::reduce,
        "random" => words::random,
        "branch" => words::branch,
        "pic" => particles::pic,
        "mandelbrot" => images::mandelbrot,
        "nbody" => particles::nbody,
        "black_scholes" => series::black_scholes,
        "sobel" => images::sobel,
        "histogram" => words::histogram,
        "scan" => words::scan,
        "sha256" => words::sha256,
        "kmeans" => particles::kmeans,
        "bilateral" => images::bilateral,
        "fft" => series::fft,
        "softmax" => series::softmax,
        _ => return false,
    };
    twin(buffers);
    true
}

/// Whether this processor has what this build takes for granted; the answer itself needs none of it.
#[cfg(target_arch = "x86_64")]
macro_rules! has_all {
    ($($feature:tt)*) => {
        $(!cfg!(target_feature = $feature) || std::is_x86_feature_detected!($feature))&&*
    };
}

/// Whether this processor can run this build of the library.
#[unsafe(no_mangle)]
pub extern "C" fn wavelift_twins_can_run() -> bool {
    #[cfg(target_arch = "x86_64")]
    return has_all!(
        "sse3" "ssse3" "sse4.1" "sse4.2" "sse4a" "popcnt" "avx" "avx2" "bmi1" "bmi2" "fma" "lzcnt" "f16c" "avx512f"
        "avx512bw" "avx512cd" "avx512dq" "avx512vl" "avx512vnni" "avx512bf16" "avx512fp16" "avx512vbmi" "avx512vbmi2"
        "avx512bitalg" "avx512vpopcntdq" "avx512ifma" "sha" "gfni" "vaes" "vpclmulqdq"
    );
    #[cfg(not(target_arch = "x86_64"))]
    true
}

/// A buffer of a caller.
#[repr(C)]
pub struct RawBuffer {
    /// Its first byte.
    pub at: *mut u8,
    /// Its size in bytes.
    pub size: usize,
}

/// [`run`] for programs that load this library.
///
/// # Safety
/// `name` is `length` bytes of UTF-8; `buffers` are `count` buffers that are the caller's alone and do not overlap.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wavelift_twins_run(
    name: *const u8,
    length: usize,
    buffers: *const RawBuffer,
    count: usize,
) -> bool {
    // SAFETY: the caller vouches for the name and the buffers.
    let (name, buffers) =
        unsafe { (std::slice::from_raw_parts(name, length), std::slice::from_raw_parts(buffers, count)) };
    // SAFETY: the caller vouches for each buffer.
    let slice = |buffer: &RawBuffer| unsafe { std::slice::from_raw_parts_mut(buffer.at, buffer.size) };
    let mut slices: Vec<&mut [u8]> = buffers.iter().map(slice).collect();
    std::str::from_utf8(name).is_ok_and(|name| run(name, &mut slices))
}
