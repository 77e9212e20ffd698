use std::path::Path;

use wavelift_translator::{
    Access, BufferParam, Emulate, FloatMode, Libm, Pointer, Source, Speculation, TableEntry, pointers,
};

use super::*;
use crate::device::gpu::pipeline::KernelCache;
use crate::device::{GuestModule, LaunchError};
use crate::disk_cache::CacheUses;

const MEMORY: &str = "(memory 1) (table 2 funcref) (global (mut i32) (i32.const 0)) (data \"x\")";
const KERNEL: &str = "(func (param $i i32) (param i32 i32) (param $p i32) (param i32) (param $q i32) (param i32)
    (f32.store (local.get $q) (f32.div (f32.load (local.get $p)) (f32.load offset=4 (local.get $p)))))";

fn module(fields: &str) -> Arc<GuestModule> {
    let bytes = wat::parse_str(format!("(module {MEMORY} {fields})")).unwrap();
    GuestModule::new(Module::parse(bytes).unwrap())
}

fn kept(folder: &Path, driver: &str) -> Kept {
    let cache = DiskCache::open(&folder.join("cache"), 64 << 20).unwrap();
    Kept::of(Arc::new(cache), driver.into())
}

/// A process that asks for kernels, one after the other, and what its cache was good for.
fn process(folder: &Path, driver: &str, questions: &[(Arc<GuestModule>, Shape, Options)]) -> CacheUses {
    let kept = kept(folder, driver);
    let cache = kept.cache.clone();
    let kernels = KernelCache::new(Some(kept));
    for (module, shape, options) in questions {
        kernels.get(module, 0, shape.clone(), options).map(drop).unwrap_or_else(|error| panic!("{error}"));
    }
    cache.statistics().kernels
}

/// Two buffers, or one twice.
fn shape(slots: [u32; 2]) -> Shape {
    Shape::of(slots.map(|slot| BufferParam { slot, access: Access::ReadWrite }).to_vec())
}

#[test]
fn a_later_process_finds_what_an_earlier_one_lifted() {
    let folder = tempfile::tempdir().unwrap();
    let question = || [(module(KERNEL), shape([0, 1]), Options::default())];
    let first = process(folder.path(), "driver 1", &question());
    assert_eq!(first, CacheUses { misses: 1, stored: 1, ..Default::default() });
    let second = process(folder.path(), "driver 1", &question());
    assert_eq!(second, CacheUses { hits: 1, ..Default::default() });
    let updated = process(folder.path(), "driver 2", &question());
    assert_eq!(updated, CacheUses { misses: 1, stored: 1, ..Default::default() });
}

#[test]
fn what_is_found_is_what_was_lifted() {
    let folder = tempfile::tempdir().unwrap();
    let kept = kept(folder.path(), "driver");
    let loads = "(func (param $i i32) (param i32 i32) (param $p i32) (param i32) (param $q i32) (param i32)
        (i32.store (i32.load offset=8 (local.get $p)) (i32.load (i32.const 16)))
        (i32.store (i32.add (local.get $q) (i32.mul (local.get $i) (i32.const 4))) (i32.load (i32.const 20))))";
    let refused = "(func (param i32 i32 i32 i32 i32 i32 i32) (drop (memory.grow (i32.const 1))))";
    let mut sorts = [0; 3];
    for fields in [KERNEL, loads, refused] {
        for may_ask in [false, true] {
            let module = module(fields);
            let (shape, options) = (shape([0, 1]), Options::default());
            let question = Question { module: &module.wasm, function: 0, shape: &shape, options: &options, may_ask };
            let lifted = question.lift().map_err(|error| error.to_string());
            assert!(kept.answer(question).read().is_none());
            kept.answer(question).keep(&lifted.as_ref().map_err(String::clone));
            let found = kept.answer(question).read().unwrap();
            assert_eq!(format!("{found:?}"), format!("{lifted:?}"));
            sorts[match found {
                Ok(Answer::Shader(_)) => 0,
                Ok(_) => 1,
                Err(_) => 2,
            }] += 1;
        }
    }
    assert_eq!(sorts, [3, 1, 2], "shaders, questions, refusals");
}

