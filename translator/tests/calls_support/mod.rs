//! Runs a kernel's stages in the interpreter on records of two words in one buffer.
#![allow(dead_code, reason = "each test program uses its own part")]

use std::collections::HashMap;

use wavelift_translator::ir::Const;
use wavelift_translator::ir::Function;
use wavelift_translator::ir::interpret::{self, Buffer, Invocation, Space, Stop};
use wavelift_translator::ir::verify::{Stage, verify};
use wavelift_translator::module::{ConstInit, Global};
use wavelift_translator::testing::{self, Stages};
use wavelift_translator::{
    Access, Error, Location, Module, Options, Profile, Shape, Share, Speculation, TableEntry, TrapKind, translate,
};

/// Every function that is called is kept once, and every one that is called from several places.
pub const SHARED: [Share; 2] = [Share::Called { places: 1, operators: 0 }, Share::Called { places: 2, operators: 0 }];

/// Size of linear memory: enough for what the kernels keep on the stack.
const LINEAR_BYTES: usize = 4096;

const ADDRESS: u32 = 0x8000_0000;

/// A module with one kernel named `kernel`, of one buffer.
pub struct Program {
    pub module: Module,
    pub kernel: u32,
    pub text: String,
}

/// What each invocation gave: its record's second word, or the trap.
pub type Ends = Vec<Result<u32, TrapKind>>;

impl Program {
    /// A module whose kernel stores to each record's second word what `body` makes of both words (`$a`, `$b`).
    pub fn of(items: &str, body: &str) -> Program {
        let text = format!(
            "(module (memory 1) {items}
              (func $kernel (export \"kernel\") (param $i i32) (param i32 i32) (param $p i32) (param i32)
                (local $a i32) (local $b i32)
                (local.set $p (i32.add (local.get $p) (i32.shl (local.get $i) (i32.const 3))))
                (local.set $a (i32.load (local.get $p)))
                (local.set $b (i32.load offset=4 (local.get $p)))
                (i32.store offset=4 (local.get $p) {body})))"
        );
        let bytes = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let module = Module::parse(bytes).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let kernel = module.find_function("kernel").expect("the kernel is exported");
        Program { module, kernel, text }
    }

    pub fn stages(&self) -> Stages {
        testing::stages(&self.module, self.kernel).unwrap_or_else(|error| panic!("{error}\n{}", self.text))
    }

    /// What the module's globals are in a new instance; those that are not numbers, or imported, are zero.
    fn globals(&self) -> Vec<Const> {
        let value = |global: &Global| match global.init {
            Some(ConstInit::I32(value)) => Const::I32(value as u32),
            Some(ConstInit::I64(value)) => Const::I64(value as u64),
            _ => Const::I32(0),
        };
        self.module.globals().iter().map(value).collect()
    }

    /// Why the kernel is not lifted.
    pub fn refusal(&self) -> String {
        let shape = Shape::initial(&self.module, self.kernel);
        match translate(&self.module, self.kernel, &shape, &Options::default()) {
            Err(Error::Unsupported { what, .. }) => what,
            other => panic!("{other:?}\n{}", self.text),
        }
    }

    /// Runs all stages on each record, which must end alike at the same place; gives how they end. The shaders of both
    /// profiles are made, too.
    pub fn run(&self, records: &[(u32, u32)]) -> Ends {
        let stages = self.stages();
        let none = HashMap::new();
        let shared = SHARED.map(|share| {
            let (simplified, strict) = self.shared(share);
            (format!("{share:?}"), simplified, strict)
        });
        let tables = Shape::initial(&self.module, self.kernel).environment.tables;
        let globals = self.globals();
        let mut ends = Ends::new();
        for record in records {
            let run = |function: &Function, others: &HashMap<u32, Function>, lowered| {
                one(function, others, (&tables, &globals), *record, lowered)
            };
            let expected = run(&stages.lifted[&self.kernel], &stages.lifted, false);
            for (name, function, stage) in [
                ("inlined", &stages.inlined, Stage::Inlined),
                ("simplified", &stages.simplified, Stage::Inlined),
                ("lowered", &stages.lowered, Stage::Lowered),
                ("strict", &stages.strict, Stage::Strict),
            ] {
                verify(function, stage).unwrap_or_else(|error| panic!("{name}: {error}\n{}\n{function}", self.text));
                let got = run(function, &none, stage >= Stage::Lowered);
                assert_eq!(expected, got, "{name}, {record:?}\n{}\n{function}", self.text);
            }
            for (name, simplified, strict) in &shared {
                assert_eq!(expected, run(simplified, &none, false), "{name}, {record:?}\n{}\n{simplified}", self.text);
                assert_eq!(expected, run(strict, &none, true), "{name}, {record:?}\n{}\n{strict}", self.text);
            }
            ends.push(match expected {
                Ok(word) => Ok(word),
                Err(Stop::Trap { kind, .. }) => Err(kind),
                Err(other) => panic!("{other}\n{}", self.text),
            });
        }
        self.translate_all();
        ends
    }

