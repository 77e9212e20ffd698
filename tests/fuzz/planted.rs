//! Bugs planted in lowered code are seen, made small, and told in a file that shows them again.

use std::collections::HashMap;
use std::time::Duration;

use libtest_mimic::Failed;
use wavelift_translator::ir::{Exit, Function, LowOp, Op, StmtKind};
use wavelift_translator::{Options, TrapKind, testing};

use crate::ast::{Mode, Tree};
use crate::campaign::mode;
use crate::case::{Case, Program};
use crate::interpreter::{Form, Interpreter};
use crate::judge::{self, Check, Difference};
use crate::saved::{Linear, Saved};
use crate::{generate, inputs, shrink};

/// Seeds that are tried.
const SEEDS: u64 = 200;
/// How long a program is made smaller.
const TIME: Duration = Duration::from_secs(6);
/// Statements that a small program has at most.
const SMALL: usize = 3;
/// Invocations that it has at most: one in eight of a program's is out of bounds.
const MOST_ROWS: usize = 8;

/// Stores of less than a word leave the bytes that they are to set zero.
pub fn a_lost_store() -> Result<(), Failed> {
    is_seen(Mode::Safe, |function| {
        for region in &mut function.regions {
            region.stmts.retain(|stmt| !matches!(&stmt.kind, StmtKind::Op { op: Op::Low(LowOp::OrWord { .. }), .. }));
        }
    })
}

/// Accesses out of bounds go on.
pub fn a_lost_check() -> Result<(), Failed> {
    is_seen(Mode::Bounds, |function| {
        let traps: Vec<bool> =
            function.regions.iter().map(|region| matches!(region.exit, Exit::Trap(TrapKind::OutOfBounds))).collect();
        for region in &mut function.regions {
            region.stmts.retain(|stmt| match &stmt.kind {
                StmtKind::If { then, results, .. } => !(traps[then.index()] && results.is_empty()),
                _ => true,
            });
        }
    })
}

/// Some program of the mode shows the bug, and a small one, too, which is the same when it is read from its file.
fn is_seen(of: Mode, bug: fn(&mut Function)) -> Result<(), Failed> {
    let found = (0..SEEDS).filter(|seed| mode(*seed) == of).find_map(|seed| {
        let tree = generate::program(seed, mode(seed), false);
        let case = inputs::case(&tree).ok()?;
        let right = judge::judge(&case, &[Check::StrictVulkan]);
        let difference = with_bug(&case, bug).filter(|_| right.differences.is_empty() && right.passed == 1)?;
        Some((seed, tree, difference))
    });
    let (seed, tree, difference) = found.ok_or("no program shows the planted bug")?;
    let fails = |tree: &Tree| {
        let case = inputs::case(tree).ok()?;
        with_bug(&case, bug).filter(|other| other.kind == difference.kind)
    };
    let small = shrink::shrink(&tree, TIME, &mut |tree| fails(tree).is_some());
    let difference = fails(&small).ok_or("the small program does not show the bug")?;
    let case = inputs::case(&small)?;
    let text = Saved::of(&case, small.mode, Linear::Seed(small.linear)).write(seed, &difference);
    if small.kernel.list.len() > SMALL || !small.helpers.is_empty() || small.rows.len() > MOST_ROWS {
        return Err(format!("the program did not become small:\n{text}").into());
    }
    let again = Saved::read(&text)?.case()?;
    let (right, wrong) = (judge::judge(&again, &[Check::StrictVulkan]), with_bug(&again, bug));
    match wrong {
        Some(wrong) if wrong.kind == difference.kind && right.differences.is_empty() => Ok(()),
        other => Err(format!("its file shows {other:?}, and without the bug {right:?}:\n{text}").into()),
    }
}

/// How the strict form with the bug differs.
fn with_bug(case: &Case, bug: fn(&mut Function)) -> Option<Difference> {
    let mut session = broken(&case.program, bug)?;
    judge::judge_session(case, Check::StrictVulkan, &mut session)
}

fn broken(program: &Program, bug: fn(&mut Function)) -> Option<Interpreter> {
    let options = Options::default();
    let mut strict = testing::strict(&program.module.wasm, program.kernel, &program.shape(), &options).ok()?;
    bug(&mut strict);
    Some(Interpreter::of(program, Form::Strict, strict, HashMap::new()))
}
