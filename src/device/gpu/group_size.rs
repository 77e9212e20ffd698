//! How many invocations a group has: chosen for each kernel and size of a launch, first by what is known of the device, then
//! by what was measured.
//!
//! A group is what a GPU gives one of its units to run. Large ones cost less to start, small ones keep more units busy to the
//! end, and which is the faster depends on the kernel. Nothing that a kernel computes depends on it. So once launches of one
//! kernel and about one size took far longer than compiling it did, some of them try other sizes in turns, and those behind
//! them take the fastest, in later processes, too. A trial so costs a fraction of what was spent already.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;

/// Invocations of a group of which nothing else is known: good on every GPU measured.
pub(crate) const USUAL: u32 = 64;

/// Sizes on GPUs that are software: of the largest a group still fits into a processor's cache, and starting it takes no
/// time beside what it does; of the smallest a few fill its vectors.
const SOFTWARE: [u32; 3] = [8, USUAL, 256];
/// Sizes on other GPUs: whole subgroups of all that are common.
const HARDWARE: [u32; 4] = [32, USUAL, 128, 256];
/// Units that a GPU of which nobody says how many it has is taken to have: a small one, so that few launches are taken to
/// leave some idle.
const HARDWARE_UNITS: u32 = 32;

/// So many groups for each unit keep all busy, though some end late.
const GROUPS_PER_UNIT: u64 = 2;

/// How often each size is tried. The fastest time of each counts: what else the machine does only adds to it.
const SAMPLES: usize = 3;
/// By how much a size must be faster than that before.
const WORTH: f64 = 0.97;
/// A trial starts when the launches took so many times as long as compiling the kernel, which it does again,
const TIMES_COMPILING: u32 = 8;
/// and so long in all,
const LEAST_SPENT: Duration = Duration::from_millis(20);
/// and each so long: below that, what a launch costs besides hides what groups do.
const LEAST_LAUNCH: Duration = Duration::from_micros(50);

/// What of a device bears on the size of groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The size that the embedder asks for.
    pub fixed: Option<u32>,
    /// The device's limit.
    pub most: u32,
    /// Most invocations of a subgroup.
    pub subgroup: u32,
    pub software: bool,
    /// What runs groups side by side.
    pub units: u32,
    /// Trials start whatever was spent before: for measurements and tests.
    pub eager: bool,
}

impl Facts {
    /// Those of a device; `subgroup` is 0 where nothing is known of it.
    pub fn new(fixed: Option<u32>, most: u32, subgroup: u32, software: bool) -> Facts {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
        let units = if software { cores } else { HARDWARE_UNITS };
        Facts { fixed, most, subgroup, software, units, eager: false }
    }

    fn cut(&self, size: u32) -> u32 {
        size.clamp(1, self.most)
    }

    fn ladder(&self) -> &'static [u32] {
        if self.software { &SOFTWARE } else { &HARDWARE }
    }

    /// The size of the first launch of so many invocations of a shader.
    fn first(&self, invocations: u64) -> u32 {
        // A subgroup that is not full has idle lanes.
        let fits = |size: &u32| *size < USUAL && (self.software || *size >= self.subgroup);
        let leaves_units_idle = invocations <= u64::from(USUAL) * u64::from(self.units) / GROUPS_PER_UNIT;
        let small = self.ladder().iter().copied().find(fits).filter(|_| leaves_units_idle);
        self.cut(small.unwrap_or(USUAL))
    }

    /// The sizes that may be the best for launches of so many invocations.
    fn candidates(&self, invocations: u64) -> Vec<u32> {
        let busy = GROUPS_PER_UNIT * u64::from(self.units);
        let may = |size: u32| match size {
            _ if size > self.most => false,
            USUAL => true,
            _ if size > USUAL => invocations / u64::from(size) >= busy,
            _ => invocations / u64::from(USUAL) < 2 * busy && (self.software || size >= self.subgroup),
        };
        self.ladder().iter().copied().filter(|size| may(*size)).collect()
    }
}

/// Launches whose numbers of invocations have the same highest bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub(crate) struct Magnitude(u32);

