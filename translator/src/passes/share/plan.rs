//! Which functions of a kernel are kept once.

use std::collections::{BTreeMap, BTreeSet};

use crate::call_graph::Slice;
use crate::targets::Targets;

/// A function of the call graph.
#[derive(Default)]
struct Node {
    operators: u64,
    /// What it calls, as often as it does.
    callees: Vec<u32>,
}

/// The functions that are called from several places, where those in what is inlined count each time, and that are large enough
/// with what they call; and those that come to call themselves.
pub fn kept(slice: &mut Slice<'_>, kernel: u32, targets: &Targets, (places, operators): (u32, u32)) -> BTreeSet<u32> {
    let graph = graph(slice, kernel, targets);
    let calls = |function: u32| &graph[&function].callees[..];
    let calls_itself = |function: &u32| comes_to(calls(*function), *function, calls);
    let recursive: BTreeSet<u32> = graph.keys().copied().filter(calls_itself).collect();
    // It has no caller that it could come back to.
    if recursive.contains(&kernel) {
        return BTreeSet::new();
    }
    let order = callees_first(kernel, calls);
    let mut sizes: BTreeMap<u32, u64> = BTreeMap::new();
    for function in &order {
        let node = &graph[function];
        let below = node.callees.iter().map(|callee| sizes.get(callee).copied().unwrap_or(0));
        let size = below.fold(node.operators, u64::saturating_add);
        sizes.insert(*function, size);
    }
    if most_runs(&graph, &order, kernel) > MOST_RUNS {
        return BTreeSet::new();
    }
    let mut kept = recursive;
    let mut copies: BTreeMap<u32, u64> = BTreeMap::from([(kernel, 1)]);
    for function in order.iter().rev() {
        let called = copies.get(function).copied().unwrap_or(0);
        let is_large = sizes[function] >= u64::from(operators) && graph[function].operators > 0;
        let is_kept = *function != kernel && is_large && called >= u64::from(places) || kept.contains(function);
        if is_kept {
            kept.insert(*function);
        }
        for callee in &graph[function].callees {
            let known = copies.entry(*callee).or_insert(0);
            *known = known.saturating_add(if is_kept { 1 } else { called });
        }
    }
    kept
}

/// Whether calls of these functions may come to one of `to`.
pub fn comes_to<'c>(from: &[u32], to: u32, calls: impl Fn(u32) -> &'c [u32]) -> bool {
    let (mut seen, mut todo) = (BTreeSet::new(), from.to_vec());
    while let Some(function) = todo.pop() {
        if function == to {
            return true;
        }
        if seen.insert(function) {
            todo.extend(calls(function));
        }
    }
    false
}

/// Most calls of one function that no loop makes, as when each of thirty functions calls the next one eight times: states that
/// run in no loop take no fuel.
const MOST_RUNS: u64 = 1 << 20;

/// How often the function that is called most often is, with all loops run once.
fn most_runs(graph: &BTreeMap<u32, Node>, callees_first: &[u32], kernel: u32) -> u64 {
    let mut runs: BTreeMap<u32, u64> = BTreeMap::from([(kernel, 1)]);
    for function in callees_first.iter().rev() {
        let times = runs.get(function).copied().unwrap_or(0);
        for callee in &graph[function].callees {
            let known = runs.entry(*callee).or_insert(0);
            *known = known.saturating_add(times);
        }
    }
    runs.into_values().max().unwrap_or(0)
}

/// All functions that the kernel may reach. What can't be lifted has no operators: whether it matters, the inliner finds out.
fn graph(slice: &mut Slice<'_>, kernel: u32, targets: &Targets) -> BTreeMap<u32, Node> {
    let mut graph = BTreeMap::new();
    let mut todo = vec![kernel];
    while let Some(function) = todo.pop() {
        if graph.contains_key(&function) {
            continue;
        }
        let node = match slice.get(function, &[], None) {
            Ok(lifted) => {
                let callees = slice.callees(&lifted, |call| targets.of(call));
                Node { operators: lifted.stmt_count() as u64, callees }
            }
            Err(_) => Node::default(),
        };
        todo.extend(&node.callees);
        graph.insert(function, node);
    }
    graph
}

/// The functions that are called, the kernel last, each behind all that it calls, but where it comes to call itself.
pub fn callees_first<'c>(kernel: u32, calls: impl Fn(u32) -> &'c [u32]) -> Vec<u32> {
    let (mut done, mut seen) = (Vec::new(), BTreeSet::from([kernel]));
    let mut open = vec![(kernel, calls(kernel).iter())];
    while let Some((function, left)) = open.last_mut() {
        match left.next() {
            Some(callee) if seen.insert(*callee) => open.push((*callee, calls(*callee).iter())),
            Some(_) => {}
            None => {
                done.push(*function);
                open.pop();
            }
        }
    }
    done
}
