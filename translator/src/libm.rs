//! Which functions of a module are ones of C's mathematical library: by name, or where names were stripped by body.
//!
//! Only functions of `f32`s are taken for such, since devices have no others. A name counts with the function's type; so a
//! guest whose own function of that name and type does something else must be lifted with [`Libm::Guest`].
//!
//! [`Libm::Guest`]: crate::Libm::Guest

pub mod exact;
pub mod fingerprint;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use wasmparser::{Operator, ValType};

use crate::ir::{MathOp, Op, WasmOp};
use crate::module::Module;
use crate::reach::next_is_unreachable;
use fingerprint::Known;

/// Functions of C's library that are one operator of Wasm's, of which only old or unoptimised bodies are longer. Wasm
/// rounds to nearest, ties to even, always.
const OPERATORS: [(&str, WasmOp); 9] = [
    ("sqrtf", WasmOp::F32Sqrt),
    ("fabsf", WasmOp::F32Abs),
    ("floorf", WasmOp::F32Floor),
    ("ceilf", WasmOp::F32Ceil),
    ("truncf", WasmOp::F32Trunc),
    ("rintf", WasmOp::F32Nearest),
    ("nearbyintf", WasmOp::F32Nearest),
    ("roundevenf", WasmOp::F32Nearest),
    ("copysignf", WasmOp::F32Copysign),
];

/// Functions of 64-bit floats by name, of which the guest's own code is kept.
const WIDE: &[&str] = &[
    "sin", "cos", "tan", "asin", "acos", "atan", "atan2", "sinh", "cosh", "tanh", "exp", "exp2", "exp10", "expm1",
    "log", "log2", "log10", "log1p", "pow", "cbrt", "hypot", "fmod",
];

/// How a function was recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// By its name in the name section and its type.
    Name,
    /// By its body, which is that of a known build of a library.
    Body,
}

impl std::fmt::Display for How {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            How::Name => "by name",
            How::Body => "by body",
        })
    }
}

/// A function that was recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recognition {
    /// The operator that does what it does.
    pub op: Op,
    /// The function's name in C.
    pub name: &'static str,
    /// How that is known.
    pub how: How,
}

/// What was found so far, by function.
pub(crate) type Recognised = Mutex<HashMap<u32, Option<Recognition>>>;

/// A call of a library's function that a kernel may come to, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LibraryCall {
    /// The function's name in C.
    pub name: &'static str,
    /// How it was recognised; `None` for functions of 64-bit floats, which stay the guest's.
    pub how: Option<How>,
}

impl Module {
    /// What function of C's mathematical library this is, if it is recognised as one. The answer is kept.
    pub fn recognise(&self, function: u32) -> Option<Recognition> {
        let known = |known: &Recognised| known.lock().unwrap_or_else(PoisonError::into_inner).get(&function).copied();
        if let Some(known) = known(&self.recognised) {
            return known;
        }
        let found = recognise(self, function);
        self.recognised.lock().unwrap_or_else(PoisonError::into_inner).insert(function, found);
        found
    }

    /// The calls of a library's functions in a kernel and what it calls directly, each function once, by name. What is
    /// called only by recognised functions is left out.
    pub fn library_calls(&self, kernel: u32) -> Vec<LibraryCall> {
        let (mut found, mut seen, mut todo) = (Vec::new(), BTreeSet::from([kernel]), vec![kernel]);
        while let Some(function) = todo.pop() {
            for callee in callees(self, function) {
                if !seen.insert(callee) {
                    continue;
                }
                if let Some(Recognition { name, how, .. }) = self.recognise(callee) {
                    found.push(LibraryCall { name, how: Some(how) });
                    continue;
                }
                found.extend(wide(self, callee).map(|name| LibraryCall { name, how: None }));
                todo.push(callee);
            }
        }
        found.sort_by_key(|call| (call.name, call.how.map(|how| how as u8)));
        found.dedup();
        found
    }
}

/// The direct calls of a body that come back.
fn callees(module: &Module, function: u32) -> BTreeSet<u32> {
    let mut callees = BTreeSet::new();
    let Some(mut operators) = module.body(function).and_then(|body| body.get_operators_reader().ok()) else {
        return callees;
    };
    while let Ok(operator) = operators.read() {
        match operator {
            Operator::Call { .. } if next_is_unreachable(&operators) => {}
            Operator::Call { function_index } | Operator::ReturnCall { function_index } => {
                _ = callees.insert(function_index)
            }
            _ => {}
        }
        if operators.eof() {
            break;
        }
    }
    callees
}

