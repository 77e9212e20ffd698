//! Fingerprints of functions: what their bodies, and those of the functions they call, are but for addresses.
//!
//! A linker puts tables anywhere, and numbers globals, types and functions anew. So a fingerprint has two parts. Its
//! *shape* is a hash of the operators, of all constants but `i32` ones, and of the types; indices are not in it, and a
//! call stands for what its callee is made of. The *numbers* are the `i32` constants and the offsets of loads and stores;
//! which of them are addresses the list says, found by linking a library twice at different places.

use std::collections::HashMap;
use std::sync::OnceLock;

use wasmparser::{BlockType, Operator};

use crate::frontend;
use crate::frontend::names::operator_name;
use crate::ir::{Op, WasmOp};
use crate::module::Module;

/// Most operators of a function with all that it calls; no library's function has more.
const MAX_OPERATORS: usize = 20_000;

/// Deepest calls that are followed.
const MAX_DEPTH: usize = 8;

/// The list, made by `scripts/libm-fingerprints`.
const LIST: &str = include_str!("fingerprints.csv");

/// What a function is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// A hash of all but the numbers.
    pub shape: u64,
    /// `i32` constants and offsets of accesses, in order.
    pub numbers: Vec<u32>,
}

/// FNV-1a, 64 bits (Fowler, Noll, Vo).
#[derive(Clone, Copy, Debug)]
struct Hash(u64);

impl Hash {
    fn new() -> Self {
        Hash(0xcbf2_9ce4_8422_2325)
    }

    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
        self.bytes(&[0]);
    }

    fn number(&mut self, number: u64) {
        self.bytes(&number.to_le_bytes());
    }
}

/// A hash of the numbers but for those whose places are in `addresses`, ascending.
pub fn hash_of_numbers(numbers: &[u32], addresses: &[usize]) -> u64 {
    let mut hash = Hash::new();
    for (place, number) in numbers.iter().enumerate() {
        if addresses.binary_search(&place).is_err() {
            hash.number(place as u64);
            hash.number(u64::from(*number));
        }
    }
    hash.0
}

/// What a function is made of; `None` if that is more than a library's function is: imports, recursion, indirect calls,
/// operators of vectors, too many operators.
pub fn body(module: &Module, function: u32) -> Option<Body> {
    let mut reader = Reader { module, hash: Hash::new(), numbers: Vec::new(), operators: 0, open: Vec::new() };
    reader.function(function)?;
    Some(Body { shape: reader.hash.0, numbers: reader.numbers })
}

struct Reader<'m> {
    module: &'m Module,
    hash: Hash,
    numbers: Vec<u32>,
    operators: usize,
    /// The functions that are being read, outermost first.
    open: Vec<u32>,
}