#[test]
fn what_was_seen_of_a_kernel_is_found_by_a_later_process() {
    let folder = tempfile::tempdir().unwrap();
    let first = KernelCache::new(Some(kept(folder.path(), "driver")));
    assert!(first.seen(&module(KERNEL), 0).is_none());
    let seen = first.note_seen(&module(KERNEL), 0, Seen::default());
    let find = |driver: &str, module: Arc<GuestModule>, function| {
        KernelCache::new(Some(kept(folder.path(), driver))).seen(&module, function)
    };
    assert_eq!(find("driver", module(KERNEL), 0), Some(seen));
    assert_eq!(find("another driver", module(KERNEL), 0), None);
    assert_eq!(find("driver", module(KERNEL), 1), None);
    assert_eq!(find("driver", module(&KERNEL.replace("f32.div", "f32.mul")), 0), None);
    let cache = kept(folder.path(), "driver").cache;
    cache.forge(|payload| payload.truncate(1)).unwrap();
    assert_eq!(find("driver", module(KERNEL), 0), None, "what can't be read is as if it were not there");
}

#[test]
fn refusals_are_kept_and_read_alike() {
    let folder = tempfile::tempdir().unwrap();
    let refused = "(func (param i32 i32 i32 i32 i32 i32 i32) (drop (memory.grow (i32.const 1))))";
    let ask = || {
        let kept = kept(folder.path(), "driver");
        let cache = kept.cache.clone();
        let error =
            KernelCache::new(Some(kept)).get(&module(refused), 0, shape([0, 1]), &Options::default()).err().unwrap();
        assert!(matches!(error, LaunchError::Unsupported(_)), "{error}");
        (error.to_string(), cache.statistics().kernels.hits)
    };
    let (first, second) = (ask(), ask());
    assert_eq!(first.0, second.0);
    assert_eq!([first.1, second.1], [0, 1]);
}

/// All that a kernel may depend on, each changed by itself from the first.
struct Variation {
    name: &'static str,
    translator: &'static str,
    device: &'static str,
    module: Arc<GuestModule>,
    function: u32,
    shape: Shape,
    options: Options,
    may_ask: bool,
}

impl Variation {
    fn key(&self) -> AnswerKey<'_> {
        AnswerKey {
            translator: self.translator,
            device: self.device,
            module: *Key::of_bytes(self.module.wasm.bytes()).bytes(),
            function: self.function,
            shape: &self.shape,
            options: &self.options,
            may_ask: self.may_ask,
        }
    }
}

