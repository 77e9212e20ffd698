//! Shader text for people and other tools: the portable SPIR-V in the languages of WebGPU, Metal and DX12.
//!
//! wgpu gives its drivers the same text, made by the same writers; see [`write()`] for where bindings stand in it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use naga::back::{hlsl, msl, wgsl};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use wavelift_translator::{Features, Shader};

/// Stack of the thread that writes: naga recurses over expressions, and long ones overflow the usual 2 MiB.
const STACK_BYTES: usize = 64 << 20;

/// Metal's highest buffer index.
const LAST_MSL_BUFFER: u32 = 30;

/// What to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Language {
    /// WebGPU's.
    Wgsl,
    /// Metal's, version 2.4.
    Msl,
    /// DX12's, shader model 6.0.
    Hlsl,
}

impl Language {
    /// The features of a device that is programmed in this language: MSL and HLSL have 64-bit integers but, as naga writes
    /// them, no 64-bit floats, WGSL has neither.
    pub fn features(self) -> Features {
        Features { float64: false, int64: self != Language::Wgsl, ..Features::all() }
    }

    fn name(self) -> &'static str {
        match self {
            Language::Wgsl => "WGSL",
            Language::Msl => "MSL",
            Language::Hlsl => "HLSL",
        }
    }
}

/// Why there is no text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The words are not of the portable profile.
    #[error("The SPIR-V can't be read: {0}. Lift the kernel for the portable profile.")]
    Read(String),
    /// naga's validator refuses the module.
    #[error("The SPIR-V is not valid: {0}. This is a defect of Wavelift.")]
    Invalid(String),
    /// The kernel needs what the language does not have.
    #[error("{language} has no {what}, which the kernel needs. Ask for another language.")]
    Missing {
        /// The language's name.
        language: &'static str,
        /// What it lacks.
        what: &'static str,
    },
    /// naga's writer refuses the module or fails.
    #[error("The kernel can't be written as {language}: {message}.")]
    Write {
        /// The language's name.
        language: &'static str,
        /// What the writer says.
        message: String,
    },
}

/// Writes a kernel of the portable profile; the text has no checks but the kernel's own.
///
/// Buffers keep their binding numbers: `@group(0) @binding(n)` in WGSL, `[[buffer(n)]]` in MSL, `register(un)` (or `tn` if
/// the kernel only reads it) in HLSL, where a uniform buffer is `register(bm)`, m = n + 1. The immediates are a `var<immediate>` in WGSL, the buffer behind the
/// last binding in MSL and `register(b0)` in HLSL. MSL takes one more buffer behind the immediates, which naga asks for
/// wherever there are buffers and the text never reads. The entry point is `main`, in MSL `main_`.
///
/// # Errors
/// [`Error`]; a panic of naga's writers is one, too.
pub fn write(shader: &Shader, language: Language) -> Result<String, Error> {
    write_words(&shader.words, language)
}

/// The same of a kernel's SPIR-V alone, such as a file of it.
///
/// # Errors
/// As for [`write()`].
pub fn write_words(words: &[u32], language: Language) -> Result<String, Error> {
    let failed = |message: String| Error::Write { language: language.name(), message };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("wavelift-text".into()).stack_size(STACK_BYTES);
        let work = || catch_unwind(AssertUnwindSafe(|| write_here(words, language)));
        let running =
            thread.spawn_scoped(scope, work).map_err(|e| failed(format!("a thread can't be started: {e}")))?;
        match running.join() {
            Ok(Ok(result)) => result,
            Ok(Err(_)) | Err(_) => Err(failed("the writer panicked".into())),
        }
    })
}

fn write_here(words: &[u32], language: Language) -> Result<String, Error> {
    let module = naga::front::spv::Frontend::new(words.iter().copied(), &naga::front::spv::Options::default())
        .parse()
        .map_err(|error| Error::Read(error.to_string()))?;
    if module.entry_points.is_empty() {
        return Err(Error::Read("it has no entry point".into()));
    }
    let info = Validator::new(ValidationFlags::all(), Capabilities::all())
        .validate(&module)
        .map_err(|error| Error::Invalid(chain(error.as_inner())))?;
    let text = match language {
        Language::Wgsl => wgsl::write_string(&module, &info, wgsl::WriterFlags::empty()).map_err(|error| chain(&error)),
        // naga's MSL writer panics at them; its HLSL writer takes their bits for their values.
        Language::Msl | Language::Hlsl if has_f64(&module) => {
            return Err(Error::Missing { language: language.name(), what: "64-bit floats as naga writes it" });
        }
        Language::Msl => write_msl(&module, &info),
        Language::Hlsl => write_hlsl(&module, &info),
    };
    text.map_err(|message| Error::Write { language: language.name(), message })
}

