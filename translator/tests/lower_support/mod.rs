//! Runs kernels before and after lowering, and says where they differ.
#![allow(dead_code, reason = "each test program uses its own part")]

use wavelift_translator::analysis::frames::Frames;
use wavelift_translator::ir::builder::ListBuilder;
use wavelift_translator::ir::interpret::{self, Buffer, Invocation, Space, Stop};
use wavelift_translator::ir::operator::MemoryAccess;
use wavelift_translator::ir::verify::{Stage, verify};
use wavelift_translator::ir::{Const, Exit, Function, LowOp, Op, Region, StmtKind, Type, Value, WasmOp};
use wavelift_translator::passes::lower::lower;
use wavelift_translator::{Access, Error, Features, FloatMode, Location, Module, Options, Profile, Shape, immediate};

/// A kernel under construction. Every statement stands at an offset of its own.
pub struct Kernel {
    pub function: Function,
    pub list: ListBuilder,
    outer: Vec<ListBuilder>,
}

pub fn access(ty: Type, offset: u32) -> MemoryAccess {
    MemoryAccess { ty, bytes: ty.bits() / 8, signed: false, offset, memory: 0, checked: None }
}

impl Kernel {
    pub fn new(shape: &Shape) -> Self {
        let count = 3 + 2 * shape.buffers.len() as u32;
        let mut function = Function {
            index: 0,
            name: "kernel".into(),
            params: (0..count).map(Value).collect(),
            results: Vec::new(),
            body: wavelift_translator::ir::RegionId(0),
            values: vec![Type::I32; count as usize],
            regions: Vec::new(),
            vars: Vec::new(),
            labels: 0,
            stack_words: 0,
            states: None,
            data: Default::default(),
        };
        let exit_at = Location { function: 0, offset: 9999 };
        function.new_region(Region { params: vec![], stmts: vec![], exit: Exit::Yield(vec![]), exit_at });
        Kernel { function, list: ListBuilder::new(Location::default()), outer: Vec::new() }
    }

    pub fn iteration(&self) -> Value {
        self.function.params[0]
    }

    pub fn pointer(&self, buffer: usize) -> Value {
        self.function.params[3 + 2 * buffer]
    }

    pub fn length(&self, buffer: usize) -> Value {
        self.function.params[4 + 2 * buffer]
    }

    pub fn step(&mut self) {
        self.list.at.offset += 1;
    }

    pub fn i32(&mut self, value: u32) -> Value {
        self.constant(Const::I32(value))
    }

    pub fn constant(&mut self, value: Const) -> Value {
        self.step();
        self.list.constant(&mut self.function, value)
    }

    pub fn wasm(&mut self, op: WasmOp, args: &[Value]) -> Value {
        self.step();
        self.list.wasm(&mut self.function, op, args)
    }

    pub fn select(&mut self, a: Value, b: Value, condition: Value) -> Value {
        self.step();
        let ty = self.function.ty(a);
        self.list.op(&mut self.function, Op::Select, &[a, b, condition], ty)
    }

    pub fn load(&mut self, access: MemoryAccess, address: Value) -> Value {
        self.step();
        self.list.op(&mut self.function, Op::Load(access), &[address], access.ty)
    }

    pub fn store(&mut self, access: MemoryAccess, address: Value, value: Value) {
        self.step();
        self.list.effect(Op::Store(access), &[address, value]);
    }

    /// Starts a nested region.
    pub fn open(&mut self) {
        self.step();
        let inner = ListBuilder::new(self.list.at);
        self.outer.push(std::mem::replace(&mut self.list, inner));
    }

    /// Ends it.
    pub fn close(&mut self, params: &[Value], exit: Exit) -> wavelift_translator::ir::RegionId {
        let outer = self.outer.pop().unwrap();
        let mut inner = std::mem::replace(&mut self.list, outer);
        inner.at.offset += 1;
        self.list.at.offset = inner.at.offset;
        let region = inner.finish(&mut self.function, exit);
        self.function.region_mut(region).params = params.to_vec();
        region
    }

    pub fn value(&mut self, ty: Type) -> Value {
        self.function.new_value(ty)
    }

    pub fn push(&mut self, kind: StmtKind) {
        self.step();
        self.list.push(kind);
    }

    pub fn finish(mut self) -> Function {
        self.function.region_mut(wavelift_translator::ir::RegionId(0)).stmts = self.list.stmts;
        verify(&self.function, Stage::Inlined).unwrap();
        self.function
    }
}

pub fn module() -> Module {
    let text =
        "(module (memory 1) (global i32 (i32.const 7)) (global (mut i32) (i32.const 1)) (global f32 (f32.const -0))
        (func $kernel (param i32 i32 i32)))";
    Module::parse(wat::parse_str(text).unwrap()).unwrap()
}

/// Both float modes in both profiles.
pub fn all_options() -> Vec<Options> {
    let mut all = Vec::new();
    for profile in [Profile::Vulkan, Profile::Portable] {
        for float in [FloatMode::Strict, FloatMode::Relaxed] {
            all.push(Options { profile, float, ..Options::default() });
        }
    }
    all
}

pub fn without(change: impl FnOnce(&mut Features)) -> Options {
    let mut options = Options::default();
    change(&mut options.features);
    options
}

