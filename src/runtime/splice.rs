//! Adds exports to a module by adding entries to its sections: every other byte stays as it is, but for the name of an
//! import that a linker could not tell from another one's, and operators that kernels can't use on buffers ([`bulk`]).
//!
//! The host must find tables, memory, globals and the functions that tables can hold, which guests mostly keep
//! to themselves. A full re-encoding of a large module takes twenty times as long, and would move code. Whether a data
//! segment was dropped can't be seen from outside at all: modules where that matters get a function for each such segment.

mod bulk;

use std::collections::{BTreeMap, BTreeSet};

use wasm_encoder::{Encode, ExportKind, Function, Instruction, ValType};
use wasmparser::{ExternalKind, Operator, Parser, Payload, TypeRef};
use wavelift_translator as translator;

use bulk::Bulk;

use crate::host::{MODULE, PARALLEL_FOR, PARALLEL_FOR_MODULE, PARALLEL_FOR_MODULE_PARAMETERS};

/// Section ids in the order that a module must have them in; the export section comes before these.
const AFTER_EXPORTS: [u8; 5] = [8, 9, 12, 10, 11];
const TYPE_SECTION: u8 = 1;
const FUNCTION_SECTION: u8 = 3;
const EXPORT_SECTION: u8 = 7;
const CODE_SECTION: u8 = 10;
/// What a function's type starts with.
const FUNCTION_TYPE: u8 = 0x60;

/// Names of the added exports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AddedNames {
    /// Starts every added name and none of the guest's own.
    prefix: String,
    /// Asked for several times at each call of the guest's.
    memory: String,
}

impl AddedNames {
    fn avoiding(module: &translator::Module) -> Self {
        let mut prefix = "wavelift:".to_string();
        while module.exports().iter().any(|e| e.name.starts_with(&prefix)) {
            prefix.push(':');
        }
        AddedNames { memory: format!("{prefix}memory"), prefix }
    }

    /// Of linear memory 0.
    pub fn memory(&self) -> &str {
        &self.memory
    }

    /// Of a table.
    pub fn table(&self, index: u32) -> String {
        format!("{}table:{index}", self.prefix)
    }

    /// Of a global.
    pub fn global(&self, index: u32) -> String {
        format!("{}global:{index}", self.prefix)
    }

    /// Of the function that traps if a data segment was dropped.
    pub fn dropped(&self, segment: u32) -> String {
        format!("{}dropped:{segment}", self.prefix)
    }

    /// Of a function.
    pub fn function(&self, index: u32) -> String {
        format!("{}function:{index}", self.prefix)
    }
}

/// A module with added exports.
#[derive(Debug)]
pub(crate) struct Spliced {
    /// The new module.
    pub bytes: Vec<u8>,
    /// What the added exports are called.
    pub names: AddedNames,
    /// Functions with a body that can get into a table: those of element segments, of `ref.func` in globals'
    /// initial values, and the guest's exports.
    pub functions: Vec<u32>,
    /// Where the contents of the new code section begin.
    moved_from: usize,
    /// By how much the bodies moved.
    moved_by: usize,
}

impl Spliced {
    /// The byte offset in the guest's own module of a byte offset in the code of the new one.
    pub fn original_offset(&self, offset: usize) -> usize {
        if offset >= self.moved_from { offset - self.moved_by } else { offset }
    }
}

