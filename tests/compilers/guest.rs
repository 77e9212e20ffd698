//! The committed guests and one run of one of them.

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::Failed;
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wavelift::translator::{Coarsen, Emulate, Flatten, Profile, Share};
use wavelift::{Config, DeviceChoice, Instance, LaunchRecord, Module, Runtime, WasiCtxBuilder};

/// More than any guest prints.
const MAX_OUTPUT: usize = 1 << 16;

/// A module, as one compiler made it at one level from a source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Guest {
    /// The folder: the language.
    pub language: String,
    /// The source's name.
    pub name: String,
    /// How it was compiled.
    pub level: String,
}

/// Where a guest runs.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    pub name: &'static str,
    pub device: DeviceChoice,
    pub profile: Profile,
    pub emulate: Emulate,
    pub share: Share,
}

/// What a run left.
pub struct Outcome {
    pub stdout: String,
    pub launches: Vec<LaunchRecord>,
}

/// Where the guests lie.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guests")
}

/// All guests in order.
///
/// # Errors
/// A folder that can't be read, or a module whose name is not `NAME.LEVEL.wasm`.
pub fn all() -> Result<Vec<Guest>, String> {
    let mut guests = Vec::new();
    for language in names(&folder())? {
        let path = folder().join(&language);
        if !path.is_dir() {
            continue;
        }
        for file in names(&path)? {
            let Some(stem) = file.strip_suffix(".wasm") else { continue };
            let (name, level) = stem.split_once('.').ok_or_else(|| format!("{language}/{file} names no level."))?;
            guests.push(Guest { language: language.clone(), name: name.into(), level: level.into() });
        }
    }
    guests.sort();
    Ok(guests)
}

fn names(folder: &Path) -> Result<Vec<String>, String> {
    let failed = |error| format!("{}: {error}", folder.display());
    fs::read_dir(folder)
        .map_err(failed)?
        .map(|entry| Ok(entry.map_err(failed)?.file_name().to_string_lossy().into_owned()))
        .collect()
}

impl Guest {
    /// The file with what each build of the source prints.
    pub fn expected(&self) -> PathBuf {
        folder().join(&self.language).join(format!("{}.txt", self.name))
    }

    /// Runs the guest to its end.
    ///
    /// # Errors
    /// If its exit code is not 0: what it said then.
    pub fn run(&self, way: Way) -> Result<Outcome, Failed> {
        let Way { device, profile, emulate, share, .. } = way;
        // What is few invocations here is many elsewhere.
        let (coarsen, flatten) = (Coarsen::Always, Flatten::Always);
        let config = Config { device, profile, emulate, share, coarsen, flatten, ..Config::default() };
        let runtime = Runtime::new(config)?;
        let file = format!("{}.{}.wasm", self.name, self.level);
        let module = Module::from_file(&runtime, folder().join(&self.language).join(file))?;
        let (stdout, stderr) = (MemoryOutputPipe::new(MAX_OUTPUT), MemoryOutputPipe::new(MAX_OUTPUT));
        let mut wasi = WasiCtxBuilder::new();
        wasi.stdout(stdout.clone()).stderr(stderr.clone()).allow_blocking_current_thread(true);
        let mut instance = Instance::new(&runtime, &module, wasi.build_p1())?;
        let code = instance.start();
        let text = |pipe: MemoryOutputPipe| String::from_utf8_lossy(&pipe.contents()).into_owned();
        let said = || format!("{}\n{}", text(stderr.clone()), instance.report());
        match code {
            Ok(0) => Ok(Outcome { stdout: text(stdout), launches: instance.report().launches().to_vec() }),
            Ok(code) => Err(format!("The exit code is {code}.\n{}", said()).into()),
            Err(error) => Err(format!("{error:?}\n{}", said()).into()),
        }
    }
}
