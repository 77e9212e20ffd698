//! What the lifter must know of a construct before it opens it.

use wasmparser::{FunctionBody, Operator};

use super::broken;
use crate::error::Result;

/// A `block`, `loop` or `if`, in the order of their opening operators.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Construct {
    /// The locals that operators inside assign, ascending.
    pub assigned: Vec<u32>,
}

/// What the lifter must know of a body.
#[derive(Debug)]
pub struct Scan {
    /// Its constructs.
    pub constructs: Vec<Construct>,
    /// Whether it calls itself as its last act.
    pub repeats: bool,
}

/// Scans the body of `function` once. The sets are merged outwards at each `end`, smaller ones first sorted.
pub fn scan(body: &FunctionBody<'_>, function: u32) -> Result<Scan> {
    let mut repeats = false;
    let mut constructs: Vec<Construct> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    for op in body.get_operators_reader().map_err(broken)? {
        match op.map_err(broken)? {
            Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => {
                open.push(constructs.len());
                constructs.push(Construct::default());
            }
            Operator::LocalSet { local_index } | Operator::LocalTee { local_index } => {
                if let Some(innermost) = open.last() {
                    constructs[*innermost].assigned.push(local_index);
                }
            }
            Operator::End => {
                let Some(ended) = open.pop() else { continue };
                let assigned = &mut constructs[ended].assigned;
                assigned.sort_unstable();
                assigned.dedup();
                if let Some(outer) = open.last() {
                    let inner = constructs[ended].assigned.clone();
                    constructs[*outer].assigned.extend(inner);
                }
            }
            Operator::ReturnCall { function_index } => repeats |= function_index == function,
            _ => {}
        }
    }
    Ok(Scan { constructs, repeats })
}
