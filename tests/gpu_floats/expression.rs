//! Random expressions of floats: their text, and their value on the host.

use std::rc::Rc;

use wavelift_translator::ir::eval::eval;
use wavelift_translator::ir::{Const, Op, Type, WasmOp};

/// An expression over three floats and an `i32` from memory.
#[derive(Clone, Debug)]
pub enum Expr {
    /// One of the three floats.
    Operand(usize),
    /// The `i32`.
    Integer,
    /// A constant.
    Constant(Const),
    /// An operator.
    Apply(WasmOp, Vec<Rc<Expr>>),
    /// `select`.
    Select([Rc<Expr>; 3]),
}

/// What one invocation computes with.
#[derive(Clone, Copy, Debug)]
pub struct Operands {
    pub floats: [Const; 3],
    pub integer: u32,
}

impl Expr {
    /// The expression in the text format; operands are the locals `$a`, `$b`, `$c` and `$n`.
    pub fn text(&self) -> String {
        match self {
            Expr::Operand(index) => format!("(local.get ${})", ["a", "b", "c"][*index]),
            Expr::Integer => "(local.get $n)".to_string(),
            Expr::Constant(Const::F32(bits)) => format!("(f32.reinterpret_i32 (i32.const {:#x}))", bits),
            Expr::Constant(Const::F64(bits)) => format!("(f64.reinterpret_i64 (i64.const {:#x}))", bits),
            Expr::Constant(other) => format!("(i32.const {})", if *other == Const::zero(other.ty()) { 0 } else { 1 }),
            Expr::Apply(op, args) => {
                let args: Vec<String> = args.iter().map(|arg| arg.text()).collect();
                format!("({} {})", op.text(), args.join(" "))
            }
            Expr::Select(args) => format!("(select {} {} {})", args[0].text(), args[1].text(), args[2].text()),
        }
    }

    /// The value, by the translator's evaluator.
    pub fn value(&self, operands: &Operands) -> Const {
        let values = |args: &[Rc<Expr>]| args.iter().map(|arg| arg.value(operands)).collect::<Vec<Const>>();
        match self {
            Expr::Operand(index) => operands.floats[*index],
            Expr::Integer => Const::I32(operands.integer),
            Expr::Constant(constant) => *constant,
            Expr::Apply(op, args) => eval(&Op::Wasm(*op), &values(args)).expect("no operator of these traps"),
            Expr::Select(args) => eval(&Op::Select, &values(args)).expect("both arms are of one type"),
        }
    }
}

/// The generator SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

/// Makes expressions of one float type.
pub struct Generator {
    pub ty: Type,
    pub random: Random,
}

impl Generator {
    /// The operator of this name on the type.
    fn op(&self, name: &str) -> WasmOp {
        let text = format!("{}.{name}", self.ty);
        WasmOp::ALL.iter().copied().find(|op| op.text() == text).unwrap_or_else(|| panic!("there is no `{text}`"))
    }

    fn apply(&self, name: &str, args: &[&Rc<Expr>]) -> Rc<Expr> {
        Rc::new(Expr::Apply(self.op(name), args.iter().map(|arg| Rc::clone(arg)).collect()))
    }

    fn constant(&self, value: f64) -> Rc<Expr> {
        Rc::new(Expr::Constant(float(self.ty, value)))
    }

    fn leaf(&mut self) -> Rc<Expr> {
        match self.random.below(8) {
            0 => {
                let values = [0.0, -0.0, 1.0, 2.0, 0.5, -1.0, 3.0, 10.0, 1e-40, f64::INFINITY, f64::NAN];
                let value = self.random.one_of(&values);
                self.constant(value)
            }
            1 => {
                let name = self.random.one_of(&["convert_i32_s", "convert_i32_u"]);
                self.apply(name, &[&Rc::new(Expr::Integer)])
            }
            _ => Rc::new(Expr::Operand(self.random.below(3))),
        }
    }

    /// An expression of at most this depth.
    pub fn tree(&mut self, depth: u32) -> Rc<Expr> {
        if depth == 0 {
            return self.leaf();
        }
        let x = self.tree(depth - 1);
        match self.random.below(10) {
            0..4 => {
                let y = self.tree(depth - 1);
                let name = self.random.one_of(&["add", "sub", "mul", "div", "min", "max"]);
                self.apply(name, &[&x, &y])
            }
            4 => {
                let name = self.random.one_of(&["neg", "abs", "sqrt", "ceil", "floor", "trunc", "nearest"]);
                self.apply(name, &[&x])
            }
            5 => {
                let y = self.tree(depth - 1);
                self.comparison(&x, &y)
            }
            6 => self.through_integers(&x),
            _ => self.rewritable(&x),
        }
    }

