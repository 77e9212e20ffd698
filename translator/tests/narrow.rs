//! Indirect calls by entries that come from constant tables, in modules where functions of the same type recurse.

mod common;

use wavelift_translator::ir::Const;
use wavelift_translator::ir::interpret::{self, Buffer, Invocation, Space, Stop};
use wavelift_translator::{
    Access, Answer, Assumption, Error, LaunchState, Module, Options, Profile, Shape, Speculation, TrapKind,
    initial_shape, testing, translate, translate_or_ask,
};

const ADDRESS: u32 = 0x8000_0000;
/// Value of the stack pointer at the launch.
const STACK: u32 = 0x800;
/// Two tables of two words, an entry in each second one, and a list of where they are.
const DATA: [(u32, u32); 7] =
    [(0x1000, 7), (0x1004, 1), (0x1008, 7), (0x100c, 2), (0x1020, 0x1000), (0x1024, 0x1008), (0x1030, 3)];

const FUNCTIONS: &str = "(type $f (func (param i32 i32) (result i32)))
  (table 12 funcref) (elem (i32.const 1) func $double $square $again)
  (func $double (type $f) (i32.add (local.get 1) (i32.load (local.get 0))))
  (func $square (type $f) (i32.mul (local.get 1) (local.get 1)))
  (func $again (type $f)
    (if (i32.eqz (local.get 0)) (then (return (local.get 1))))
    (i32.add (i32.const 1) (call $again (i32.sub (local.get 0) (i32.const 1)) (local.get 1))))";

/// The kernel of a module: what `body` makes of `$a` and `$b`, the words of a record, becomes the second one. `$fp` is the
/// address of 32 bytes of the stack.
fn module(body: &str) -> Module {
    module_with(FUNCTIONS, body)
}

fn module_with(functions: &str, body: &str) -> Module {
    let text = format!(
        "(module (memory 1) (global $sp (export \"__stack_pointer\") (mut i32) (i32.const {STACK})) {functions}
          (func (export \"kernel\") (param $i i32) (param i32 i32) (param $p i32) (param i32)
            (local $a i32) (local $b i32) (local $fp i32)
            (local.set $fp (i32.sub (global.get $sp) (i32.const 32)))
            (global.set $sp (local.get $fp))
            (local.set $a (i32.load (local.get $p)))
            (local.set $b (i32.load offset=4 (local.get $p)))
            (i32.store (local.get $fp) (local.get $b))
            (i32.store offset=4 (local.get $p) {body})
            (global.set $sp (i32.add (local.get $fp) (i32.const 32)))))"
    );
    Module::parse(wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))).unwrap()
}

/// A call of the entry at an address, with the stack's record.
fn call(entry: &str) -> String {
    format!("(call_indirect (type $f) (local.get $fp) (local.get $a) (i32.load {entry}))")
}

/// The addresses of all words asked for, and the shape with what is there.
fn ask(module: &Module, words: &[(u32, u32)]) -> Result<(Vec<u32>, Shape), Error> {
    let kernel = module.find_function("kernel").unwrap();
    let (mut asked, mut shape) = (Vec::new(), Shape::initial(module, kernel));
    while let Answer::Words(addresses) = translate_or_ask(module, kernel, &shape, &Options::default())? {
        assert!(addresses.iter().all(|address| !asked.contains(address)), "{addresses:?} again");
        asked.extend(&addresses);
        let word = |address: &u32| words.iter().find(|(at, _)| at == address).map_or(0, |(_, word)| *word);
        shape.environment.know_words(addresses.iter().map(|address| (*address, word(address))));
    }
    asked.sort_unstable();
    Ok((asked, shape))
}

/// Runs the strict form on a record; gives its second word.
fn run(module: &Module, shape: &Shape, record: (u32, u32)) -> Result<u32, TrapKind> {
    run_on(&DATA, module, shape, record)
}

/// The same with these words in memory.
fn run_on(words: &[(u32, u32)], module: &Module, shape: &Shape, (a, b): (u32, u32)) -> Result<u32, TrapKind> {
    let kernel = module.find_function("kernel").unwrap();
    let function = testing::strict(module, kernel, shape, &Options::default()).unwrap();
    let mut linear = vec![0; 1 << 16];
    for (address, word) in words {
        linear[*address as usize..][..4].copy_from_slice(&word.to_le_bytes());
    }
    let bytes = [a.to_le_bytes(), b.to_le_bytes()].concat();
    let mut space = Space { linear, buffers: vec![Buffer::new(ADDRESS, Access::ReadWrite, &bytes)] };
    let globals = [Const::I32(STACK)];
    let immediates = [0, 1, 0, 1, 7, 0, ADDRESS, 8];
    let tables = &shape.environment.tables;
    let invocation = Invocation { immediates: &immediates, tables, globals: &globals, ..Invocation::default() };
    match interpret::run(&function, &[], &invocation, &mut space, &|_| None) {
        Ok(_) => Ok(u32::from_le_bytes(space.buffers[0].bytes()[4..8].try_into().unwrap())),
        Err(Stop::Trap { kind, .. }) => Err(kind),
        Err(other) => panic!("{other}"),
    }
}

