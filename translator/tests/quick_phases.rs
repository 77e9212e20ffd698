//! Functions of C's library whose results are told from less than musl computes: that they are known bit for bit, and that
//! kernels which call them give what they gave, or, where floats are relaxed, nearly that.

mod common;

use common::{assert_portable, assert_valid};
use wavelift_translator::ir::Const;
use wavelift_translator::ir::interpret::{self, Buffer, Invocation, Space};
use wavelift_translator::{Access, Emulate, FloatMode, Libm, Module, Options, Profile, Shape, testing, translate};

const MODULE: &[u8] = include_bytes!("quick_phases/functions.wasm");
/// Kernels, the functions that they call, and how many arguments these have.
const KERNELS: [(&str, &str, usize); 3] = [("exponential", "expf", 1), ("logarithm", "logf", 1), ("power", "powf", 2)];

const FROM: u32 = 0x8000_0000;
const TO: u32 = 0x9000_0000;

fn emulated() -> Options {
    Options { emulate: Emulate { i64: true, f64: true }, ..Options::default() }
}

fn parse(bytes: &[u8]) -> Module {
    Module::parse(bytes.to_vec()).expect("the module is valid")
}

fn function(module: &Module, name: &str) -> u32 {
    let functions = 0..module.function_count();
    functions.into_iter().find(|function| module.given_name(*function) == Some(name)).expect(name)
}

fn shape(module: &Module, kernel: u32, initial: Option<&[u32]>) -> Shape {
    let mut shape = Shape::initial(module, kernel);
    shape.environment.initial = initial.map(<[u32]>::to_vec);
    shape
}

/// Special arguments, and others from everywhere; or pairs of these.
fn arguments(arity: usize) -> Vec<f32> {
    let one = one_argument();
    if arity == 1 {
        return one;
    }
    let specials = one[..24].iter().flat_map(|x| one[..24].iter().flat_map(|y| [*x, *y]));
    let others = one[24..].iter().zip(&one[1500..]).flat_map(|(x, y)| [*x, *y, *y + 20.0, (*y / 4.0).round()]);
    specials.chain(others).collect()
}

fn one_argument() -> Vec<f32> {
    let specials = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        f32::MIN_POSITIVE,
        -f32::MIN_POSITIVE,
        f32::from_bits(1),
        f32::MAX,
        f32::MIN,
        f32::EPSILON,
        1.0 + f32::EPSILON,
        1.0 - f32::EPSILON / 2.0,
        86.999_99,
        87.0,
        88.722_84,
        88.722_85,
        -87.33,
        -87.34,
        -103.97,
        -103.98,
        -150.0,
    ];
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state
    };
    let mut arguments = specials.to_vec();
    arguments.extend((0..1500).map(|_| f32::from_bits(next())));
    arguments.extend((0..1500).map(|_| (next() as f32 / 4_294_967_296.0 - 0.5) * 40.0));
    arguments
}

/// What a kernel, lifted so, makes of them; `NaN`s are one.
fn run(module: &Module, kernel: u32, shape: &Shape, options: &Options, arity: usize) -> Vec<u32> {
    let arguments = arguments(arity);
    let lifted = testing::strict(module, kernel, shape, options).unwrap();
    let bytes: Vec<u8> = arguments.iter().flat_map(|x| x.to_le_bytes()).collect();
    let buffers =
        vec![Buffer::new(FROM, Access::ReadWrite, &bytes), Buffer::new(TO, Access::ReadWrite, &vec![0; bytes.len()])];
    let linear = (0..4096).flat_map(|word| module.initial_word(4 * word).to_le_bytes()).collect();
    let mut space = Space { linear, buffers };
    let (count, length) = ((arguments.len() / arity) as u32, bytes.len() as u32);
    let immediates = [0, count, 0, count, 1, 0, FROM, length, TO, length];
    for iteration in 0..count {
        let globals = vec![Const::I32(1024); module.globals().len()];
        let invocation = Invocation { iteration, immediates: &immediates, globals: &globals, ..Invocation::default() };
        interpret::run(&lifted, &[], &invocation, &mut space, &|_| None).unwrap();
    }
    let results = space.buffers[1].bytes().chunks(4);
    results
        .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        .map(|x| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() })
        .collect()
}

#[test]
fn kernels_give_the_same() {
    let module = parse(MODULE);
    for (kernel, _, arity) in KERNELS {
        let kernel = function(&module, kernel);
        let (plain, quick) = (shape(&module, kernel, None), shape(&module, kernel, Some(&[])));
        let expected = run(&module, kernel, &plain, &Options::default(), arity);
        assert_eq!(run(&module, kernel, &plain, &emulated(), arity), expected);
        assert_eq!(run(&module, kernel, &quick, &emulated(), arity), expected);
        assert_eq!(run(&module, kernel, &quick, &Options::default(), arity), expected);
    }
}

