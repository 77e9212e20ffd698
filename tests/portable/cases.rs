//! Kernels with inputs: one operator each at edge values, control flow at random, the example guests.

use arbtest::arbitrary::Unstructured;
use wavelift_translator::Module;
use wavelift_translator::ir::{Type, WasmOp};

use crate::random_control;

/// A launch: all invocations of one kernel.
pub struct Case {
    pub name: String,
    pub module: Module,
    pub kernel: u32,
    pub iterations: u32,
    pub block_size: u32,
    /// Contents by slot; every buffer is `ReadWrite`.
    pub buffers: Vec<Vec<u32>>,
    /// The last buffer is of floats whose NaNs may have any bits.
    pub any_nan: Nans,
}

/// Floats whose NaNs may have any bits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Nans {
    /// None: what was moved keeps its bits.
    Kept,
    /// Words that are `f32`.
    F32,
    /// Pairs of words that are `f64`.
    F64,
}

/// What a word has that no invocation wrote, so that a trap shows in the buffer too.
const UNWRITTEN: u32 = 0xa5a5_a5a5;

fn from_text(name: &str, text: &str, iterations: u32, buffers: Vec<Vec<u32>>) -> Case {
    let bytes = wat::parse_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let module = Module::parse(bytes).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let kernel = module.find_function("kernel").expect("the text exports its kernel");
    Case { name: name.into(), module, kernel, iterations, block_size: 1, buffers, any_nan: Nans::Kept }
}

fn edges(ty: Type) -> Vec<u64> {
    match ty {
        Type::I32 => {
            [0, 1, 2, 5, 31, 32, 33, 0x7fff_ffff, 0x8000_0000, 0x8000_0001, 0xffff_ffff, 0xffff_fff9, 0xdead_beef]
                .map(|bits: u32| bits.into())
                .into()
        }
        Type::I64 => vec![
            0,
            1,
            7,
            32,
            63,
            64,
            65,
            0x7fff_ffff,
            0x8000_0000,
            0xffff_ffff,
            0x1_0000_0000,
            i64::MAX as u64,
            i64::MIN as u64,
            u64::MAX,
            u64::MAX - 6,
            0xffff_ffff_8000_0000,
            0x0123_4567_89ab_cdef,
        ],
        Type::F32 => {
            let mut bits: Vec<u64> = [
                0.0f32,
                0.5,
                1.0,
                1.5,
                2.5,
                3.0,
                0.1,
                0.99999994,
                1e-3,
                8_388_607.5,
                16_777_217.0,
                2_147_483_520.0,
                2_147_483_648.0,
                4_294_967_040.0,
                4_294_967_296.0,
                9.223_371e18,
                9.223_372e18,
                1.844_674_3e19,
                1.844_674_4e19,
                f32::MAX,
                f32::MIN_POSITIVE,
                f32::from_bits(1),
                f32::from_bits(0x7f_ffff),
                f32::INFINITY,
            ]
            .iter()
            .flat_map(|value| [value.to_bits().into(), (-value).to_bits().into()])
            .collect();
            bits.extend([0x7fc0_0000, 0xffc0_0000, 0x7fa0_0001]);
            bits
        }
        Type::F64 => {
            let mut bits: Vec<u64> = [
                0.0f64,
                0.5,
                1.5,
                2.5,
                3.0,
                0.1,
                0.999_999_999_999_999_9,
                1e-3,
                16_777_217.0,
                2_147_483_647.5,
                4_294_967_295.5,
                4_503_599_627_370_495.5,
                9_007_199_254_740_993.0,
                9_223_372_036_854_774_784.0,
                9_223_372_036_854_775_808.0,
                18_446_744_073_709_551_616.0,
                f64::from(f32::MIN_POSITIVE) * 0.75,
                f64::from(f32::MAX) * 1.000_000_03,
                1.5e-308,
                f64::MAX,
                f64::MIN_POSITIVE,
                f64::from_bits(1),
                f64::from_bits(0xf_ffff_ffff_ffff),
                f64::INFINITY,
            ]
            .iter()
            .flat_map(|value| [value.to_bits(), (-value).to_bits()])
            .collect();
            bits.extend([0x7ff8_0000_0000_0000, 0xfff8_0000_0000_0000, 0x7ff4_0000_0000_0001]);
            bits
        }
        Type::V128 | Type::Bool => unreachable!("kernels here have no vectors"),
    }
}

