//! What naga makes of SPIR-V of the portable profile, module by module: its reader, its validator, and its writers of
//! WGSL, MSL and HLSL.
//!
//! - `cargo test --test writers` tests this program.
//! - `cargo test --test writers -- --folder FOLDER` puts every module of a folder through naga. `scripts/test` does so
//!   with all that its tests lifted for the portable profile (`WAVELIFT_DUMP_SPIRV` keeps them).

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use libtest_mimic::{Arguments, Failed, Trial};
use wavelift::text::{self, Language};
use wavelift::translator::{Features, Module, Options, Profile, Shape, translate};

const LANGUAGES: [Language; 3] = [Language::Msl, Language::Hlsl, Language::Wgsl];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, option, folder] = arguments.as_slice()
        && option == "--folder"
    {
        match check(Path::new(folder)) {
            Ok(taken) => println!("{taken}"),
            Err(message) => {
                eprintln!("{message}");
                std::process::exit(1);
            }
        }
        return;
    }
    let trials = vec![
        Trial::test("modules_are_counted_with_what_the_texts_lack", modules_are_counted_with_what_the_texts_lack),
        Trial::test("tables_in_uniform_buffers_are_written", tables_in_uniform_buffers_are_written),
        Trial::test("each_refused_module_is_named", each_refused_module_is_named),
        Trial::test("a_folder_without_modules_is_an_error", a_folder_without_modules_is_an_error),
    ];
    libtest_mimic::run(&Arguments::from_iter(arguments), trials).exit();
}

/// Modules that naga takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Taken {
    modules: usize,
    /// Those with `f64`, which are validated and written as WGSL only.
    wide_floats: usize,
}

impl std::fmt::Display for Taken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Taken { modules, wide_floats } = self;
        write!(f, "naga takes all {modules} portable modules and writes them as WGSL; ")?;
        write!(f, "{} as MSL and HLSL, too, the other {wide_floats} have f64", modules - wide_floats)
    }
}

/// Puts all modules of a folder through naga, on all cores.
///
/// # Errors
/// One line for each module that naga does not take, or that there is none.
fn check(folder: &Path) -> Result<Taken, String> {
    let entries = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "spv"));
    paths.sort();
    if paths.is_empty() {
        return Err(format!("{} has no modules in it.", folder.display()));
    }
    let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            // The writers run on threads of their own, with the stack that naga needs.
            scope.spawn(|| {
                while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = check_file(path).map_err(|message| format!("{}: {message}", path.display()));
                    results.lock().unwrap().push(result);
                }
            });
        }
    });
    let results = results.into_inner().unwrap();
    let mut refused: Vec<&str> =
        results.iter().filter_map(|result| result.as_ref().err()).map(String::as_str).collect();
    refused.sort_unstable();
    if !refused.is_empty() {
        return Err(format!("{}\n{} of {} modules fail.", refused.join("\n"), refused.len(), results.len()));
    }
    let wide_floats = results.iter().filter(|result| **result == Ok(Some(true))).count();
    let modules = results.iter().filter(|result| **result != Ok(None)).count();
    Ok(Taken { modules, wide_floats })
}

/// The highest binding that is tried: a module with more binds more than Metal takes, and may have more immediates, too.
const MOST_BINDINGS: u32 = 29;

/// The highest number that an `OpDecorate … Binding` gives.
fn highest_binding(words: &[u32]) -> u32 {
    let (mut at, mut highest) = (5, 0);
    while let Some(instruction) = words.get(at..).filter(|rest| !rest.is_empty()) {
        let (opcode, length) = (instruction[0] & 0xffff, (instruction[0] >> 16) as usize);
        if let (71, Some([_, _, 33, binding])) = (opcode, instruction.get(..4)) {
            highest = highest.max(*binding);
        }
        at += length.max(1);
    }
    highest
}

/// Puts one file through naga; whether it has `f64`. `None`: it binds too much and was left out.
fn check_file(path: &Path) -> Result<Option<bool>, String> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    if bytes.len() % 4 != 0 {
        return Err("This is not a whole number of words.".into());
    }
    let words: Vec<u32> = bytemuck::pod_collect_to_vec(&bytes);
    let mut wide_floats = false;
    // No device of Metal's or DX12's takes such a module; naga's debug builds panic over its immediates.
    if highest_binding(&words) > MOST_BINDINGS {
        return Ok(None);
    }
    for language in LANGUAGES {
        match text::write_words(&words, language) {
            Ok(_) => {}
            Err(text::Error::Missing { .. }) => wide_floats = true,
            Err(error) => return Err(format!("{language:?}: {error}")),
        }
    }
    Ok(Some(wide_floats))
}