#[test]
fn relaxed_kernels_give_the_same_to_a_unit_in_the_last_place() {
    let module = parse(MODULE);
    let relaxed = Options { float: FloatMode::Relaxed, ..Options::default() };
    let by_guest = Options { libm: Some(Libm::Guest), ..relaxed };
    for (kernel, name, arity) in KERNELS {
        let kernel = function(&module, kernel);
        let known = shape(&module, kernel, Some(&[]));
        let expected = run(&module, kernel, &known, &Options::default(), arity);
        let near = run(&module, kernel, &known, &relaxed, arity);
        for ((x, near), expected) in arguments(arity).iter().step_by(arity).zip(&near).zip(&expected) {
            let (near, expected) = (f32::from_bits(*near), f32::from_bits(*expected));
            assert!(testing::is_near(*x, near, expected), "{name}({x:e}): {near:e}, not {expected:e}");
        }
        assert_eq!(near == expected, name == "powf", "it alone is the guest's own");
        assert_eq!(run(&module, kernel, &known, &by_guest, arity), expected);
        // Nothing is known of the data.
        assert_eq!(run(&module, kernel, &shape(&module, kernel, None), &relaxed, arity), expected);
    }
}

#[test]
fn what_a_quick_phase_relies_on_is_asked_for() {
    let module = parse(MODULE);
    for (kernel, name, _) in KERNELS {
        let words = module.exact(function(&module, name)).unwrap().words.clone();
        assert!(words.len() > 64 && words.is_sorted());
        let kernel = function(&module, kernel);
        let relaxed = Options { float: FloatMode::Relaxed, ..Options::default() };
        let options = [emulated(), relaxed].into_iter().filter(|options| options.emulate.f64 || name != "powf");
        let profiles = [Profile::Vulkan, Profile::Portable];
        for options in options.flat_map(|options| profiles.map(|profile| Options { profile, ..options })) {
            let profile = options.profile;
            let lift = |initial: Option<&[u32]>| {
                translate(&module, kernel, &shape(&module, kernel, initial), &options).unwrap()
            };
            let (quick, plain, changed) = (lift(Some(&[])), lift(None), lift(Some(&words[3..4])));
            assert!(words.iter().all(|word| quick.relies_on.contains(word)), "{name}");
            assert!(plain.relies_on.is_empty());
            assert!(!changed.relies_on.contains(&words[3]));
            assert_ne!(quick.words, changed.words);
            for shader in [quick, plain, changed] {
                match profile {
                    Profile::Vulkan => assert_valid(&shader.words),
                    Profile::Portable => assert_portable(&shader.words),
                }
            }
        }
    }
}

#[test]
fn functions_with_other_data_are_not_known() {
    let module = parse(MODULE);
    for (_, name, _) in KERNELS {
        let function = function(&module, name);
        assert_eq!(module.exact(function).map(|exact| exact.name), Some(name));
        let words = module.exact(function).unwrap().words.clone();
        // Another object's may follow.
        let count = words.windows(2).take_while(|pair| pair[1] == pair[0] + 4).count() + 1;
        let (start, words) = (words[0], &words[..count]);
        let data = module.initial_bytes(start.into()..u64::from(start) + 4 * words.len() as u64).unwrap();
        let at = position(MODULE, &data);
        for place in 0..data.len() {
            let mut spoiled = MODULE.to_vec();
            spoiled[at + place] ^= 1;
            let spoiled = parse(&spoiled);
            assert!(spoiled.recognise(function).is_some(), "its body is the same");
            assert_eq!(spoiled.exact(function), None, "{name}, byte {place}");
        }
    }
}

fn position(bytes: &[u8], part: &[u8]) -> usize {
    bytes.windows(part.len()).position(|window| window == part).expect("it is there")
}

/// An `f64.load` from a constant address below 2^14, as linkers write it: in all the bytes that any address takes.
fn load(address: u32) -> [u8; 7] {
    [0x2b, 3, address as u8 | 0x80, (address >> 7) as u8 | 0x80, 0x80, 0x80, 0]
}

#[test]
fn functions_that_take_one_coefficient_for_another_are_not_known() {
    let module = parse(MODULE);
    let function = function(&module, "expf");
    let start = module.exact(function).unwrap().words[0];
    // The polynomial's.
    let (first, second) = (start + 8 * 38, start + 8 * 39);
    let (at_first, at_second) = (position(MODULE, &load(first)), position(MODULE, &load(second)));
    let mut swapped = MODULE.to_vec();
    swapped[at_first..at_first + 7].copy_from_slice(&load(second));
    swapped[at_second..at_second + 7].copy_from_slice(&load(first));
    let swapped = parse(&swapped);
    assert!(swapped.recognise(function).is_some(), "addresses are not looked at");
    assert_eq!(swapped.exact(function), None);
}