    fn comparison(&mut self, x: &Rc<Expr>, y: &Rc<Expr>) -> Rc<Expr> {
        let name = self.random.one_of(&["eq", "ne", "lt", "gt", "le", "ge"]);
        let y = if self.random.below(3) == 0 { x } else { y };
        let test = self.apply(name, &[x, y]);
        match self.random.below(2) {
            0 => Rc::new(Expr::Select([x.clone(), y.clone(), test])),
            _ => self.apply("convert_i32_u", &[&test]),
        }
    }

    fn through_integers(&mut self, x: &Rc<Expr>) -> Rc<Expr> {
        let apply = |op, arg: &Rc<Expr>| Rc::new(Expr::Apply(op, vec![arg.clone()]));
        let n = Rc::new(Expr::Integer);
        use WasmOp::*;
        let (to_signed, to_unsigned) = match self.ty {
            Type::F64 => (I32TruncSatF64S, I32TruncSatF64U),
            _ => (I32TruncSatF32S, I32TruncSatF32U),
        };
        match (self.random.below(4), self.ty) {
            (0, _) => self.apply("convert_i32_s", &[&apply(to_signed, x)]),
            (1, _) => self.apply("convert_i32_u", &[&apply(to_unsigned, x)]),
            (2, Type::F64) => apply(F64PromoteF32, &apply(F32DemoteF64, x)),
            (2, _) => apply(F32DemoteF64, &apply(F64PromoteF32, x)),
            (_, Type::F64) => apply(F64PromoteF32, &apply(F32ConvertI32S, &n)),
            (_, _) => apply(F32DemoteF64, &apply(F64ConvertI32U, &apply(to_unsigned, x))),
        }
    }

    /// What algebra, but not IEEE 754, simplifies.
    fn rewritable(&mut self, x: &Rc<Expr>) -> Rc<Expr> {
        let (y, z) = (self.leaf(), self.leaf());
        let operand = Rc::new(Expr::Operand(self.random.below(3)));
        let (zero, minus_zero) = (self.constant(0.0), self.constant(-0.0));
        let (one, two) = (self.constant(1.0), self.constant(2.0));
        let minus_one = self.constant(-1.0);
        match self.random.below(27) {
            0 => self.apply("sub", &[&self.apply("add", &[x, &y]), x]),
            1 => self.apply("add", &[&self.apply("sub", &[x, &y]), &y]),
            2 => self.apply("sub", &[x, x]),
            3 => self.apply("div", &[x, x]),
            4 => self.apply("mul", &[x, &zero]),
            5 => self.apply("add", &[x, &zero]),
            6 => self.apply("add", &[x, &minus_zero]),
            7 => self.apply("sub", &[x, &zero]),
            8 => self.apply("sub", &[&zero, x]),
            9 => self.apply("mul", &[x, &one]),
            10 => self.apply("sub", &[&self.apply("mul", &[x, &two]), x]),
            11 => self.apply("neg", &[&self.apply("neg", &[x])]),
            12 => self.apply("neg", &[&self.apply("sub", &[x, &y])]),
            13 => self.apply("div", &[&one, &self.apply("div", &[&one, x])]),
            14 => self.apply("div", &[&self.apply("mul", &[x, &y]), &y]),
            15 => self.apply("sqrt", &[&self.apply("mul", &[x, x])]),
            16 => self.apply("add", &[&self.apply("mul", &[x, &y]), &z]),
            17 => self.apply("max", &[x, x]),
            18 => self.apply("mul", &[x, &minus_one]),
            19 => self.apply("max", &[&self.apply("min", &[x, &one]), &zero]),
            20 => self.apply("add", &[x, x]),
            21 => self.apply("sub", &[&self.apply("mul", &[x, &one]), x]),
            22 => self.apply("sub", &[x, &self.apply("mul", &[x, &one])]),
            23 => self.apply("div", &[&self.apply("add", &[x, &minus_zero]), x]),
            24 => self.apply("div", &[x, &self.apply("div", &[x, &one])]),
            25 => self.apply("sub", &[&self.apply("add", &[x, &zero]), &self.apply("mul", &[x, &one])]),
            // The sign comes from memory: that of a computed NaN is left open.
            _ => self.apply("copysign", &[x, &operand]),
        }
    }
}

/// A float constant.
pub fn float(ty: Type, value: f64) -> Const {
    if ty == Type::F64 { Const::F64(value.to_bits()) } else { Const::F32((value as f32).to_bits()) }
}
