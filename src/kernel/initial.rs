//! What a kernel module starts each launch with: the globals, tables and memory that instantiating it would make.

use std::ops::Range;

use wasmparser::{ConstExpr, DataKind, ElementItems, ElementKind, Operator, Parser, Payload, TableInit};
use wavelift_translator as translator;

use crate::device::{GlobalValue, OwnMemory, TableEntry};
use crate::memory::PAGE;

/// Most entries of all tables: a table's size is a number that costs its module nothing.
const MOST_ENTRIES: u64 = 1 << 16;

/// The initial state of a module that imports nothing but a memory.
#[derive(Debug, Default)]
pub(crate) struct Initial {
    /// Values of globals; `None` for references.
    pub globals: Vec<Option<GlobalValue>>,
    /// Entries of tables; those of tables that don't hold functions are null.
    pub tables: Vec<Vec<TableEntry>>,
    /// The memory, if the module defines one.
    pub memory: Option<OwnMemory>,
}

impl Initial {
    /// Evaluates a module's sections.
    ///
    /// # Errors
    /// A predicate that says which section could not be instantiated: "has …".
    pub fn of(module: &translator::Module) -> Result<Initial, String> {
        let own = module.memories().first().filter(|memory| !memory.imported);
        let memory = own.map(|memory| OwnMemory { size: memory.minimum.saturating_mul(PAGE), data: Vec::new() });
        let mut initial = Initial { memory, ..Initial::default() };
        for payload in Parser::new(0).parse_all(module.bytes()) {
            initial.section(payload.map_err(broken)?)?;
        }
        Ok(initial)
    }

    fn section(&mut self, payload: Payload<'_>) -> Result<(), String> {
        match payload {
            Payload::TableSection(tables) => tables.into_iter().try_for_each(|t| self.table(&t.map_err(broken)?)),
            Payload::GlobalSection(globals) => globals.into_iter().try_for_each(|global| {
                self.globals.push(evaluate(&global.map_err(broken)?.init_expr).and_then(Constant::number));
                Ok(())
            }),
            Payload::StartSection { .. } => Err("has a start function".to_string()),
            Payload::ElementSection(elements) => {
                elements.into_iter().try_for_each(|element| self.element(element.map_err(broken)?))
            }
            Payload::DataSection(data) => data.into_iter().try_for_each(|data| self.data(&data.map_err(broken)?)),
            _ => Ok(()),
        }
    }

    fn table(&mut self, table: &wasmparser::Table<'_>) -> Result<(), String> {
        let known: u64 = self.tables.iter().map(|entries| entries.len() as u64).sum();
        if known.saturating_add(table.ty.initial) > MOST_ENTRIES {
            return Err(format!("has tables of more than {MOST_ENTRIES} entries"));
        }
        let entry = match &table.init {
            TableInit::RefNull => TableEntry::Null,
            TableInit::Expr(expr) => evaluate(expr).map_or(TableEntry::Null, Constant::entry),
        };
        self.tables.push(vec![entry; table.ty.initial as usize]);
        Ok(())
    }

    /// Passive segments wait for an operator that copies them.
    fn element(&mut self, element: wasmparser::Element<'_>) -> Result<(), String> {
        let ElementKind::Active { table_index, offset_expr } = element.kind else { return Ok(()) };
        let items: Vec<TableEntry> = match element.items {
            ElementItems::Functions(functions) => {
                functions.into_iter().map(|f| f.map(TableEntry::Function)).collect::<Result<_, _>>().map_err(broken)?
            }
            ElementItems::Expressions(_, expressions) => {
                let entry = |expr| evaluate(&expr).map_or(TableEntry::Null, Constant::entry);
                expressions.into_iter().map(|expr| expr.map(entry)).collect::<Result<_, _>>().map_err(broken)?
            }
        };
        let table = self.tables.get_mut(table_index.unwrap_or(0) as usize);
        let range = range_of(&offset_expr, items.len());
        let place = table.zip(range).and_then(|(table, range)| table.get_mut(range));
        place.ok_or("has an element segment beyond its table's end")?.copy_from_slice(&items);
        Ok(())
    }

    fn data(&mut self, data: &wasmparser::Data<'_>) -> Result<(), String> {
        let DataKind::Active { offset_expr, .. } = &data.kind else { return Ok(()) };
        let Some(memory) = &mut self.memory else {
            return Err("has a data segment for the memory it imports, which would overwrite the caller's own data; \
                        static data needs a memory of the module's own"
                .to_string());
        };
        let range = range_of(offset_expr, data.data.len()).filter(|range| range.end as u64 <= memory.size);
        let range = range.ok_or("has a data segment beyond its memory's end")?;
        if !range.is_empty() {
            memory.data.push((range.start as u32, data.data.to_vec()));
        }
        Ok(())
    }
}

/// Parsing was done once without an error.
fn broken(error: wasmparser::BinaryReaderError) -> String {
    format!("can't be read a second time ({error})")
}

