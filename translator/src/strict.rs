//! From one simplified function to the form that the backend takes.

use crate::analysis::launch_checks::{LaunchChecks, LinearReach};
use crate::analysis::rounds::Rounds;
use crate::backend::failure::is_failure;
use crate::hash::{HashSet, HashSetExt};
use crate::ir::verify::Stage;
use crate::ir::{self, Function, Value};
use crate::options::{FloatMode, Options, Shape};
use crate::simplified::{Simplified, count_places, tidy};
use crate::{Error, Module, Result, analysis, checked, passes, structurize, work};

/// What the backend takes, and what is known besides.
pub(crate) struct Strict {
    pub(crate) function: Function,
    /// What does four invocations at once.
    pub(crate) coarse: Option<Function>,
    pub(crate) may_coarsen: bool,
    /// Operators before simplification.
    pub(crate) operators: u32,
    pub(crate) accesses: u32,
    pub(crate) launch_checks: LaunchChecks,
    pub(crate) linear: Option<LinearReach>,
    pub(crate) relies_on: Vec<u32>,
    pub(crate) rounds: Option<Rounds>,
    /// Whether recursion is unrolled in it.
    pub(crate) is_unrolled: bool,
}

impl Strict {
    /// Without what does four invocations at once where that is not worth having.
    pub(crate) fn where_it_pays(self) -> Strict {
        let Strict { coarse, function, .. } = self;
        let coarse = coarse.filter(|coarse| passes::coarsen::pays(coarse, &function));
        Strict { coarse, function, ..self }
    }
}

/// The second half of the pipeline but for the backend.
pub(crate) fn strict_form(module: &Module, simplified: Simplified, shape: &Shape, options: &Options) -> Result<Strict> {
    strict_form_changed(module, simplified, shape, options, |_| {})
}

/// The same, of lowered code that was changed.
pub(crate) fn strict_form_changed(
    module: &Module,
    simplified: Simplified,
    shape: &Shape,
    options: &Options,
    change: impl FnOnce(&mut Function),
) -> Result<Strict> {
    check_places(&simplified, shape, options)?;
    let Simplified { mut kernel, frames, operators, relies_on, is_unrolled } = simplified;
    let emulated = options.emulated();
    if passes::emulate::emulate(&mut kernel, emulated, options.max_operators)? {
        kernel = checked(kernel, Stage::Scalar)?;
        tidy(&mut kernel);
    }
    let mut lowered = checked(passes::lower::lower(&kernel, module, shape, options, frames)?, Stage::Lowered)?;
    check_stack(&lowered, options)?;
    if emulated.i64 {
        passes::words::split(&mut lowered, options)?;
        lowered = checked(lowered, Stage::Lowered)?;
    }
    change(&mut lowered);
    passes::simplify::simplify(&mut lowered);
    let mut rounds = passes::flatten::flatten(&lowered);
    if options.flatten
        && let Some(flat) = rounds.take()
    {
        lowered = checked(flat.function, Stage::Lowered)?;
        passes::simplify::simplify(&mut lowered);
    }
    let rounds = rounds.map(|flat| flat.rounds).filter(|_| !options.flatten);
    let (mut launch_checks, conditions) = analysis::launch_checks::launch_checks(&mut lowered, shape);
    if !options.checks_proved.is_empty() {
        let proved = conditions.iter().enumerate().filter(|(number, _)| options.checks_proved.has(*number));
        let proved: Vec<ir::Value> = proved.map(|(_, condition)| *condition).collect();
        passes::simplify::simplify_knowing(&mut lowered, &proved);
        launch_checks = LaunchChecks::default();
    }
    passes::dead_code::remove(&mut lowered);
    let coarse = match analysis::rounds::is_flat(&lowered) {
        true => passes::coarsen::coarsen_flat(&lowered),
        false => passes::coarsen::coarsen(&lowered),
    };
    let may_coarsen = coarse.is_some();
    passes::forward::forward(&mut lowered);
    work::check(&lowered.name)?;
    let linear = analysis::launch_checks::linear_reach(&mut lowered);
    let parted = passes::widen::parted_slots(&lowered);
    let function = finish(lowered, options, &parted)?;
    let accesses = count_accesses(&function, options)?;
    check_nesting(&function, options)?;
    let coarse = coarse.filter(|_| options.coarsen);
    let coarse = coarse.map(|coarse| finish_coarse(coarse, &parted, options)).transpose()?;
    let fits = |coarse: &Function| count_accesses(coarse, options).is_ok() && check_nesting(coarse, options).is_ok();
    let coarse = coarse.filter(fits);
    Ok(Strict {
        function,
        coarse,
        operators,
        accesses,
        launch_checks,
        linear,
        relies_on,
        may_coarsen,
        rounds,
        is_unrolled,
    })
}

