//! Modules of wasm-smith. A kernel around one of their functions takes arguments from a buffer and stores the results, as
//! the kernels of the official suite do (`tests/suite/wrap.rs`). Each launch is one invocation: nothing keeps these
//! modules from storing where others do. Wasmtime calls the function itself, so bounds of linear memory are its own.

use std::convert::Infallible;
use std::sync::OnceLock;

use arbtest::arbitrary::Unstructured;
use wasm_encoder::reencode::{self, Reencode};
use wasm_encoder::{ConstExpr, ExportKind, ExportSection, GlobalSection, GlobalType, Instruction, MemoryType, ValType};
use wasm_smith::{Config, InstructionKind, InstructionKinds};
use wasmparser::{ExternalKind, Operator, Parser};
use wasmtime::{Engine, Instance, Store, Val};
use wavelift::device::KernelTrap;
use wavelift_translator::Module;
use wavelift_translator::ir::Type;

use crate::case::{BufferShape, Case, End, Program, Run};
use crate::places::STACK_POINTER;
use crate::values::{self, Random};
use crate::wrap::{self, MARK, in_slots, out_slots};
use crate::{inputs, plain_wasmtime};

/// Launches of a module.
const LAUNCHES: usize = 4;
/// Loop iterations and calls of an invocation.
const FUEL: u32 = 400;
/// Bytes at the top of the address space that nothing owns, so that a small negative address is none of a buffer's.
const UNUSED: u32 = 16 << 20;

