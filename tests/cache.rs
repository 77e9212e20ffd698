//! The disk cache from outside: a later process finds what an earlier one lifted, and whatever happened to the folder in
//! between, results are those of a run without it.
//!
//! Where the machine has no GPU driver each test shows as ignored: only kernels for GPUs are kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use wavelift::device::gpu::{self, GpuDevice, GpuOptions};
use wavelift::{CacheUses, Config, DeviceChoice, DiskCache, Instance, Module, Runtime, WasiCtxBuilder};

type Test = fn() -> Result<(), Failed>;
type Damage = Box<dyn Fn(&mut Vec<u8>)>;

/// What a report says of a launch whose kernel was not lifted.
const FROM_CACHE: &str = "kernel from the cache";

fn main() {
    let tests: [(&str, Test); 9] = [
        ("a_second_process_lifts_nothing", a_second_process_lifts_nothing),
        ("a_second_runtime_finds_all_that_the_first_kept", a_second_runtime_finds_all_that_the_first_kept),
        ("nothing_is_kept_unless_asked_for", nothing_is_kept_unless_asked_for),
        ("damaged_entries_are_lifted_anew", damaged_entries_are_lifted_anew),
        ("float_modes_and_profiles_do_not_meet", float_modes_and_profiles_do_not_meet),
        ("a_folder_of_no_use_is_left_alone", a_folder_of_no_use_is_left_alone),
        ("processes_at_once", processes_at_once),
        ("pipelines_are_kept", pipelines_are_kept),
        ("the_driver_gets_no_damaged_pipeline", the_driver_gets_no_damaged_pipeline),
    ];
    let has_gpu = !gpu::adapters().is_empty();
    let trial = |(name, test): (&str, Test)| {
        Trial::ignorable_test(name, move || match has_gpu {
            false => Ok(Completion::ignored_with("this machine has no GPU driver")),
            true => test().map(|()| Completion::Completed),
        })
    };
    libtest_mimic::run(&Arguments::from_args(), tests.into_iter().map(trial).collect()).exit();
}

fn check(right: bool, message: impl Into<String>) -> Result<(), Failed> {
    if right { Ok(()) } else { Err(message.into().into()) }
}

fn example(name: &str) -> String {
    format!("{}/examples/guests/{name}.wasm", env!("CARGO_MANIFEST_DIR"))
}

/// The command on a guest that checks its results, with a cache in this folder.
fn command(cache: &Path, guest: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wavelift"));
    command.args(["run", "--device", "gpu", "--report", &example(guest)]).env("WAVELIFT_CACHE_DIR", cache);
    command
}

/// The report of a run that went well.
fn report(output: Output) -> Result<String, Failed> {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    check(output.status.success(), format!("{:?}\n{}{said}", output.status, String::from_utf8_lossy(&output.stdout)))?;
    Ok(said)
}

/// How many rows of a report have a kernel from the cache.
fn from_cache(report: &str) -> usize {
    report.matches(FROM_CACHE).count()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<_> = fs::read_dir(folder).into_iter().flatten().flatten().map(|file| file.path()).collect();
    entries.sort();
    entries
}

fn a_second_process_lifts_nothing() -> Result<(), Failed> {
    for guest in ["sgemm", "histogram", "saxpy_module"] {
        let folder = tempfile::tempdir()?;
        let cache = folder.path().join("below/cache");
        let first = report(command(&cache, guest).output()?)?;
        check(from_cache(&first) == 0, &first)?;
        let kept = entries(&cache);
        check(!kept.is_empty(), format!("{guest}: nothing was kept"))?;
        let second = report(command(&cache, guest).output()?)?;
        check(from_cache(&second) > 0, &second)?;
        check(entries(&cache) == kept, format!("{guest}: something was lifted again"))?;
        let without = report(command(&cache, guest).arg("--no-cache").output()?)?;
        check(from_cache(&without) == 0, &without)?;
        let elsewhere = folder.path().join("elsewhere");
        let option = [Path::new("--cache-dir"), &elsewhere];
        report(command(Path::new(""), guest).args(option).output()?)?;
        check(entries(&elsewhere).len() == kept.len(), format!("{guest}: --cache-dir was not used"))?;
    }
    Ok(())
}

