//! Source lines of byte offsets, from a module's DWARF; read when an error or a trap is shown, and not before.
//!
//! DWARF is a guest's word like any other, so nothing here trusts it: what is missing, broken or too large gives no line.
//! All reading goes through [`Metered`], which fails when a lookup's budget is spent, and what reads nothing (attributes
//! without bytes) is charged by hand, so that the work is bounded, too. DWARF in a file of its own
//! (`external_debug_info`) is not looked for: the translator does no I/O.
//!
//! DWARF for WebAssembly counts addresses from the start of the code section's contents
//! (<https://yurydelendik.github.io/webassembly-dwarf/>).

mod metered;

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use gimli::{AttributeValue, LineInstruction, LineRow, Reader};

use crate::module::Module;
use metered::Metered;

type Dwarf<'a> = gimli::Dwarf<Metered<'a>>;
type Unit<'a> = gimli::Unit<Metered<'a>>;
type Value<'a> = AttributeValue<Metered<'a>>;
type Program<'a> = gimli::IncompleteLineProgram<Metered<'a>>;

/// Most bytes and attributes that one lookup reads: some tenths of a second.
const LOOKUP: u64 = 1 << 25;
/// Most that all lookups in one module read, so that a guest whose kernels are refused one after another gains nothing.
const MODULE: u64 = 1 << 28;
/// Most bytes of one unit's abbreviations and file table, which are kept in memory while the unit is searched. Large units have
/// some tens of thousands.
const UNIT: u64 = 1 << 20;
/// Most offsets that are remembered.
const KNOWN: usize = 1024;
/// Most callers that a place names.
const CALLERS: usize = 3;
/// Most characters of a file's name that are shown: the last ones.
const FILE_NAME: usize = 120;

/// A line of source, and where it was inlined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceLine {
    /// The file, as the compiler was given it.
    pub file: String,
    /// The line, counted from 1.
    pub line: u32,
    /// The calls through which it came into the function that holds it, innermost first; at most three.
    pub inlined_at: Vec<(String, u32)>,
    /// Whether there are more such calls.
    pub more: bool,
}

impl fmt::Display for SourceLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)?;
        for (i, (file, line)) in self.inlined_at.iter().enumerate() {
            write!(f, "{}{file}:{line}", if i == 0 { ", inlined at " } else { ", in " })?;
        }
        f.write_str(if self.more { ", and so on" } else { "" })
    }
}

/// Where a module's DWARF is, and what was looked up in it.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    sections: HashMap<String, Range<usize>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    spent: u64,
    known: HashMap<u32, Option<SourceLine>>,
}

impl Lines {
    /// Notes a custom section, of which the first of a name counts.
    pub fn note_section(&mut self, name: &str, bytes: Range<usize>) {
        if name.starts_with(".debug_") {
            self.sections.entry(name.to_string()).or_insert(bytes);
        }
    }
}

impl Module {
    /// The source line of the operator at a byte offset of the module; `None` where its DWARF names none, or is missing,
    /// broken, or so large that it can't be searched in some tenths of a second.
    pub fn source_line(&self, offset: u32) -> Option<SourceLine> {
        if self.lines.sections.is_empty() {
            return None;
        }
        let mut state = self.lines.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = state.known.get(&offset) {
            return known.clone();
        }
        let budget = LOOKUP.min(MODULE - state.spent);
        let left = Cell::new(budget);
        // Behind this is a parser that others wrote; a guest that finds a panic in it is to gain nothing.
        let found = catch_unwind(AssertUnwindSafe(|| self.look_up(offset, &left))).ok().flatten();
        state.spent += budget - left.get();
        if state.known.len() < KNOWN {
            state.known.insert(offset, found.clone());
        }
        found
    }

    /// A place as errors give it: the byte offset, and the source line where there is one.
    pub fn place(&self, offset: u32) -> String {
        match self.source_line(offset) {
            Some(line) => format!("byte offset {offset:#x}, {line}"),
            None => format!("byte offset {offset:#x}"),
        }
    }

