//! Programs as modules in the text format.

use std::fmt::Write;

use wavelift_translator::ir::Type;

use crate::address::Pointers;
use crate::ast::{Body, Call, Expr, Frame, Helper, Length, Mode, OBJECT, SIGNATURES, Stmt, Tree, Walk};
use crate::generate::{LOCALS, RESULTS, TYPES};
use crate::places::STACK_POINTER;
use crate::values;

/// Bytes of an invocation's inputs, pointers and results.
pub const IN_ROW: u32 = OBJECT;
pub const PTR_ROW: u32 = 24;
pub const RESULT_ROW: u32 = 8 * RESULTS;
/// Where the invocations' own parts of linear memory begin.
pub const OWN_LINEAR: u32 = 16_384;

/// Offsets in a frame: slots of numbers, slots of pointers, arrays; and its size.
pub const PTR_SLOTS: u32 = OBJECT;
pub const ARRAYS: u32 = 48;
pub const FRAME: u32 = ARRAYS + 2 * OBJECT;

/// The buffers of kernels, in their order; one that a kernel does not use is left out.
pub const BUFFERS: [&str; 5] = ["in", "out", "mix", "ptrs", "res"];

/// The module's text, and which of [`BUFFERS`] it has.
pub fn print(tree: &Tree) -> (String, Vec<usize>) {
    let (mut functions, mut levels) = (String::new(), Vec::new());
    for (number, helper) in tree.helpers.iter().enumerate() {
        let text = Function::new(tree, Some((number, helper)), &levels).helper();
        levels.push(bearable_levels(&text, number, helper.levels));
        functions += &text;
    }
    let mut kernel = Function::new(tree, None, &levels);
    let list = kernel.body(&tree.kernel, &[]);
    let used: Vec<usize> = (0..BUFFERS.len()).filter(|b| has(&list, &format!("${}", BUFFERS[*b]))).collect();
    let params: String = used.iter().map(|b| format!(" (param ${0} i32) (param ${0}_len i32)", BUFFERS[*b])).collect();
    let _ = writeln!(
        functions,
        "(func $kernel (export \"kernel\") (param $id i32) (param $n i32) (param $block i32){params}\n{list})"
    );
    let mut text = String::from("(module\n(memory (export \"memory\") 1)\n");
    // Without its name the stack pointer is known by its use, if no other global may be taken for it.
    let told = !functions.contains("$g_") && tree.linear.is_multiple_of(2);
    let name = if told { "sp" } else { "__stack_pointer" };
    let _ = writeln!(text, "(global $sp (export \"{name}\") (mut i32) (i32.const {STACK_POINTER}))");
    for ty in TYPES {
        let name = format!("$g_{}", values::name(ty));
        if has(&functions, &name) {
            let _ = writeln!(text, "(global {name} (export \"{name}\") (mut {0}) ({0}.const 77))", values::name(ty));
        }
    }
    if has(&functions, "$g_ptr") {
        text += "(global $g_ptr (export \"$g_ptr\") (mut i32) (i32.const 0))\n";
    }
    text += &types_and_table(tree, &functions);
    for (name, function) in LITTLE {
        if has(&functions, name) {
            text += function;
        }
    }
    text += &functions;
    text.push(')');
    (text, used)
}

/// How much deeper a function may call itself.
const LEVELS_LEFT: &str = "(i32.shr_u (local.get $id) (i32.const 24))";

const LITTLE: [(&str, &str); 3] = [
    ("$pick", "(func $pick (param i32 i32 i32) (result i32) (select (local.get 0) (local.get 1) (local.get 2)))\n"),
    (
        "$canon_f32",
        "(func $canon_f32 (param f32) (result f32)
  (select (local.get 0) (f32.const nan) (f32.eq (local.get 0) (local.get 0))))\n",
    ),
    (
        "$canon_f64",
        "(func $canon_f64 (param f64) (result f64)
  (select (local.get 0) (f64.const nan) (f64.eq (local.get 0) (local.get 0))))\n",
    ),
];

/// Entries of the table, and the first ones of each signature's four.
const TABLE: u32 = 24;
const fn first_entry(signature: usize) -> u32 {
    1 + 4 * signature as u32
}

