//! What of kernels is kept on disk for later processes: what lifting gave, and what the driver made of it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rspirv::binary::{Consumer, ParseAction, parse_words};
use serde::Serialize;
use wavelift_translator as translator;
use wavelift_translator::{Answer, Interface, Module, Options, Profile, Seen, Shape};

use crate::device::gpu::Adapter;
use crate::device::gpu::connection::Connection;
use crate::device::gpu::group_size::Magnitude;
use crate::disk_cache::{DiskCache, Key, Sort};

/// What it took to get a launch's kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lift {
    /// How long.
    pub took: Duration,
    /// A form was lifted,
    pub lifted: bool,
    /// or found on disk.
    pub found: bool,
}

impl Lift {
    /// Counts another form that was asked for.
    pub fn add(&mut self, other: Lift) {
        self.took += other.took;
        self.lifted |= other.lifted;
        self.found |= other.found;
    }

    /// Whether nothing had to be lifted because it was found on disk.
    pub fn is_from_cache(self) -> bool {
        self.found && !self.lifted
    }
}

/// What is asked of the translator, which gives equal answers to equal questions.
#[derive(Clone, Copy)]
pub(crate) struct Question<'a> {
    pub module: &'a Module,
    pub function: u32,
    pub shape: &'a Shape,
    pub options: &'a Options,
    /// Whether the translator may ask for pointers or words instead.
    pub may_ask: bool,
}

impl Question<'_> {
    /// Asks the translator.
    pub fn lift(&self) -> translator::Result<Answer> {
        let Question { module, function, shape, options, may_ask } = *self;
        match may_ask {
            true => translator::translate_or_ask(module, function, shape, options),
            false => translator::translate(module, function, shape, options).map(|s| Answer::Shader(Box::new(s))),
        }
    }
}

/// Everything that an answer depends on, and the device, whose driver may change what is right for it.
#[derive(Clone, Serialize)]
struct AnswerKey<'a> {
    translator: &'a str,
    device: &'a str,
    module: [u8; 32],
    function: u32,
    shape: &'a Shape,
    options: &'a Options,
    may_ask: bool,
}

/// What is seen of a kernel is kept by.
#[derive(Serialize)]
struct SeenKey<'a> {
    translator: &'a str,
    device: &'a str,
    module: [u8; 32],
    function: u32,
}

/// The fastest size of groups is kept by.
#[derive(Serialize)]
struct GroupKey<'a> {
    translator: &'a str,
    device: &'a str,
    words: &'a [u32],
    magnitude: Magnitude,
}

/// Everything that a pipeline depends on.
#[derive(Serialize)]
struct PipelineKey<'a> {
    /// It changes with the versions of wgpu and naga as well, if the workspace's lock file was found.
    translator: &'a str,
    device: &'a str,
    profile: Profile,
    words: &'a [u32],
    workgroup_size: u32,
    immediates_size: u32,
    traps: bool,
    bindings: Vec<(u32, bool)>,
}

/// A device's part of a disk cache.
pub(crate) struct Kept {
    cache: Arc<DiskCache>,
    /// Names the device, its driver, and the driver's version.
    device: String,
    /// Pipelines are kept though the driver gives nothing but a header for them: for tests.
    keeps_empty: AtomicBool,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kept({})", self.device)
    }
}

impl Kept {
    pub fn new(cache: Arc<DiskCache>, adapter: &Adapter) -> Kept {
        Kept::of(cache, adapter.identity())
    }

    fn of(cache: Arc<DiskCache>, device: String) -> Kept {
        Kept { cache, device, keeps_empty: AtomicBool::new(false) }
    }

    /// Keeps pipelines of drivers that keep nothing, too.
    pub fn keep_empty_pipelines(&self) {
        self.keeps_empty.store(true, Ordering::Relaxed);
    }