impl Magnitude {
    /// That of launches of so many invocations.
    pub fn of(invocations: u64) -> Magnitude {
        Magnitude(invocations.max(1).ilog2())
    }
}

/// What a launch is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// Invocations of a group.
    pub size: u32,
    /// It is part of a trial: it is to run alone, and its time to be taken.
    pub tried: bool,
}

/// What is known of launches of one magnitude.
#[derive(Debug)]
struct Known {
    size: u32,
    launches: u32,
    spent: Duration,
    /// The times of each size, while they are tried.
    trial: Vec<(u32, Vec<Duration>)>,
    settled: bool,
}

impl Known {
    fn new(size: u32, settled: bool) -> Known {
        Known { size, launches: 0, spent: Duration::ZERO, trial: Vec::new(), settled }
    }

    fn is_due(&self, facts: &Facts, compile: Duration) -> bool {
        let pays = facts.eager || self.spent >= LEAST_SPENT.max(compile * TIMES_COMPILING);
        pays && self.launches > 0 && self.spent >= LEAST_LAUNCH * self.launches
    }

    /// The size whose turn it is.
    fn next(&self) -> Option<u32> {
        let (size, times) = self.trial.iter().min_by_key(|(_, times)| times.len())?;
        (times.len() < SAMPLES).then_some(*size)
    }

    /// The size with the fastest time, or that before where it is about as fast.
    fn fastest(&self) -> u32 {
        let time = |times: &[Duration]| times.iter().min().map_or(f64::INFINITY, Duration::as_secs_f64);
        let before = self.trial.iter().find(|(size, _)| *size == self.size).map_or(f64::INFINITY, |(_, t)| time(t));
        let best = self.trial.iter().map(|(size, times)| (*size, time(times))).min_by(|a, b| a.1.total_cmp(&b.1));
        best.filter(|(_, best)| *best < before * WORTH).map_or(self.size, |(size, _)| size)
    }
}

/// The sizes of one kernel's groups. Shared by all launches of the kernel.
#[derive(Debug, Default)]
pub(crate) struct GroupSizes {
    /// No other size is right.
    fixed: Option<u32>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What compiling the kernel took.
    compile: Duration,
    known: BTreeMap<Magnitude, Known>,
}

impl GroupSizes {
    /// Those of a shader that may run in groups of this size only.
    pub fn fixed(size: u32) -> GroupSizes {
        GroupSizes { fixed: Some(size), state: Mutex::default() }
    }

    /// What the next launch of so many invocations of the shader takes. A size that there is a pipeline of already is
    /// `built`; one that was found out by some process before `kept`.
    pub fn choose(
        &self,
        facts: &Facts,
        invocations: u64,
        built: impl Fn(u32) -> bool,
        kept: impl FnOnce(Magnitude) -> Option<u32>,
    ) -> Choice {
        if let Some(size) = self.fixed.or(facts.fixed.map(|size| facts.cut(size))) {
            return Choice { size, tried: false };
        }
        let magnitude = Magnitude::of(invocations);
        let state = &mut *self.state.lock();
        let known = state.known.entry(magnitude).or_insert_with(|| {
            let kept = kept(magnitude).filter(|size| facts.candidates(invocations).contains(size));
            let first = facts.first(invocations);
            // Compiling the kernel once more is not worth it before more is known.
            let usual = facts.cut(USUAL);
            let first = if first != usual && !built(first) && built(usual) { usual } else { first };
            Known::new(kept.unwrap_or(first), kept.is_some())
        });
        if !known.settled && known.trial.is_empty() && known.is_due(facts, state.compile) {
            let mut sizes = facts.candidates(invocations);
            if !sizes.contains(&known.size) {
                sizes.push(known.size);
            }
            known.settled = sizes.len() < 2;
            known.trial = sizes.into_iter().map(|size| (size, Vec::new())).collect();
        }
        match known.next().filter(|_| !known.settled) {
            Some(size) => Choice { size, tried: true },
            None => Choice { size: known.size, tried: false },
        }
    }

