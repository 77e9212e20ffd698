//! Where ways of control meet: what is known of the values that they hand on, by themselves, of one another, and of what
//! else was known on the way.

use super::Walker;
use super::interval::Range;
use super::linear::{Linear, Near};
use crate::ir::{Type, Value};

/// Most results of which each is compared with each.
const MAX_COMPARED: usize = 8;
/// Most ways whose sums are compared.
const MAX_WAYS: usize = 12;
/// Most sums that hold up to an interval that are kept of one value, and the widest interval.
const MAX_NEAR: usize = 3;
const MAX_WIDTH: i64 = 1 << 16;
/// Most of the last conditions of a way that are kept.
const MAX_KEPT: usize = 24;

/// What is known of values.
pub(super) type Facts = Vec<(Value, Range)>;

/// One way to where values arrive.
#[derive(Debug)]
pub(super) struct Way {
    ranges: Vec<Option<Range>>,
    sums: Vec<Option<Linear>>,
    /// For each value that is 0 or 1: what is known besides where it is 0, and where it is 1; `None` where it can't be.
    decides: Vec<Option<[Option<Facts>; 2]>>,
}

/// The ways so far.
pub(super) type Arrived = Vec<Way>;

impl Walker<'_> {
    /// A way that hands on these values, from somewhere in a construct at whose start `mark` conditions were noted.
    pub(super) fn way(&mut self, values: &[Value], mark: usize) -> Way {
        let is_int = |value: &Value| self.function.ty(*value) == Type::I32;
        Way {
            ranges: values.iter().map(|value| self.get(*value).map(|_| self.refined(*value))).collect(),
            sums: values.iter().map(|value| is_int(value).then(|| self.linear(*value))).collect(),
            decides: values.iter().map(|value| self.decides(*value, mark)).collect(),
        }
    }

    fn decides(&mut self, value: Value, mark: usize) -> Option<[Option<Facts>; 2]> {
        let range = self.get(value).filter(|range| range.is_number() && range.low >= 0 && range.high <= 1)?;
        let kept = |walker: &Self| -> Facts {
            let from = mark.max(walker.log.len().saturating_sub(MAX_KEPT));
            walker.log[from..].iter().map(|(value, _)| (*value, walker.known(*value))).collect()
        };
        Some([false, true].map(|holds| {
            if !(range.low..=range.high).contains(&i64::from(holds)) {
                return None;
            }
            let before = self.log.len();
            let is_possible = self.narrow(value, holds);
            let facts = kept(self);
            self.restore(before);
            is_possible.then_some(facts)
        }))
    }

    /// Defines the results of a construct from the ways to its end.
    pub(super) fn define(&mut self, results: &[Value], ways: &Arrived) {
        for (number, result) in results.iter().enumerate() {
            let ranges = ways.iter().filter_map(|way| way.ranges[number]);
            self.facts[result.index()] = ranges.reduce(Range::join);
            self.linears[result.index()] = None;
            self.near.remove(result);
            self.implied.remove(&(*result, false));
            self.implied.remove(&(*result, true));
            self.imply(*result, ways, number);
        }
        self.relate(results, ways);
    }

    /// Notes what follows from a result being 0 or 1: what held on all ways that hand on that.
    fn imply(&mut self, result: Value, ways: &Arrived, number: usize) {
        for holds in [false, true] {
            let mut all: Option<Facts> = None;
            for way in ways {
                let Some(decides) = &way.decides[number] else { return };
                let Some(facts) = &decides[usize::from(holds)] else { continue };
                match &mut all {
                    None => all = Some(facts.clone()),
                    Some(all) => all.retain_mut(|(value, range)| {
                        // The last of several is what holds.
                        let other = facts.iter().rev().find(|fact| fact.0 == *value);
                        other.is_some_and(|(_, other)| {
                            *range = range.join(*other);
                            true
                        })
                    }),
                }
            }
            let mut all = all.unwrap_or_default();
            all.retain(|(value, _)| self.open[self.homes[value.index()].index()]);
            if !all.is_empty() {
                self.implied.insert((result, holds), all);
            }
        }
    }

    /// Finds how results relate to one another and to what was there before.
    fn relate(&mut self, results: &[Value], ways: &Arrived) {
        if ways.is_empty() || ways.len() > MAX_WAYS {
            return;
        }
        let mut moved: Vec<(usize, Vec<Linear>)> = Vec::new();
        for (number, result) in results.iter().enumerate() {
            let sums: Option<Vec<Linear>> = ways.iter().map(|way| way.sums[number].clone()).collect();
            let Some(sums) = sums else { continue };
            if sums.iter().all(|sum| *sum == sums[0]) && self.is_open(&sums[0]) {
                self.linears[result.index()] = Some(sums[0].clone());
            } else {
                moved.push((number, sums));
            }
        }
        moved.truncate(MAX_COMPARED);
        for (place, (number, sums)) in moved.iter().enumerate() {
            let result = results[*number];
            let mut found: Vec<Near> = self.spread(sums).into_iter().collect();
            for (other_place, (other, of_other)) in moved.iter().enumerate() {
                for sign in [-1, 1] {
                    if other_place == place || !self.is_plain(results[*other]) {
                        continue;
                    }
                    let rest: Option<Vec<Linear>> =
                        sums.iter().zip(of_other).map(|(sum, other)| sum.plus(other, -sign)).collect();
                    let Some(rest) = rest else { continue };
                    let Some(near) = self.spread(&rest) else { continue };
                    let Some(sum) = near.sum.plus(&Linear::of(results[*other]), sign) else { continue };
                    if near.low == 0 && near.high == 0 && other_place < place {
                        self.linears[result.index()] = Some(sum);
                    } else {
                        found.push(Near { sum, ..near });
                    }
                }
            }
            if self.is_plain(result) && !found.is_empty() {
                found.sort_by_key(|near| near.high - near.low);
                found.truncate(MAX_NEAR);
                self.near.insert(result, found);
            }
        }
    }

    /// Sums as one of them and an interval.
    fn spread(&self, sums: &[Linear]) -> Option<Near> {
        let sum = sums.iter().find(|sum| self.is_open(sum))?;
        let (mut low, mut high) = (0, 0);
        for other in sums {
            let range = self.interval(&other.plus(sum, -1)?, 1);
            if range.stack || range.width() > MAX_WIDTH {
                return None;
            }
            low = low.min(range.low);
            high = high.max(range.high);
        }
        (high - low <= MAX_WIDTH).then(|| Near { sum: sum.clone(), low, high })
    }
}