    fn answer_key(&self, question: &Question<'_>) -> Key {
        let Question { module, function, shape, options, may_ask } = *question;
        let module = *Key::of_bytes(module.bytes()).bytes();
        Key::of(&AnswerKey {
            translator: translator::BUILD,
            device: &self.device,
            module,
            function,
            shape,
            options,
            may_ask,
        })
    }

    /// The place of what was seen of a kernel. It is no answer that the translator gives, but a guess that the kernel's forms check.
    fn seen_key(&self, module: &Module, function: u32) -> Key {
        let module = *Key::of_bytes(module.bytes()).bytes();
        Key::of(&SeenKey { translator: translator::BUILD, device: &self.device, module, function })
    }

    /// What was seen of a kernel in some process before.
    pub fn seen(&self, module: &Module, function: u32) -> Option<Seen> {
        let key = self.seen_key(module, function);
        let bytes = self.cache.get(Sort::Seen, &key)?;
        let seen = postcard::from_bytes(&bytes);
        seen.inspect_err(|why| self.cache.reject(Sort::Seen, &key, &why.to_string())).ok()
    }

    /// Keeps what was seen of a kernel.
    pub fn keep_seen(&self, module: &Module, function: u32, seen: &Seen) {
        if let Ok(bytes) = postcard::to_allocvec(seen) {
            self.cache.put(Sort::Seen, &self.seen_key(module, function), &bytes);
        }
    }

    fn group_key(&self, words: &[u32], magnitude: Magnitude) -> Key {
        Key::of(&GroupKey { translator: translator::BUILD, device: &self.device, words, magnitude })
    }

    /// The size of groups that launches of a shader were found to be the fastest with in some process before.
    pub fn group_size(&self, words: &[u32], magnitude: Magnitude) -> Option<u32> {
        let key = self.group_key(words, magnitude);
        let bytes = self.cache.get(Sort::Group, &key)?;
        let size = postcard::from_bytes(&bytes);
        size.inspect_err(|why| self.cache.reject(Sort::Group, &key, &why.to_string())).ok()
    }

    /// Keeps it.
    pub fn keep_group_size(&self, words: &[u32], magnitude: Magnitude, size: u32) {
        if let Ok(bytes) = postcard::to_allocvec(&size) {
            self.cache.put(Sort::Group, &self.group_key(words, magnitude), &bytes);
        }
    }

    /// The place of the answer to a question.
    pub fn answer<'a>(&'a self, question: Question<'a>) -> KeptAnswer<'a> {
        KeptAnswer { cache: &self.cache, key: self.answer_key(&question), question }
    }

    /// The driver's cache for one pipeline, filled with what was kept; `None` where the driver has none.
    pub fn pipeline(
        &self,
        connection: &Connection,
        profile: Profile,
        (words, workgroup_size): (&[u32], u32),
        interface: &Interface,
    ) -> Option<KeptPipeline<'_>> {
        if !connection.has(wgpu::Features::PIPELINE_CACHE) {
            return None;
        }
        let key = Key::of(&PipelineKey {
            translator: translator::BUILD,
            device: &self.device,
            profile,
            words,
            workgroup_size,
            immediates_size: interface.immediates_size,
            traps: !interface.trap_sites.is_empty(),
            bindings: interface.bindings.iter().map(|b| (b.binding, b.writable)).collect(),
        });
        let data = self.cache.get(Sort::Pipeline, &key);
        let filled = data.and_then(|data| {
            let filled = driver_cache(connection, Some(&data));
            filled.inspect_err(|why| self.cache.reject(Sort::Pipeline, &key, why)).ok()
        });
        let found = filled.is_some();
        let driver = filled.or_else(|| driver_cache(connection, None).ok())?;
        let keeps_empty = self.keeps_empty.load(Ordering::Relaxed);
        let empty = if keeps_empty { 0 } else { driver.get_data().map_or(0, |data| data.len()) };
        Some(KeptPipeline { kept: self, key, found, driver, empty })
    }
}