/// Adds the exports.
pub(crate) fn splice(module: &translator::Module) -> Spliced {
    let bytes = module.bytes();
    let names = AddedNames::avoiding(module);
    let functions = table_functions(module);
    let mut added = Added::default();
    for (name, kind, index) in added_exports(module, &names, &functions) {
        added.export(&name, kind, index);
    }
    let mut next = module.function_count()..;
    for (segment, index) in module.droppable_data().iter().zip(&mut next) {
        added.probe(*segment, bytes);
        added.export(&names.dropped(*segment), ExportKind::Func, index);
    }
    let mut original = bytes.to_vec();
    rename_imports(module, &mut original);
    let sites = bulk::sites(module);
    for (bulk, index) in [Bulk::Copy, Bulk::Fill].into_iter().zip(next).filter(|_| !sites.is_empty()) {
        added.function(bytes, &bulk::PARAMETERS, &bulk.function());
        sites.iter().filter(|site| site.bulk == bulk).for_each(|site| site.call(index, &mut original));
    }
    let mut spliced = original[..HEADER].to_vec();
    let (mut moved_from, mut moved_by, mut exported) = (usize::MAX, 0, false);
    let mut position = HEADER;
    while position < original.len() {
        let section = Section::at(&original, position);
        if !exported && AFTER_EXPORTS.contains(&section.id) {
            added.append(EXPORT_SECTION, &[0], &mut spliced);
            exported = true;
        }
        exported |= section.id == EXPORT_SECTION;
        let contents = &original[section.contents.clone()];
        let start = added.append(section.id, contents, &mut spliced);
        if section.id == CODE_SECTION {
            // The number of functions in front of the bodies may have become longer.
            let (old, new) = (leb_u32(contents).1, leb_u32(&spliced[start..]).1);
            (moved_from, moved_by) = (start, start + new - section.contents.start - old);
        }
        position = section.contents.end;
    }
    if !exported {
        added.append(EXPORT_SECTION, &[0], &mut spliced);
    }
    Spliced { bytes: spliced, names, functions, moved_from, moved_by }
}

/// Bytes in front of the first section.
const HEADER: usize = 8;

/// A section of a valid module.
struct Section {
    id: u8,
    contents: std::ops::Range<usize>,
}

impl Section {
    fn at(bytes: &[u8], position: usize) -> Section {
        let (size, header) = leb_u32(&bytes[position + 1..]);
        let start = position + 1 + header;
        Section { id: bytes[position], contents: start..start + size as usize }
    }
}

/// What is added to sections that are a number of entries and the entries.
#[derive(Default)]
struct Added {
    /// Number and bytes of the new entries, by section.
    entries: BTreeMap<u8, (u32, Vec<u8>)>,
}

impl Added {
    fn to(&mut self, section: u8) -> &mut Vec<u8> {
        let (count, bytes) = self.entries.entry(section).or_default();
        *count += 1;
        bytes
    }

    fn export(&mut self, name: &str, kind: ExportKind, index: u32) {
        let entry = self.to(EXPORT_SECTION);
        name.encode(entry);
        kind.encode(entry);
        index.encode(entry);
    }

    /// A function without results, with a type of its own.
    fn function(&mut self, module: &[u8], parameters: &[ValType], body: &Function) {
        let ty = type_count(module) + self.entries.get(&TYPE_SECTION).map_or(0, |(count, _)| *count);
        let types = self.to(TYPE_SECTION);
        types.push(FUNCTION_TYPE);
        parameters.encode(types);
        types.push(0);
        ty.encode(self.to(FUNCTION_SECTION));
        body.encode(self.to(CODE_SECTION));
    }

    /// A function that traps if, and only if, a data segment was dropped: the empty range behind the segment's first byte
    /// is beyond the end of one that has no bytes.
    fn probe(&mut self, segment: u32, module: &[u8]) {
        let mut body = Function::new([]);
        body.instruction(&Instruction::I32Const(0));
        body.instruction(&Instruction::I32Const(1));
        body.instruction(&Instruction::I32Const(0));
        body.instruction(&Instruction::MemoryInit { mem: 0, data_index: segment });
        body.instruction(&Instruction::End);
        self.function(module, &[], &body);
    }

    /// Writes a section with what is added to it; gives where in `out` its contents begin.
    fn append(&self, section: u8, contents: &[u8], out: &mut Vec<u8>) -> usize {
        let added = self.entries.get(&section);
        let (count, length) = if added.is_some() { leb_u32(contents) } else { (0, 0) };
        let mut head = Vec::new();
        if let Some((more, _)) = added {
            (count + more).encode(&mut head);
        }
        let tail = added.map_or(&[][..], |(_, bytes)| bytes);
        out.push(section);
        ((head.len() + contents.len() - length + tail.len()) as u32).encode(out);
        let start = out.len();
        out.extend_from_slice(&head);
        out.extend_from_slice(&contents[length..]);
        out.extend_from_slice(tail);
        start
    }
}

