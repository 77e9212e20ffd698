//! The intermediate representation as text, for people and snapshots.
//!
//! ```text
//! function 3 `sum` (v0: i32) -> (i32) {
//!   v1: i32 = const 0 ; @0x2a
//!   L0: loop (v2: i32 = v0) -> (v3: i32) {
//!     continue L0 (v2)
//!   }
//!   return (v3)
//! }
//! ```
//! `@` is the byte offset in the module, given where it changes from the line before; `f5@` where the operator comes
//! from another function, which was inlined.

use std::fmt;

use super::operator::MemoryAccess;
use super::{Const, Exit, Function, LowOp, Op, RegionId, Stmt, StmtKind, Type, Value};
use crate::error::Location;

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Type::I32 => "i32",
            Type::I64 => "i64",
            Type::F32 => "f32",
            Type::F64 => "f64",
            Type::V128 => "v128",
            Type::Bool => "bool",
        })
    }
}

/// Integers signed; floats as a number and their bits.
impl fmt::Display for Const {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Const::I32(value) => write!(f, "{}", value as i32),
            Const::I64(value) => write!(f, "{}", value as i64),
            Const::F32(bits) => write!(f, "{:?} {bits:#010x}", f32::from_bits(bits)),
            Const::F64(bits) => write!(f, "{:?} {bits:#018x}", f64::from_bits(bits)),
            Const::V128(bits) => write!(f, "{:#034x}", u128::from(bits)),
            Const::Bool(value) => write!(f, "{value}"),
        }
    }
}

impl fmt::Display for MemoryAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.ty)?;
        if self.bytes * 8 != self.ty.bits() {
            write!(f, " {}{}", if self.signed { "s" } else { "u" }, self.bytes * 8)?;
        }
        if self.offset != 0 {
            write!(f, " offset={}", self.offset)?;
        }
        if self.memory != 0 {
            write!(f, " memory={}", self.memory)?;
        }
        if let Some(bytes) = self.checked {
            write!(f, " checked={bytes}")?;
        }
        Ok(())
    }
}

