//! Why an assertion is not run: a closed list.

use std::fmt;

use wavelift::translator;

/// A reason. What fits none of these is a failure.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Skip {
    /// It reads an exported global instead of calling a function.
    GlobalRead,
    /// It is about instantiating a module.
    Instantiation,
    /// An argument or result is a reference.
    ReferenceValues,
    /// The module imports more than spectest's numeric globals and memory.
    Imports,
    /// What it says holds only after what the script did before, or the state of its module is not known.
    Stateful,
    /// Its module waits for other threads.
    Waits,
    /// The kernel runs in order in the caller's own instance, so on no device.
    NeedsCaller(&'static str),
    /// An operator that the front end does not lift.
    Operator(String),
    /// A value or global whose type is no number.
    ReferenceTypes,
    /// Functions that call themselves.
    Recursion,
    /// Constructs nested too deep.
    Nesting,
    /// 64-bit numbers that the device does not have.
    WideTypes,
    /// 64-bit atomics that the device or the profile does not have.
    WideAtomics,
    /// Floats that the device can't compute exactly in strict mode.
    InexactFloats,
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Skip::GlobalRead => "global read",
            Skip::Instantiation => "instantiation",
            Skip::ReferenceValues => "reference values",
            Skip::Imports => "imports",
            Skip::Stateful => "stateful",
            Skip::Waits => "waits",
            Skip::NeedsCaller(what) => return write!(f, "needs caller: {what}"),
            Skip::Operator(name) => return write!(f, "operator not lifted: {name}"),
            Skip::ReferenceTypes => "reference types",
            Skip::Recursion => "recursion",
            Skip::Nesting => "nesting",
            Skip::WideTypes => "64-bit types",
            Skip::WideAtomics => "64-bit atomics",
            Skip::InexactFloats => "inexact floats",
        })
    }
}

/// The operators that may be given as a reason; another one that is not lifted is a failure.
const OPERATORS: [&str; 14] = [
    "memory.size",
    "memory.grow",
    "elem.drop",
    "table.get",
    "table.set",
    "table.size",
    "table.grow",
    "table.fill",
    "table.copy",
    "table.init",
    "ref.null",
    "ref.is_null",
    "ref.func",
    "select",
];

/// What only the caller's own instance runs.
const NEEDS: [&str; 6] = [
    "has `memory.grow`",
    "has an operator on a table",
    "has an operator on references",
    "has a `select` of references",
    "has a global of a reference type",
    "has values of reference types",
];

impl Skip {
    /// What the CPU device's refusal stands for, if it is known.
    pub fn of_need(reason: &str) -> Option<Skip> {
        NEEDS
            .into_iter()
            .find(|need| reason.contains(need))
            .map(|need| Skip::NeedsCaller(need.trim_start_matches("has ")))
    }

    /// What a refusal of the translator stands for.
    ///
    /// # Errors
    /// The refusal itself, if it is none of those known.
    pub fn of_refusal(error: &translator::Error) -> Result<Skip, String> {
        let translator::Error::Unsupported { what, .. } = error else { return Err(error.to_string()) };
        if let Some(name) = what.strip_prefix("the operator `").and_then(|rest| rest.strip_suffix('`')) {
            let known = OPERATORS.contains(&name);
            return known.then(|| Skip::Operator(name.into())).ok_or_else(|| error.to_string());
        }
        let prefixes = [
            ("values of type", Skip::ReferenceTypes),
            ("globals of type", Skip::ReferenceTypes),
            ("recursion", Skip::Recursion),
            ("more than 500 nested blocks", Skip::Nesting),
            ("64-bit integers on this device", Skip::WideTypes),
            ("64-bit floats on this device", Skip::WideTypes),
            ("correctly rounded", Skip::InexactFloats),
        ];
        if what.contains("has no 64-bit atomics") {
            return Ok(Skip::WideAtomics);
        }
        if what.contains("of subnormal numbers") {
            return Ok(Skip::InexactFloats);
        }
        let found = prefixes.into_iter().find(|(prefix, _)| what.starts_with(prefix));
        found.map(|(_, skip)| skip).ok_or_else(|| error.to_string())
    }
}
