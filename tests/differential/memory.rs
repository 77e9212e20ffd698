//! Loads and stores at the edges of buffers. Wasmtime says which bytes an access within bounds gives; which ones are
//! within bounds follows from the ABI: those that lie wholly inside the buffer that the address was computed from.

use wavelift::device::{Access, KernelTrap, Location, TrapKind};
use wavelift_translator::ir::operator::MemoryAccess;
use wavelift_translator::ir::{AtomicOp, Type};

use crate::atomics;
use crate::case::{BufferShape, Case, End, Program, Run};
use crate::engine::Session;
use crate::plain_wasmtime::PlainWasmtime;
use crate::values::{self, Random};

/// The data buffer's size: whole pages, so that the CPU devices, too, trap at the first byte beyond.
const SIZE: u32 = 0x1_0000;
/// Most invocations of a launch.
const ROWS: u32 = 64;
/// The highest page of the address space that a buffer may own: the data buffer's.
const TOP: u32 = 0xfffe_0000;

/// Suffix, bytes in memory, type.
const LOADS: [(&str, u32, Type); 14] = [
    ("i32.load", 4, Type::I32),
    ("i64.load", 8, Type::I64),
    ("f32.load", 4, Type::F32),
    ("f64.load", 8, Type::F64),
    ("i32.load8_s", 1, Type::I32),
    ("i32.load8_u", 1, Type::I32),
    ("i32.load16_s", 2, Type::I32),
    ("i32.load16_u", 2, Type::I32),
    ("i64.load8_s", 1, Type::I64),
    ("i64.load8_u", 1, Type::I64),
    ("i64.load16_s", 2, Type::I64),
    ("i64.load16_u", 2, Type::I64),
    ("i64.load32_s", 4, Type::I64),
    ("i64.load32_u", 4, Type::I64),
];

const STORES: [(&str, u32, Type); 9] = [
    ("i32.store", 4, Type::I32),
    ("i64.store", 8, Type::I64),
    ("f32.store", 4, Type::F32),
    ("f64.store", 8, Type::F64),
    ("i64.store32", 4, Type::I64),
    ("i32.store8", 1, Type::I32),
    ("i32.store16", 2, Type::I32),
    ("i64.store8", 1, Type::I64),
    ("i64.store16", 2, Type::I64),
];

/// What an access does.
#[derive(Clone, Copy)]
enum Kind {
    Load,
    Store,
    Atomic(AtomicOp),
}

impl Kind {
    fn stores(self) -> bool {
        match self {
            Kind::Load => false,
            Kind::Store => true,
            Kind::Atomic(op) => op.stores(),
        }
    }
}

/// One access of the buffer `data`, at `data + scale * offsets[i]` and a static offset.
struct Probe {
    op: String,
    bytes: u32,
    ty: Type,
    kind: Kind,
    /// The operator's static offset.
    offset: u32,
    /// What the number in `offsets` is shifted by: what is proved of the address.
    shift: u32,
    size: u32,
    access: Access,
}

/// Every load, unaligned ones too, with static offsets up to the highest; empty and odd buffers.
pub fn loads() -> Vec<Case> {
    let mut cases = Vec::new();
    for (op, bytes, ty) in LOADS {
        for offset in [0, 1, 6, 0x8000_0000, TOP, u32::MAX] {
            let probe = Probe {
                op: op.into(),
                bytes,
                ty,
                kind: Kind::Load,
                offset,
                shift: 0,
                size: SIZE,
                access: Access::ReadWrite,
            };
            cases.push(probe.case());
        }
        let aligned = Probe {
            op: op.into(),
            bytes,
            ty,
            kind: Kind::Load,
            offset: 4,
            shift: 2,
            size: SIZE,
            access: Access::ReadWrite,
        };
        cases.push(aligned.case());
    }
    for (op, bytes, ty) in [LOADS[0], LOADS[1], LOADS[4], LOADS[6]] {
        for size in [0, 1, 3, 4, 7, 255, 4097] {
            let access = if size == 255 { Access::Read } else { Access::ReadWrite };
            cases.push(Probe { op: op.into(), bytes, ty, kind: Kind::Load, offset: 0, shift: 0, size, access }.case());
        }
    }
    cases
}