fn types_and_table(tree: &Tree, functions: &str) -> String {
    let mut text = String::new();
    if !functions.contains("call_indirect") {
        return text;
    }
    for (signature, (param, results)) in SIGNATURES.iter().enumerate() {
        let results: String = results.iter().map(|ty| format!(" {}", values::name(*ty))).collect();
        let _ = writeln!(
            text,
            "(type $t{signature} (func (param i32 i32 i32 {}) (result{results})))",
            values::name(*param)
        );
    }
    let _ = writeln!(text, "(table {TABLE} funcref)");
    for signature in 0..SIGNATURES.len() {
        let of: Vec<usize> = (0..tree.helpers.len()).filter(|f| tree.helpers[*f].signature == signature).collect();
        if !of.is_empty() {
            let names: String = (0..4).map(|entry| format!(" $f{}", of[entry % of.len()])).collect();
            let _ = writeln!(text, "(elem (i32.const {}) func{names})", first_entry(signature));
        }
    }
    text
}

/// Most calls of itself that a function makes in all.
const MOST_CALLS: u32 = 100;

/// How deep a function with this text may call itself, for all that to take no long.
fn bearable_levels(text: &str, number: usize, wanted: u32) -> u32 {
    let sites = text.matches(&format!("call $f{number} ")).count() as u32;
    // A loop in a helper has four trips at the most.
    let calls = sites * if text.contains("(loop") { 4 } else { 1 };
    (0..=wanted).take_while(|levels| calls.saturating_pow(*levels) <= MOST_CALLS).last().unwrap_or(0)
}