/// Lifts a kernel, which must ask for these words; its shaders must be valid.
fn lifted(body: &str, asks: &[u32]) -> (Module, Shape) {
    let module = module(body);
    let (asked, shape) = ask(&module, &DATA).unwrap_or_else(|error| panic!("{error}\n{body}"));
    assert_eq!(asked, asks, "{body}");
    let kernel = module.find_function("kernel").unwrap();
    for profile in [Profile::Vulkan, Profile::Portable] {
        let options = Options { profile, ..Options::default() };
        let words = wavelift_translator::translate(&module, kernel, &shape, &options).unwrap().words;
        match profile {
            Profile::Vulkan => common::assert_valid(&words),
            Profile::Portable => common::assert_portable(&words),
        }
    }
    (module, shape)
}

fn refusal(body: &str, words: &[(u32, u32)]) -> String {
    match ask(&module(body), words) {
        Err(Error::Unsupported { what, .. }) => what,
        other => panic!("{other:?}\n{body}"),
    }
}

const RECURSION: &str = "recursion (`again` calls itself)";

#[test]
fn an_entry_at_a_constant_address_is_asked_for() {
    let (module, shape) = lifted(&call("(i32.const 0x1004)"), &[0x1004]);
    assert_eq!(run(&module, &shape, (5, 30)), Ok(35));
    let (module, shape) = lifted(&call("offset=4 (i32.load offset=4 (i32.const 0x1020))"), &[0x100c, 0x1024]);
    assert_eq!(run(&module, &shape, (5, 30)), Ok(25));
}

/// As libraries hand over closures: a pointer to a record with a function is loaded atomically.
#[test]
fn what_is_loaded_atomically_is_asked_for() {
    let entry = "(i32.atomic.load offset=4 (i32.atomic.load (i32.const 0x1024)))";
    let body = format!("(call_indirect (type $f) (local.get $fp) (local.get $a) {entry})");
    let (module, shape) = lifted(&body, &[0x100c, 0x1024]);
    assert_eq!(run(&module, &shape, (9, 5)), Ok(81));
}

#[test]
fn what_is_one_of_a_few_is_asked_for_once() {
    let either = "(select (i32.const 0x1000) (i32.const 0x1008) (i32.and (local.get $b) (i32.const 1)))";
    let masked = "(i32.add (i32.const 0x1000) (i32.shl (i32.and (local.get $b) (i32.const 1)) (i32.const 3)))";
    let modulo = "(i32.add (i32.const 0x1000) (i32.mul (i32.rem_u (local.get $b) (i32.const 2)) (i32.const 8)))";
    for (address, odd) in [(either, Ok(12)), (masked, Ok(25)), (modulo, Ok(25))] {
        let (module, shape) = lifted(&call(&format!("offset=4 {address}")), &[0x1004, 0x100c]);
        let even = if odd == Ok(12) { Ok(25) } else { Ok(5 + 8) };
        assert_eq!([run(&module, &shape, (5, 7)), run(&module, &shape, (5, 8))], [odd, even], "{address}");
    }
}

/// As a list of objects on the stack is: address and methods side by side, one of them chosen by a number.
#[test]
fn entries_are_found_through_a_list_on_the_stack() {
    let list = "(block (result i32)
      (i32.store offset=8 (local.get $fp) (local.get $fp)) (i32.store offset=12 (local.get $fp) (i32.const 0x1000))
      (i32.store offset=16 (local.get $fp) (local.get $fp)) (i32.store offset=20 (local.get $fp) (i32.const 0x1008))
      (i32.load offset=12 (i32.add (local.get $fp) (i32.shl (i32.and (local.get $b) (i32.const 1)) (i32.const 3)))))";
    // The stack may be read before anything is there.
    let (module, shape) = lifted(&call(&format!("offset=4 {list}")), &[4, 0x1004, 0x100c]);
    assert_eq!([run(&module, &shape, (5, 7)), run(&module, &shape, (5, 8))], [Ok(25), Ok(13)]);
}

