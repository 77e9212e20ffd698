//! A switch as a tree of `if`s: no loop may be left from inside a shader's switch, and every exit may leave one.

use super::{Emitter, Escapes, List, Target};
use crate::error::Result;
use crate::ir::{LowOp, RegionId, Type, Value};

/// The indices that lead to one region, as inclusive ranges in ascending order.
type Ranges = Vec<(u32, u32)>;

/// Emits the switch. Regions reached by several ranges, the default among them, are tested one after the other;
/// those reached by one range divide what is left among them, by bisection. So every region is emitted once.
pub fn emit(
    emitter: &mut Emitter,
    index: Value,
    cases: &[RegionId],
    default: RegionId,
    fall: Target,
    list: &mut List,
    escapes: &mut Escapes,
) -> Result<()> {
    let mut scattered = Vec::new();
    let mut single = Vec::new();
    for (region, ranges) in group(cases, default) {
        match ranges.as_slice() {
            [range] if region != default => single.push((*range, region)),
            _ => scattered.push((region, ranges)),
        }
    }
    single.sort_unstable();
    scattered.sort_unstable_by_key(|(region, ranges)| (*region != default, ranges[0]));
    tests(emitter, index, &scattered, &single, fall, list, escapes)
}

fn group(cases: &[RegionId], default: RegionId) -> Vec<(RegionId, Ranges)> {
    let mut groups: Vec<(RegionId, Ranges)> = Vec::new();
    let mut add = |region: RegionId, low: u32, high: u32| {
        let position = groups.iter().position(|(r, _)| *r == region);
        let ranges = match position {
            Some(position) => &mut groups[position].1,
            None => {
                groups.push((region, Vec::new()));
                &mut groups.last_mut().expect("just pushed").1
            }
        };
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

fn tests(
    emitter: &mut Emitter,
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
    emitter: &mut Emitter,
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
    let bound = emitter.constant(list, high[0].0.0);
    let cond = emitter.low(list, LowOp::ULt, vec![index, bound], Type::Bool);
    emitter.two_ways(
        cond,
        list,
        escapes,
        |e, arm, escapes| bisect(e, index, low, fall, arm, escapes),
        |e, arm, escapes| bisect(e, index, high, fall, arm, escapes),
    )
}

fn in_ranges(emitter: &mut Emitter, index: Value, ranges: &Ranges, list: &mut List) -> Value {
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