/// Whether a text has this name, as a whole.
pub fn has(text: &str, name: &str) -> bool {
    let ends = |at: usize| !text[at + name.len()..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    text.match_indices(name).any(|(at, _)| ends(at))
}

/// The local of a type.
fn local(ty: Type, number: u32) -> String {
    let letter = match ty {
        Type::I32 => "x",
        Type::I64 => "y",
        Type::F32 => "s",
        _ => "d",
    };
    format!("${letter}{}", number % LOCALS)
}

struct Label {
    out: String,
    /// Where a `continue` goes, if it is a loop.
    again: Option<String>,
}

/// A function that is printed.
pub struct Function<'a> {
    pub tree: &'a Tree,
    /// Its number and itself, if it is no kernel.
    pub helper: Option<(usize, &'a Helper)>,
    /// How deep those before it may call themselves.
    levels: &'a [u32],
    labels: Vec<Label>,
    next: u32,
}

impl<'a> Function<'a> {
    fn new(tree: &'a Tree, helper: Option<(usize, &'a Helper)>, levels: &'a [u32]) -> Self {
        Function { tree, helper, levels, labels: Vec::new(), next: 0 }
    }

    fn helper(&mut self) -> String {
        let Some((number, helper)) = self.helper else { return String::new() };
        let body = self.body(&helper.body, &helper.results);
        let (param, results) = SIGNATURES[helper.signature];
        let results: String = results.iter().map(|ty| format!(" {}", values::name(*ty))).collect();
        format!(
            "(func $f{number} (param $pr i32) (param $pw i32) (param $id i32) (param $b {}) (result{results})\n{body})\n",
            values::name(param)
        )
    }

    /// Locals, the frame, statements and results.
    fn body(&mut self, body: &Body, results: &[Expr]) -> String {
        let mut code = self.list(&body.list);
        let results: Vec<String> = results.iter().map(|result| self.expr(result)).collect();
        let results = results.join("\n");
        let mut start = String::new();
        if let Some((_, helper)) = self.helper {
            let _ = writeln!(start, "(local.set {} (local.get $b))", local(SIGNATURES[helper.signature].0, 0));
        }
        start += &self.first_pointers(&code, &results);
        let all = [&start, &code, &results].map(String::as_str).concat();
        if has(&all, "$fp") {
            let calls = ["(call $f", "call_indirect", "return_call"].iter().any(|call| all.contains(call));
            let leaves = body.frame == Frame::RedZone && !calls;
            let size = FRAME + body.padding;
            start = frame(body.frame, size, leaves) + &first_slots(&all, body.frame) + &start;
            let restore = format!("(global.set $sp {})", restored(body.frame, size));
            if leaves {
                code = code.replace(RESTORE, "");
            } else {
                code = code.replace(RESTORE, &restore) + &restore + "\n";
            }
        } else {
            code = code.replace(RESTORE, "");
        }
        let all = [&start, &code, &results].map(String::as_str).concat();
        self.locals(&all) + &start + &code + &results
    }

    /// What pointers in locals and slots are before anything is assigned.
    fn first_pointers(&self, code: &str, results: &str) -> String {
        let mut start = String::new();
        let text = [code, results].concat();
        for own in [false, true] {
            let first = self.first_pointer(own);
            for number in 0..LOCALS {
                let name = Pointers::local(own, number);
                if has(&text, &name) {
                    let _ = writeln!(start, "(local.set {name} {first})");
                }
            }
            if text.contains(&Pointers::slot_mark(own)) {
                let _ = writeln!(start, "(i32.store offset={} (local.get $fp) {first})", Pointers::slot(own));
            }
        }
        start
    }

    fn locals(&self, all: &str) -> String {
        let mut names: Vec<(String, Type)> = Vec::new();
        for ty in TYPES {
            names.extend((0..LOCALS).map(|number| (local(ty, number), ty)));
        }
        for own in [false, true] {
            names.extend((0..LOCALS).map(|number| (Pointers::local(own, number), Type::I32)));
        }
        names.extend((0..self.next).map(|number| (format!("$c{number}"), Type::I32)));
        names.extend(["$fp", "$from", "$to", "$end", "$t"].map(|name| (name.to_string(), Type::I32)));
        let used = names.iter().filter(|(name, _)| has(all, name));
        used.map(|(name, ty)| format!("(local {name} {})", values::name(*ty))).collect::<String>() + "\n"
    }

    pub fn list(&mut self, list: &[Stmt]) -> String {
        list.iter().map(|stmt| self.stmt(stmt)).collect()
    }

    fn label(&mut self) -> u32 {
        self.next += 1;
        self.next - 1
    }

    /// What stands inside a construct that a branch may leave.
    fn inside(&mut self, out: &str, again: Option<&str>, list: &[Stmt]) -> String {
        self.labels.push(Label { out: out.into(), again: again.map(String::from) });
        let text = self.list(list);
        self.labels.pop();
        text
    }

    fn stmt(&mut self, stmt: &Stmt) -> String {
        match stmt {
            Stmt::Set(ty, number, value) => format!("(local.set {} {})\n", local(*ty, *number), self.expr(value)),
            Stmt::SetGlobal(ty, value) => format!("(global.set $g_{} {})\n", values::name(*ty), self.expr(value)),
            Stmt::Store(op, place, value) => {
                let (address, at) = self.access(place, op.bytes);
                format!("({}{at} {address} {})\n", op.text, self.stored(value))
            }
            Stmt::SlotStore(op, offset, value) => {
                let at = offset % (OBJECT - op.bytes + 1);
                format!("({} offset={at} (local.get $fp) (;slot;) {})\n", op.text, self.stored(value))
            }
            Stmt::SetPtr(own, number, ptr) => {
                format!("(local.set {} {})\n", Pointers::local(*own, *number), self.ptr(ptr))
            }
            Stmt::SetSlot(own, ptr) => {
                format!("(i32.store offset={} (local.get $fp) {})\n", Pointers::slot(*own), self.ptr(ptr))
            }
            Stmt::If(condition, yes, no) => {
                let condition = self.expr(condition);
                let yes = self.list(yes);
                let no = if no.is_empty() { String::new() } else { format!("(else\n{})", self.list(no)) };
                format!("(if {condition} (then\n{yes}){no})\n")
            }
            Stmt::Loop(of) => {
                let number = self.label();
                let (out, again) = (format!("$out{number}"), format!("$again{number}"));
                let trips = format!("(i32.and {} (i32.const {}))", self.expr(&of.trips), of.mask);
                let body = self.inside(&out, Some(&again), &of.body);
                let count = format!("(local.set $c{number} (i32.sub (local.get $c{number}) (i32.const 1)))");
                match of.at_end {
                    false => format!(
                        "(local.set $c{number} {trips})\n(block {out} (loop {again}\n\
                         (br_if {out} (i32.eqz (local.get $c{number}))) {count}\n{body}(br {again})))\n"
                    ),
                    true => format!(
                        "(local.set $c{number} (i32.add {trips} (i32.const 1)))\n(block {out} (loop $l{number}\n\
                         (block {again}\n{body}){count}\n(br_if $l{number} (local.get $c{number}))))\n"
                    ),
                }
            }
            Stmt::Block(list) => {
                let out = format!("$out{}", self.label());
                let body = self.inside(&out, None, list);
                format!("(block {out}\n{body})\n")
            }
            Stmt::Break(levels, condition) => {
                let count = self.labels.len();
                let target = (count > 0).then(|| self.labels[count - 1 - *levels as usize % count].out.clone());
                self.branch(target, condition.as_ref())
            }
            Stmt::Continue(levels, condition) => {
                let loops: Vec<String> = self.labels.iter().rev().filter_map(|label| label.again.clone()).collect();
                let target = (!loops.is_empty()).then(|| loops[*levels as usize % loops.len()].clone());
                self.branch(target, condition.as_ref())
            }
            Stmt::Return(condition) => self.early_return(condition.as_ref()),
            Stmt::Switch(index, cases) => self.switch(index, cases),
            Stmt::Fill(to, value, length) => {
                let (length, most) = self.length(length);
                format!("(memory.fill {} {} {length})\n", self.address(to, most), self.expr(value))
            }
            Stmt::Copy(to, from, length) => {
                let (length, most) = self.length(length);
                format!("(memory.copy {} {} {length})\n", self.address(to, most), self.address(from, most))
            }
            Stmt::CallPair(call, first, second) => match self.call(call) {
                Some(text) => format!(
                    "{text}(local.set {}) (local.set {})\n",
                    local(Type::I64, *second),
                    local(Type::I32, *first)
                ),
                None => String::new(),
            },
            Stmt::TailCall(call) => self.tail_call(call),
            Stmt::Walk(walk) => self.walk(walk),
            Stmt::Result(slot, value) => {
                let slot = slot % RESULTS;
                let ty = type_of(value);
                format!(
                    "({}.store offset={} (i32.add (local.get $res) (i32.mul (local.get $id) (i32.const {RESULT_ROW}))) {})\n",
                    values::name(ty),
                    8 * slot,
                    self.stored(value)
                )
            }
            Stmt::Unreachable(condition) => format!("(if {} (then (unreachable)))\n", self.expr(condition)),
        }
    }

    fn branch(&mut self, target: Option<String>, condition: Option<&Expr>) -> String {
        match (target, condition) {
            (None, _) => String::new(),
            (Some(target), None) => format!("(br {target})\n"),
            (Some(target), Some(condition)) => format!("(br_if {target} {})\n", self.expr(condition)),
        }
    }

    fn early_return(&mut self, condition: Option<&Expr>) -> String {
        let results = self.helper.map_or(&[][..], |(_, helper)| SIGNATURES[helper.signature].1);
        let values: String = results.iter().map(|ty| format!(" (local.get {})", local(*ty, 0))).collect();
        match condition {
            None => format!("{RESTORE}(return{values})\n"),
            Some(condition) => format!("(if {} (then {RESTORE}(return{values})))\n", self.expr(condition)),
        }
    }

    fn switch(&mut self, index: &Expr, cases: &[Vec<Stmt>]) -> String {
        let number = self.label();
        let out = format!("$out{number}");
        let targets: String = (0..cases.len()).map(|case| format!(" $case{number}_{case}")).collect();
        let mut text = format!("(br_table{targets} {out} {})", self.expr(index));
        for (case, list) in cases.iter().enumerate() {
            let body = self.inside(&out, None, list);
            text = format!("(block $case{number}_{case} {text})\n{body}");
        }
        format!("(block {out} {text})\n")
    }

    /// The length of a range, and the most that it can be.
    fn length(&mut self, length: &Length) -> (String, u32) {
        // An empty range is no access, wherever it lies.
        let least = u32::from(self.tree.mode == Mode::Bounds);
        let bytes = (length.bytes % 13).max(least);
        match &length.dynamic {
            None => (format!("(i32.const {bytes})"), bytes),
            Some(value) => {
                (format!("(i32.add (i32.and {} (i32.const 7)) (i32.const {bytes}))", self.expr(value)), bytes + 7)
            }
        }
    }

    fn walk(&mut self, walk: &Walk) -> String {
        let number = self.label();
        let (load, store, step) =
            if walk.words { ("i32.load", "i32.store", 4) } else { ("i32.load8_u", "i32.store8", 1) };
        let x = local(Type::I32, walk.local);
        let steps = walk.steps.clamp(1, 8);
        let advance = |name: &str| format!("(local.set {name} (i32.add (local.get {name}) (i32.const {step})))\n");
        let mut text = format!("(local.set $from {})\n", self.ptr(&walk.from));
        let mut body =
            format!("(local.set {x} (i32.add (i32.mul (local.get {x}) (i32.const 31)) ({load} (local.get $from))))\n");
        if let Some(to) = &walk.to {
            let _ = writeln!(text, "(local.set $to {})", self.ptr(to));
            let _ = write!(body, "({store} (local.get $to) (local.get {x})) {}", advance("$to"));
        }
        body += &advance("$from");
        format!(
            "{text}(local.set $end (i32.add (local.get $from) (i32.const {})))\n(loop $l{number}\n{body}\
             (br_if $l{number} (i32.ne (local.get $from) (local.get $end))))\n",
            steps * step
        )
    }

    /// The helper that a call means: of the signature, and before this function or, if it may be, itself.
    fn callee(&self, call: &Call) -> Option<usize> {
        let before = |(number, helper): (usize, &Helper)| number + usize::from(helper.levels > 0);
        let before = self.helper.map_or(self.tree.helpers.len(), before);
        let of: Vec<usize> = (0..before).filter(|f| self.tree.helpers[*f].signature == call.signature).collect();
        (!of.is_empty()).then(|| of[call.number as usize % of.len()])
    }

    fn call(&mut self, call: &Call) -> Option<String> {
        let callee = self.callee(call)?;
        let (read, own) = (self.ptr(&call.read), self.ptr(&call.own));
        let arguments = format!("{read} {own} {} {}", self.with_levels(call, callee), self.expr(&call.b));
        if self.is_itself(callee) {
            let results = SIGNATURES[call.signature].1;
            let types: String = results.iter().map(|ty| format!(" {}", values::name(*ty))).collect();
            let none: String = results.iter().map(|ty| constant(*ty, 1)).collect();
            return Some(format!(
                "(if (result{types}) {LEVELS_LEFT} (then (call $f{callee} {arguments})) (else {none}))"
            ));
        }
        let Some(index) = call.indirect.as_ref().filter(|_| self.helper.is_none()) else {
            return Some(format!("(call $f{callee} {arguments})"));
        };
        let index = match self.tree.mode {
            Mode::Traps => format!("(i32.and {} (i32.const 31))", self.expr(index)),
            _ => {
                let first = first_entry(call.signature);
                format!("(i32.add (i32.and {} (i32.const 3)) (i32.const {first}))", self.expr(index))
            }
        };
        Some(format!("(call_indirect (type $t{}) {arguments} {index})", call.signature))
    }

    fn is_itself(&self, callee: usize) -> bool {
        self.helper.is_some_and(|(number, _)| number == callee)
    }

    /// A call's `i32`, with the levels that the callee has in its top bits, if any may have.
    fn with_levels(&mut self, call: &Call, callee: usize) -> String {
        let value = self.expr(&call.a);
        if self.is_itself(callee) {
            return format!(
                "(i32.or (i32.and {value} (i32.const 0xffffff)) (i32.and (i32.sub (local.get $id) (i32.const 0x1000000))
                 (i32.const 0xff000000)))"
            );
        }
        // An indirect call may come to any of them.
        let of = self.tree.helpers.iter().zip(self.levels);
        let of = of.filter(|(helper, _)| helper.signature == call.signature && helper.levels > 0);
        match of.map(|(_, levels)| *levels).max() {
            None => value,
            Some(_) if call.indirect.is_none() && self.tree.helpers[callee].levels == 0 => value,
            Some(most) => {
                let levels = if call.indirect.is_none() { self.levels[callee] } else { most };
                format!("(i32.or (i32.and {value} (i32.const 0xffffff)) (i32.const {}))", levels << 24)
            }
        }
    }

    /// The frame is gone by then, so only the pointers that the function was given are passed on.
    fn tail_call(&mut self, call: &Call) -> String {
        let Some((_, helper)) = self.helper else { return String::new() };
        if SIGNATURES[call.signature].1 != SIGNATURES[helper.signature].1 {
            return String::new();
        }
        let Some(callee) = self.callee(call) else { return String::new() };
        let (a, b) = (self.with_levels(call, callee), self.expr(&call.b));
        let condition = match self.is_itself(callee) {
            true => format!("(i32.and (i32.ne {LEVELS_LEFT} (i32.const 0)) (local.get $x0))"),
            false => "(i32.and (local.get $x0) (i32.const 1))".to_string(),
        };
        let second = match SIGNATURES[call.signature].0 {
            Type::I32 => local(Type::I32, 1),
            ty => local(ty, 2),
        };
        format!(
            "(if {condition} (then (local.set $x2 {a}) (local.set {second} {b})\n{RESTORE}\
             (return_call $f{callee} (local.get $pr) (local.get $pw) (local.get $x2) (local.get {second}))))\n"
        )
    }

    /// A value as it is stored: the sign and payload of a NaN that was computed are not Wasm's to say.
    fn stored(&mut self, value: &Expr) -> String {
        let text = self.expr(value);
        let moved = matches!(value, Expr::Const(..) | Expr::Load(..) | Expr::Slot(..));
        if moved { text } else { canonical(type_of(value), text) }
    }

    pub fn expr(&mut self, expr: &Expr) -> String {
        match expr {
            Expr::Const(ty, bits) => constant(*ty, *bits),
            Expr::Local(ty, number) => format!("(local.get {})", local(*ty, *number)),
            Expr::Global(ty) => format!("(global.get $g_{})", values::name(*ty)),
            Expr::Id => "(local.get $id)".into(),
            Expr::Op(op, operands) => self.operator(*op, operands),
            Expr::Select(of) => {
                format!("(select {} {} {})", self.expr(&of[0]), self.expr(&of[1]), self.expr(&of[2]))
            }
            Expr::If(ty, of) => format!(
                "(if (result {}) {} (then {}) (else {}))",
                values::name(*ty),
                self.expr(&of[0]),
                self.expr(&of[1]),
                self.expr(&of[2])
            ),
            Expr::Load(op, place) => {
                let (address, at) = self.access(place, op.bytes);
                format!("({}{at} {address})", op.text)
            }
            Expr::Slot(op, offset) => {
                format!("({} offset={} (local.get $fp) (;slot;))", op.text, offset % (OBJECT - op.bytes + 1))
            }
            Expr::Call(call) => match self.call(call) {
                Some(text) => text,
                None => constant(SIGNATURES[call.signature].1[0], 1),
            },
            Expr::Distance(kind, of) => self.distance(*kind, of, 31),
        }
    }

    /// Divisions are guarded where nothing may trap.
    fn operator(&mut self, op: wavelift_translator::ir::WasmOp, operands: &[Expr]) -> String {
        use wavelift_translator::ir::WasmOp::*;
        let mut texts: Vec<String> = operands.iter().map(|operand| self.expr(operand)).collect();
        if self.tree.mode != Mode::Traps && op.can_trap() {
            let (ty, highest) = match op.result() {
                Type::I64 => ("i64", i64::MAX),
                _ => ("i32", i64::from(i32::MAX)),
            };
            texts[1] = format!("({ty}.or ({ty}.and {} ({ty}.const {highest})) ({ty}.const 1))", texts[1]);
        }
        match op {
            I32ReinterpretF32 | I64ReinterpretF64 => texts[0] = canonical(op.params()[0], texts[0].clone()),
            F32Copysign | F64Copysign => texts[1] = canonical(op.params()[1], texts[1].clone()),
            _ => {}
        }
        format!("({} {})", op.text(), texts.join(" "))
    }
}