fn has_f64(module: &naga::Module) -> bool {
    module.types.iter().any(|(_, ty)| ty.inner.scalar() == Some(naga::Scalar::F64))
}

/// A buffer that a shader binds.
struct Buffer {
    binding: u32,
    /// The shader may store to it.
    mutable: bool,
    uniform: bool,
}

impl Buffer {
    /// In HLSL, where the immediates have the first register of uniform buffers.
    fn register(&self) -> u32 {
        self.binding + u32::from(self.uniform)
    }
}

fn buffers(module: &naga::Module) -> impl Iterator<Item = Buffer> + '_ {
    module.global_variables.iter().filter_map(|(_, variable)| {
        let (mutable, uniform) = match variable.space {
            naga::AddressSpace::Storage { access } => (access.contains(naga::StorageAccess::STORE), false),
            naga::AddressSpace::Uniform => (false, true),
            _ => return None,
        };
        Some(Buffer { binding: variable.binding?.binding, mutable, uniform })
    })
}

fn resource(binding: u32) -> naga::ResourceBinding {
    naga::ResourceBinding { group: 0, binding }
}

fn write_msl(module: &naga::Module, info: &ModuleInfo) -> Result<String, String> {
    let immediates = buffers(module).map(|buffer| buffer.binding + 1).max().unwrap_or(0);
    let sizes = immediates + 1;
    if sizes > LAST_MSL_BUFFER {
        return Err(format!("it takes {} buffers, and Metal binds at most {}", sizes + 1, LAST_MSL_BUFFER + 1));
    }
    let mut resources = msl::EntryPointResources {
        immediates_buffer: Some(immediates as u8),
        sizes_buffer: Some(sizes as u8),
        ..Default::default()
    };
    for Buffer { binding, mutable, .. } in buffers(module) {
        let target = msl::BindTarget { buffer: Some(binding as u8), mutable, ..Default::default() };
        resources.resources.insert(resource(binding), target);
    }
    let unchecked = BoundsCheckPolicy::Unchecked;
    let options = msl::Options {
        lang_version: (2, 4),
        per_entry_point_map: [("main".to_string(), resources)].into(),
        fake_missing_bindings: false,
        bounds_check_policies: BoundsCheckPolicies {
            index: unchecked,
            buffer: unchecked,
            image_load: unchecked,
            binding_array: unchecked,
        },
        force_loop_bounding: false,
        // The kernel has its own, and naga's don't compile for 64 bits.
        emit_int_div_checks: false,
        ..Default::default()
    };
    let (text, written) =
        msl::write_string(module, info, &options, &msl::PipelineOptions::default()).map_err(|error| chain(&error))?;
    // The writer leaves an entry point out that it can't bind.
    written.entry_point_names.into_iter().try_for_each(|name| name.map(drop)).map_err(|error| chain(&error))?;
    Ok(text)
}

fn write_hlsl(module: &naga::Module, info: &ModuleInfo) -> Result<String, String> {
    let target = |register| hlsl::BindTarget { register, ..Default::default() };
    let options = hlsl::Options {
        shader_model: hlsl::ShaderModel::V6_0,
        binding_map: buffers(module).map(|buffer| (resource(buffer.binding), target(buffer.register()))).collect(),
        fake_missing_bindings: false,
        immediates_target: Some(target(0)),
        restrict_indexing: false,
        force_loop_bounding: false,
        ..Default::default()
    };
    let mut text = String::new();
    let pipeline = hlsl::PipelineOptions::default();
    let written =
        hlsl::Writer::new(&mut text, &options, &pipeline).write(module, info, None).map_err(|error| chain(&error))?;
    written.entry_point_names.into_iter().try_for_each(|name| name.map(drop)).map_err(|error| chain(&error))?;
    Ok(text)
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
