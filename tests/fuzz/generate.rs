//! Makes programs of byte strings.

use arbtest::arbitrary::Unstructured;
use wavelift_translator::ir::{Type, WasmOp};

use crate::ast::{
    Body, Call, DETOURS, DISTANCES, Expr, Frame, Helper, LOADS, Length, Loop, MemoryOp, Mode, OBJECT, Place, Ptr,
    SIGNATURES, STORES, Stmt, Tree, Walk,
};
use crate::values::{self, Random};

pub const TYPES: [Type; 4] = [Type::I32, Type::I64, Type::F32, Type::F64];
/// Locals of each type, and of each kind of pointer.
pub const LOCALS: u32 = 3;
/// Slots of an invocation's results, eight bytes each.
pub const RESULTS: u32 = 6;
/// What lies beyond everything when it is added to an address.
const WILD: [u32; 4] = [0x0100_0000, 0x4000_0000, 0x7fff_0000, 0x2345_6789];

/// The program of a seed; small ones are cheap to compile for a GPU.
pub fn program(seed: u64, mode: Mode, small: bool) -> Tree {
    let mut random = Random(seed);
    let length = if small { 150 + random.below(350) } else { 300 + random.below(2400) };
    let bytes: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
    let rows = (0..4 + random.below(20)).map(|_| random.next()).collect();
    tree(&mut Unstructured::new(&bytes), mode, rows)
}

/// The program of a byte string.
pub fn tree(u: &mut Unstructured<'_>, mode: Mode, rows: Vec<u64>) -> Tree {
    let mut source = Source { u, mode, helpers: Vec::new(), is_kernel: false, loops: 0, tables: false };
    let linear = 1 + source.below(250) as u64;
    let stride = source.of(&[32, 33, 36, 39, 48]);
    let read_only = source.one_in(3);
    source.tables = source.one_in(3);
    let mut helpers = Vec::new();
    for _ in 0..source.below(3) {
        let helper = source.helper();
        source.helpers.push(helper.signature);
        helpers.push(helper);
    }
    source.is_kernel = true;
    let kernel = source.kernel();
    Tree { mode, rows, linear, stride, read_only, helpers, kernel }
}

struct Source<'a, 'b> {
    u: &'a mut Unstructured<'b>,
    mode: Mode,
    /// The signatures of the helpers that may be called.
    helpers: Vec<usize>,
    is_kernel: bool,
    /// Loops around the statement that is made.
    loops: u32,
    /// Whether there are indirect calls.
    tables: bool,
}

impl Source<'_, '_> {
    /// Below `limit`; 0 when the bytes are used up.
    fn below(&mut self, limit: u32) -> u32 {
        self.u.int_in_range(0..=limit - 1).unwrap_or(0)
    }

    fn one_in(&mut self, count: u32) -> bool {
        self.below(count) == count - 1
    }