/// As compilers copy pairs of an address and methods: 64 bits at once, from a constant, from memory, and on the stack.
#[test]
fn entries_are_found_through_copies_of_64_bits() {
    let copied = "(block (result i32)
      (i64.store offset=8 align=4 (local.get $fp) (i64.const 0x1000_0000_0005))
      (i64.store offset=16 align=4 (local.get $fp) (i64.load align=4 (i32.const 0x1020)))
      (i64.store offset=24 align=4 (local.get $fp) (i64.load align=4
        (i32.add (local.get $fp) (i32.add (i32.const 8) (i32.shl (i32.and (local.get $b) (i32.const 1)) (i32.const 3))))))
      ENTRY)";
    let high = "(i32.wrap_i64 (i64.shr_u (i64.load align=4 (i32.const 0x1020)) (i64.const 32)))";
    for (entry, asks) in [(high, vec![0x100c, 0x1020, 0x1024]), ("(i32.const 0x1000)", vec![0x1004])] {
        let (module, shape) = lifted(&call(&format!("offset=4 {entry}")), &asks);
        assert_eq!(run(&module, &shape, (5, 30)), Ok(if entry == high { 25 } else { 35 }), "{entry}");
    }
    let address = "(i32.add (local.get $fp) (i32.shl (i32.and (local.get $a) (i32.const 1)) (i32.const 3)))";
    let list = copied.replace("ENTRY", &format!("(i32.load offset=20 {address})"));
    let (module, shape) = lifted(&call(&format!("offset=4 {list}")), &[4, 0x1004, 0x100c, 0x1020, 0x1024]);
    // By `$a`, the second pair or the third, which is by `$b` the first or the second.
    for (a, b, end) in [(4, 30, 16), (5, 30, 35), (5, 31, 25)] {
        assert_eq!(run(&module, &shape, (a, b)), Ok(end), "{a} {b}");
    }
}

#[test]
fn an_entry_of_nothing_traps_as_in_wasm() {
    let module = module(&call("(i32.const 0x1004)"));
    for (entry, end) in [
        (0, Err(TrapKind::NullTableEntry)),
        (1, Ok(35)),
        (9, Err(TrapKind::NullTableEntry)),
        (12, Err(TrapKind::TableOutOfBounds)),
        (u32::MAX, Err(TrapKind::TableOutOfBounds)),
    ] {
        let words = [(0x1004, entry)];
        let (_, shape) = ask(&module, &words).unwrap();
        assert_eq!(run_on(&words, &module, &shape, (5, 30)), end, "{entry}");
    }
}

/// What a function gives is the next entry, behind many null ones that the first may be.
#[test]
fn an_entry_behind_null_ones_is_found_in_a_later_round() {
    let functions = "(type $f (func (param i32 i32) (result i32)))
      (table 24 funcref) (elem (i32.const 1) $next) (elem (i32.const 20) $last $again)
      (func $next (type $f) (i32.const 20))
      (func $last (type $f) (i32.const 77))
      (func $again (type $f) (call $again (local.get 1) (local.get 0)))";
    let body = "(block (result i32)
      (local.set $a (i32.and (local.get $a) (i32.const 15)))
      (loop $l (result i32)
        (local.set $a (call_indirect (type $f) (local.get $b) (local.get $b) (local.get $a)))
        (br_if $l (i32.lt_u (local.get $a) (i32.const 77)))
        (local.get $a)))";
    let module = module_with(functions, body);
    let (asked, shape) = ask(&module, &[]).unwrap();
    assert_eq!(asked, []);
    assert_eq!(run(&module, &shape, (1, 0)), Ok(77));
    assert_eq!(run(&module, &shape, (2, 0)), Err(TrapKind::NullTableEntry));
}

#[test]
fn what_recurses_or_is_not_known_is_refused() {
    assert_eq!(refusal(&call("(i32.const 0x1030)"), &DATA), RECURSION);
    assert_eq!(refusal(&call("(local.get $b)"), &DATA), RECURSION);
    assert_eq!(
        refusal(&call("(i32.load (i32.add (local.get $fp) (i32.shl (local.get $b) (i32.const 2))))"), &DATA),
        RECURSION
    );
    // A store at an unknown place of the stack may change what is in the list.
    let spoiled = "(block (result i32)
      (i32.store offset=12 (local.get $fp) (i32.const 0x1000))
      (i32.store offset=8 (i32.add (local.get $fp) (i32.and (local.get $b) (i32.const 4))) (local.get $b))
      (i32.load offset=8 (i32.add (local.get $fp) (i32.and (local.get $a) (i32.const 4)))))";
    assert_eq!(refusal(&call(&format!("offset=4 {spoiled}")), &DATA), RECURSION);
    // So may an atomic operation.
    let spoiled = "(block (result i32)
      (i32.store offset=8 (local.get $fp) (i32.const 0x1000)) (i32.store offset=12 (local.get $fp) (i32.const 0x1000))
      (drop (i32.atomic.rmw.add offset=8 (local.get $fp) (local.get $b)))
      (i32.load offset=8 (i32.add (local.get $fp) (i32.and (local.get $a) (i32.const 4)))))";
    assert_eq!(refusal(&call(&format!("offset=4 {spoiled}")), &DATA), RECURSION);
}