/// Gives the `parallel_for` of the form with a kernel module a name of its own: a linker looks functions up by name alone,
/// and one linker serves both forms. The names are of one length, so that no byte moves.
fn rename_imports(module: &translator::Module, spliced: &mut [u8]) {
    const { assert!(PARALLEL_FOR.len() == PARALLEL_FOR_MODULE.len()) };
    let bytes = module.bytes();
    for payload in Parser::new(0).parse_all(bytes) {
        match payload {
            Ok(Payload::ImportSection(imports)) => {
                for import in imports.into_imports().flatten() {
                    let TypeRef::Func(ty) = import.ty else { continue };
                    let parameters = module.type_at(ty).map_or(0, |ty| ty.params().len());
                    let named = import.module == MODULE && import.name == PARALLEL_FOR;
                    if named && parameters == PARALLEL_FOR_MODULE_PARAMETERS {
                        let at = import.name.as_ptr().addr() - bytes.as_ptr().addr();
                        if let Some(name) = spliced.get_mut(at..at + PARALLEL_FOR.len()) {
                            name.copy_from_slice(PARALLEL_FOR_MODULE.as_bytes());
                        }
                    }
                }
            }
            Ok(Payload::CodeSectionStart { .. }) | Err(_) => break,
            _ => {}
        }
    }
}

fn added_exports(module: &translator::Module, names: &AddedNames, functions: &[u32]) -> Vec<(String, ExportKind, u32)> {
    let mut added = Vec::new();
    if !module.memories().is_empty() {
        added.push((names.memory().to_string(), ExportKind::Memory, 0));
    }
    added.extend((0..module.tables().len() as u32).map(|i| (names.table(i), ExportKind::Table, i)));
    added.extend((0..module.globals().len() as u32).map(|i| (names.global(i), ExportKind::Global, i)));
    added.extend(functions.iter().map(|&i| (names.function(i), ExportKind::Func, i)));
    added
}

/// Validation lets `ref.func` name only what these places name, so that no other function reaches a table.
fn table_functions(module: &translator::Module) -> Vec<u32> {
    let mut functions: BTreeSet<u32> =
        module.elements().iter().flat_map(|e| e.functions.iter().flatten().copied()).collect();
    functions.extend(module.exports().iter().filter(|e| e.kind == ExternalKind::Func).map(|e| e.index));
    functions.extend(functions_of_globals(module));
    functions.into_iter().filter(|f| module.imported_function(*f).is_none()).collect()
}

fn functions_of_globals(module: &translator::Module) -> Vec<u32> {
    let mut functions = Vec::new();
    for payload in Parser::new(0).parse_all(module.bytes()) {
        match payload {
            Ok(Payload::GlobalSection(globals)) => {
                for global in globals.into_iter().flatten() {
                    if let Ok(Operator::RefFunc { function_index }) = global.init_expr.get_operators_reader().read() {
                        functions.push(function_index);
                    }
                }
            }
            Ok(Payload::CodeSectionStart { .. }) | Err(_) => break,
            _ => {}
        }
    }
    functions
}

/// Number of types. The module is valid, so that sections are whole; each entry is one type, for there are no groups of them
/// without garbage collection.
fn type_count(bytes: &[u8]) -> u32 {
    let mut position = HEADER;
    while position < bytes.len() {
        let section = Section::at(bytes, position);
        if section.id == TYPE_SECTION {
            return leb_u32(&bytes[section.contents]).0;
        }
        position = section.contents.end;
    }
    0
}