fn variations() -> Vec<Variation> {
    let base = || Variation {
        name: "nothing",
        translator: "1",
        device: "a",
        module: module(KERNEL),
        function: 0,
        shape: shape([0, 1]),
        options: Options::default(),
        may_ask: false,
    };
    let mut all = vec![base()];
    let mut add = |name, change: &dyn Fn(&mut Variation)| {
        let mut variation = Variation { name, ..base() };
        change(&mut variation);
        all.push(variation);
    };
    let pointer = |target| Pointer { source: Source::Global(0), target };
    let target = pointers::Target { place: 0, word_aligned: true };
    add("translator", &|v| v.translator = "2");
    add("driver", &|v| v.device = "b");
    add("bytes", &|v| v.module = module(&KERNEL.replace("f32.div", "f32.mul")));
    add("function", &|v| v.function = 1);
    add("may ask", &|v| v.may_ask = true);
    add("alias pattern", &|v| v.shape = shape([0, 0]));
    add("access", &|v| v.shape.buffers[1].access = Access::Write);
    add("table", &|v| v.shape.environment.tables = vec![vec![TableEntry::Function(0)]]);
    add("another table", &|v| v.shape.environment.tables = vec![vec![TableEntry::Foreign]]);
    add("dropped segment", &|v| v.shape.environment.dropped = vec![0]);
    add("word", &|v| v.shape.environment.words = vec![(8, 1)]);
    add("another word", &|v| v.shape.environment.words = vec![(8, 2)]);
    add("known data", &|v| v.shape.environment.initial = Some(Vec::new()));
    add("changed word of data", &|v| v.shape.environment.initial = Some(vec![8]));
    add("seen", &|v| v.shape.environment.seen = Some(Arc::default()));
    add("pointer", &|v| v.shape.pointers = vec![pointer(None)]);
    add("pointer's place", &|v| v.shape.pointers = vec![pointer(Some(target))]);
    add("parameter buffer", &|v| v.shape.layout.parameters = true);
    add("slices", &|v| v.shape.layout.slices = [(0, 2)].into());
    add("slice bits", &|v| v.shape.layout.slice_bits = 20);
    add("pools", &|v| v.shape.layout.pooled = [(0, translator::layout::POOL_READ)].into());
    add("profile", &|v| v.options.profile = Profile::Portable);
    add("relaxed", &|v| v.options.float = FloatMode::Relaxed);
    add("fast", &|v| v.options.float = FloatMode::Fast);
    add("libm", &|v| v.options.libm = Some(Libm::Guest));
    add("device's libm", &|v| v.options.libm = Some(Libm::Device));
    add("feature", &|v| v.options.features.exact_div_f32 = false);
    add("another feature", &|v| v.options.features.int64 = false);
    add("workgroup", &|v| v.options.workgroup_size = 32);
    add("emulation", &|v| v.options.emulate = Emulate { i64: false, f64: true });
    add("checks proved", &|v| v.options.checks_proved = translator::Proved::ALL);
    add("coarsened", &|v| v.options.coarsen = true);
    add("flattened", &|v| v.options.flatten = true);
    add("speculation", &|v| v.options.speculation = Speculation::ALL);
    add("operators", &|v| v.options.max_operators -= 1);
    add("accesses", &|v| v.options.max_accesses -= 1);
    add("stack", &|v| v.options.max_stack -= 1);
    add("nesting", &|v| v.options.max_nesting -= 1);
    add("work", &|v| v.options.max_work -= 1);
    add("fuel", &|v| v.options.fuel = Some(1000));
    all
}

/// Pairs of variations that have one key.
fn meetings(key: impl Fn(&Variation) -> Key) -> Vec<(&'static str, &'static str)> {
    let all = variations();
    let mut meetings = Vec::new();
    for (number, a) in all.iter().enumerate() {
        let others = all[number + 1..].iter().filter(|b| key(a) == key(b));
        meetings.extend(others.map(|b| (a.name, b.name)));
    }
    meetings
}

#[test]
fn everything_that_a_kernel_depends_on_is_in_its_key() {
    assert_eq!(meetings(|v| Key::of(&v.key())), []);
}

#[test]
fn a_key_that_leaves_one_thing_out_is_found() {
    let without = |leave: fn(&mut AnswerKey<'_>)| {
        meetings(|v| {
            let mut key = v.key();
            leave(&mut key);
            Key::of(&key)
        })
    };
    assert_eq!(without(|key| key.device = ""), [("nothing", "driver")]);
    assert_eq!(without(|key| key.translator = ""), [("nothing", "translator")]);
    assert_eq!(without(|key| key.module = [0; 32]), [("nothing", "bytes")]);
    assert_eq!(without(|key| key.may_ask = false), [("nothing", "may ask")]);
    let without_float = meetings(|v| {
        let options = Options { float: FloatMode::Strict, ..v.options };
        Key::of(&AnswerKey { options: &options, ..v.key() })
    });
    assert_eq!(without_float, [("nothing", "relaxed"), ("nothing", "fast"), ("relaxed", "fast")]);
    let without_alias = meetings(|v| {
        let mut shape = v.shape.clone();
        (0..).zip(&mut shape.buffers).for_each(|(slot, buffer)| buffer.slot = slot);
        Key::of(&AnswerKey { shape: &shape, ..v.key() })
    });
    assert_eq!(without_alias, [("nothing", "alias pattern")]);
}