/// Stands where a return restores the stack pointer.
const RESTORE: &str = "(;restore;)";

fn frame(frame: Frame, size: u32, leaves: bool) -> String {
    let moved = format!("(i32.sub (global.get $sp) (i32.const {size}))");
    let address = match frame {
        Frame::Moved | Frame::RedZone => moved,
        Frame::Dynamic => {
            format!("(i32.sub {moved} (i32.shl (i32.and (local.get $id) (i32.const 3)) (i32.const 4)))")
        }
        Frame::Aligned => format!("(i32.and {moved} (i32.const -16))"),
    };
    match leaves {
        true => format!("(local.set $fp {address})\n"),
        false => format!("(global.set $sp (local.tee $fp {address}))\n"),
    }
}

/// The stack pointer before a frame was made.
fn restored(frame: Frame, size: u32) -> String {
    let moved = format!("(i32.add (local.get $fp) (i32.const {size}))");
    match frame {
        Frame::Dynamic => {
            format!("(i32.add {moved} (i32.shl (i32.and (local.get $id) (i32.const 3)) (i32.const 4)))")
        }
        _ => moved,
    }
}

/// Writes what is used of a frame, whose bytes may be anything before.
fn first_slots(all: &str, frame: Frame) -> String {
    let mut text = String::new();
    let words = |text: &mut String, from: u32, count: u32| {
        for at in (0..8 * count).step_by(8).map(|at| at + from) {
            let bits = 0x0123_4567_89ab_cdef_u64 ^ u64::from(at);
            let _ = writeln!(text, "(i64.store offset={at} (local.get $fp) (i64.const {bits:#x}))");
        }
    };
    if all.contains("(;slot;)") {
        words(&mut text, 0, OBJECT / 8);
    }
    for array in 0..2 {
        let at = ARRAYS + array * OBJECT;
        let mark = format!("(i32.const {at}) (;array;)");
        if !all.contains(&mark) {
            continue;
        }
        if matches!(frame, Frame::RedZone | Frame::Aligned) {
            words(&mut text, at, OBJECT / 8);
            continue;
        }
        let _ = writeln!(
            text,
            "(memory.fill (i32.add (local.get $fp) (i32.const {at})) (i32.const {}) (i32.const {OBJECT}))",
            0x5a + array
        );
    }
    text
}