/// The place of one answer of the translator's.
pub(crate) struct KeptAnswer<'a> {
    cache: &'a DiskCache,
    key: Key,
    question: Question<'a>,
}

impl KeptAnswer<'_> {
    /// What the translator answered in some process before: an answer, or the sentence of its refusal.
    pub fn read(&self) -> Option<Result<Answer, String>> {
        let bytes = self.cache.get(Sort::Kernel, &self.key)?;
        read(&bytes, &self.question).inspect_err(|why| self.cache.reject(Sort::Kernel, &self.key, why)).ok()
    }

    /// Keeps an answer or a refusal, which must not be the translator's own failure.
    pub fn keep(&self, answer: &Result<&Answer, String>) {
        let Question { module, shape, options, .. } = self.question;
        debug_assert!(answer.as_ref().map_or(true, |answer| answer.suits(module, shape, options)), "{answer:?}");
        if let Ok(bytes) = postcard::to_allocvec(answer) {
            self.cache.put(Sort::Kernel, &self.key, &bytes);
        }
    }
}

/// The driver's cache for one pipeline.
pub(crate) struct KeptPipeline<'a> {
    kept: &'a Kept,
    key: Key,
    /// There was something to fill it with.
    found: bool,
    /// What the pipeline is to be made with.
    pub driver: wgpu::PipelineCache,
    /// Its size before.
    empty: usize,
}

impl KeptPipeline<'_> {
    /// Keeps what the driver made of the pipeline, if that is news and the driver gives anything.
    pub fn keep(self) {
        if self.found {
            return;
        }
        if let Some(data) = self.driver.get_data().filter(|data| data.len() > self.empty) {
            self.kept.cache.put(Sort::Pipeline, &self.key, &data);
        }
    }
}

/// A cache of the driver's, filled with what one like it held, which must come from a [`DiskCache`]; or why it can't be.
fn driver_cache(connection: &Connection, data: Option<&[u8]>) -> Result<wgpu::PipelineCache, String> {
    let descriptor = wgpu::PipelineCacheDescriptor { label: None, data, fallback: true };
    // Not every refusal is one that wgpu falls back from.
    let scope = connection.device.push_error_scope(wgpu::ErrorFilter::Validation);
    // SAFETY: the bytes are what `get_data` gave for this device and driver: the disk cache checks that they are whole and
    // were written under this key, and nobody but this user can write to it. wgpu and the driver check their own headers
    // besides, and refuse what does not fit.
    let cache = unsafe { connection.device.create_pipeline_cache(&descriptor) };
    match pollster::block_on(scope.pop()) {
        None => Ok(cache),
        Some(error) => Err(error.to_string()),
    }
}

/// Reads an answer or a refusal, and says why it can't be one to this question.
fn read(bytes: &[u8], question: &Question<'_>) -> Result<Result<Answer, String>, String> {
    let answer: Result<Answer, String> = postcard::from_bytes(bytes).map_err(|error| error.to_string())?;
    if let Ok(answer) = &answer {
        if !answer.suits(question.module, question.shape, question.options) {
            return Err("it is no answer for this kernel".into());
        }
        if let Answer::Shader(shader) = answer {
            parse_words(&shader.words, &mut Reader).map_err(|error| format!("its SPIR-V is malformed: {error}"))?;
        }
    }
    Ok(answer)
}

/// Reads SPIR-V for its form alone.
struct Reader;

impl Consumer for Reader {
    fn initialize(&mut self) -> ParseAction {
        ParseAction::Continue
    }

    fn finalize(&mut self) -> ParseAction {
        ParseAction::Continue
    }

    fn consume_header(&mut self, _: rspirv::dr::ModuleHeader) -> ParseAction {
        ParseAction::Continue
    }

    fn consume_instruction(&mut self, _: rspirv::dr::Instruction) -> ParseAction {
        ParseAction::Continue
    }
}

#[cfg(test)]
mod tests;