/// Lowers and verifies.
pub fn lowered(function: &Function, shape: &Shape, options: &Options) -> Result<Function, Error> {
    let lowered = lower(function, &module(), shape, options, Frames::default())?;
    if let Err(error) = verify(&lowered, Stage::Lowered) {
        panic!("{error}\n{lowered}");
    }
    Ok(lowered)
}

/// What `lower` says it can't do.
pub fn unsupported(function: &Function, shape: &Shape, options: &Options) -> String {
    match lowered(function, shape, options) {
        Err(Error::Unsupported { what, function_name, at, .. }) => {
            assert_eq!(function_name, "kernel");
            assert!(at.is_some_and(|at| at.function == 0 && at.offset > 0), "{at:?}");
            what
        }
        other => panic!("{other:?}"),
    }
}

/// Buffers as the address space has them: from the top down, each at the end of whole pages of its own.
pub fn space(shape: &Shape, contents: &[Vec<u8>]) -> Space {
    let mut end = 1_u64 << 32;
    let mut space = Space::default();
    for (slot, bytes) in contents.iter().enumerate() {
        let length = (bytes.len() as u64).max(1);
        let address = end - length.next_multiple_of(256);
        end -= length.next_multiple_of(0x1_0000);
        let access = shape.buffers.iter().find(|b| b.slot == slot as u32).map_or(Access::ReadWrite, |b| b.access);
        space.buffers.push(Buffer::new(address as u32, access, bytes));
    }
    space
}

fn immediates(space: &Space) -> Vec<u32> {
    let mut words = vec![0, 1000, 0, 1000, 64, 0];
    assert_eq!(words.len() as u32, immediate::SLOTS);
    for buffer in &space.buffers {
        words.extend([buffer.address(), buffer.bytes().len() as u32]);
    }
    words
}

/// The values of [`module`]'s globals.
const GLOBALS: [Const; 3] = [Const::I32(7), Const::I32(1), Const::F32(0x8000_0000)];

type Outcome = (Result<Vec<Const>, Stop>, Space);

pub fn run_wasm(function: &Function, shape: &Shape, space: &Space, iteration: u32) -> Outcome {
    let mut space = space.clone();
    let words = immediates(&space);
    let mut args = vec![iteration, words[immediate::ITERATIONS as usize], words[immediate::BLOCK_SIZE as usize]];
    for buffer in &shape.buffers {
        let at = (immediate::SLOTS + 2 * buffer.slot) as usize;
        args.extend(&words[at..at + 2]);
    }
    let args: Vec<Const> = args.into_iter().map(Const::I32).collect();
    let invocation = Invocation { iteration, globals: &GLOBALS, ..Invocation::default() };
    (interpret::run(function, &args, &invocation, &mut space, &|_| None), space)
}

pub fn run_lowered(function: &Function, space: &Space, iteration: u32) -> Outcome {
    let mut space = space.clone();
    let words = immediates(&space);
    let invocation = Invocation { immediates: &words, iteration, globals: &GLOBALS, ..Invocation::default() };
    (interpret::run(function, &[], &invocation, &mut space, &|_| None), space)
}

/// Whether both end alike: the same trap at the same place, or the same memory.
pub fn agree(before: &Outcome, after: &Outcome) -> bool {
    match (&before.0, &after.0) {
        (Ok(_), Ok(_)) => before.1 == after.1,
        (Err(a @ Stop::Trap { .. }), Err(b)) => a == b,
        _ => false,
    }
}

pub fn check(function: &Function, shape: &Shape, options: &Options, space: &Space, iteration: u32) {
    let lowered = lowered(function, shape, options).unwrap_or_else(|error| panic!("{error}\n{function}"));
    check_lowered(function, &lowered, shape, space, iteration);
}

pub fn check_lowered(function: &Function, lowered: &Function, shape: &Shape, space: &Space, iteration: u32) {
    let (before, after) = (run_wasm(function, shape, space, iteration), run_lowered(lowered, space, iteration));
    let show = |outcome: &Outcome| {
        let bytes = outcome.1.buffers.iter().map(|b| format!("{:02x?}", &b.bytes()[..b.bytes().len().min(32)]));
        format!("{:?} {}", outcome.0, bytes.collect::<Vec<_>>().join(" "))
    };
    assert!(
        agree(&before, &after),
        "iteration {iteration:#x}\n{}\n{}\n{function}\n{lowered}",
        show(&before),
        show(&after)
    );
}

/// Takes out every branch to a trap: what a lowering without checks would give.
pub fn without_checks(function: &Function) -> Function {
    let mut function = function.clone();
    let traps = |f: &Function, kind: &StmtKind| match kind {
        StmtKind::If { then, .. } => matches!(f.region(*then).exit, Exit::Trap(_)),
        _ => false,
    };
    let before = function.clone();
    for region in &mut function.regions {
        region.stmts.retain(|stmt| !traps(&before, &stmt.kind));
    }
    function
}

/// How often a lowered function's text has an operator that `is` accepts.
pub fn count(function: &Function, is: impl Fn(&LowOp) -> bool) -> usize {
    let stmts = function.regions.iter().flat_map(|region| &region.stmts);
    stmts.filter(|s| matches!(&s.kind, StmtKind::Op { op: Op::Low(op), .. } if is(op))).count()
}