    /// Whether a launch that was made ready with this size may be repeated as it is.
    pub fn still_takes(&self, facts: &Facts, invocations: u64, size: u32) -> bool {
        if self.fixed.or(facts.fixed).is_some() {
            return true;
        }
        let state = self.state.lock();
        state.known.get(&Magnitude::of(invocations)).is_some_and(|known| {
            known.size == size && (known.settled || known.trial.is_empty() && !known.is_due(facts, state.compile))
        })
    }

    /// Takes note of what compiling the kernel took.
    pub fn compiled(&self, took: Duration) {
        let mut state = self.state.lock();
        state.compile = state.compile.max(took);
    }

    /// Takes note of the time of a launch of so many invocations; the size that was found to be the best for those like it,
    /// if that is known now.
    pub fn ran(&self, invocations: u64, choice: Choice, took: Duration) -> Option<(Magnitude, u32)> {
        let magnitude = Magnitude::of(invocations);
        let mut state = self.state.lock();
        let known = state.known.get_mut(&magnitude).filter(|known| !known.settled)?;
        known.launches = known.launches.saturating_add(1);
        known.spent += took;
        if !choice.tried {
            return None;
        }
        let (_, times) = known.trial.iter_mut().find(|(size, _)| *size == choice.size)?;
        times.push(took);
        if known.next().is_some() {
            return None;
        }
        known.size = known.fastest();
        known.settled = true;
        known.trial.clear();
        Some((magnitude, known.size))
    }
}

/// Words before the first instruction of a SPIR-V module.
const HEADER_WORDS: usize = 5;
/// `OpExecutionMode <entry point> <mode> <operands>`
const OP_EXECUTION_MODE: u32 = 16;
/// The mode `LocalSize x y z`.
const LOCAL_SIZE: u32 = 17;