/// A number and how many bytes it takes.
fn leb_u32(bytes: &[u8]) -> (u32, usize) {
    let mut value = 0;
    for (i, byte) in bytes.iter().take(5).enumerate() {
        value |= u32::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return (value, i + 1);
        }
    }
    (value, bytes.len().min(5))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(text: &str) -> translator::Module {
        translator::Module::parse(wat::parse_str(text).unwrap()).unwrap()
    }

    fn exports(bytes: &[u8]) -> Vec<String> {
        translator::Module::parse(bytes.to_vec()).unwrap().exports().iter().map(|e| e.name.clone()).collect()
    }

    #[test]
    fn adds_exports_and_keeps_the_rest() {
        let original = module(
            r#"(module (func $a) (func $b) (func $c) (table 4 funcref) (memory 1) (global $g (mut i32) (i32.const 3))
                 (global funcref (ref.func $c)) (elem (i32.const 0) $a) (export "b" (func $b)))"#,
        );
        let spliced = splice(&original);
        assert_eq!(spliced.functions, [0, 1, 2]);
        let names = exports(&spliced.bytes);
        assert_eq!(
            names,
            [
                "b",
                "wavelift:memory",
                "wavelift:table:0",
                "wavelift:global:0",
                "wavelift:global:1",
                "wavelift:function:0",
                "wavelift:function:1",
                "wavelift:function:2"
            ]
        );
        let code = original.code_section_start();
        let moved = translator::Module::parse(spliced.bytes.clone()).unwrap().code_section_start();
        assert_eq!(spliced.original_offset(moved), code);
        assert_eq!(original.bytes()[code..], spliced.bytes[moved..]);
        assert_eq!(spliced.original_offset(9), 9);
    }

    #[test]
    fn forms_of_parallel_for_get_names_of_their_own() {
        let form = |name: &str, count: usize| {
            let params = "i32 ".repeat(count);
            format!(r#"(import "wasi_ephemeral_parallel" "{name}" (func (param {params}) (result i32)))"#)
        };
        let others = r#"(import "other" "parallel_for" (func (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))"#;
        let (seven, eight, nine) = (form("parallel_for", 7), form("parallel_for", 8), form("parallel_exec", 9));
        let original = module(&format!("(module {eight}{seven}{nine}{others})"));
        let spliced = translator::Module::parse(splice(&original).bytes).unwrap();
        let names: Vec<_> = (0..4).map(|f| spliced.imported_function(f).unwrap().1).collect();
        assert_eq!(names, ["parallel:for", "parallel_for", "parallel_exec", "parallel_for"]);
    }

    #[test]
    fn makes_an_export_section_where_there_is_none() {
        for text in [
            "(module (func) (table 1 funcref) (elem (i32.const 0) 0))",
            "(module (memory 1))",
            "(module)",
            "(module (func) (start 0))",
            "(module (memory 1) (data (i32.const 0) \"x\"))",
        ] {
            let original = module(text);
            let expected = original.tables().len() + original.memories().len() + splice(&original).functions.len();
            assert_eq!(exports(&splice(&original).bytes).len(), expected, "{text}");
        }
    }

    #[test]
    fn modules_that_drop_data_get_probes() {
        let functions = "(func)".repeat(124);
        let original = module(&format!(
            r#"(module (memory 1) (data $a "abc") (data $b "def") (data $c "") (data $d "x") {functions}
                 (func (memory.init $a (i32.const 0) (i32.const 0) (i32.const 0))
                   (memory.init $b (i32.const 0) (i32.const 0) (i32.const 0))
                   (memory.init $c (i32.const 0) (i32.const 0) (i32.const 0)))
                 (func $last (param i32) (data.drop $b) (data.drop $c) (data.drop $d) (data.drop $a)))"#
        ));
        let spliced = splice(&original);
        assert_eq!(exports(&spliced.bytes), ["wavelift:memory", "wavelift:dropped:0", "wavelift:dropped:1"]);
        let new = translator::Module::parse(spliced.bytes.clone()).unwrap();
        // 126 functions and two more: their number takes another byte.
        assert_eq!((original.function_count(), new.function_count()), (126, 128));
        for function in 0..original.function_count() {
            let (old, new) = (original.body(function).unwrap().range(), new.body(function).unwrap().range());
            assert_eq!(original.bytes()[old.clone()], spliced.bytes[new.clone()]);
            assert_eq!(spliced.original_offset(new.start), old.start);
        }
        let engine = wasmtime::Engine::default();
        let compiled = wasmtime::Module::from_binary(&engine, &spliced.bytes).unwrap();
        let mut store = wasmtime::Store::new(&engine, ());
        let instance = wasmtime::Instance::new(&mut store, &compiled, &[]).unwrap();
        let probe = instance.get_typed_func::<(), ()>(&mut store, &spliced.names.dropped(1)).unwrap();
        assert!(probe.call(&mut store, ()).is_ok());
    }

    #[test]
    fn avoids_the_guests_names() {
        let original = module(r#"(module (memory 1) (export "wavelift:memory" (memory 0)))"#);
        assert_eq!(exports(&splice(&original).bytes), ["wavelift:memory", "wavelift::memory"]);
    }
}