/// Why a seed's module is no case.
#[derive(Debug)]
pub enum NoCase {
    /// It can't be a kernel, or ends in a way that only Wasmtime has; as a reason to count.
    Skipped(&'static str),
    /// A defect of the generator.
    Broken(String),
}

impl<E: std::fmt::Debug> From<reencode::Error<E>> for NoCase {
    fn from(error: reencode::Error<E>) -> Self {
        NoCase::Broken(format!("{error:?}"))
    }
}

/// Core 2.0 without operators on references; with operators that trap, or without.
fn config(traps: bool) -> Config {
    use InstructionKind::{Control, Memory, Numeric, Parametric, Variable, Vector};
    Config {
        allowed_instructions: InstructionKinds::new(&[Numeric, Vector, Parametric, Variable, Memory, Control]),
        allow_start_export: false,
        bulk_memory_enabled: true,
        canonicalize_nans: true,
        disallow_traps: !traps,
        exceptions_enabled: false,
        export_everything: true,
        extended_const_enabled: false,
        gc_enabled: false,
        max_data_segments: 4,
        max_element_segments: 3,
        max_elements: 8,
        max_funcs: 3,
        max_globals: 5,
        max_imports: 0,
        max_instructions: 120,
        max_memories: 1,
        max_memory32_bytes: 1 << 16,
        max_nesting_depth: 6,
        max_table_elements: 20,
        max_tables: 1,
        max_types: 6,
        max_values: 4,
        memory64_enabled: false,
        min_funcs: 1,
        min_memories: 1,
        min_types: 2,
        reference_types_enabled: false,
        relaxed_simd_enabled: true,
        simd_enabled: false,
        tail_call_enabled: true,
        threads_enabled: false,
        ..Config::default()
    }
}

/// The case of a seed.
pub fn case(seed: u64) -> Result<Case, NoCase> {
    of_bytes(&bytes(seed), seed)
}

/// What a seed's module is made of.
pub fn bytes(seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    let length = 200 + random.below(3000);
    (0..length).map(|_| random.next() as u8).collect()
}

/// The case of a byte string; `seed` is for the arguments, and says whether operators may trap.
pub fn of_bytes(bytes: &[u8], seed: u64) -> Result<Case, NoCase> {
    let module = wasm_smith::Module::new(config(seed.is_multiple_of(3)), &mut Unstructured::new(bytes));
    let mut module = module.map_err(|error| NoCase::Broken(error.to_string()))?;
    module.ensure_termination(FUEL).map_err(|error| NoCase::Broken(error.to_string()))?;
    let tamed = reencoded(&module.to_bytes(), Pass::Tame { globals: 0 })?;
    let parsed = Module::parse(tamed.clone()).map_err(|error| NoCase::Broken(error.to_string()))?;
    let callee = parsed.exports().iter().rev().find(|export| export.kind == ExternalKind::Func);
    let callee = callee.ok_or(NoCase::Skipped("no exported function"))?;
    let (name, index) = (callee.name.clone(), callee.index);
    let wrapped = wrap::wrap(&tamed, std::slice::from_ref(&name));
    let wrapped = wrapped.map_err(|refusal| NoCase::Broken(format!("{refusal:?}")))?;
    let kernel = wrapped.kernels.get(&name).ok_or_else(|| NoCase::Broken("no kernel".into()))?;
    let stack = parsed.globals().len() - 1;
    let bytes = reencoded(&wrapped.bytes, Pass::Rename { callee: index, stack })?;
    let text = format!("(module binary \"{}\")", bytes.iter().map(|b| format!("\\{b:02x}")).collect::<String>());
    let sizes = [in_slots(&kernel.params), out_slots(&kernel.results)].map(|slots| 8 * slots as u32);
    let program = Program::of_bytes(bytes, text, sizes.map(BufferShape::bits).into());
    let mut program = program.map_err(NoCase::Broken)?;
    program.unused = UNUSED;
    let mut runs = Vec::new();
    let mut random = Random(seed);
    for _ in 0..LAUNCHES {
        let args: Vec<(Type, u128)> = kernel.params.iter().map(|ty| (*ty, argument(&mut random, *ty))).collect();
        let (expected, linear) = call(&program, &args, sizes)?;
        program.linear = Some(linear);
        let contents = vec![slots(&args, sizes[0]), vec![0; sizes[1] as usize]];
        let expected = inputs::placed(&program, expected, &contents, 1);
        runs.push(Run { contents, iterations: 1, expected });
    }
    Ok(Case { program, runs, exact_bounds: false })
}

fn argument(random: &mut Random, ty: Type) -> u128 {
    if ty == Type::V128 {
        return u128::from(random.next()) << 64 | u128::from(random.next());
    }
    u128::from(match random.below(3) {
        0 => random.bits(ty),
        1 if ty.is_int() => random.below(1 << 14) as u64,
        _ => *random.choose(&values::edges(ty)),
    })
}

/// Values in slots of eight bytes, vectors in two.
fn slots(args: &[(Type, u128)], size: u32) -> Vec<u8> {
    let bytes_of = |ty| if ty == Type::V128 { 16 } else { 8 };
    let mut bytes: Vec<u8> =
        args.iter().flat_map(|(ty, bits)| bits.to_le_bytes().into_iter().take(bytes_of(*ty))).collect();
    bytes.resize(size as usize, 0);
    bytes
}

/// Calls the function itself in a new instance: how a launch has to end, and linear memory as it was before.
fn call(program: &Program, args: &[(Type, u128)], sizes: [u32; 2]) -> Result<(End, Vec<u8>), NoCase> {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    let engine = ENGINE.get_or_init(Engine::default);
    let broken = |error: wasmtime::Error| NoCase::Broken(format!("{error:?}"));
    let module = wasmtime::Module::new(engine, program.module.wasm.bytes()).map_err(broken)?;
    let mut store = Store::new(engine, ());
    // A segment beyond the end.
    let instance = Instance::new(&mut store, &module, &[]).map_err(|_| NoCase::Skipped("instantiation traps"))?;
    let memory = instance.get_memory(&mut store, "memory").ok_or_else(|| NoCase::Broken("no memory".into()))?;
    let before = memory.data(&store).to_vec();
    let callee = instance.get_func(&mut store, "callee").ok_or_else(|| NoCase::Broken("no callee".into()))?;
    let params: Vec<Val> = args.iter().map(|(ty, bits)| value(*ty, *bits)).collect();
    let mut results = vec![Val::I32(0); callee.ty(&store).results().len()];
    let end = match callee.call(&mut store, &params, &mut results) {
        Ok(()) => {
            let mut out = MARK.to_le_bytes().to_vec();
            out.extend(results.iter().flat_map(bytes_of));
            let mut linear = memory.data(&store).to_vec();
            linear[..STACK_POINTER as usize].fill(0);
            End::Done(vec![slots(args, sizes[0]), out, linear])
        }
        Err(error) => {
            let trap = plain_wasmtime::trap_of(&error).ok_or(NoCase::Skipped("the call stack is used up"))?;
            End::Trapped(KernelTrap { at: trap.1, kind: trap.0, iteration: 0 })
        }
    };
    Ok((end, before))
}

fn value(ty: Type, vector: u128) -> Val {
    let bits = vector as u64;
    match ty {
        Type::V128 => Val::V128(vector.into()),
        Type::I64 => Val::I64(bits as i64),
        Type::F32 => Val::F32(bits as u32),
        Type::F64 => Val::F64(bits),
        _ => Val::I32(bits as i32),
    }
}

/// A result in its slot, or two.
fn bytes_of(value: &Val) -> Vec<u8> {
    let bits = match value {
        Val::I32(value) => u64::from(*value as u32),
        Val::I64(value) => *value as u64,
        Val::F32(bits) => u64::from(*bits),
        Val::F64(bits) => *bits,
        Val::V128(vector) => return vector.as_u128().to_le_bytes().to_vec(),
        _ => 0,
    };
    bits.to_le_bytes().to_vec()
}

/// How a module is rewritten.
enum Pass {
    /// Operators that no kernel on a GPU may have become others of their type; memory is one page; a last global is added.
    Tame { globals: u32 },
    /// Only what the engines look for is exported. The last global is given out for the stack pointer, so that none of
    /// the module's own is taken for it.
    Rename { callee: u32, stack: usize },
}

fn reencoded(bytes: &[u8], mut pass: Pass) -> Result<Vec<u8>, NoCase> {
    let mut module = wasm_encoder::Module::new();
    pass.parse_core_module(&mut module, Parser::new(0), bytes)?;
    Ok(module.finish())
}

impl Reencode for Pass {
    type Error = Infallible;