impl Reader<'_> {
    fn function(&mut self, function: u32) -> Option<()> {
        if self.open.contains(&function) || self.open.len() > MAX_DEPTH {
            return None;
        }
        self.open.push(function);
        let body = self.module.body(function)?;
        self.hash.text(&self.module.function_type(function)?.to_string());
        for local in body.get_locals_reader().ok()? {
            let (count, ty) = local.ok()?;
            self.hash.number(count.into());
            self.hash.text(&ty.to_string());
        }
        for operator in body.get_operators_reader().ok()? {
            self.operators += 1;
            if self.operators > MAX_OPERATORS {
                return None;
            }
            self.operator(&operator.ok()?)?;
        }
        self.open.pop();
        Some(())
    }

    fn operator(&mut self, op: &Operator<'_>) -> Option<()> {
        self.hash.text(&operator_name(op));
        if WasmOp::from_wasmparser(op).is_some() {
            return Some(());
        }
        if let Some(access) = frontend::access(op) {
            let (Op::Load(access) | Op::Store(access)) = access else { return None };
            self.numbers.push(access.offset);
            return (access.memory == 0).then_some(());
        }
        match op {
            Operator::Block { blockty } | Operator::Loop { blockty } | Operator::If { blockty } => {
                self.block(*blockty)?
            }
            Operator::Else | Operator::End | Operator::Return | Operator::Unreachable => {}
            Operator::Nop | Operator::Drop | Operator::Select => {}
            Operator::Br { relative_depth } | Operator::BrIf { relative_depth } => {
                self.hash.number((*relative_depth).into())
            }
            Operator::BrTable { targets } => {
                for target in targets.targets() {
                    self.hash.number(target.ok()?.into());
                }
                self.hash.number(targets.default().into());
            }
            Operator::LocalGet { local_index }
            | Operator::LocalSet { local_index }
            | Operator::LocalTee { local_index } => {
                self.hash.number((*local_index).into());
            }
            Operator::GlobalGet { global_index } | Operator::GlobalSet { global_index } => {
                self.hash.text(&self.module.globals().get(*global_index as usize)?.ty.to_string());
            }
            Operator::I32Const { value } => self.numbers.push(*value as u32),
            Operator::I64Const { value } => self.hash.number(*value as u64),
            Operator::F32Const { value } => self.hash.number(value.bits().into()),
            Operator::F64Const { value } => self.hash.number(value.bits()),
            Operator::Call { function_index } => self.function(*function_index)?,
            Operator::MemoryFill { mem: 0 } | Operator::MemoryCopy { dst_mem: 0, src_mem: 0 } => {}
            _ => return None,
        }
        Some(())
    }

    fn block(&mut self, ty: BlockType) -> Option<()> {
        match ty {
            BlockType::Empty => self.hash.text("empty"),
            BlockType::Type(ty) => self.hash.text(&ty.to_string()),
            BlockType::FuncType(index) => self.hash.text(&self.module.type_at(index)?.to_string()),
        }
        Some(())
    }
}

/// A row of the list, without the shape.
#[derive(Clone, Debug)]
pub struct Row {
    /// Places among the numbers that are addresses, ascending.
    pub addresses: Vec<usize>,
    /// Hash of the other numbers.
    numbers: u64,
    /// The function's name in C.
    pub name: &'static str,
}

/// The known fingerprints.
#[derive(Debug)]
pub struct Known(HashMap<u64, Vec<Row>>);

impl Known {
    /// Those of the list.
    pub fn all() -> &'static Known {
        static ALL: OnceLock<Known> = OnceLock::new();
        // A row that can't be read recognises nothing; a test sees to it that there is none.
        ALL.get_or_init(|| {
            let mut rows: HashMap<u64, Vec<Row>> = HashMap::new();
            for (shape, row) in LIST.lines().skip(1).filter_map(parse) {
                rows.entry(shape).or_default().push(row);
            }
            Known(rows)
        })
    }

    /// The name in C of what this function is.
    pub fn find(&self, module: &Module, function: u32) -> Option<&'static str> {
        self.row(&body(module, function)?).map(|row| row.name)
    }

    /// The row of this body.
    pub fn row(&self, body: &Body) -> Option<&Row> {
        let fits = |row: &&Row| hash_of_numbers(&body.numbers, &row.addresses) == row.numbers;
        self.0.get(&body.shape)?.iter().find(fits)
    }
}

/// A row `function,shape,numbers,addresses,origin`: hashes in hexadecimal, addresses' places separated by blanks.
fn parse(line: &'static str) -> Option<(u64, Row)> {
    let fields: Vec<&str> = line.split(',').collect();
    let &[name, shape, numbers, addresses, _] = fields.as_slice() else { return None };
    let hexadecimal = |text| u64::from_str_radix(text, 16).ok();
    let addresses = addresses.split_whitespace().map(|place| place.parse().ok()).collect::<Option<_>>()?;
    Some((hexadecimal(shape)?, Row { addresses, numbers: hexadecimal(numbers)?, name }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::libm::operator;

    #[test]
    fn every_row_is_read_and_names_a_function_and_no_two_differ_about_one_body() {
        let mut seen: HashMap<(u64, Vec<usize>, u64), &str> = HashMap::new();
        assert!(LIST.lines().count() > 100, "the list is short");
        for line in LIST.lines().skip(1) {
            let (shape, row) = parse(line).unwrap_or_else(|| panic!("{line}"));
            assert!(operator(row.name).is_some(), "{line}");
            let before = seen.insert((shape, row.addresses, row.numbers), row.name);
            assert!(before.is_none(), "{line}: that body is {before:?}'s already");
        }
    }
}