fn canonical(ty: Type, text: String) -> String {
    if ty.is_float() { format!("(call $canon_{} {text})", values::name(ty)) } else { text }
}

fn constant(ty: Type, bits: u64) -> String {
    match ty {
        Type::I32 => format!("(i32.const {})", bits as u32 as i32),
        Type::I64 => format!("(i64.const {})", bits as i64),
        Type::F32 => {
            let value = f32::from_bits(bits as u32);
            match value.is_nan() {
                true => format!("(f32.const {}nan:{:#x})", sign(bits >> 31), bits & 0x7f_ffff),
                false => format!("(f32.const {value:e})"),
            }
        }
        _ => {
            let value = f64::from_bits(bits);
            match value.is_nan() {
                true => format!("(f64.const {}nan:{:#x})", sign(bits >> 63), bits & 0xf_ffff_ffff_ffff),
                false => format!("(f64.const {value:e})"),
            }
        }
    }
}

fn sign(bit: u64) -> &'static str {
    if bit & 1 == 1 { "-" } else { "" }
}

/// The type of a number.
pub fn type_of(expr: &Expr) -> Type {
    match expr {
        Expr::Const(ty, _) | Expr::Local(ty, _) | Expr::Global(ty) | Expr::If(ty, _) => *ty,
        Expr::Id | Expr::Distance(..) => Type::I32,
        Expr::Op(op, _) => op.result(),
        Expr::Select(of) => type_of(&of[0]),
        Expr::Load(op, _) | Expr::Slot(op, _) => op.ty,
        Expr::Call(call) => SIGNATURES[call.signature].1[0],
    }
}