/// Every store, to buffers of each access.
pub fn stores() -> Vec<Case> {
    let mut cases = Vec::new();
    for (op, bytes, ty) in STORES {
        for offset in [0, 4, 1, TOP, 0xffff_fffc] {
            let probe = Probe {
                op: op.into(),
                bytes,
                ty,
                kind: Kind::Store,
                offset,
                shift: 2,
                size: SIZE,
                access: Access::ReadWrite,
            };
            cases.push(probe.case());
        }
        let unaligned = Probe {
            op: op.into(),
            bytes,
            ty,
            kind: Kind::Store,
            offset: 0,
            shift: 0,
            size: SIZE,
            access: Access::Write,
        };
        cases.push(unaligned.case());
        let read_only = Probe {
            op: op.into(),
            bytes,
            ty,
            kind: Kind::Store,
            offset: 0,
            shift: 2,
            size: SIZE,
            access: Access::Read,
        };
        cases.push(read_only.case());
    }
    for (op, bytes, ty) in [STORES[0], STORES[1]] {
        for size in [0, 3, 4, 7, 9, 257] {
            cases.push(
                Probe { op: op.into(), bytes, ty, kind: Kind::Store, offset: 0, shift: 2, size, access: Access::Write }
                    .case(),
            );
        }
    }
    cases
}

/// Atomic accesses of all sizes, those that are not aligned too, to buffers of each access.
pub fn atomic() -> Vec<Case> {
    let mut cases = Vec::new();
    let ops = [AtomicOp::Load, AtomicOp::Store, AtomicOp::Add, AtomicOp::CompareExchange];
    for (op, access) in atomics::accesses().filter(|(op, _)| ops.contains(op)) {
        let MemoryAccess { ty, bytes, .. } = access;
        let probe = |offset, shift, size, access_kind| {
            let (op_text, kind) = (op.text(&access), Kind::Atomic(op));
            Probe { op: op_text, bytes, ty, kind, offset, shift, size, access: access_kind }.case()
        };
        for (offset, shift) in [(0, 0), (6, 1), (8, 3), (TOP, 2)] {
            cases.push(probe(offset, shift, SIZE, Access::ReadWrite));
        }
        cases.push(probe(0, 2, SIZE, Access::Read));
        cases.push(probe(0, 0, 20, Access::Write));
    }
    cases
}

impl Probe {
    fn case(&self) -> Case {
        let data = BufferShape { size: self.size, access: self.access, lanes: crate::case::Lanes::Bits };
        let buffers = vec![data, BufferShape::bits(4 * ROWS), BufferShape::bits(8 * ROWS)];
        let program = Program::new(self.text(), buffers);
        let runs = self.runs(&program);
        Case { program, runs, exact_bounds: !self.size.is_multiple_of(SIZE) || self.size == 0 }
    }

    fn text(&self) -> String {
        let (ty, op, shift, offset) = (values::name(self.ty), &self.op, self.shift, self.offset);
        let value = "local.get $values local.get $i i32.const 3 i32.shl i32.add";
        let address = format!(
            "local.get $data local.get $offsets local.get $i i32.const 2 i32.shl i32.add i32.load\n\
             i32.const {shift} i32.shl i32.add"
        );
        let body = match self.kind {
            Kind::Store => format!("{address}\n{value} {ty}.load\n{op} offset={offset} align=1"),
            Kind::Load => format!("{value}\n{address}\n{op} offset={offset} align=1\n{ty}.store"),
            Kind::Atomic(atomic) => {
                let operands = format!("{value} {ty}.load\n").repeat(atomic.operands());
                match atomic.has_result() {
                    true => format!("{value}\n{address}\n{operands}{op} offset={offset}\n{ty}.store"),
                    false => format!("{address}\n{operands}{op} offset={offset}"),
                }
            }
        };
        format!(
            "(module (memory (export \"memory\") 1)\n\
             (func $kernel (export \"kernel\") (param $i i32) (param i32 i32) (param $data i32) (param i32)\n\
             (param $offsets i32) (param i32) (param $values i32) (param i32)\n{body})\n\
             (table 1 funcref) (elem (i32.const 0) $kernel))"
        )
    }

    /// The place of the access in the kernel's list of operators.
    fn operator(&self) -> usize {
        let (stored_to, address, operand) = (5, 10, 6);
        match self.kind {
            Kind::Store => address + operand,
            Kind::Load => stored_to + address,
            Kind::Atomic(op) => usize::from(op.has_result()) * stored_to + address + op.operands() * operand,
        }
    }

    /// How an access that is not allowed traps: an atomic one's alignment is checked before all else.
    fn trap(&self, base: u32, number: u32) -> TrapKind {
        match self.is_aligned(base, number) {
            true => TrapKind::OutOfBounds,
            false => TrapKind::UnalignedAtomic,
        }
    }

