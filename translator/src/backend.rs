//! Strict-form IR to a SPIR-V compute shader.
//!
//! # The shader
//! Two functions. The *kernel* takes the iteration id and holds the body; where the body can trap it returns 0 when it
//! is done and `site + 1` when it trapped, so that `return` and traps may leave from any depth. `main` finds the iteration
//! id, runs the kernel if the invocation is one of those that are to run, and records a trap (`entry.rs`). A kernel that was
//! coarsened has a third one, for four invocations at once. What is bound in slices is accessed through functions of its
//! own (`slices.rs`).
//!
//! # Rules
//! - Integers are unsigned; what depends on a sign is done on values of the signed type, bit-cast there and back,
//!   because naga goes by the declared sign and not by the instruction. 64-bit integers in the portable profile are
//!   unsigned throughout, because naga's HLSL loses their casts.
//! - Values meet in `Function` variables only; there is no phi. A variable starts as zero, so that a path that
//!   reads before it writes sees no other invocation's bytes.
//! - A loop's header holds nothing but its merge instruction, and its continue block nothing but the branch back.
//! - Words are in one order for one input: nothing iterates over a hash table.
//!
//! # Limits
//! SPIR-V promises 1,023 nested merge instructions and ids below 4,194,304; a function beyond that is
//! [`Error::Unsupported`]. Emission recurses once per nesting level.

mod atomic;
mod control;
mod entry;
pub(crate) mod failure;
mod float;
mod integer;
mod interface;
mod memory;
mod operator;
mod slices;
mod stack;
mod types;
mod usage;
mod wide;

use std::collections::BTreeMap;

use rspirv::binary::Assemble;
use rspirv::dr::{Builder, InsertPoint, Instruction, Operand};
use rspirv::spirv::{self, GlslStd450Op, Word};

use crate::error::{Error, Location, Result};
use crate::hash::{HashMap, HashMapExt};
use crate::ir::{Function, Value};
use crate::options::{FloatMode, Interface, Options, Profile, Shape, TrapSite};
use types::Types;
use usage::{Flow, Usage};

/// Most ids a module may have (SPIR-V's universal limit).
const MAX_IDS: u32 = 4_194_303;
/// Longest name written to the module, in bytes; SPIR-V's own limit is that of an instruction.
const MAX_NAME: usize = 200;

/// Emits the shader of a function in strict form (rule 6 of [`crate::ir`]) that has no parameters and no results:
/// the kernel's arguments have become [`LowOp::Immediate`](crate::ir::LowOp::Immediate) and
/// [`LowOp::IterationId`](crate::ir::LowOp::IterationId).
///
/// Gives the SPIR-V 1.3 words and what the host binds and sets. Equal inputs give equal words.
///
/// # Errors
/// [`Error::Unsupported`] for a type that `options.features` lacks, for control flow nested deeper than 1,023 levels
/// and for a module beyond SPIR-V's number of ids; [`Error::Internal`] for a function that is not in strict form.
pub fn emit(function: &Function, shape: &Shape, options: &Options) -> Result<(Vec<u32>, Interface)> {
    emit_coarse(function, None, shape, options)
}

/// The same with a function that does what the kernel does for four iteration ids, of which its own is the first; or it ends
/// in [`TrapKind::OneByOne`](crate::TrapKind::OneByOne) before it stored anything.
///
/// # Errors
/// Those of [`emit`].
pub fn emit_coarse(
    function: &Function,
    coarse: Option<&Function>,
    shape: &Shape,
    options: &Options,
) -> Result<(Vec<u32>, Interface)> {
    if !function.params.is_empty() || !function.results.is_empty() {
        return Err(Error::Internal(format!("the kernel `{}` kept parameters or results", function.name)));
    }
    if options.workgroup_size == 0 {
        return Err(Error::Internal("the workgroup size is 0".to_string()));
    }
    let functions: Vec<&Function> = [function].into_iter().chain(coarse).collect();
    let (usage, flows) = usage::scan(&functions, shape, options)?;
    let mut emitter = Emitter::new(&functions, &flows, shape, options, &usage);
    emitter.declare_interface(shape);
    emitter.declare_outer_stacks();
    for number in (0..functions.len()).rev() {
        emitter.begin(number);
        emitter.emit_kernel()?;
    }
    emitter.emit_main()?;
    emitter.emit_accessors()?;
    emitter.finish(shape)
}

/// The state of one emission.
struct Emitter<'a> {
    b: Builder,
    /// The kernel and, where it was coarsened, what does four invocations at once.
    functions: &'a [&'a Function],
    flows: &'a [Flow],
    /// The one of them that is being emitted.
    function: &'a Function,
    flow: &'a Flow,
    shape: &'a Shape,
    options: &'a Options,
    usage: &'a Usage,
    types: Types,
    /// Result id of each value; 0: not defined so far.
    values: Vec<Word>,
    /// Pointer of each variable; 0: not used.
    vars: Vec<Word>,
    /// The import of GLSL.std.450, once something needs it.
    glsl: Option<Word>,
    globals: interface::Globals,
    /// The ids of `functions`.
    kernels: Vec<Word>,
    /// The id of the one that is being emitted.
    kernel: Word,
    /// Its parameter.
    iteration: Word,
    /// The variable that says how the kernel ends, where it can end inside nested loops: 0: it does not, so far.
    ending: Word,
    /// Four words that the current region or one around it has loaded: the vector, by slot and index.
    quads: HashMap<(u32, Word), Word>,
    /// Their slots and indices, those loaded last behind the others.
    loaded_quads: Vec<(u32, Word)>,
    /// The same of slots that are stored to: what was loaded since the last store, in this region alone.
    fresh_quads: HashMap<(u32, Word), Word>,
    /// Functions that access what is bound in slices.
    accessors: BTreeMap<slices::Accessor, Word>,
    trap_sites: Vec<TrapSite>,
    site_numbers: HashMap<TrapSite, u32>,
}

