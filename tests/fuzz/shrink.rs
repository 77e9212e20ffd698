//! Makes a failing program smaller while it fails in the same way: parts are taken out, or replaced by smaller ones of
//! their type. Every tree is a program, so whatever is tried can be run.

use std::time::{Duration, Instant};

use wavelift_translator::ir::Type;

use crate::ast::{Body, Call, Expr, Frame, Length, OBJECT, Place, Ptr, SIGNATURES, Stmt, Tree};
use crate::print::type_of;

/// The smallest program found, of those for which `fails` holds, in about so much time.
pub fn shrink(tree: &Tree, time: Duration, fails: &mut dyn FnMut(&Tree) -> bool) -> Tree {
    let start = Instant::now();
    let coarse = pass(tree.clone(), start, time, true, fails);
    pass(coarse, start, time, false, fails)
}

/// Makes changes until none is left that keeps the failure: coarse ones only, or all.
fn pass(mut best: Tree, start: Instant, time: Duration, coarse: bool, fails: &mut dyn FnMut(&Tree) -> bool) -> Tree {
    loop {
        let mut changed = false;
        let mut target = 0;
        while start.elapsed() < time {
            let mut candidate = best.clone();
            let mut step = Step { target, next: 0, done: false, coarse };
            step.tree(&mut candidate);
            if !step.done {
                break;
            }
            if fails(&candidate) {
                best = candidate;
                changed = true;
                // The same number is now another change; where it is beyond the last, the loop ends.
            } else {
                target += 1;
            }
        }
        if !changed || start.elapsed() >= time {
            return best;
        }
    }
}

/// One change of a tree: changes are numbered in the order in which a walk meets them.
struct Step {
    target: usize,
    next: usize,
    done: bool,
    /// Whether to leave numbers and addresses alone.
    coarse: bool,
}

impl Step {
    /// Whether the change that comes next is the one to make.
    fn turn(&mut self) -> bool {
        self.next += 1;
        let is_it = !self.done && self.next == self.target + 1;
        self.done |= is_it;
        is_it
    }

    /// Sets `what` to each of these that differs from it, in turn.
    fn set<T: PartialEq>(&mut self, what: &mut T, values: impl IntoIterator<Item = T>) {
        for value in values {
            if self.done || self.coarse {
                return;
            }
            if *what != value && self.turn() {
                *what = value;
            }
        }
    }

    /// Takes out ranges: all, halves, quarters, and so on down to single ones; `least` stay.
    fn ranges<T>(&mut self, list: &mut Vec<T>, least: usize) {
        let mut size = list.len();
        while size > 0 {
            for start in (0..list.len()).step_by(size) {
                if self.done {
                    return;
                }
                let end = (start + size).min(list.len());
                if list.len() - (end - start) >= least && self.turn() {
                    list.drain(start..end);
                    return;
                }
            }
            size /= 2;
        }
    }

    fn tree(&mut self, tree: &mut Tree) {
        self.ranges(&mut tree.helpers, 0);
        self.ranges(&mut tree.rows, 1);
        self.list(&mut tree.kernel.list);
        self.set(&mut tree.linear, [0, 1]);
        self.set(&mut tree.read_only, [false]);
        self.set(&mut tree.stride, [OBJECT]);
        for row in &mut tree.rows {
            self.set(row, (0..4).chain([*row >> 32, *row & 0xff]));
        }
        self.body(&mut tree.kernel);
        for helper in &mut tree.helpers {
            self.set(&mut helper.levels, [0, 1, 2]);
            self.body(&mut helper.body);
            helper.results.iter_mut().for_each(|result| self.expr(result));
        }
    }

    fn body(&mut self, body: &mut Body) {
        self.set(&mut body.frame, [Frame::Moved, Frame::RedZone]);
        self.set(&mut body.padding, [0]);
        self.list(&mut body.list);
    }

    fn list(&mut self, list: &mut Vec<Stmt>) {
        self.ranges(list, 0);
        for at in 0..list.len() {
            for inner in inner_lists(&list[at]) {
                if self.turn() {
                    list.splice(at..=at, inner);
                    return;
                }
            }
        }
        for stmt in list {
            if self.done {
                return;
            }
            self.stmt(stmt);
        }
    }

    fn stmt(&mut self, stmt: &mut Stmt) {
        match stmt {
            Stmt::Set(_, _, value) | Stmt::SetGlobal(_, value) | Stmt::Result(_, value) | Stmt::Unreachable(value) => {
                self.expr(value);
            }
            Stmt::Store(_, place, value) => {
                self.place(place);
                self.expr(value);
            }
            Stmt::SlotStore(_, offset, value) => {
                self.set(offset, [0]);
                self.expr(value);
            }
            Stmt::SetPtr(_, number, ptr) => {
                self.set(number, [0]);
                self.ptr(ptr);
            }
            Stmt::SetSlot(_, ptr) => self.ptr(ptr),
            Stmt::If(condition, yes, no) => {
                self.expr(condition);
                self.list(yes);
                self.list(no);
            }
            Stmt::Loop(of) => {
                self.expr(&mut of.trips);
                self.set(&mut of.at_end, [false]);
                self.list(&mut of.body);
            }
            Stmt::Block(list) => self.list(list),
            Stmt::Break(levels, condition) | Stmt::Continue(levels, condition) => {
                self.set(levels, [0]);
                self.optional(condition);
            }
            Stmt::Return(condition) => self.optional(condition),
            Stmt::Switch(index, cases) => {
                self.expr(index);
                self.ranges(cases, 1);
                cases.iter_mut().for_each(|case| self.list(case));
            }
            Stmt::Fill(to, value, length) => {
                self.place(to);
                self.expr(value);
                self.length(length);
            }
            Stmt::Copy(to, from, length) => {
                self.place(to);
                self.place(from);
                self.length(length);
            }
            Stmt::CallPair(call, ..) | Stmt::TailCall(call) => self.call(call),
            Stmt::Walk(walk) => {
                self.ptr(&mut walk.from);
                if walk.to.is_some() && self.turn() {
                    walk.to = None;
                }
                walk.to.iter_mut().for_each(|ptr| self.ptr(ptr));
                self.set(&mut walk.words, [true]);
                self.set(&mut walk.steps, [1, 2]);
            }
        }
    }