impl fmt::Display for LowOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LowOp::FToS(ty) => write!(f, "low.ftos {ty}"),
            LowOp::FToU(ty) => write!(f, "low.ftou {ty}"),
            LowOp::SToF(ty) => write!(f, "low.stof {ty}"),
            LowOp::UToF(ty) => write!(f, "low.utof {ty}"),
            LowOp::FToF(ty) => write!(f, "low.ftof {ty}"),
            LowOp::Bitcast(ty) => write!(f, "low.bitcast {ty}"),
            LowOp::LoadWord { slot } => write!(f, "low.load_word slot={slot}"),
            LowOp::LoadLane { slot, words: 2, lane } => write!(f, "low.load_pair_lane slot={slot} lane={lane}"),
            LowOp::LoadLane { slot, lane, .. } => write!(f, "low.load_lane slot={slot} lane={lane}"),
            LowOp::StoreWord { slot } => write!(f, "low.store_word slot={slot}"),
            LowOp::StoreQuad { slot } => write!(f, "low.store_quad slot={slot}"),
            LowOp::StorePair { slot } => write!(f, "low.store_pair slot={slot}"),
            LowOp::AndWord { slot } => write!(f, "low.and_word slot={slot}"),
            LowOp::OrWord { slot } => write!(f, "low.or_word slot={slot}"),
            LowOp::StorePart { slot, bytes } => write!(f, "low.store_part slot={slot} bytes={bytes}"),
            LowOp::Atomic { slot, op, ty } => write!(f, "low.atomic_{} {ty} slot={slot}", op.name()),
            LowOp::Fence => write!(f, "low.fence"),
            LowOp::LoadData => write!(f, "low.load_data"),
            LowOp::LoadDataLane { lane } => write!(f, "low.load_data_lane lane={lane}"),
            LowOp::LoadStack => write!(f, "low.load_stack"),
            LowOp::StoreStack => write!(f, "low.store_stack"),
            LowOp::Immediate(word) => write!(f, "low.immediate {word}"),
            LowOp::Input(input) => write!(f, "low.input {input}"),
            LowOp::IterationId => write!(f, "low.iteration_id"),
            LowOp::VarGet(var) => write!(f, "low.get {var}"),
            LowOp::VarSet(var) => write!(f, "low.set {var}"),
            LowOp::Math(op) => write!(f, "low.{}", op.name()),
            plain => write!(f, "low.{}", format!("{plain:?}").to_lowercase()),
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Op::Const(value) => write!(f, "const {value}"),
            Op::Wasm(op) => f.write_str(op.text()),
            Op::Vector(op) => write!(f, "{op}"),
            Op::Math(op) => f.write_str(op.name()),
            Op::Select => f.write_str("select"),
            Op::Load(access) => write!(f, "load {access}"),
            Op::Store(access) => write!(f, "store {access}"),
            Op::Atomic(op, access) => write!(f, "atomic.{} {access}", op.name()),
            Op::Fence => f.write_str("atomic.fence"),
            Op::MemorySize => f.write_str("memory.size"),
            Op::MemoryFill => f.write_str("memory.fill"),
            Op::MemoryCopy => f.write_str("memory.copy"),
            Op::MemoryCopyApart => f.write_str("memory.copy apart"),
            Op::MemoryInit(segment) => write!(f, "memory.init {segment}"),
            Op::DataDrop(segment) => write!(f, "data.drop {segment}"),
            Op::LoadData => f.write_str("load_data"),
            Op::LoadDataPair => f.write_str("load_data_pair"),
            Op::Undefined => f.write_str("undefined"),
            Op::GlobalGet(index) => write!(f, "global.get {index}"),
            Op::GlobalSet(index) => write!(f, "global.set {index}"),
            Op::GlobalWord { global, word } => write!(f, "global_word {global} {word}"),
            Op::Low(op) => write!(f, "{op}"),
        }
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let results: Vec<String> = self.results.iter().map(Type::to_string).collect();
        write!(f, "function {} `{}` ({})", self.index, self.name, typed(self, &self.params))?;
        if !results.is_empty() {
            write!(f, " -> ({})", results.join(", "))?;
        }
        writeln!(f, " {{")?;
        for (index, ty) in self.vars.iter().enumerate() {
            writeln!(f, "  var x{index}: {ty}")?;
        }
        if self.stack_words > 0 {
            writeln!(f, "  stack: {} words", self.stack_words)?;
        }
        Printer { function: self, at: Location { function: self.index, offset: u32::MAX }, todo: Vec::new() }
            .print(f)?;
        writeln!(f, "}}")
    }
}

/// What is still to be printed, on a stack of its own: nesting may be deep.
enum Todo {
    /// The statements of a region from the given one on, and its exit.
    Rest(RegionId, usize, usize),
    /// A line at a depth.
    Line(usize, String),
}

struct Printer<'f> {
    function: &'f Function,
    /// The location given last.
    at: Location,
    todo: Vec<Todo>,
}