    fn is_aligned(&self, base: u32, number: u32) -> bool {
        let at = base.wrapping_add(number << self.shift).wrapping_add(self.offset);
        !matches!(self.kind, Kind::Atomic(_)) || at.is_multiple_of(self.bytes)
    }

    /// The access's first byte counted from the buffer's start: `None` beyond 4 GiB, else whatever it is.
    fn reach(&self, base: u32, number: u32) -> Option<i64> {
        let address = base.wrapping_add(number << self.shift);
        let effective = u64::from(address) + u64::from(self.offset);
        (effective < 1 << 32).then(|| effective as i64 - i64::from(base))
    }

    fn in_bounds(&self, base: u32, number: u32) -> bool {
        let end = i64::from(self.size) - i64::from(self.bytes);
        self.reach(base, number).is_some_and(|at| (0..=end).contains(&at))
    }

    /// Numbers whose accesses lie around the buffer's ends, and some that lie far out; none that reaches memory of
    /// another buffer, where bounds are another matter on the CPU.
    fn numbers(&self, base: u32) -> Vec<u32> {
        let (size, bytes) = (i64::from(self.size), i64::from(self.bytes));
        let mut random = Random(u64::from(self.offset ^ self.bytes));
        let mut places = vec![-8, -4, -2, -1, 0, 1, 2, 3, 4, 5, 8, 13];
        places.extend([9, 8, 7, 5, 4, 3, 2, 1, 0].map(|back| size - back));
        places.extend([size - bytes - 4, size - bytes - 1, size - bytes, size - bytes + 1]);
        places.extend((0..12).map(|_| random.below(self.size.max(1) as usize) as i64));
        let wanted = |place: i64| (place as u32).wrapping_sub(self.offset) >> self.shift;
        let mut numbers: Vec<u32> = places.into_iter().map(wanted).collect();
        numbers.extend([0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX, 0x2000_0000].map(|n| n >> self.shift));
        numbers.sort_unstable();
        numbers.dedup();
        // Below the data buffer stand the others; linear memory is at the bottom.
        let elsewhere = |at: i64| at < -0x1_0000 && (at > -0x80_0000 || at + i64::from(base) < 0x2_0000);
        numbers.retain(|number| !self.reach(base, *number).is_some_and(elsewhere));
        numbers
    }

    fn runs(&self, program: &Program) -> Vec<Run> {
        let base = program.addresses()[0];
        assert!(self.size != SIZE || base == TOP, "the data buffer has moved");
        let may = !self.kind.stores() || self.access.is_writable();
        let (good, bad): (Vec<u32>, Vec<u32>) = self
            .numbers(base)
            .into_iter()
            .partition(|number| may && self.in_bounds(base, *number) && self.is_aligned(base, *number));
        let mut wasmtime = PlainWasmtime::new(program).unwrap_or_else(|error| panic!("{error}"));
        let mut runs = Vec::new();
        let mut expect = |numbers: &[u32]| {
            let contents = self.contents(numbers);
            let iterations = numbers.len() as u32;
            let expected =
                wasmtime.run(&contents, iterations).unwrap_or_else(|error| panic!("{error}\n{}", program.text));
            runs.push(Run { contents, iterations, expected });
        };
        if self.kind.stores() {
            // Stores of one launch must not overlap.
            good.iter().for_each(|number| expect(&[*number]));
        } else if !good.is_empty() {
            expect(&good);
        }
        let at = Location { function: program.kernel, offset: program.operator_offset(self.operator()) };
        for number in bad {
            let before: Vec<u32> = good.iter().copied().take(1).collect();
            let numbers = [before.as_slice(), &[number]].concat();
            let trap = KernelTrap { at, kind: self.trap(base, number), iteration: before.len() as u32 };
            let (contents, iterations) = (self.contents(&numbers), numbers.len() as u32);
            runs.push(Run { contents, iterations, expected: End::Trapped(trap) });
        }
        runs
    }

    fn contents(&self, numbers: &[u32]) -> Vec<Vec<u8>> {
        assert!(numbers.len() <= ROWS as usize, "more rows than the buffers hold");
        let mut random = Random(1);
        let mut fill = |count: u32| (0..count).map(|_| random.next() as u8).collect::<Vec<u8>>();
        let (data, values) = (fill(self.size), fill(8 * ROWS));
        let mut offsets = values::bytes(Type::I32, numbers.iter().map(|number| u64::from(*number)));
        offsets.resize(4 * ROWS as usize, 0);
        vec![data, offsets, values]
    }
}