/// A shader's words with groups of another size.
///
/// # Errors
/// A sentence, if the words are no SPIR-V or say nothing of the size.
pub(crate) fn with_size(words: &[u32], size: u32) -> Result<Cow<'_, [u32]>, String> {
    let mut at = HEADER_WORDS;
    while let Some(instruction) = words.get(at..).filter(|rest| !rest.is_empty()) {
        let (opcode, length) = (instruction[0] & 0xffff, (instruction[0] >> 16) as usize);
        if let (OP_EXECUTION_MODE, Some([_, _, LOCAL_SIZE, declared])) = (opcode, instruction.get(..4)) {
            if *declared == size {
                return Ok(words.into());
            }
            let mut words = words.to_vec();
            words[at + 3] = size;
            return Ok(words.into());
        }
        at += length.max(1);
    }
    Err("The shader's SPIR-V does not say how large its groups are.".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn software(units: u32) -> Facts {
        Facts { fixed: None, most: 1024, subgroup: 4, software: true, units, eager: false }
    }

    fn nothing(_: Magnitude) -> Option<u32> {
        None
    }

    /// Launches that take what `time` says of their size, till one is not tried any more; the sizes in order.
    fn launches(sizes: &GroupSizes, facts: &Facts, invocations: u64, time: impl Fn(u32) -> Duration) -> Vec<u32> {
        let mut taken = Vec::new();
        let mut trying = false;
        for _ in 0..1000 {
            let choice = sizes.choose(facts, invocations, |_| true, nothing);
            taken.push(choice.size);
            if trying && !choice.tried {
                return taken;
            }
            trying |= choice.tried;
            sizes.ran(invocations, choice, time(choice.size));
        }
        panic!("a trial has no end: {taken:?}");
    }

    #[test]
    fn the_fastest_size_is_taken_and_kept() {
        let sizes = GroupSizes::default();
        sizes.compiled(5 * MS);
        let taken = launches(&sizes, &software(2), 1 << 20, |size| if size == 256 { 9 * MS } else { 10 * MS });
        // 40 ms are eight times what compiling took.
        assert_eq!(taken, [64, 64, 64, 64, 64, 256, 64, 256, 64, 256, 256]);
        assert!(sizes.still_takes(&software(2), 1 << 20, 256) && !sizes.still_takes(&software(2), 1 << 20, 64));
        // Others are told apart by their size.
        assert_eq!(sizes.choose(&software(2), 1 << 12, |_| true, nothing).size, 64);
    }

    #[test]
    fn what_is_hardly_faster_changes_nothing() {
        let sizes = GroupSizes::default();
        let taken = launches(&sizes, &software(2), 1 << 20, |size| if size == 256 { 98 * MS } else { 100 * MS });
        assert_eq!(taken.last(), Some(&64));
    }

    #[test]
    fn nothing_is_tried_before_it_pays() {
        let (sizes, facts) = (GroupSizes::default(), software(2));
        sizes.compiled(Duration::from_secs(1));
        for _ in 0..799 {
            let choice = sizes.choose(&facts, 1 << 20, |_| true, nothing);
            assert_eq!(choice, Choice { size: 64, tried: false });
            assert!(sizes.still_takes(&facts, 1 << 20, 64));
            sizes.ran(1 << 20, choice, 10 * MS);
        }
        sizes.ran(1 << 20, Choice { size: 64, tried: false }, 10 * MS);
        assert!(!sizes.still_takes(&facts, 1 << 20, 64));
        assert!(sizes.choose(&facts, 1 << 20, |_| true, nothing).tried);
        // A million launches of 10 µs never are.
        let short = GroupSizes::default();
        for _ in 0..1_000_000 {
            let choice = short.choose(&facts, 1 << 20, |_| true, nothing);
            assert!(!choice.tried);
            short.ran(1 << 20, choice, Duration::from_micros(10));
        }
    }

    #[test]
    fn few_invocations_are_spread_over_the_units() {
        let facts = software(8);
        let first = |invocations, built: &[u32]| {
            GroupSizes::default().choose(&facts, invocations, |size| built.contains(&size), nothing).size
        };
        assert_eq!((first(1, &[]), first(256, &[]), first(257, &[])), (8, 8, 64));
        // Not where that means to compile once more.
        assert_eq!((first(1, &[64]), first(1, &[64, 8]), first(1 << 20, &[8])), (64, 8, 64));
        assert_eq!(facts.candidates(200), [8, 64]);
        assert_eq!(facts.candidates(1 << 20), [64, 256]);
        let gpu = Facts { software: false, subgroup: 32, ..facts };
        assert_eq!((gpu.first(64), gpu.first(1 << 20)), (32, 64));
        assert_eq!(gpu.candidates(1 << 20), [64, 128, 256]);
        let wide = Facts { subgroup: 64, ..gpu };
        assert_eq!((wide.first(64), wide.candidates(64)), (64, vec![64]));
        let narrow = Facts { most: 128, ..gpu };
        assert_eq!(narrow.candidates(1 << 20), [64, 128]);
    }

    #[test]
    fn a_fixed_size_is_never_changed() {
        let (sizes, facts) = (GroupSizes::fixed(48), Facts { eager: true, ..software(2) });
        let asked = Facts { fixed: Some(4096), ..facts };
        assert_eq!(sizes.choose(&facts, 1 << 20, |_| false, nothing), Choice { size: 48, tried: false });
        let choice = GroupSizes::default().choose(&asked, 1 << 20, |_| false, nothing);
        assert_eq!(choice, Choice { size: 1024, tried: false });
        assert!(sizes.still_takes(&facts, 1, 48));
    }

    #[test]
    fn what_was_found_out_before_is_taken_at_once() {
        let facts = Facts { eager: true, ..software(2) };
        let kept = |size| GroupSizes::default().choose(&facts, 1 << 20, |_| false, |_| Some(size));
        assert_eq!(kept(256), Choice { size: 256, tried: false });
        // An entry that can't be right is as none.
        assert_eq!(kept(7).size, 64);
    }

    #[test]
    fn the_size_stands_in_the_words() {
        let words = [0x0723_0203, 0x0001_0300, 0, 8, 0, 2 << 16 | 17, 1, 6 << 16 | 16, 4, 17, 64, 1, 1, 1 << 16 | 56];
        assert!(matches!(with_size(&words, 64), Ok(Cow::Borrowed(_))));
        let changed = with_size(&words, 256).unwrap();
        assert_eq!((changed[10], &changed[..10], &changed[11..]), (256, &words[..10], &words[11..]));
        assert!(with_size(&words[..7], 256).is_err());
    }
}