fn name_of(ty: Type) -> &'static str {
    match ty {
        Type::I32 => "i32",
        Type::I64 => "i64",
        Type::F32 => "f32",
        Type::F64 => "f64",
        Type::V128 | Type::Bool => unreachable!("kernels here have no vectors"),
    }
}

/// Two words for each value.
fn operands(values: impl Iterator<Item = u64>) -> Vec<u32> {
    values.flat_map(|value| [value as u32, (value >> 32) as u32]).collect()
}

/// A kernel that loads values of these types, 8 bytes apart, and stores what `body` makes of them.
fn value_kernel(name: &str, body: &str, params: &[Type], result: Type) -> Case {
    let mut rows: Vec<Vec<u64>> = vec![vec![]];
    for ty in params {
        let extend = |row: &Vec<u64>| {
            edges(*ty).into_iter().map(|value| [row.as_slice(), &[value]].concat()).collect::<Vec<_>>()
        };
        rows = rows.iter().flat_map(extend).collect();
    }
    let mut buffers: Vec<Vec<u32>> = (0..params.len()).map(|i| operands(rows.iter().map(|row| row[i]))).collect();
    let loads: String = (0..params.len())
        .map(|i| format!("({}.load (i32.add (local.get {}) (local.get $at)))\n", name_of(params[i]), 3 + 2 * i))
        .collect();
    let pointers = "(param i32 i32)".repeat(params.len());
    let text = format!(
        "(module (memory 1) (func (export \"kernel\") (param $i i32) (param i32 i32) {pointers} (param $out i32) (param i32)
         (local $at i32) (local $where i32)
         (local.set $at (i32.shl (local.get $i) (i32.const 3)))
         (i32.add (local.get $out) (local.get $at))
         {loads} {body}
         {}.store))",
        name_of(result)
    );
    buffers.push(vec![UNWRITTEN; 2 * rows.len()]);
    let mut case = from_text(name, &text, rows.len() as u32, buffers);
    // What moves bits keeps a NaN's.
    let moves = ["abs", "neg", "copysign", "reinterpret", "select"].iter().any(|word| name.contains(word));
    case.any_nan = match result {
        _ if moves => Nans::Kept,
        Type::F32 => Nans::F32,
        Type::F64 => Nans::F64,
        _ => Nans::Kept,
    };
    case
}

/// Every numeric operator, `select`, and narrow and unaligned loads.
pub fn operators() -> Vec<Case> {
    let case = |op: &WasmOp| value_kernel(op.text(), op.text(), op.params(), op.result());
    let mut cases: Vec<Case> = WasmOp::ALL.iter().map(case).collect();
    for ty in [Type::I32, Type::F32, Type::F64] {
        cases.push(value_kernel(&format!("{} select", name_of(ty)), "select", &[ty, ty, Type::I32], ty));
    }
    let loads = [
        "i32.load8_s",
        "i32.load8_u",
        "i32.load16_s",
        "i32.load16_u",
        "i32.load",
        "f32.load",
        "f64.load",
        "i64.load8_s",
        "i64.load8_u",
        "i64.load16_s",
        "i64.load16_u",
        "i64.load32_s",
        "i64.load32_u",
        "i64.load",
    ];
    cases.extend(loads.map(load_kernel));
    cases
}

/// Operators whose results have a sign, each as an operand of operators that go by a sign, their own.
pub fn pairs() -> Vec<Case> {
    let mut cases = Vec::new();
    for (ty, other) in [("i32", "i64"), ("i64", "i32")] {
        let mut producers =
            vec![(format!("{ty}.trunc_sat_f32_s"), Type::F32), (format!("{ty}.trunc_sat_f32_u"), Type::F32)];
        let own = if ty == "i32" { Type::I32 } else { Type::I64 };
        producers.extend(["extend8_s", "extend16_s"].map(|name| (format!("{ty}.{name}"), own)));
        let with = |name: &str| (format!("{ty}.const -3 {ty}.{name}"), own);
        producers.extend(["div_s", "rem_s", "div_u", "shr_s", "sub"].map(with));
        match ty {
            "i64" => producers
                .extend([("i64.extend_i32_s".to_string(), Type::I32), ("i64.extend_i32_u".to_string(), Type::I32)]),
            _ => producers.push(("i32.wrap_i64".to_string(), Type::I64)),
        }
        let mut consumers =
            vec![(format!("f32.convert_{ty}_s"), Type::F32), (format!("f32.convert_{ty}_u"), Type::F32)];
        let with = |right: i32, result: Type| move |name: &str| (format!("{ty}.const {right} {ty}.{name}"), result);
        consumers.extend(["shr_s", "shr_u", "rem_u"].map(with(35, own)));
        consumers.extend(["div_s", "div_u", "rem_s"].map(with(-5, own)));
        consumers.extend(["lt_s", "lt_u"].map(with(-5, Type::I32)));
        if other == "i64" {
            consumers.extend(["i64.extend_i32_s", "i64.extend_i32_u"].map(|name| (name.to_string(), Type::I64)));
        }
        for (producer, param) in &producers {
            // All consumers in one kernel would share a value; each gets the operand as an expression of its own.
            let consume = |(consumer, result): &(String, Type)| {
                let body = format!("{producer} {consumer}");
                value_kernel(&body, &body, &[*param], *result)
            };
            cases.extend(consumers.iter().map(consume));
        }
    }
    cases
}