impl Printer<'_> {
    fn print(mut self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let function = self.function;
        self.todo.push(Todo::Rest(function.body, 0, 1));
        while let Some(todo) = self.todo.pop() {
            match todo {
                Todo::Line(depth, text) => writeln!(f, "{:indent$}{text}", "", indent = indent(depth))?,
                Todo::Rest(id, next, depth) => {
                    let region = function.region(id);
                    let (text, at) = match region.stmts.get(next) {
                        Some(stmt) => {
                            self.todo.push(Todo::Rest(id, next + 1, depth));
                            self.regions(stmt, depth);
                            (header(function, &stmt.kind), stmt.at)
                        }
                        None => (exit(&region.exit), region.exit_at),
                    };
                    writeln!(f, "{:indent$}{text}{}", "", self.place(at), indent = indent(depth))?;
                }
            }
        }
        Ok(())
    }

    /// Pushes what follows a statement's first line.
    fn regions(&mut self, stmt: &Stmt, depth: usize) {
        let line = |text: &str| Todo::Line(depth, text.to_string());
        match &stmt.kind {
            StmtKind::Op { .. } | StmtKind::Call { .. } | StmtKind::CallIndirect { .. } => {}
            StmtKind::Block { body, .. } | StmtKind::Loop { body, .. } => {
                self.todo.extend([line("}"), Todo::Rest(*body, 0, depth + 1)]);
            }
            StmtKind::If { then, otherwise, .. } => {
                let otherwise = Todo::Rest(*otherwise, 0, depth + 1);
                self.todo.extend([line("}"), otherwise, line("} else {"), Todo::Rest(*then, 0, depth + 1)]);
            }
            StmtKind::Switch { cases, default, .. } => {
                // Regions in order of their first case, each with all its cases; the default's region last.
                let mut arms: Vec<(RegionId, Vec<String>)> = Vec::new();
                let mut arm_of = std::collections::HashMap::new();
                for (index, case) in cases.iter().enumerate().filter(|(_, case)| *case != default) {
                    let arm = *arm_of.entry(*case).or_insert(arms.len());
                    if arm == arms.len() {
                        arms.push((*case, Vec::new()));
                    }
                    arms[arm].1.push(index.to_string());
                }
                let with_default = cases.iter().enumerate().filter(|(_, case)| *case == default);
                let default_cases = with_default.map(|(i, _)| i.to_string()).chain(["default".to_string()]).collect();
                arms.push((*default, default_cases));
                self.todo.push(line("}"));
                for (region, cases) in arms.iter().rev() {
                    self.todo.push(Todo::Rest(*region, 0, depth + 1));
                    self.todo.push(Todo::Line(depth, format!("case {}:", cases.join(", "))));
                }
            }
        }
    }

    /// The comment that says where a line comes from, if that changed.
    fn place(&mut self, at: Location) -> String {
        let before = std::mem::replace(&mut self.at, at);
        match at {
            _ if at == before => String::new(),
            Location { function, offset } if function == self.function.index => format!(" ; @{offset:#x}"),
            Location { function, offset } => format!(" ; f{function}@{offset:#x}"),
        }
    }
}

/// Spaces before a line; beyond a thousand levels no more, since a format's width has a limit.
fn indent(depth: usize) -> usize {
    2 * depth.min(1000)
}

fn list(values: &[Value]) -> String {
    values.iter().map(Value::to_string).collect::<Vec<_>>().join(", ")
}

/// Values with their types.
fn typed(function: &Function, values: &[Value]) -> String {
    values.iter().map(|v| format!("{v}: {}", function.ty(*v))).collect::<Vec<_>>().join(", ")
}

fn header(function: &Function, kind: &StmtKind) -> String {
    let assigned = match kind.results() {
        [] => String::new(),
        results => format!("{} = ", typed(function, results)),
    };
    let arrow = match kind.results() {
        [] => String::new(),
        results => format!(" -> ({})", typed(function, results)),
    };
    match kind {
        StmtKind::Op { op, args, .. } if args.is_empty() => format!("{assigned}{op}"),
        StmtKind::Op { op, args, .. } => format!("{assigned}{op} {}", list(args)),
        StmtKind::Call { callee, args, .. } => format!("{assigned}call {callee} ({})", list(args)),
        StmtKind::CallIndirect { table, args, .. } => format!("{assigned}call_indirect {table} ({})", list(args)),
        StmtKind::Block { label, .. } => format!("{label}: block{arrow} {{"),
        StmtKind::Loop { label, inits, body, .. } => {
            let params = function.region(*body).params.iter().zip(inits);
            let params: Vec<String> = params.map(|(p, init)| format!("{p}: {} = {init}", function.ty(*p))).collect();
            match params.as_slice() {
                [] => format!("{label}: loop{arrow} {{"),
                params => format!("{label}: loop ({}){arrow} {{", params.join(", ")),
            }
        }
        StmtKind::If { cond, .. } => format!("if {cond}{arrow} {{"),
        StmtKind::Switch { index, .. } => format!("switch {index}{arrow} {{"),
    }
}

fn exit(exit: &Exit) -> String {
    let operands = match exit.values() {
        [] => String::new(),
        values => format!(" ({})", list(values)),
    };
    match exit {
        Exit::Yield(_) => format!("yield{operands}"),
        Exit::Break(label, _) => format!("break {label}{operands}"),
        Exit::Continue(label, _) => format!("continue {label}{operands}"),
        Exit::Return(_) => format!("return{operands}"),
        Exit::Trap(kind) => format!("trap {kind:?}"),
    }
}
