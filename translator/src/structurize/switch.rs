//! A switch as a tree of `if`s: no loop may be left from inside a shader's switch, and every exit may leave one.

use super::{Emitter, Escapes, List, Target};
use crate::error::Result;
use crate::hash::{HashMap, HashMapExt};
use crate::ir::{Exit, LowOp, RegionId, Type, Value, Var};

/// The indices that lead to one region, as inclusive ranges in ascending order.
type Ranges = Vec<(u32, u32)>;

/// Most ranges that are tested one after the other.
const MAX_TESTS: usize = 16;
/// Most regions that are tested one after the other, each nested in the one before.
const MAX_SCATTERED: usize = 8;

/// Emits the switch. Regions reached by several ranges, the default among them, are tested one after the other;
/// those reached by one range divide what is left among them, by bisection. So every region is emitted once, but for
/// bare traps, which stand at each of their ranges. Where many ranges are scattered, the index is first made the number
/// of its region.
pub fn emit(
    emitter: &mut Emitter<'_>,
    index: Value,
    cases: &[RegionId],
    default: RegionId,
    fall: Target,
    list: &mut List,
    escapes: &mut Escapes,
) -> Result<()> {
    let mut scattered = Vec::new();
    let mut single = Vec::new();
    let groups = group(cases, default);
    for (region, ranges) in &groups {
        match ranges.as_slice() {
            [range] if *region != default => single.push((*range, *region)),
            ranges if emitter.is_trap(*region) => single.extend(ranges.iter().map(|range| (*range, *region))),
            _ => scattered.push((*region, ranges.clone())),
        }
    }
    let tested: usize = scattered.iter().map(|(_, ranges)| ranges.len()).sum();
    if tested > MAX_TESTS || scattered.len() > MAX_SCATTERED {
        let number = number(emitter, index, &groups, list)?;
        let regions: Vec<_> = (0..).zip(groups).map(|(number, (region, _))| ((number, number), region)).collect();
        return bisect(emitter, number, &regions, fall, list, escapes);
    }
    single.sort_unstable();
    scattered.sort_unstable_by_key(|(region, ranges)| (*region != default, ranges[0]));
    tests(emitter, index, &scattered, &single, fall, list, escapes)
}

/// The regions in order of their first case.
fn group(cases: &[RegionId], default: RegionId) -> Vec<(RegionId, Ranges)> {
    let mut groups: Vec<(RegionId, Ranges)> = Vec::new();
    let mut positions: HashMap<RegionId, usize> = HashMap::new();
    let mut add = |region: RegionId, low: u32, high: u32| {
        let position = *positions.entry(region).or_insert(groups.len());
        if position == groups.len() {
            groups.push((region, Vec::new()));
        }
        let ranges = &mut groups[position].1;
        match ranges.last_mut() {
            Some((_, end)) if *end + 1 == low => *end = high,
            _ => ranges.push((low, high)),
        }
    };
    for (number, region) in cases.iter().enumerate() {
        add(*region, number as u32, number as u32);
    }
    add(default, cases.len() as u32, u32::MAX);
    groups
}

/// The number of the region that an index leads to, by bisection of all ranges.
fn number(emitter: &mut Emitter<'_>, index: Value, groups: &[(RegionId, Ranges)], list: &mut List) -> Result<Value> {
    let mut runs: Vec<((u32, u32), u32)> = Vec::new();
    for (number, (_, ranges)) in (0..).zip(groups) {
        runs.extend(ranges.iter().map(|range| (*range, number)));
    }
    runs.sort_unstable();
    let var = emitter.function.new_var(Type::I32);
    set_number(emitter, index, &runs, var, list)?;
    Ok(emitter.low(list, LowOp::VarGet(var), Vec::new(), Type::I32))
}

fn set_number(
    emitter: &mut Emitter<'_>,
    index: Value,
    runs: &[((u32, u32), u32)],
    var: Var,
    list: &mut List,
) -> Result<()> {
    if let [(_, number)] = runs {
        let number = emitter.constant(list, *number);
        emitter.set(list, var, number);
        return Ok(());
    }
    let (low, high) = runs.split_at(runs.len() / 2);
    let cond = emitter.less(list, index, high[0].0.0);
    // Neither arm has an exit, so nothing escapes.
    emitter.two_ways(
        cond,
        list,
        &mut Escapes::default(),
        |e, arm, _| set_number(e, index, low, var, arm),
        |e, arm, _| set_number(e, index, high, var, arm),
    )
}

fn tests(
    emitter: &mut Emitter<'_>,
    index: Value,
    scattered: &[(RegionId, Ranges)],
    single: &[((u32, u32), RegionId)],
    fall: Target,
    list: &mut List,
    escapes: &mut Escapes,
) -> Result<()> {
    let Some(((region, ranges), others)) = scattered.split_first() else {
        return bisect(emitter, index, single, fall, list, escapes);
    };
    if others.is_empty() && single.is_empty() {
        return emitter.emit(*region, 0, fall, list, escapes);
    }
    let cond = in_ranges(emitter, index, ranges, list);
    emitter.two_ways(
        cond,
        list,
        escapes,
        |e, arm, escapes| e.emit(*region, 0, fall, arm, escapes),
        |e, arm, escapes| tests(e, index, others, single, fall, arm, escapes),
    )
}

fn bisect(
    emitter: &mut Emitter<'_>,
    index: Value,
    single: &[((u32, u32), RegionId)],
    fall: Target,
    list: &mut List,
    escapes: &mut Escapes,
) -> Result<()> {
    if let [(_, region)] = single {
        return emitter.emit(*region, 0, fall, list, escapes);
    }
    let (low, high) = single.split_at(single.len() / 2);
    let cond = emitter.less(list, index, high[0].0.0);
    emitter.two_ways(
        cond,
        list,
        escapes,
        |e, arm, escapes| bisect(e, index, low, fall, arm, escapes),
        |e, arm, escapes| bisect(e, index, high, fall, arm, escapes),
    )
}

impl Emitter<'_> {
    /// Whether a region only traps: it may stand in several places.
    fn is_trap(&self, region: RegionId) -> bool {
        let region = &self.source[region.index()];
        region.stmts.is_empty() && matches!(region.exit, Exit::Trap(_))
    }

    fn less(&mut self, list: &mut List, index: Value, bound: u32) -> Value {
        let bound = self.constant(list, bound);
        self.low(list, LowOp::ULt, vec![index, bound], Type::Bool)
    }
}

fn in_ranges(emitter: &mut Emitter<'_>, index: Value, ranges: &Ranges, list: &mut List) -> Value {
    let mut any = None;
    for (low, high) in ranges {
        let base = emitter.constant(list, *low);
        let test = if low == high {
            emitter.low(list, LowOp::Eq, vec![index, base], Type::Bool)
        } else {
            let offset = emitter.low(list, LowOp::ISub, vec![index, base], Type::I32);
            let span = emitter.constant(list, high - low);
            emitter.low(list, LowOp::ULe, vec![offset, span], Type::Bool)
        };
        any = Some(match any {
            Some(any) => emitter.low(list, LowOp::BOr, vec![any, test], Type::Bool),
            None => test,
        });
    }
    any.expect("every group has a range")
}