/// What comes of a function for four invocations of a kernel at once, which accesses words of these slots in parts.
fn finish_coarse(coarse: Function, parted: &HashSet<u32>, options: &Options) -> Result<Function> {
    let mut coarse = checked(coarse, Stage::Lowered)?;
    passes::simplify::simplify(&mut coarse);
    passes::low_bits::low_bits(&mut coarse);
    passes::simplify::simplify(&mut coarse);
    passes::dead_code::remove(&mut coarse);
    passes::forward::forward(&mut coarse);
    // Four may do what each of them may.
    let fuel = options.fuel.map(|fuel| fuel.saturating_mul(passes::coarsen::LANES).min(passes::fuel::MOST - 1));
    finish(coarse, &Options { fuel, ..*options }, parted)
}

/// From lowered to strict form.
fn finish(mut lowered: Function, options: &Options, parted: &HashSet<u32>) -> Result<Function> {
    let wide = passes::widen::widen_loads(&mut lowered, parted);
    passes::dead_code::remove(&mut lowered);
    passes::merge_checks::merge_checks(&mut lowered);
    passes::widen::widen_stores(&mut lowered, &wide);
    passes::coarsen::forget_reasons(&mut lowered);
    // Checks from several places meet in one list now: what they compute alike is one value.
    passes::simplify::simplify(&mut lowered);
    passes::dead_code::remove(&mut lowered);
    work::check(&lowered.name)?;
    passes::hoist_loads::hoist_loads(&mut lowered);
    passes::part_stores::part_stores(&mut lowered, options);
    if options.fuel.is_some() && passes::fuel::burn(&mut lowered) {
        passes::simplify::simplify(&mut lowered);
        passes::dead_code::remove(&mut lowered);
    }
    passes::hide_limits::hide_limits(&mut lowered);
    if options.float == FloatMode::Strict {
        passes::hide_floats::hide_floats(&mut lowered, !options.emulated().i64);
    }
    structured(checked(lowered, Stage::Lowered)?, options)
}

/// Places where an invocation may end of which one is made: of few, where rows of them nest.
const GATHERED: [usize; 3] = [24, 8, 3];

/// From lowered to strict form, with invocations that may end at many places ending at fewer where there are too many for the driver.
fn structured(lowered: Function, options: &Options) -> Result<Function> {
    // Branches nest no deeper than there are regions.
    let before = (lowered.regions.len() > options.max_nesting as usize).then(|| lowered.clone());
    let nesting = |function: &Function| nesting_of(function, function.body).0;
    let mut strict = in_strict_form(lowered, &HashSet::new(), options)?;
    let Some(before) = before else { return Ok(strict) };
    for places in GATHERED {
        if nesting(&strict) <= options.max_nesting {
            break;
        }
        let mut gathered = before.clone();
        let unused = passes::gather_ends::gather_ends(&mut gathered, places);
        let gathered = in_strict_form(checked(gathered, Stage::Lowered)?, &unused, options)?;
        if nesting(&gathered) < nesting(&strict) {
            strict = gathered;
        }
    }
    Ok(strict)
}

/// `unused`: see [`structurize::structurize`].
fn in_strict_form(lowered: Function, unused: &HashSet<Value>, options: &Options) -> Result<Function> {
    let mut strict = checked(structurize::structurize(lowered, unused)?, Stage::Strict)?;
    if let Some(fuel) = options.fuel {
        passes::fuel::expand(&mut strict, fuel);
        strict = checked(strict, Stage::Strict)?;
    }
    Ok(strict)
}

/// Refuses a private stack with which the driver would take too long.
fn check_stack(function: &Function, options: &Options) -> Result<()> {
    let (bytes, most) = (4 * function.stack_words, options.max_stack);
    if bytes <= most {
        return Ok(());
    }
    Err(Error::Unsupported {
        what: format!(
            "{bytes} bytes of stack for each invocation, of which this device's driver compiles at most {most} in bearable time"
        ),
        function_name: function.name.clone(),
        at: None,
        too_large: true,
    })
}

/// Refuses branches that the driver would compile wrong.
fn check_nesting(function: &Function, options: &Options) -> Result<()> {
    if options.max_nesting == u32::MAX {
        return Ok(());
    }
    let (nesting, _) = nesting_of(function, function.body);
    if nesting <= options.max_nesting {
        return Ok(());
    }
    Err(Error::Unsupported {
        what: format!(
            "branches that nest {nesting} deep, or invocations that may end at so many places one behind the other, of \
             which this device's driver takes at most {}",
            options.max_nesting
        ),
        function_name: function.name.clone(),
        at: None,
        too_large: true,
    })
}