    /// Drops a part, or makes it smaller.
    fn optional(&mut self, part: &mut Option<Expr>) {
        if part.is_some() && self.turn() {
            *part = None;
        }
        if let Some(part) = part {
            self.expr(part);
        }
    }

    fn length(&mut self, length: &mut Length) {
        self.optional(&mut length.dynamic);
        self.set(&mut length.bytes, [0, 1, 4]);
    }

    fn call(&mut self, call: &mut Call) {
        self.optional(&mut call.indirect);
        self.ptr(&mut call.read);
        self.ptr(&mut call.own);
        self.expr(&mut call.a);
        self.expr(&mut call.b);
    }

    fn place(&mut self, place: &mut Place) {
        self.optional(&mut place.index);
        self.set(&mut place.scale, [0]);
        self.set(&mut place.offset, [0, 1, 4]);
        self.set(&mut place.back, [0]);
        self.set(&mut place.aligned, [true]);
        self.set(&mut place.wild, [0]);
        self.ptr(&mut place.ptr);
    }

    fn expr(&mut self, expr: &mut Expr) {
        if self.done || self.coarse {
            return;
        }
        let ty = type_of(expr);
        for smaller in smaller_numbers(expr, ty) {
            if self.turn() {
                *expr = smaller;
                return;
            }
        }
        match expr {
            Expr::Const(..) | Expr::Local(..) | Expr::Global(_) | Expr::Id => {}
            Expr::Op(_, operands) => operands.iter_mut().for_each(|operand| self.expr(operand)),
            Expr::Select(of) | Expr::If(_, of) => of.iter_mut().for_each(|part| self.expr(part)),
            Expr::Load(_, place) => self.place(place),
            Expr::Slot(_, offset) => self.set(offset, [0]),
            Expr::Call(call) => self.call(call),
            Expr::Distance(kind, of) => {
                self.set(kind, [0]);
                self.ptr(&mut of.0);
                self.expr(&mut of.1);
            }
        }
    }

    fn ptr(&mut self, ptr: &mut Ptr) {
        if self.done || self.coarse {
            return;
        }
        for smaller in smaller_pointers(ptr) {
            if self.turn() {
                *ptr = smaller;
                return;
            }
        }
        match ptr {
            Ptr::Select(of) | Ptr::Pick(of) => {
                self.ptr(&mut of.0);
                self.ptr(&mut of.1);
                self.expr(&mut of.2);
            }
            Ptr::Detour(_, of) => {
                self.ptr(&mut of.0);
                self.expr(&mut of.1);
            }
            Ptr::Static(at) => self.set(at, [0]),
            Ptr::Array(number) | Ptr::Local(_, number) | Ptr::Loaded(_, number) => self.set(number, [0]),
            Ptr::In | Ptr::InEnd | Ptr::Out | Ptr::Mix | Ptr::Lin | Ptr::Param(_) | Ptr::Slot(_) => {}
        }
    }
}

/// What stands in a construct, list by list.
fn inner_lists(stmt: &Stmt) -> Vec<Vec<Stmt>> {
    match stmt {
        Stmt::If(_, yes, no) => vec![yes.clone(), no.clone()],
        Stmt::Loop(of) => vec![of.body.clone()],
        Stmt::Block(list) => vec![list.clone()],
        Stmt::Switch(_, cases) => cases.clone(),
        _ => Vec::new(),
    }
}

/// Parts of a number of its type, and the least constants.
fn smaller_numbers(expr: &Expr, ty: Type) -> Vec<Expr> {
    let constants: &[u64] = match expr {
        Expr::Const(_, 0) => return Vec::new(),
        Expr::Const(_, 1) => &[0],
        _ => &[0, 1],
    };
    let mut all: Vec<Expr> = constants.iter().map(|bits| Expr::Const(ty, *bits)).collect();
    match expr {
        Expr::Const(_, bits) if *bits > 7 => all.extend([bits & 7, bits >> 1].map(|bits| Expr::Const(ty, bits))),
        Expr::Op(_, operands) => all.extend(operands.iter().filter(|operand| type_of(operand) == ty).cloned()),
        Expr::Select(of) => all.extend([of[0].clone(), of[1].clone()]),
        Expr::If(_, of) => all.extend([of[1].clone(), of[2].clone()]),
        Expr::Call(call) if SIGNATURES[call.signature].0 == ty => all.push(call.b.clone()),
        Expr::Load(..) | Expr::Slot(..) => all.push(Expr::Local(ty, 0)),
        Expr::Distance(_, of) => all.push(of.1.clone()),
        _ => {}
    }
    all
}

/// Simpler pointers that may do what this one does.
fn smaller_pointers(ptr: &Ptr) -> Vec<Ptr> {
    match ptr {
        Ptr::In | Ptr::Out => Vec::new(),
        Ptr::Select(of) | Ptr::Pick(of) => vec![of.0.clone(), of.1.clone()],
        Ptr::Detour(_, of) => vec![of.0.clone()],
        _ if ptr.is_own() => vec![Ptr::Out],
        _ => vec![Ptr::In],
    }
}