    fn of<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u32) as usize]
    }

    fn ty(&mut self) -> Type {
        // Mostly integers: floats have suites of their own.
        self.of(&[Type::I32, Type::I32, Type::I32, Type::I64, Type::I64, Type::F32, Type::F64])
    }

    fn helper(&mut self) -> Helper {
        let signature = self.below(SIGNATURES.len() as u32) as usize;
        // The interpreter on lifted functions, which says where accesses beyond buffers trap, has no recursion.
        let levels = if self.mode == Mode::Bounds { 0 } else { self.of(&[0, 0, 0, 1, 2, 6]) };
        if levels > 0 {
            self.helpers.push(signature);
        }
        let mut list = self.list(3, 4);
        if self.one_in(6) {
            let at = self.below(list.len() as u32 + 1) as usize;
            if let Some(call) = self.call(1) {
                list.insert(at, Stmt::TailCall(call));
            }
        }
        let body = Body { frame: self.frame(), padding: self.padding(), list };
        let results = SIGNATURES[signature].1.iter().map(|ty| self.expr(*ty, 2)).collect();
        if levels > 0 {
            self.helpers.pop();
        }
        Helper { signature, levels, body, results }
    }

    fn kernel(&mut self) -> Body {
        let (frame, padding) = (self.frame(), self.padding());
        let mut list = vec![
            Stmt::Set(Type::I32, 0, load(0, 0)),
            Stmt::Set(Type::I32, 1, load(0, 4)),
            Stmt::Set(Type::I64, 0, load(1, 8)),
            Stmt::Set(Type::F32, 0, load(2, 16)),
            Stmt::Set(Type::F64, 0, load(3, 20)),
        ];
        list.extend(self.list(4, 9));
        for slot in 0..RESULTS {
            let ty = [Type::I32, Type::I64, Type::I32, Type::F32, Type::F64, Type::I64][slot as usize];
            let value = if slot < 2 { Expr::Local(ty, 0) } else { self.expr(ty, 1) };
            list.push(Stmt::Result(slot, value));
        }
        Body { frame, padding, list }
    }

    fn frame(&mut self) -> Frame {
        self.of(&[Frame::Moved, Frame::Moved, Frame::RedZone, Frame::RedZone, Frame::Dynamic, Frame::Aligned])
    }

    fn padding(&mut self) -> u32 {
        self.of(&[0, 0, 0, 16, 48, 4, 3])
    }

    fn list(&mut self, depth: u32, most: u32) -> Vec<Stmt> {
        let count = 1 + self.below(most);
        (0..count).map(|_| self.stmt(depth)).collect()
    }

    fn stmt(&mut self, depth: u32) -> Stmt {
        let kinds = if depth == 0 { 12 } else { 22 };
        match self.below(kinds) {
            0 | 1 => {
                let ty = self.ty();
                Stmt::Set(ty, self.below(LOCALS), self.expr(ty, 3))
            }
            2 | 3 => {
                let op = self.store_op();
                Stmt::Store(op, self.place(true, 2), self.expr(op.ty, 2))
            }
            4 => {
                let op = self.store_op();
                Stmt::SlotStore(op, self.slot_offset(op), self.expr(op.ty, 2))
            }
            5 => {
                let own = self.one_in(2);
                Stmt::SetPtr(own, self.below(LOCALS), self.ptr(own, 2))
            }
            6 => {
                let own = self.one_in(2);
                Stmt::SetSlot(own, self.ptr(own, 2))
            }
            7 => {
                let ty = self.ty();
                Stmt::SetGlobal(ty, self.expr(ty, 2))
            }
            8 => self.bulk(),
            9 => self.exit(),
            10 => Stmt::Walk(Walk {
                from: self.ptr(false, 1),
                to: self.one_in(2).then(|| self.ptr(true, 1)),
                local: self.below(LOCALS),
                words: self.one_in(2),
                steps: 1 + self.below(8),
            }),
            11 => match self.pair() {
                Some(stmt) => stmt,
                None => Stmt::Set(Type::I32, self.below(LOCALS), self.expr(Type::I32, 4)),
            },
            12 | 13 => Stmt::If(self.expr(Type::I32, 2), self.list(depth - 1, 3), self.list(depth - 1, 2)),
            14 => Stmt::If(self.expr(Type::I32, 2), self.list(depth - 1, 3), Vec::new()),
            15 | 16 if self.loops < if self.is_kernel { 2 } else { 1 } => self.repeat(depth),
            17 => {
                let index = self.expr(Type::I32, 1);
                let cases = 2 + self.below(3);
                Stmt::Switch(index, (0..cases).map(|_| self.list(depth - 1, 2)).collect())
            }
            18 | 19 => self.exit(),
            20 if self.mode == Mode::Traps => Stmt::Unreachable(self.expr(Type::I32, 2)),
            _ => Stmt::Block(self.list(depth - 1, 4)),
        }
    }

    fn repeat(&mut self, depth: u32) -> Stmt {
        let mask = if self.loops == 0 && self.is_kernel { 7 } else { 3 };
        let trips = if self.one_in(2) { Expr::Const(Type::I32, 2) } else { self.expr(Type::I32, 2) };
        self.loops += 1;
        let body = self.list(depth - 1, 4);
        self.loops -= 1;
        Stmt::Loop(Loop { trips, mask, at_end: self.one_in(2), body })
    }

    fn exit(&mut self) -> Stmt {
        let condition = if self.one_in(5) { None } else { Some(self.expr(Type::I32, 2)) };
        let levels = self.below(3);
        match self.below(5) {
            0 | 1 => Stmt::Break(levels, condition),
            2 | 3 => Stmt::Continue(levels, condition),
            _ => Stmt::Return(Some(condition.unwrap_or_else(|| self.expr(Type::I32, 1)))),
        }
    }

    fn bulk(&mut self) -> Stmt {
        let length = Length {
            dynamic: if self.one_in(2) { Some(self.expr(Type::I32, 1)) } else { None },
            bytes: self.of(&[4, 8, 0, 1, 3, 7, 12]),
        };
        let to = self.place(true, 1);
        if self.one_in(2) {
            return Stmt::Fill(to, self.expr(Type::I32, 1), length);
        }
        // Overlaps more often than not.
        let from =
            if self.one_in(3) { self.place(false, 1) } else { Place { ptr: to.ptr.clone(), ..self.place(false, 0) } };
        Stmt::Copy(to, from, length)
    }

    fn pair(&mut self) -> Option<Stmt> {
        let call = self.call_of(1, |signature| SIGNATURES[signature].1.len() == 2)?;
        Some(Stmt::CallPair(call, self.below(LOCALS), self.below(LOCALS)))
    }

    fn call(&mut self, depth: u32) -> Option<Call> {
        self.call_of(depth, |_| true)
    }

    fn call_of(&mut self, depth: u32, fits: impl Fn(usize) -> bool) -> Option<Call> {
        let callable: Vec<usize> = self.helpers.iter().copied().filter(|signature| fits(*signature)).collect();
        if callable.is_empty() {
            return None;
        }
        let signature = self.of(&callable);
        let indirect = self.is_kernel && self.tables && self.one_in(2);
        Some(Call {
            signature,
            number: self.below(4),
            read: self.ptr(false, depth),
            own: self.ptr(true, depth),
            a: self.expr(Type::I32, depth),
            b: self.expr(SIGNATURES[signature].0, depth),
            indirect: indirect.then(|| self.expr(Type::I32, depth)),
        })
    }

    fn expr(&mut self, ty: Type, depth: u32) -> Expr {
        if depth == 0 {
            return match self.below(6) {
                0 | 1 => Expr::Local(ty, self.below(LOCALS)),
                2 => Expr::Global(ty),
                3 if ty == Type::I32 => Expr::Id,
                _ => self.constant(ty),
            };
        }
        match self.below(14) {
            0..=2 => self.expr(ty, 0),
            3..=6 => self.operator(ty, depth),
            7 => Expr::Select(Box::new([
                self.expr(ty, depth - 1),
                self.expr(ty, depth - 1),
                self.expr(Type::I32, depth - 1),
            ])),
            8 => Expr::If(
                ty,
                Box::new([self.expr(Type::I32, depth - 1), self.expr(ty, depth - 1), self.expr(ty, depth - 1)]),
            ),
            9 | 10 => Expr::Load(self.load_op(ty), Box::new(self.place(false, depth - 1))),
            11 | 12 => {
                let op = self.load_op(ty);
                Expr::Slot(op, self.slot_offset(op))
            }
            _ => match self.call_of(depth - 1, |signature| SIGNATURES[signature].1 == [ty]) {
                Some(call) => Expr::Call(Box::new(call)),
                None => self.operator(ty, depth),
            },
        }
    }

    fn distance(&mut self) -> Expr {
        let kind = self.below(DISTANCES);
        let own = self.one_in(2);
        Expr::Distance(kind, Box::new((self.ptr(own, 0), self.expr(Type::I32, 0))))
    }

    fn constant(&mut self, ty: Type) -> Expr {
        let edges = values::edges(ty);
        match self.below(3) {
            0 if ty.is_int() => Expr::Const(ty, u64::from(self.below(9))),
            _ => Expr::Const(ty, self.of(&edges)),
        }
    }

    fn operator(&mut self, ty: Type, depth: u32) -> Expr {
        let is_division = |op: &WasmOp| op.params().len() == 2;
        let traps = self.mode == Mode::Traps;
        let fits = |op: &&WasmOp| op.result() == ty && (traps || !op.can_trap() || is_division(op));
        let all: Vec<WasmOp> = WasmOp::ALL.iter().filter(fits).copied().collect();
        let op = self.of(&all);
        Expr::Op(op, op.params().iter().map(|ty| self.expr(*ty, depth - 1)).collect())
    }

    fn load_op(&mut self, ty: Type) -> &'static MemoryOp {
        let of_type: Vec<&'static MemoryOp> = LOADS.iter().filter(|op| op.ty == ty).collect();
        self.of(&of_type)
    }

    fn store_op(&mut self) -> &'static MemoryOp {
        let all: Vec<&'static MemoryOp> = STORES.iter().collect();
        self.of(&all)
    }

    /// Offsets of slots: aligned ones, and others.
    fn slot_offset(&mut self, op: &MemoryOp) -> u32 {
        let at = self.below(OBJECT - op.bytes + 1);
        if self.one_in(4) { at } else { at - at % op.bytes }
    }

    fn place(&mut self, own: bool, depth: u32) -> Place {
        let ptr = self.ptr(own, depth.min(2));
        let index = match self.below(5) {
            0 | 1 => None,
            2 => Some(self.distance()),
            _ => Some(self.expr(Type::I32, depth)),
        };
        let wild = if self.mode == Mode::Bounds && self.one_in(4) { self.of(&WILD) } else { 0 };
        Place {
            ptr,
            index,
            scale: self.below(4),
            offset: self.below(OBJECT),
            back: self.of(&[0, 0, 0, 0, 16, 1, 0x8000, 0x12345]),
            aligned: self.one_in(2),
            wild,
        }
    }

    fn ptr(&mut self, own: bool, depth: u32) -> Ptr {
        let kinds = if depth == 0 { 8 } else { 12 };
        match self.below(kinds) {
            0 | 1 => self.root(own),
            2 => Ptr::Array(self.below(2)),
            3 | 4 => Ptr::Local(own, self.below(LOCALS)),
            5 => Ptr::Slot(own),
            6 if self.is_kernel => Ptr::Loaded(own, self.below(3)),
            7 if !own => self.ptr(true, 0),
            8 => Ptr::Select(Box::new((self.ptr(own, 0), self.ptr(own, depth - 1), self.expr(Type::I32, 1)))),
            9 => Ptr::Pick(Box::new((self.ptr(own, depth - 1), self.ptr(own, 0), self.expr(Type::I32, 1)))),
            10 | 11 => {
                let kind = self.below(DETOURS);
                Ptr::Detour(kind, Box::new((self.ptr(own, depth - 1), self.expr(Type::I32, 0))))
            }
            _ => self.root(own),
        }
    }

    fn root(&mut self, own: bool) -> Ptr {
        match (self.is_kernel, own) {
            (false, own) => Ptr::Param(own),
            (true, true) => match self.below(4) {
                0 | 1 => Ptr::Out,
                2 => Ptr::Mix,
                _ => Ptr::Lin,
            },
            (true, false) => match self.below(3) {
                0 => Ptr::In,
                1 => Ptr::InEnd,
                _ => Ptr::Static(self.below(1 << 12)),
            },
        }
    }
}

fn load(op: usize, offset: u32) -> Expr {
    let place = Place { ptr: Ptr::In, index: None, scale: 0, offset, back: 0, aligned: true, wild: 0 };
    Expr::Load(&LOADS[op], Box::new(place))
}