#[test]
fn equal_bytes_lifted_in_other_ways_do_not_meet() {
    let folder = tempfile::tempdir().unwrap();
    let base = (module(KERNEL), shape([0, 1]), Options::default());
    let with = |change: &dyn Fn(&mut Shape, &mut Options)| {
        // Another guest with the same bytes.
        let (mut shape, mut options) = (base.1.clone(), base.2);
        change(&mut shape, &mut options);
        (module(KERNEL), shape, options)
    };
    let questions = [
        base.clone(),
        with(&|shape, _| shape.buffers[1].slot = 0),
        with(&|shape, _| shape.environment.tables = vec![vec![TableEntry::Null]]),
        with(&|_, options| options.float = FloatMode::Relaxed),
        with(&|_, options| options.profile = Profile::Portable),
        with(&|_, options| options.fuel = Some(7)),
    ];
    let count = questions.len() as u64;
    let first = process(folder.path(), "driver", &questions);
    assert_eq!(first, CacheUses { misses: count, stored: count, ..Default::default() });
    let second = process(folder.path(), "driver", &questions);
    assert_eq!(second, CacheUses { hits: count, ..Default::default() });
}

/// Entries with right hashes and wrong contents are what nobody writes; still no byte of them may bring the host down.
#[test]
fn forged_entries_are_refused_or_harmless_to_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let kept = kept(folder.path(), "driver");
    let module = module(
        "(func (param $i i32) (param i32 i32) (param $p i32) (param i32) (param $q i32) (param i32)
          (if (i32.lt_u (local.get $i) (i32.load (i32.const 16)))
            (then (i32.store (i32.mul (local.get $i) (i32.const 4)) (i32.load (local.get $p))))))",
    );
    let (shape, options) = (shape([0, 1]), Options::default());
    let question = Question { module: &module.wasm, function: 0, shape: &shape, options: &options, may_ask: false };
    let lifted = question.lift().map_err(|error| error.to_string());
    let whole = postcard::to_allocvec(&lifted).unwrap();
    assert!(read(&whole, &question).is_ok());
    let (mut refused, mut taken) = (0, 0);
    for at in 0..whole.len() {
        assert!(read(&whole[..at], &question).is_err(), "cut off at {at}");
        for change in [1, 2, 0x40, 0x80] {
            let mut forged = whole.clone();
            forged[at] ^= change;
            match read(&forged, &question) {
                Err(_) => refused += 1,
                Ok(answer) => {
                    taken += 1;
                    use_answer(answer);
                }
            }
        }
    }
    // A refused one is counted as not found.
    kept.answer(question).keep(&lifted.as_ref().map_err(String::clone));
    kept.cache.forge(|payload| payload.truncate(payload.len() - 1)).unwrap();
    assert!(kept.answer(question).read().is_none());
    assert_eq!(kept.cache.statistics().kernels, CacheUses { misses: 1, ignored: 1, stored: 1, ..Default::default() });
    assert!(refused > 100 && taken > 100, "{refused} refused, {taken} taken");
}

/// What a launch does with an answer on the host.
fn use_answer(answer: Result<Answer, String>) {
    let Ok(Answer::Shader(shader)) = answer else { return };
    let launch = translator::LaunchState {
        immediates: &[0, 1, 2, 3, 0, 4096, 8],
        inputs: &|_| Some(65536),
        words: &|_, _| None,
        iterations: 9,
    };
    shader.launch_checks.proved(&launch);
    if let Some(linear) = &shader.linear {
        let (start, end) = linear.window(&launch, 65536);
        assert!(start <= end && end <= 65536);
        linear.spares(&launch, &[16]);
    }
    let _ = crate::device::gpu::pipeline::Kernel::new(*shader, Default::default(), None);
}