/// A kernel that loads and stores a value of a type, for this many buffers.
fn words(ty: &str, buffers: u32) -> Result<Vec<u32>, Failed> {
    let pointers = "(param i32 i32)".repeat(buffers as usize);
    // Every buffer is stored to, so that all are bound.
    let stores: String = (0..buffers)
        .map(|n| {
            format!("({ty}.store (local.get {0}) ({ty}.add ({ty}.load (local.get {0})) ({ty}.const 3)))", 3 + 2 * n)
        })
        .collect();
    let text = format!("(module (memory 1) (func (export \"kernel\") (param i32 i32 i32) {pointers} {stores}))");
    let module = Module::parse(wat::parse_str(text)?)?;
    let options = Options { profile: Profile::Portable, ..Options::default() };
    Ok(translate(&module, 0, &Shape::distinct(buffers), &options)?.words)
}

fn write(folder: &Path, name: &str, words: &[u32]) -> Result<(), Failed> {
    Ok(std::fs::write(folder.join(name), bytemuck::cast_slice::<u32, u8>(words))?)
}

fn modules_are_counted_with_what_the_texts_lack() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    for (name, ty) in [("a.spv", "i32"), ("b.spv", "i64"), ("c.spv", "f32"), ("d.spv", "f64")] {
        write(folder.path(), name, &words(ty, 1)?)?;
    }
    std::fs::write(folder.path().join("e.part"), "of a module that is being written")?;
    let taken = check(folder.path())?;
    assert_eq!(taken, Taken { modules: 4, wide_floats: 1 });
    assert!(taken.to_string().contains("all 4 portable modules") && taken.to_string().contains("3 as MSL and HLSL"));
    Ok(())
}

/// Devices on the CPU take known tables so; HLSL has their registers beside that of the immediates.
fn tables_in_uniform_buffers_are_written() -> Result<(), Failed> {
    let module = Module::parse(wat::parse_str(
        r#"(module (memory 1) (data (i32.const 1024) "0123456789abcdefghijklmnopqrstuv")
            (global (export "__stack_pointer") (mut i32) (i32.const 512))
            (func (export "kernel") (param i32 i32 i32 i32 i32)
              (i32.store (local.get 3)
                (i32.load offset=1024 (i32.and (local.get 0) (i32.const 28))))))"#,
    )?)?;
    let features = Features { uniform_data: 1 << 14, ..Features::all() };
    let options = Options { profile: Profile::Portable, features, ..Options::default() };
    let mut shape = Shape::initial(&module, 0);
    shape.environment.initial = Some(vec![]);
    let words = translate(&module, 0, &shape, &options)?.words;
    let wgsl = text::write_words(&words, Language::Wgsl)?;
    assert!(wgsl.contains("var<uniform>"), "{wgsl}");
    let msl = text::write_words(&words, Language::Msl)?;
    assert!(msl.contains("constant ") && msl.contains("[[buffer("), "{msl}");
    let hlsl = text::write_words(&words, Language::Hlsl)?;
    assert_eq!(hlsl.matches("register(b0)").count(), 1, "{hlsl}");
    assert_eq!(hlsl.matches("register(b").count(), 2, "{hlsl}");
    Ok(())
}

/// Refused by the reader, by the validator, and by one of the writers only.
fn each_refused_module_is_named() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let good = words("i32", 2)?;
    write(folder.path(), "good.spv", &good)?;
    write(folder.path(), "cut.spv", &good[..good.len() / 2])?;
    std::fs::write(folder.path().join("bytes.spv"), "SPIR-V")?;
    // Metal binds 31 buffers at most.
    write(folder.path(), "many.spv", &words("i32", 29)?)?;
    write(folder.path(), "invalid.spv", &without_workgroup_size(&good)?)?;
    let said = check(folder.path()).err().ok_or("naga takes broken modules")?;
    for part in [
        "cut.spv: Msl: The SPIR-V can't be read",
        "bytes.spv: This is not a whole number",
        "many.spv: Msl: The kernel can't be written as MSL: it takes 32 buffers",
        "invalid.spv: Msl: The SPIR-V is not valid",
        "\n4 of 5 modules fail.",
    ] {
        assert!(said.contains(part), "`{part}` is not in\n{said}");
    }
    assert!(!said.contains("good.spv"), "{said}");
    Ok(())
}

/// The module with groups of no invocation.
fn without_workgroup_size(words: &[u32]) -> Result<Vec<u32>, Failed> {
    const OP_EXECUTION_MODE: u32 = 16;
    const LOCAL_SIZE: u32 = 17;
    let mut words = words.to_vec();
    let mut at = 5;
    while at + 3 < words.len() {
        if words[at] & 0xffff == OP_EXECUTION_MODE && words[at + 2] == LOCAL_SIZE {
            words[at + 3] = 0;
            return Ok(words);
        }
        at += (words[at] >> 16).max(1) as usize;
    }
    Err("The module has no group size.".into())
}

fn a_folder_without_modules_is_an_error() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    assert!(check(folder.path()).is_err_and(|message| message.contains("no modules")));
    assert!(check(&folder.path().join("nowhere")).is_err());
    Ok(())
}