    /// The kernel with these functions kept once, as one function of Wasm's operators and as the backend takes it.
    pub fn shared(&self, share: Share) -> (Function, Function) {
        let shape = Shape::initial(&self.module, self.kernel);
        let options = Options { share, fuel: Some(1 << 30), ..Options::default() };
        let simplified = testing::simplified_as(&self.module, self.kernel, &shape, &options);
        let simplified = simplified.unwrap_or_else(|error| panic!("{error}\n{}", self.text));
        let strict = testing::strict(&self.module, self.kernel, &shape, &options);
        let strict = strict.unwrap_or_else(|error| panic!("{error}\n{}", self.text));
        for (function, stage) in [(&simplified, Stage::Scalar), (&strict, Stage::Strict)] {
            verify(function, stage).unwrap_or_else(|error| panic!("{share:?}: {error}\n{}\n{function}", self.text));
        }
        (simplified, strict)
    }

    /// The kernel as the backend takes it, with functions that call themselves kept once; and what it gives for each record.
    pub fn run_recursive(&self, share: Share, records: &[(u32, u32)]) -> (Function, Ends) {
        let shape = Shape::initial(&self.module, self.kernel);
        let speculation = Speculation { recursion: true, ..Speculation::NONE };
        let options = Options { share, speculation, fuel: Some(1 << 30), ..Options::default() };
        let strict = testing::strict(&self.module, self.kernel, &shape, &options);
        let strict = strict.unwrap_or_else(|error| panic!("{error}\n{}", self.text));
        verify(&strict, Stage::Strict).unwrap_or_else(|error| panic!("{share:?}: {error}\n{}\n{strict}", self.text));
        let ends = self.run_strict(&strict, records);
        (strict, ends)
    }

    /// Runs a strict form of the kernel on each record.
    pub fn run_strict(&self, strict: &Function, records: &[(u32, u32)]) -> Ends {
        self.run_to_trap(strict, records).into_iter().map(|end| end.map_err(|(kind, _)| kind)).collect()
    }

    /// The same, with the place of a trap.
    pub fn run_to_trap(&self, strict: &Function, records: &[(u32, u32)]) -> Vec<Result<u32, (TrapKind, Location)>> {
        let tables = Shape::initial(&self.module, self.kernel).environment.tables;
        let globals = self.globals();
        let ends =
            records.iter().map(|record| match one(strict, &HashMap::new(), (&tables, &globals), *record, true) {
                Ok(word) => Ok(word),
                Err(Stop::Trap { kind, at }) => Err((kind, at)),
                Err(other) => panic!("{other}\n{}\n{strict}", self.text),
            });
        ends.collect()
    }

    fn translate_all(&self) {
        let shape = Shape::initial(&self.module, self.kernel);
        let shares = [Share::Auto].into_iter().chain(SHARED);
        for (share, profile) in shares.flat_map(|share| [(share, Profile::Vulkan), (share, Profile::Portable)]) {
            let options = Options { profile, share, ..Options::default() };
            let shader = translate(&self.module, self.kernel, &shape, &options);
            let words = shader.unwrap_or_else(|error| panic!("{error}\n{}", self.text)).words;
            match profile {
                Profile::Vulkan => crate::common::assert_valid(&words),
                Profile::Portable => crate::common::assert_portable(&words),
            }
        }
    }
}

fn one(
    function: &Function,
    others: &HashMap<u32, Function>,
    (tables, globals): (&[Vec<TableEntry>], &[Const]),
    (a, b): (u32, u32),
    lowered: bool,
) -> Result<u32, Stop> {
    let bytes = [a.to_le_bytes(), b.to_le_bytes()].concat();
    let mut space =
        Space { linear: vec![0; LINEAR_BYTES], buffers: vec![Buffer::new(ADDRESS, Access::ReadWrite, &bytes)] };
    let args: Vec<Const> = [0, 1, 7, ADDRESS, 8].map(Const::I32).into();
    let immediates = [0, 1, 0, 1, 7, 0, ADDRESS, 8];
    let invocation = Invocation { immediates: &immediates, tables, globals, fuel: 1 << 26, ..Invocation::default() };
    let args = if lowered { &[][..] } else { &args[..] };
    interpret::run(function, args, &invocation, &mut space, &|callee| others.get(&callee))?;
    let bytes = space.buffers[0].bytes();
    Ok(u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]))
}