/// A kernel whose invocation `i` loads from byte `i`: all alignments, and traps at the end.
fn load_kernel(load: &str) -> Case {
    let ty = &load[..3];
    let text = format!(
        "(module (memory 1) (func (export \"kernel\") (param $i i32) (param i32 i32) (param $in i32) (param i32) (param $out i32) (param i32)
         (i32.add (local.get $out) (i32.shl (local.get $i) (i32.const 3)))
         ({load} offset=1 align=1 (i32.add (local.get $in) (local.get $i)))
         {ty}.store))"
    );
    let input: Vec<u32> = (0..8u32).map(|i| i.wrapping_mul(0x9e37_79b9) ^ 0x80ff_017f).collect();
    from_text(load, &text, 34, vec![input, vec![UNWRITTEN; 2 * 34]])
}

/// The same bytes on every machine.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// Kernels of random control flow with calls, `br_table`, and exits of several levels.
pub fn control(seeds: std::ops::Range<u64>) -> Vec<Case> {
    const ITERATIONS: u32 = 5;
    let case = |seed: u64| {
        let bytes = noise(seed + 1, 4096);
        let text = random_control::module(&mut Unstructured::new(&bytes)).expect("the generator takes any bytes");
        from_text(
            &format!("control {seed}"),
            &text,
            ITERATIONS,
            vec![vec![0; (ITERATIONS * random_control::BYTES / 4) as usize]],
        )
    };
    seeds.map(case).collect()
}

/// Floats in [-1, 1).
fn floats(seed: u64, count: u32) -> Vec<u32> {
    let bytes = noise(seed, 4 * count as usize);
    bytes.chunks_exact(4).map(|b| (f32::from(b[0]) / 128.0 - 1.0 + f32::from(b[1]) / 65536.0).to_bits()).collect()
}

fn guest(name: &str, iterations: u32, block_size: u32, buffers: Vec<Vec<u32>>) -> Case {
    let path = format!("{}/examples/guests/{name}.wasm", env!("CARGO_MANIFEST_DIR"));
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let module = Module::parse(bytes).unwrap_or_else(|error| panic!("{path}: {error}"));
    let kernels = module.kernels();
    assert_eq!(kernels.len(), 1, "{name} has one kernel");
    let kernel = kernels[0];
    assert_eq!(module.kernel_buffers(kernel), Some(buffers.len() as u32), "{name}'s buffers");
    Case { name: name.into(), module, kernel, iterations, block_size, buffers, any_nan: Nans::Kept }
}

/// The example guests' kernels on small inputs; some invocations are beyond the buffers and trap.
pub fn guests() -> Vec<Case> {
    let f = |value: f32| value.to_bits();
    vec![
        guest("hello_parallel", 70, 64, vec![floats(1, 64), floats(2, 66)]),
        guest(
            "mandelbrot",
            16 * 12,
            64,
            vec![vec![16, 12, 40, f(-2.0), f(-1.2), f(3.0 / 16.0), f(2.4 / 12.0), 0], vec![UNWRITTEN; 16 * 12]],
        ),
        guest("nbody", 20, 64, vec![vec![20, f(0.01), f(0.001), 0], floats(3, 80), floats(4, 60), vec![UNWRITTEN; 80]]),
        guest("nstream", 40, 64, vec![floats(5, 40), floats(6, 39), floats(7, 40)]),
        guest("nstream_block", 5, 8, vec![floats(8, 40), floats(9, 40), floats(10, 40)]),
        guest("sgemm", 81, 64, vec![vec![9, 0, 0, 0], floats(11, 81), floats(12, 81), vec![UNWRITTEN; 80]]),
        guest("stencil", 70, 64, vec![vec![10, 7, 0, 0], floats(13, 70), vec![UNWRITTEN; 70]]),
    ]
}