/// `q[i] = p[i] / p[i + 1]` over floats, and what the kernel loads from memory besides.
const GUEST: &str = r#"(module
  (import "wasi_ephemeral_parallel" "get_device" (func $get_device (param i32 i32) (result i32)))
  (import "wasi_ephemeral_parallel" "create_buffer" (func $create (param i32 i32 i32 i32) (result i32)))
  (import "wasi_ephemeral_parallel" "write_buffer" (func $write (param i32 i32 i32) (result i32)))
  (import "wasi_ephemeral_parallel" "read_buffer" (func $read (param i32 i32 i32) (result i32)))
  (import "wasi_ephemeral_parallel" "parallel_for" (func $for (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (table (export "table") 1 funcref)
  (elem (i32.const 0) $kernel)
  (data (i32.const 256) "\00\00\80\3f\00\00\00\40\00\00\40\40\00\00\80\40\00\00\a0\40\00\00\c0\40\00\00\e0\40\00\00\00\41\00\00\10\41")
  (func $kernel (param $i i32) (param i32 i32) (param $p i32) (param i32) (param $q i32) (param i32)
    (local.set $i (i32.shl (local.get $i) (i32.const 2)))
    (f32.store (i32.add (local.get $q) (local.get $i))
      (f32.div (f32.load (i32.add (local.get $p) (local.get $i))) (f32.load offset=4 (i32.add (local.get $p) (local.get $i))))))
  (func (export "run") (param $at i32) (result i32)
    (drop (call $get_device (i32.const 1) (i32.const 0)))
    (drop (call $create (i32.load (i32.const 0)) (i32.const 36) (i32.const 0) (i32.const 4)))
    (drop (call $create (i32.load (i32.const 0)) (i32.const 32) (i32.const 1) (i32.const 8)))
    (drop (call $write (i32.const 256) (i32.const 36) (i32.load (i32.const 4))))
    (drop (call $for (i32.const 0) (i32.const 8) (i32.const 1) (i32.const 4) (i32.const 1) (i32.const 8) (i32.const 1)))
    (drop (call $read (i32.load (i32.const 8)) (i32.const 512) (i32.const 32)))
    (i32.load offset=512 (local.get $at))))"#;

/// Runs the guest and gives what it computed, and what the cache was good for.
fn run(config: Config) -> Result<(Vec<String>, Option<CacheUses>), Failed> {
    let runtime = Runtime::new(Config { device: DeviceChoice::Gpu, ..config })?;
    let module = Module::new(&runtime, GUEST)?;
    let mut words = Vec::new();
    for at in 0..8 {
        let mut instance = Instance::new(&runtime, &module, WasiCtxBuilder::new().build_p1())?;
        words.extend(instance.invoke("run", &[(4 * at).to_string()])?);
        let fallback = instance.report().launches().iter().find_map(|launch| launch.fallback.clone());
        check(fallback.is_none(), format!("{fallback:?}"))?;
    }
    Ok((words, runtime.cache_statistics().map(|statistics| statistics.kernels)))
}

fn with_cache(folder: &Path) -> Config {
    Config { cache_dir: Some(folder.to_path_buf()), ..Config::default() }
}

/// What the guest computes, on the CPU.
fn expected() -> Vec<String> {
    (1..9u8).map(|i| (f32::from(i) / f32::from(i + 1)).to_bits() as i32).map(|word| word.to_string()).collect()
}

fn a_second_runtime_finds_all_that_the_first_kept() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let (words, first) = run(with_cache(folder.path()))?;
    check(words == expected(), format!("{words:?}"))?;
    let first = first.ok_or("there is no cache")?;
    check(first.stored > 0 && first.hits == 0 && first.misses == first.stored, format!("{first:?}"))?;
    let (words, second) = run(with_cache(folder.path()))?;
    check(words == expected(), format!("{words:?}"))?;
    let all = CacheUses { hits: first.stored, ..Default::default() };
    check(second == Some(all), format!("{second:?} after {first:?}"))
}

fn nothing_is_kept_unless_asked_for() -> Result<(), Failed> {
    let (words, statistics) = run(Config::default())?;
    check(words == expected() && statistics.is_none(), format!("{words:?} {statistics:?}"))
}

fn damaged_entries_are_lifted_anew() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    run(with_cache(folder.path()))?;
    let kept = entries(folder.path());
    let whole: Vec<Vec<u8>> = kept.iter().map(fs::read).collect::<Result<_, _>>()?;
    // The parts of an entry's header end at these offsets; see `src/disk_cache/entry.rs`.
    let cut = |length: usize| move |bytes: &mut Vec<u8>| bytes.truncate(length);
    let flip = |at: usize| move |bytes: &mut Vec<u8>| bytes[at] ^= 0x10;
    let mut damages: Vec<Damage> = Vec::new();
    for length in [0, 1, 8, 12, 44, 52, 84, 85, 500] {
        damages.push(Box::new(cut(length)));
    }
    for at in [0, 8, 12, 43, 44, 52, 83, 84, 300] {
        damages.push(Box::new(flip(at)));
    }
    damages.push(Box::new(|bytes| bytes.truncate(bytes.len() - 1)));
    damages.push(Box::new(|bytes| bytes.push(0)));
    for damage in damages {
        for (path, bytes) in kept.iter().zip(&whole) {
            let mut bytes = bytes.clone();
            damage(&mut bytes);
            fs::write(path, bytes)?;
        }
        let (words, statistics) = run(with_cache(folder.path()))?;
        check(words == expected(), format!("{words:?}"))?;
        let count = kept.len() as u64;
        let anew = CacheUses { misses: count, ignored: count, stored: count, ..Default::default() };
        check(statistics == Some(anew), format!("{statistics:?}"))?;
        let again: Vec<Vec<u8>> = kept.iter().map(fs::read).collect::<Result<_, _>>()?;
        check(again == whole, "an entry was not written as before")?;
    }
    Ok(())
}

