//! Failures as files: a module's text, and in comments above it the launch, its inputs, and what was found.
//!
//! Each line of the head is a key and values: `mode`, `iterations`, `linear-seed` or `linear` with an offset and bytes in
//! hexadecimal, `unused`, and for each buffer in order `buffer` with its access, its size, and its bytes up to the last
//! that is not zero. Other keys are for readers.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use wavelift::device::Access;

use crate::ast::Mode;
use crate::case::{BufferShape, Case, End, LINEAR_MEMORY, Lanes, Program, Run};
use crate::inputs;
use crate::judge::Difference;

/// A case that can be written down.
#[derive(Clone, Debug)]
pub struct Saved {
    pub mode: Mode,
    pub iterations: u32,
    pub linear: Linear,
    /// As [`Program::unused`].
    pub unused: u32,
    pub buffers: Vec<(Access, Vec<u8>)>,
    pub text: String,
}

/// What linear memory holds before the launch.
#[derive(Clone, Debug, PartialEq)]
pub enum Linear {
    Seed(u64),
    Bytes(Vec<u8>),
}

impl Linear {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Linear::Seed(seed) => inputs::linear(*seed),
            Linear::Bytes(bytes) => bytes.clone(),
        }
    }
}

/// Equal bytes between two runs of others, at least, that make two lines of them.
const GAP: usize = 24;

impl Saved {
    /// A case's first launch.
    pub fn of(case: &Case, mode: Mode, linear: Linear) -> Saved {
        let program = &case.program;
        let run = &case.runs[0];
        let buffers = program.buffers.iter().zip(&run.contents).map(|(shape, bytes)| (shape.access, bytes.clone()));
        Saved {
            mode,
            iterations: run.iterations,
            linear,
            unused: program.unused,
            buffers: buffers.collect(),
            text: program.text.clone(),
        }
    }

    /// The file's text; `seed` and `difference` are for readers.
    pub fn write(&self, seed: u64, difference: &Difference) -> String {
        let mut text = format!(";; seed: {seed}\n;; differs on: {}\n", difference.check);
        let first = difference.message.lines().next().unwrap_or_default();
        let _ = writeln!(text, ";; found: {first}");
        let _ = writeln!(text, ";; mode: {}", mode_name(self.mode));
        let _ = writeln!(text, ";; iterations: {}", self.iterations);
        match &self.linear {
            Linear::Seed(seed) => _ = writeln!(text, ";; linear-seed: {seed}"),
            Linear::Bytes(bytes) => {
                for (at, run) in runs(bytes) {
                    let _ = writeln!(text, ";; linear: {at} {}", hex(run));
                }
            }
        }
        if self.unused > 0 {
            let _ = writeln!(text, ";; unused: {}", self.unused);
        }
        for (access, bytes) in &self.buffers {
            let access = if *access == Access::Read { "read" } else { "read_write" };
            let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            let _ = writeln!(text, ";; buffer: {access} {} {}", bytes.len(), hex(&bytes[..end]));
        }
        text + &self.text + "\n"
    }

    /// # Errors
    /// What is wrong with the text.
    pub fn read(text: &str) -> Result<Saved, String> {
        let mut saved = Saved {
            mode: Mode::Safe,
            iterations: 1,
            linear: Linear::Bytes(vec![0; LINEAR_MEMORY as usize]),
            unused: 0,
            buffers: Vec::new(),
            text: text.into(),
        };
        for line in text.lines().map_while(|line| line.strip_prefix(";; ")) {
            let Some((key, value)) = line.split_once(": ") else { continue };
            saved.set(key, value.trim()).map_err(|error| format!("`{line}`: {error}"))?;
        }
        Ok(saved)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let number = |text: &str| text.parse::<u32>().map_err(|error| error.to_string());
        match key {
            "mode" => self.mode = mode_of(value).ok_or("there is no such mode")?,
            "iterations" => self.iterations = number(value)?,
            "unused" => self.unused = number(value)?,
            "linear-seed" => self.linear = Linear::Seed(number(value)?.into()),
            "linear" => {
                let (at, bytes) = value.split_once(' ').ok_or("no offset and bytes")?;
                let (at, bytes) = (number(at)? as usize, unhex(bytes)?);
                let Linear::Bytes(all) = &mut self.linear else { return Err("there is a seed, too".into()) };
                all.get_mut(at..at + bytes.len()).ok_or("beyond the end")?.copy_from_slice(&bytes);
            }
            "buffer" => {
                let mut parts = value.split(' ');
                let access = match parts.next() {
                    Some("read") => Access::Read,
                    Some("read_write") => Access::ReadWrite,
                    _ => return Err("no access".into()),
                };
                let size = number(parts.next().ok_or("no size")?)?;
                let mut bytes = unhex(parts.next().unwrap_or_default())?;
                bytes.resize(size as usize, 0);
                self.buffers.push((access, bytes));
            }
            _ => {}
        }
        Ok(())
    }

    /// The case, with the end that it has to have.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn case(&self) -> Result<Case, String> {
        let shape = |(access, bytes): &(Access, Vec<u8>)| BufferShape {
            size: bytes.len() as u32,
            access: *access,
            lanes: Lanes::Bits,
        };
        let mut program = Program::parse(self.text.clone(), self.buffers.iter().map(shape).collect())?;
        program.linear = Some(self.linear.bytes());
        program.unused = self.unused;
        let contents: Vec<Vec<u8>> = self.buffers.iter().map(|(_, bytes)| bytes.clone()).collect();
        let expected: End = inputs::expected(&program, &contents, self.iterations, self.mode)?;
        let runs = vec![Run { contents, iterations: self.iterations, expected }];
        Ok(Case { program, runs, exact_bounds: false })
    }
}

/// The committed cases, in order of their names.
pub fn all() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/cases");
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "wat"));
    files.sort();
    files
}

fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Safe => "safe",
        Mode::Traps => "traps",
        Mode::Bounds => "bounds",
    }
}

fn mode_of(name: &str) -> Option<Mode> {
    [Mode::Safe, Mode::Traps, Mode::Bounds].into_iter().find(|mode| mode_name(*mode) == name)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Result<Vec<u8>, String> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return Err("half a byte".into());
    }
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).map_err(|error| error.to_string());
    (0..text.len()).step_by(2).map(byte).collect()
}

/// The bytes that are not zero, and where they are.
fn runs(bytes: &[u8]) -> Vec<(usize, &[u8])> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for at in (0..bytes.len()).filter(|at| bytes[*at] != 0) {
        match runs.last_mut() {
            Some((_, end)) if at < *end + GAP => *end = at + 1,
            _ => runs.push((at, at + 1)),
        }
    }
    runs.into_iter().map(|(start, end)| (start, &bytes[start..end])).collect()
}