    fn instruction<'a>(&mut self, op: Operator<'a>) -> Result<Instruction<'a>, reencode::Error<Infallible>> {
        match op {
            Operator::MemoryGrow { .. } => Ok(Instruction::I32Popcnt),
            Operator::ElemDrop { .. } => Ok(Instruction::Nop),
            Operator::TableInit { .. } | Operator::TableCopy { .. } => Ok(Instruction::MemoryFill(0)),
            other => reencode::utils::instruction(self, other),
        }
    }

    fn memory_type(&mut self, _: wasmparser::MemoryType) -> Result<MemoryType, reencode::Error<Infallible>> {
        Ok(MemoryType { minimum: 1, maximum: None, memory64: false, shared: false, page_size_log2: None })
    }

    fn parse_global_section(
        &mut self,
        globals: &mut GlobalSection,
        section: wasmparser::GlobalSectionReader<'_>,
    ) -> Result<(), reencode::Error<Infallible>> {
        reencode::utils::parse_global_section(self, globals, section)?;
        if let Pass::Tame { globals: count } = self {
            let ty = GlobalType { val_type: ValType::I32, mutable: true, shared: false };
            globals.global(ty, &ConstExpr::i32_const(STACK_POINTER as i32));
            *count = globals.len();
        }
        Ok(())
    }

    fn parse_export(
        &mut self,
        exports: &mut ExportSection,
        export: wasmparser::Export<'_>,
    ) -> Result<(), reencode::Error<Infallible>> {
        let Pass::Rename { callee, stack } = self else {
            return reencode::utils::parse_export(self, exports, export);
        };
        let function = wrap::function_name(*callee);
        let name = match export.name {
            name if name.starts_with("suite:kernel:") => "kernel",
            name if name == wrap::MEMORY => "memory",
            name if name == function => "callee",
            name if name == wrap::global_name(*stack) => "__stack_pointer",
            name if name.starts_with("suite:global:") => name,
            _ => return Ok(()),
        };
        exports.export(name, ExportKind::from(export.kind), export.index);
        Ok(())
    }
}