fn float_modes_and_profiles_do_not_meet() -> Result<(), Failed> {
    use wavelift::translator::{FloatMode, Profile};
    let folder = tempfile::tempdir()?;
    for round in 0..2 {
        for (float, profile) in [
            (FloatMode::Strict, Profile::Vulkan),
            (FloatMode::Relaxed, Profile::Vulkan),
            (FloatMode::Strict, Profile::Portable),
        ] {
            let (words, statistics) = run(Config { float, profile, ..with_cache(folder.path()) })?;
            let statistics = statistics.ok_or("there is no cache")?;
            check(float != FloatMode::Strict || words == expected(), format!("{words:?}"))?;
            let met = if round == 0 { statistics.hits } else { statistics.misses };
            check(met == 0, format!("{float:?} {profile:?} in round {round}: {statistics:?}"))?;
        }
    }
    Ok(())
}

fn a_folder_of_no_use_is_left_alone() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("file");
    fs::write(&file, "kept")?;
    let mut folders = vec![file.clone(), file.join("below")];
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let shared = folder.path().join("shared");
        fs::create_dir(&shared)?;
        fs::set_permissions(&shared, fs::Permissions::from_mode(0o777))?;
        folders.push(shared);
    }
    #[cfg(target_os = "linux")]
    folders.push("/proc/wavelift".into());
    for cache in &folders {
        let (words, statistics) = run(with_cache(cache))?;
        check(words == expected() && statistics.is_none(), format!("{}: {words:?} {statistics:?}", cache.display()))?;
        let said = report(command(cache, "saxpy_module").env("WAVELIFT_LOG", "warn").output()?)?;
        check(said.matches("The cache `").count() == 1 && from_cache(&said) == 0, &said)?;
        let said = report(command(cache, "saxpy_module").env_remove("WAVELIFT_LOG").output()?)?;
        check(!said.contains("cache"), &said)?;
        let option = [Path::new("--cache-dir"), cache];
        let said = report(command(cache, "saxpy_module").env_remove("WAVELIFT_LOG").args(option).output()?)?;
        check(said.contains("can't be used as a cache, so nothing is kept"), &said)?;
    }
    check(entries(folder.path()).iter().all(|path| entries(path).is_empty()), "something was written")?;
    check(fs::read(&file)? == b"kept", "the file was changed")
}