    fn look_up(&self, offset: u32, left: &Cell<u64>) -> Option<SourceLine> {
        let address = u64::from(offset).checked_sub(self.code_section_start() as u64)?;
        let section = |id: gimli::SectionId| {
            let bytes = self.lines.sections.get(id.name()).and_then(|range| self.bytes().get(range.clone()));
            Ok::<_, gimli::Error>(Metered::new(bytes.unwrap_or_default(), left))
        };
        let dwarf = Dwarf::load(section).ok()?;
        Search { dwarf: &dwarf, address, left }.run().ok().flatten()
    }
}

/// One lookup.
struct Search<'a> {
    dwarf: &'a Dwarf<'a>,
    /// From the start of the code section's contents.
    address: u64,
    left: &'a Cell<u64>,
}

/// The attributes of an entry that say where its code is, and where it was inlined.
#[derive(Default)]
struct Entry<'a> {
    low: Option<Value<'a>>,
    high: Option<Value<'a>>,
    ranges: Option<Value<'a>>,
    call_file: Option<u64>,
    call_line: Option<u64>,
}

impl<'a> Search<'a> {
    fn run(&self) -> gimli::Result<Option<SourceLine>> {
        let mut units = self.dwarf.units();
        while let Some(header) = units.next()? {
            let Ok(unit) = self.at_most(UNIT, || self.dwarf.unit(header)) else { continue };
            if self.unit_may_hold(&unit)?
                && let Some(found) = self.find_in(&unit)?
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Runs `read` with a smaller budget.
    fn at_most<T>(&self, limit: u64, read: impl FnOnce() -> T) -> T {
        let before = self.left.get();
        let limit = limit.min(before);
        self.left.set(limit);
        let result = read();
        self.left.set(before - (limit - self.left.get()));
        result
    }

    /// Whether a unit's ranges have the address, or it has none.
    fn unit_may_hold(&self, unit: &Unit<'a>) -> gimli::Result<bool> {
        let mut entries = unit.entries_raw(None)?;
        let Some(abbreviation) = entries.read_abbreviation()? else { return Ok(false) };
        let root = self.read_entry(&mut entries, abbreviation)?;
        Ok(self.holds(unit, &root)?.unwrap_or(true))
    }

    fn read_entry(
        &self,
        entries: &mut gimli::EntriesRaw<'_, Metered<'a>>,
        abbreviation: &gimli::Abbreviation,
    ) -> gimli::Result<Entry<'a>> {
        let mut entry = Entry::default();
        for specification in abbreviation.attributes() {
            metered::charge(self.left, 1)?;
            let attribute = entries.read_attribute(*specification)?;
            match attribute.name() {
                gimli::DW_AT_low_pc => entry.low = Some(attribute.value()),
                gimli::DW_AT_high_pc => entry.high = Some(attribute.value()),
                gimli::DW_AT_ranges => entry.ranges = Some(attribute.value()),
                gimli::DW_AT_call_line => entry.call_line = attribute.udata_value(),
                gimli::DW_AT_call_file => {
                    entry.call_file = match attribute.value() {
                        AttributeValue::FileIndex(index) => Some(index),
                        other => other.udata_value(),
                    };
                }
                _ => {}
            }
        }
        Ok(entry)
    }

    /// Whether an entry's code has the address; `None` if it has no code. Linkers leave zero where they dropped a function, which
    /// is no function's address: the code section's contents begin with their number.
    fn holds(&self, unit: &Unit<'a>, entry: &Entry<'a>) -> gimli::Result<Option<bool>> {
        if let Some(ranges) = entry.ranges.clone()
            && let Some(mut ranges) = self.dwarf.attr_ranges(unit, ranges)?
        {
            while let Some(range) = ranges.next()? {
                if range.begin != 0 && (range.begin..range.end).contains(&self.address) {
                    return Ok(Some(true));
                }
            }
            return Ok(Some(false));
        }
        let (Some(low), Some(high)) = (entry.low.clone(), entry.high.clone()) else { return Ok(None) };
        let Some(low) = self.dwarf.attr_address(unit, low)? else { return Ok(None) };
        let high = match high {
            AttributeValue::Udata(size) => low.checked_add(size),
            address => self.dwarf.attr_address(unit, address)?,
        };
        Ok(high.map(|high| low != 0 && (low..high).contains(&self.address)))
    }

    fn find_in(&self, unit: &Unit<'a>) -> gimli::Result<Option<SourceLine>> {
        let Some(program) = unit.line_program.clone() else { return Ok(None) };
        let Some((file, line)) = self.row(program.clone())? else { return Ok(None) };
        let Some((file, line)) = self.name(unit, &program, file, line) else { return Ok(None) };
        let mut calls = self.inlined(unit).unwrap_or_default();
        calls.reverse();
        let shown = calls.iter().take(CALLERS).map_while(|(file, line)| self.name(unit, &program, *file, *line));
        let inlined_at: Vec<_> = shown.collect();
        let more = calls.len() > inlined_at.len();
        Ok(Some(SourceLine { file, line, inlined_at, more }))
    }

    /// File and line of the address in a line table.
    fn row(&self, mut program: Program<'a>) -> gimli::Result<Option<(u64, u64)>> {
        let mut instructions = program.header().instructions();
        let mut row = LineRow::new(program.header());
        let mut before: Option<(u64, u64, u64)> = None;
        while let Some(instruction) = instructions.next_instruction(program.header())? {
            // The library negates it, which overflows.
            if matches!(instruction, LineInstruction::AdvanceLine(i64::MIN)) {
                return Ok(None);
            }
            let start_again = matches!(instruction, LineInstruction::SetAddress(_));
            if !row.execute(instruction, &mut program)? {
                before = if start_again { None } else { before };
                continue;
            }
            if let Some((from, file, line)) = before
                && (from..row.address()).contains(&self.address)
            {
                return Ok((line != 0).then_some((file, line)));
            }
            let line = row.line().map_or(0, |line| line.get());
            // Sequences of dropped functions begin at zero.
            let is_code = !row.end_sequence() && row.address() != 0;
            before = is_code.then(|| (row.address(), row.file_index(), line));
            row.reset(program.header());
        }
        Ok(None)
    }

    /// File and line of the calls through which the address was inlined, outermost first.
    fn inlined(&self, unit: &Unit<'a>) -> gimli::Result<Vec<(u64, u64)>> {
        let mut calls = Vec::new();
        let mut entries = unit.entries_raw(None)?;
        while !entries.is_empty() {
            let Some(abbreviation) = entries.read_abbreviation()? else { continue };
            if abbreviation.tag() != gimli::DW_TAG_inlined_subroutine {
                metered::charge(self.left, abbreviation.attributes().len() as u64)?;
                entries.skip_attributes(abbreviation.attributes())?;
                continue;
            }
            let entry = self.read_entry(&mut entries, abbreviation)?;
            if self.holds(unit, &entry)? == Some(true)
                && let (Some(file), Some(line)) = (entry.call_file, entry.call_line)
            {
                calls.push((file, line));
            }
        }
        Ok(calls)
    }

    /// A file's name and a line, fit to be shown.
    fn name(&self, unit: &Unit<'a>, program: &Program<'a>, file: u64, line: u64) -> Option<(String, u32)> {
        let header = program.header();
        let entry = header.file(file)?;
        let text = |value: Value<'a>| -> Option<String> {
            let string = self.dwarf.attr_string(unit, value).ok()?;
            Some(string.to_string_lossy().ok()?.into_owned())
        };
        let name = text(entry.path_name())?;
        // Folder 0 is the one that the compiler ran in.
        let folder = match entry.directory_index() {
            0 => None,
            _ => entry.directory(header).and_then(text),
        };
        let path = match folder {
            Some(folder) if !name.starts_with('/') => format!("{folder}/{name}"),
            _ => name,
        };
        Some((shown(&path), u32::try_from(line).ok()?))
    }
}

/// The end of a name that anybody may have written, without what would move a terminal's cursor.
fn shown(path: &str) -> String {
    let path = path.strip_prefix("./").unwrap_or(path);
    let length = path.chars().count();
    let end = path.chars().skip(length.saturating_sub(FILE_NAME));
    let plain = end.map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect::<String>();
    if length > FILE_NAME { format!("…{plain}") } else { plain }
}