/// Number of operands of a function of this many `f32`s to one; `None` for other types.
fn arity(module: &Module, function: u32, of: ValType) -> Option<usize> {
    let ty = module.function_type(function)?;
    let fits = ty.results() == [of] && ty.params().iter().all(|param| *param == of);
    (fits && (1..=3).contains(&ty.params().len())).then_some(ty.params().len())
}

fn recognise(module: &Module, function: u32) -> Option<Recognition> {
    let arity = arity(module, function, ValType::F32)?;
    module.body(function)?;
    let of = |name: &str, how| {
        operator(name).filter(|(_, _, count)| *count == arity).map(|(op, name, _)| Recognition { op, name, how })
    };
    let by_name = module.given_name(function).and_then(c_name).and_then(|name| of(&name, How::Name));
    by_name.or_else(|| of(Known::all().find(module, function)?, How::Body))
}

/// The operator for a function of C's, that function's name, and the number of its operands.
fn operator(name: &str) -> Option<(Op, &'static str, usize)> {
    if let Some((name, op)) = OPERATORS.iter().find(|(known, _)| *known == name) {
        return Some((Op::Wasm(*op), name, op.params().len()));
    }
    let op = MathOp::from_name(name)?;
    Some((Op::Math(op), op.name(), op.arity()))
}

/// Of a function of 64-bit floats, its name in C.
fn wide(module: &Module, function: u32) -> Option<&'static str> {
    arity(module, function, ValType::F64)?;
    let name = module.given_name(function)?;
    let name = name.strip_prefix("~lib/math/NativeMath.").unwrap_or(name);
    WIDE.iter().copied().find(|wide| *wide == name)
}

/// The name in C of a function that a toolchain calls so: C's own, which Rust and Zig link to, paths of Rust's library,
/// AssemblyScript's `Mathf` and what that calls, and Zig's `std.math`.
pub fn c_name(name: &str) -> Option<String> {
    // AssemblyScript rounds halves up.
    if let Some(method) = name.strip_prefix("~lib/math/NativeMathf.") {
        return match method {
            "round" => None,
            "mod" => Some("fmodf".into()),
            method => Some(format!("{method}f")),
        };
    }
    if let Some(table) = name.strip_prefix("~lib/util/math/") {
        return table.strip_suffix("_lut").map(Into::into);
    }
    if name.starts_with("_ZN") || name.starts_with("_R") {
        return mangled(name).map(Into::into);
    }
    if let Some((path, last)) = name.rsplit_once("::") {
        let library = ["libm::", "compiler_builtins::"].iter().any(|library| name.starts_with(library));
        return (library && !path.contains('<')).then(|| last.to_string());
    }
    if let Some(path) = name.strip_prefix("compiler_rt.") {
        let (_, last) = path.rsplit_once('.')?;
        return Some(last.strip_suffix("_f32").map_or_else(|| last.to_string(), |name| format!("{name}f")));
    }
    // Of a generic function, whose type tells for which floats it is, instances are numbered.
    if let Some(path) = name.strip_prefix("math.") {
        let (_, last) = path.rsplit_once('.')?;
        let last = last.split_once("__").map_or(last, |(name, _)| name);
        let last = last.strip_suffix("_32").or_else(|| last.strip_suffix("32")).unwrap_or(last);
        return Some(format!("{last}f"));
    }
    Some(name.to_string())
}

/// Of a mangled name of Rust's library, in either of its two forms, the last identifier.
fn mangled(name: &str) -> Option<&str> {
    if !["4libm", "17compiler_builtins"].iter().any(|library| name.contains(library)) {
        return None;
    }
    // The older form ends in a hash of 16 digits behind an `h`, as an identifier, and `E`.
    let path = match name.starts_with("_ZN") {
        true => name.strip_suffix('E')?.rsplit_once("17h")?.0,
        false => name,
    };
    let names = MathOp::ALL.iter().map(|op| op.name()).chain(OPERATORS.map(|(name, _)| name));
    names.filter(|known| path.ends_with(&format!("{}{known}", known.len()))).max_by_key(|known| known.len())
}