fn processes_at_once() -> Result<(), Failed> {
    const PROCESSES: usize = 4;
    let folder = tempfile::tempdir()?;
    let start = |_| command(folder.path(), "sgemm").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let running: Vec<Child> = (0..PROCESSES).map(start).collect::<Result<_, _>>()?;
    for child in running {
        report(child.wait_with_output()?)?;
    }
    let kept = entries(folder.path());
    let strays: Vec<_> = kept.iter().filter(|path| path.extension().is_none()).collect();
    check(strays.is_empty(), format!("{strays:?}"))?;
    let later = report(command(folder.path(), "sgemm").output()?)?;
    check(from_cache(&later) > 0 && entries(folder.path()) == kept, later)
}

/// A device whose driver's caches are kept even where they hold nothing, as lavapipe's do.
fn keeping(cache: &Arc<DiskCache>) -> Result<Runtime, Failed> {
    let adapter = gpu::adapters().into_iter().next().ok_or("there is no adapter")?;
    let device = GpuDevice::open_with_cache(&adapter, &GpuOptions::default(), cache.clone())?;
    device.keep_empty_pipelines();
    Ok(Runtime::with_device(Config::default(), Arc::new(device))?)
}

fn run_on(runtime: &Runtime) -> Result<Vec<String>, Failed> {
    let module = Module::new(runtime, GUEST)?;
    let mut instance = Instance::new(runtime, &module, WasiCtxBuilder::new().build_p1())?;
    Ok(instance.invoke("run", &["0".into()])?)
}

/// A new cache in a folder that is used already.
fn opened(folder: &Path) -> Result<Arc<DiskCache>, Failed> {
    Ok(Arc::new(DiskCache::open(folder, 64 << 20)?))
}

fn pipelines(folder: &Path) -> usize {
    entries(folder).iter().filter(|path| path.extension().is_some_and(|extension| extension == "pipeline")).count()
}

fn pipelines_are_kept() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    check(run_on(&keeping(&opened(folder.path())?)?)? == expected()[..1], "the first result is wrong")?;
    if !gpu::adapters()[0].keeps_pipelines() {
        return check(pipelines(folder.path()) == 0, "a driver without pipeline caches gave one");
    }
    check(pipelines(folder.path()) == 1, "no pipeline was kept")?;
    let cache = opened(folder.path())?;
    check(run_on(&keeping(&cache)?)? == expected()[..1], "the second result is wrong")?;
    let statistics = cache.statistics().pipelines;
    check(statistics.hits == 1 && statistics.misses == 0 && statistics.stored == 0, format!("{statistics:?}"))
}

/// Entries that are whole for us, and no pipelines for the driver.
fn the_driver_gets_no_damaged_pipeline() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    run_on(&keeping(&opened(folder.path())?)?)?;
    // wgpu's own header: its magic number, its version, the device, the driver's identity, the length.
    let damages: [fn(&mut Vec<u8>); 6] = [
        |data| data.clear(),
        |data| data.truncate(data.len() / 2),
        |data| data[0] ^= 1,
        |data| data[20] ^= 1,
        |data| data[36] ^= 1,
        |data| data.push(0),
    ];
    let whole: Vec<_> = entries(folder.path()).iter().map(fs::read).collect::<Result<_, _>>()?;
    let paths = entries(folder.path());
    for (number, damage) in damages.into_iter().enumerate() {
        let cache = opened(folder.path())?;
        // Forged kernels are another test's.
        for path in paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "kernel")) {
            fs::remove_file(path)?;
        }
        cache.forge(damage)?;
        check(run_on(&keeping(&cache)?)? == expected()[..1], format!("damage {number}: a result is wrong"))?;
        for (path, bytes) in paths.iter().zip(&whole) {
            fs::write(path, bytes)?;
        }
    }
    Ok(())
}