/// The host compares what the kernel stores with what was asked for.
#[test]
fn stores_to_the_words_are_seen() {
    for (at, spares) in [(0x1004, false), (0x1010, true)] {
        let body =
            format!("(block (result i32) (i32.store (i32.const {at}) (local.get $b)) {})", call("(i32.const 0x1004)"));
        let (module, shape) = lifted(&body, &[0x1004]);
        let kernel = module.find_function("kernel").unwrap();
        let shader = wavelift_translator::translate(&module, kernel, &shape, &Options::default()).unwrap();
        let launch = LaunchState {
            immediates: &[0, 1, 0, 1, 7, 0, ADDRESS, 8],
            inputs: &|_| None,
            words: &|_, _| None,
            iterations: 1,
        };
        assert_eq!(shader.linear.unwrap().spares(&launch, &[0x1004]), spares, "{at:x}");
    }
}

/// Where nobody knows which function a call comes to, a speculative form bails out at those that can't be lifted.
#[test]
fn what_is_not_known_is_assumed_to_be_what_can_be_lifted() {
    let functions = "(type $f (func (param i32 i32) (result i32)))
      (table 12 funcref) (elem (i32.const 1) func $square $grows $moves)
      (func $square (type $f) (i32.mul (local.get 1) (local.get 1)))
      (func $grows (type $f) (memory.grow (i32.const 1)))
      (func $moves (type $f) (i32.store (i32.const 0x1000) (local.get 1)) (i32.const 3))";
    let lift = |body: &str, speculation: Speculation| {
        let module = module_with(functions, body);
        let kernel = module.find_function("kernel").unwrap();
        let shape = initial_shape(&module, kernel, &Options::default());
        translate(&module, kernel, &shape, &Options { speculation, ..Options::default() })
    };
    let body = call("offset=8 (local.get $p)");
    let bails = lift(&body, Speculation::ALL).unwrap().interface.trap_sites;
    assert!(bails.iter().any(|site| site.kind == TrapKind::BailedOut(Assumption::Callees)), "{bails:?}");
    let neither = Speculation::ALL.without(Assumption::Callees).without(Assumption::Methods);
    for left in [Speculation::NONE, neither, Speculation::ALL.without(Assumption::Callees)] {
        assert!(matches!(lift(&body, left), Err(Error::Unsupported { .. })));
    }
    // What the kernel itself stores to linear memory may be what the host is told later, or where a heap grows.
    let stores = format!("(block (result i32) (i32.store (i32.const 0x1000) (local.get $b)) {body})");
    assert!(matches!(lift(&stores, Speculation::ALL), Err(Error::Unsupported { .. })));
}

/// Of an object at an unknown place of the stack the methods are guessed by the constants that are stored there; of one in a
/// buffer nothing can be.
#[test]
fn methods_are_guessed_by_what_is_stored() {
    let functions = "(type $f (func (param i32 i32) (result i32)))
      (data (i32.const 0x400) \"\\01\\00\\00\\00\\02\\00\\00\\00\\03\\00\\00\\00\")
      (table 12 funcref) (elem (i32.const 1) func $square $double $grows)
      (func $square (type $f) (i32.mul (local.get 1) (local.get 1)))
      (func $double (type $f) (i32.add (local.get 1) (local.get 1)))
      (func $grows (type $f) (memory.grow (i32.const 1)))";
    let lift = |object: &str| {
        let body = call(&format!(
            "(block (result i32)
              (i32.store offset=4 (local.get $fp) (i32.const 0x400))
              (i32.store offset=8 (local.get $fp) (i32.const 0x404))
              (i32.store offset=12 (local.get $fp) (i32.add (local.get $fp) (i32.const 4)))
              (i32.store offset=16 (local.get $fp) (i32.add (local.get $fp) (i32.const 8)))
              (i32.load (i32.load {object})))"
        ));
        let module = module_with(functions, &body);
        let kernel = module.find_function("kernel").unwrap();
        let options = Options { speculation: Speculation::ALL, ..Options::default() };
        let shape = initial_shape(&module, kernel, &options);
        translate(&module, kernel, &shape, &options).unwrap().interface.assumptions()
    };
    let among =
        "(i32.load offset=12 (i32.add (local.get $fp) (i32.shl (i32.and (local.get $b) (i32.const 1)) (i32.const 2))))";
    assert!(lift(among).contains(&Assumption::Methods));
    let unknown = "(i32.load offset=8 (local.get $p))";
    let assumed = lift(unknown);
    assert!(assumed.contains(&Assumption::Callees) && !assumed.contains(&Assumption::Methods));
}