fn range_of(offset: &ConstExpr<'_>, len: usize) -> Option<Range<usize>> {
    match evaluate(offset)? {
        Constant::Number(GlobalValue::I32(start)) => {
            let start = start as u32 as usize;
            Some(start..start.checked_add(len)?)
        }
        _ => None,
    }
}

/// What a constant expression gives.
#[derive(Clone, Copy)]
enum Constant {
    Number(GlobalValue),
    Entry(TableEntry),
}

impl Constant {
    fn number(self) -> Option<GlobalValue> {
        match self {
            Constant::Number(value) => Some(value),
            Constant::Entry(_) => None,
        }
    }

    fn entry(self) -> TableEntry {
        match self {
            Constant::Entry(entry) => entry,
            Constant::Number(_) => TableEntry::Null,
        }
    }
}

/// The value of a constant expression; `None` for what a module without imported globals can't have.
fn evaluate(expr: &ConstExpr<'_>) -> Option<Constant> {
    use GlobalValue::{F32, F64, I32, I64, V128};
    let mut stack: Vec<Constant> = Vec::new();
    for operator in expr.get_operators_reader() {
        let value = match operator.ok()? {
            Operator::I32Const { value } => Constant::Number(I32(value)),
            Operator::I64Const { value } => Constant::Number(I64(value)),
            Operator::F32Const { value } => Constant::Number(F32(value.bits())),
            Operator::F64Const { value } => Constant::Number(F64(value.bits())),
            Operator::V128Const { value } => Constant::Number(V128(u128::from_le_bytes(*value.bytes()))),
            Operator::RefNull { .. } => Constant::Entry(TableEntry::Null),
            Operator::RefFunc { function_index } => Constant::Entry(TableEntry::Function(function_index)),
            Operator::End => break,
            operator => {
                let (b, a) = (stack.pop()?.number()?, stack.pop()?.number()?);
                Constant::Number(match (operator, a, b) {
                    (Operator::I32Add, I32(a), I32(b)) => I32(a.wrapping_add(b)),
                    (Operator::I32Sub, I32(a), I32(b)) => I32(a.wrapping_sub(b)),
                    (Operator::I32Mul, I32(a), I32(b)) => I32(a.wrapping_mul(b)),
                    (Operator::I64Add, I64(a), I64(b)) => I64(a.wrapping_add(b)),
                    (Operator::I64Sub, I64(a), I64(b)) => I64(a.wrapping_sub(b)),
                    (Operator::I64Mul, I64(a), I64(b)) => I64(a.wrapping_mul(b)),
                    _ => return None,
                })
            }
        };
        stack.push(value);
    }
    stack.pop()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn initial(text: &str) -> Result<Initial, String> {
        Initial::of(&translator::Module::parse(wat::parse_str(text).unwrap()).unwrap())
    }

    #[test]
    fn globals_tables_and_memory_are_what_instantiation_makes() {
        let found = initial(
            r#"(module
                 (memory 2) (table 4 funcref) (table 2 externref) (func $a) (func $b)
                 (global (mut i32) (i32.sub (i32.mul (i32.const 7) (i32.const 6)) (i32.const 2)))
                 (global i64 (i64.add (i64.const 1) (i64.const -3)))
                 (global f32 (f32.const 1.5)) (global funcref (ref.func $a))
                 (global v128 (v128.const i32x4 1 2 3 4))
                 (elem (i32.const 1) $b $a) (elem (table 0) (i32.const 2) funcref (ref.null func)) (elem func $a)
                 (data (i32.const 8) "abc") (data (i32.add (i32.const 8) (i32.const 1)) "X") (data "passive"))"#,
        )
        .unwrap();
        use GlobalValue::*;
        let numbers = [Some(I32(40)), Some(I64(-2)), Some(F32(1.5f32.to_bits())), None];
        assert_eq!(found.globals[..4], numbers);
        assert_eq!(found.globals[4], Some(V128(0x0000_0004_0000_0003_0000_0002_0000_0001)));
        use TableEntry::*;
        assert_eq!(found.tables, [vec![Null, Function(1), Null, Null], vec![Null, Null]]);
        let data = vec![(8, b"abc".to_vec()), (9, b"X".to_vec())];
        assert_eq!(found.memory, Some(OwnMemory { size: 2 << 16, data }));
    }

    #[test]
    fn what_instantiation_would_trap_at_is_refused() {
        for (text, what) in [
            ("(module (func) (start 0))", "start function"),
            ("(module (table 1 funcref) (func) (elem (i32.const 1) 0))", "element segment"),
            ("(module (memory 1) (data (i32.const 65535) \"ab\"))", "beyond its memory's end"),
            ("(module (memory 1) (data (i32.const -1) \"ab\"))", "beyond its memory's end"),
            ("(module (import \"\" \"\" (memory 1)) (data (i32.const 0) \"ab\"))", "overwrite the caller's"),
            ("(module (table 65537 funcref))", "entries"),
        ] {
            let error = initial(text).unwrap_err();
            assert!(error.contains(what), "{text}: {error}");
        }
    }
}