/// How deep the branches of a region nest, as drivers see it that move what stands behind a branch into it where an invocation
/// may end in the other arm; and whether one may end in the region.
fn nesting_of(function: &Function, id: ir::RegionId) -> (u32, bool) {
    if is_failure(function, id) {
        return (0, true);
    }
    let region = function.region(id);
    let (mut deepest, mut level, mut ends) = (0, 0, matches!(region.exit, ir::Exit::Return(_) | ir::Exit::Trap(_)));
    for stmt in &region.stmts {
        let below: Vec<(u32, bool)> =
            stmt.kind.regions().into_iter().map(|below| nesting_of(function, below)).collect();
        let Some(inner) = below.iter().map(|(depth, _)| *depth).max() else { continue };
        deepest = deepest.max(level + 1 + inner);
        if below.iter().any(|(_, ends)| *ends) {
            (level, ends) = (level + 1, true);
        }
    }
    (deepest.max(level), ends)
}

/// By this part fewer branches than accesses does a driver compile in bearable time: lavapipe's takes 47 s for 1,560 and over 100 s for
/// 1,960, however few accesses there are.
const FEWER_BRANCHES: u32 = 8;

/// Branches of at most so many operators a side are no branches to a driver: it computes both sides and selects (Mesa's
/// `nir_opt_peephole_select`, as lavapipe calls it), so that a `br_table` to 24,000 constants takes no time.
const SELECTED: usize = 8;

/// What simplification leaves of accesses in the end, at the least: one in so many.
const LEFT_OF_PLACES: u32 = 4;

/// Refuses a kernel of so many accesses that there will be too many in the end, whatever becomes of it: finding that out then
/// takes seconds.
fn check_places(simplified: &Simplified, shape: &Shape, options: &Options) -> Result<()> {
    let most = options.max_accesses;
    if simplified.operators <= most.saturating_mul(LEFT_OF_PLACES) {
        return Ok(());
    }
    match count_places(simplified, shape, options) {
        count if count <= most.saturating_mul(LEFT_OF_PLACES) => Ok(()),
        count => Err(too_many_accesses(count as usize, options, &simplified.kernel)),
    }
}

fn too_many_accesses(count: usize, options: &Options, function: &Function) -> Error {
    too_many((count, "accesses of memory"), options.max_accesses, function)
}

fn too_many((count, of): (usize, &str), most: u32, function: &Function) -> Error {
    Error::Unsupported {
        what: format!("{count} {of}, of which this device's driver compiles at most {most} in bearable time"),
        function_name: function.name.clone(),
        at: None,
        too_large: true,
    }
}

/// Counts accesses of memory; refuses shaders that the driver would take too long to compile.
fn count_accesses(function: &Function, options: &Options) -> Result<u32> {
    let stmts = || analysis::dataflow::regions(function).into_iter().flat_map(|id| &function.region(id).stmts);
    let is_access =
        |stmt: &&ir::Stmt| matches!(&stmt.kind, ir::StmtKind::Op { op: ir::Op::Low(op), .. } if op.is_access());
    let count = stmts().filter(is_access).count();
    if count > options.max_accesses as usize {
        return Err(too_many_accesses(count, options, function));
    }
    let branches = count_branches(function, function.body).0;
    let most = options.max_accesses.saturating_sub(options.max_accesses / FEWER_BRANCHES);
    if branches > most as usize {
        return Err(too_many((branches, "branches and loops"), most, function));
    }
    Ok(count as u32)
}

/// How many branches and loops of a region a driver keeps as such, and whether it can select between this region and another.
fn count_branches(function: &Function, id: ir::RegionId) -> (usize, bool) {
    let region = function.region(id);
    let (mut kept, mut operators) = (0, 0);
    let mut plain = matches!(region.exit, ir::Exit::Yield(_));
    for stmt in &region.stmts {
        let below = stmt.kind.regions().into_iter().map(|below| count_branches(function, below));
        let (inner, selected) = below.fold((0, true), |(kept, plain), (more, also)| (kept + more, plain && also));
        kept += inner;
        match &stmt.kind {
            ir::StmtKind::If { .. } if selected => operators += 1,
            ir::StmtKind::If { .. } | ir::StmtKind::Loop { .. } | ir::StmtKind::Switch { .. } => {
                (kept, plain) = (kept + 1, false);
            }
            ir::StmtKind::Op { op: ir::Op::Const(_), .. } => {}
            ir::StmtKind::Op { op, .. } => {
                operators += 1;
                plain &= !matches!(op, ir::Op::Low(op) if op.is_access());
            }
            // What a block leaves, it leaves by a branch counted where it stands; calls are gone.
            ir::StmtKind::Block { .. } | ir::StmtKind::Call { .. } | ir::StmtKind::CallIndirect { .. } => {}
        }
    }
    (kept, plain && operators <= SELECTED)
}