impl<'a> Emitter<'a> {
    fn new(
        functions: &'a [&'a Function],
        flows: &'a [Flow],
        shape: &'a Shape,
        options: &'a Options,
        usage: &'a Usage,
    ) -> Self {
        let mut b = Builder::new();
        b.set_version(1, 3);
        b.memory_model(spirv::AddressingModel::Logical, spirv::MemoryModel::GLSL450);
        let kernels: Vec<Word> = functions.iter().map(|_| b.id()).collect();
        Emitter {
            b,
            functions,
            flows,
            function: functions[0],
            flow: &flows[0],
            shape,
            options,
            usage,
            types: Types::default(),
            values: Vec::new(),
            vars: Vec::new(),
            glsl: None,
            globals: interface::Globals::default(),
            kernel: kernels[0],
            kernels,
            iteration: 0,
            ending: 0,
            quads: HashMap::new(),
            loaded_quads: Vec::new(),
            fresh_quads: HashMap::new(),
            accessors: BTreeMap::new(),
            trap_sites: Vec::new(),
            site_numbers: HashMap::new(),
        }
    }

    /// Makes ready for one of the functions.
    fn begin(&mut self, number: usize) {
        (self.function, self.flow, self.kernel) = (self.functions[number], &self.flows[number], self.kernels[number]);
        self.values = vec![0; self.function.values.len()];
        self.vars = vec![0; self.function.vars.len()];
        self.globals.loaded.clear();
        self.quads.clear();
        self.loaded_quads.clear();
        self.fresh_quads.clear();
    }

    /// Whether there is a function for four invocations at once.
    fn is_coarse(&self) -> bool {
        self.functions.len() > 1
    }

    /// Whether the functions return how they ended.
    fn has_outcome(&self) -> bool {
        self.usage.traps || self.is_coarse()
    }

    /// Appends an instruction with a result to the current block.
    fn inst(&mut self, op: spirv::Op, ty: Word, args: &[Word]) -> Result<Word> {
        self.inst_of(op, ty, args.iter().map(|id| Operand::IdRef(*id)).collect())
    }

    /// Appends an instruction with a result and any operands to the current block.
    fn inst_of(&mut self, op: spirv::Op, ty: Word, operands: Vec<Operand>) -> Result<Word> {
        let id = self.b.id();
        if id >= MAX_IDS {
            return Err(self.too_many_ids());
        }
        let inst = Instruction::new(op, Some(ty), Some(id), operands);
        self.b.insert_into_block(InsertPoint::End, inst).map_err(defect)?;
        Ok(id)
    }

    /// Appends an instruction of GLSL.std.450 to the current block.
    fn glsl(&mut self, op: GlslStd450Op, ty: Word, args: &[Word]) -> Result<Word> {
        let set = match self.glsl {
            Some(set) => set,
            None => *self.glsl.insert(self.b.ext_inst_import("GLSL.std.450")),
        };
        let mut operands = vec![Operand::IdRef(set), Operand::LiteralExtInstInteger(op as u32)];
        operands.extend(args.iter().map(|id| Operand::IdRef(*id)));
        self.inst_of(spirv::Op::ExtInst, ty, operands)
    }

    /// The id of a value that is defined already.
    fn value(&self, value: Value) -> Result<Word> {
        match self.values.get(value.index()) {
            Some(0) | None => Err(Error::Internal(format!("{value} is used before its definition"))),
            Some(id) => Ok(*id),
        }
    }

    /// Whether floats are to be exact and the reader keeps the decorations that say so.
    fn declares_strict_floats(&self) -> bool {
        self.options.float == FloatMode::Strict && self.options.profile == Profile::Vulkan
    }

    fn too_many_ids(&self) -> Error {
        unsupported(self.function, "more than 4,194,303 SPIR-V ids after inlining", None)
    }

    fn finish(self, shape: &Shape) -> Result<(Vec<u32>, Interface)> {
        let (interface, too_many) = (self.interface(shape), self.too_many_ids());
        let mut module = self.b.module();
        if module.header.as_ref().is_none_or(|h| h.bound > MAX_IDS) {
            return Err(too_many);
        }
        // Capabilities become known as types are declared; readers want no order, but people do.
        module.capabilities.sort_by_key(|c| format!("{:?}", c.operands));
        Ok((module.assemble(), interface))
    }
}

/// A name as SPIR-V holds it: without NUL, which ends a string there, and of bounded length.
fn spirv_name(name: &str) -> String {
    let mut text = String::new();
    for c in name.chars().filter(|c| *c != '\0') {
        if text.len() + c.len_utf8() > MAX_NAME {
            break;
        }
        text.push(c);
    }
    text
}

/// The error for a construct that this device or SPIR-V can't run.
fn unsupported(function: &Function, what: impl Into<String>, at: Option<Location>) -> Error {
    let function_name = match at {
        Some(at) if at.function != function.index => at.function.to_string(),
        _ if function.name.is_empty() => function.index.to_string(),
        _ => function.name.clone(),
    };
    Error::Unsupported { what: what.into(), function_name, at, too_large: false }
}

/// The error for a builder call at the wrong place.
fn defect(error: rspirv::dr::Error) -> Error {
    Error::Internal(format!("SPIR-V's builder refused an instruction: {error}"))
}
