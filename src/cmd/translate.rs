//! `wavelift translate`

use std::io::Write;
use std::path::Path;

use anyhow::{Result, anyhow, bail};
use rspirv::binary::Disassemble;
use wavelift::text::{self, Language};
use wavelift::translator::{self, Options, Profile, Shader, Shape, Share, Speculation};

use crate::cli::{Emit, TranslateArguments, check_libm};

/// Lifts one kernel, for distinct read_write buffers, a new instance and a device with all features, and writes what is asked for.
pub fn run(arguments: &TranslateArguments) -> Result<i32> {
    let module = super::parse_file(&arguments.module)?;
    let function = find_kernel(&module, &arguments.kernel)?;
    if module.kernel_buffers(function).is_none() {
        bail!(
            "The function `{}` is no kernel: it takes other parameters than (i32, i32, i32, (i32, i32)*), or has results.",
            module.function_name(function)
        );
    }
    check_libm(arguments.float_mode, arguments.libm)?;
    let options = Options {
        profile: arguments.profile.into(),
        float: arguments.float_mode.into(),
        libm: arguments.libm.map(Into::into),
        coarsen: arguments.coarsen,
        flatten: arguments.flatten,
        share: if arguments.shared { Share::Called { places: 2, operators: 20 } } else { Share::Auto },
        speculation: if arguments.speculate { Speculation::ALL } else { Speculation::NONE },
        emulate: crate::cli::emulate(&arguments.emulate),
        ..Options::default()
    };
    let shape = translator::initial_shape(&module, function, &options);
    let output = match arguments.emit {
        Emit::Ir => {
            translator::emit_ir(&module, function, &shape, &options).map_err(|e| with_line(e, &module))?.into_bytes()
        }
        Emit::Spirv => {
            let shader = lift(&module, function, &shape, &options)?;
            shader.words.iter().flat_map(|word| word.to_le_bytes()).collect()
        }
        Emit::SpirvAsm => {
            let shader = lift(&module, function, &shape, &options)?;
            let parsed = rspirv::dr::load_words(&shader.words)
                .map_err(|error| anyhow!("The SPIR-V that was made can't be read back: {error}."))?;
            format!("{}\n", parsed.disassemble()).into_bytes()
        }
        Emit::Wgsl => write_text(&module, function, &shape, options, Language::Wgsl)?,
        Emit::Msl => write_text(&module, function, &shape, options, Language::Msl)?,
        Emit::Hlsl => write_text(&module, function, &shape, options, Language::Hlsl)?,
    };
    write(&arguments.output, &output)?;
    Ok(0)
}

fn lift(module: &translator::Module, function: u32, shape: &Shape, options: &Options) -> Result<Shader> {
    translator::translate(module, function, shape, options).map_err(|error| with_line(error, module))
}

/// An error that names the source line, too, where it is known.
fn with_line(error: translator::Error, module: &translator::Module) -> anyhow::Error {
    anyhow!(error.sentence(module))
}

/// The kernel as text, which is made from the portable profile whatever the profile asked for.
fn write_text(
    module: &translator::Module,
    function: u32,
    shape: &Shape,
    options: Options,
    language: Language,
) -> Result<Vec<u8>> {
    let options = Options { profile: Profile::Portable, features: language.features(), ..options };
    let shader = lift(module, function, shape, &options)?;
    Ok(text::write(&shader, language)?.into_bytes())
}

fn find_kernel(module: &translator::Module, wanted: &str) -> Result<u32> {
    if let Some(function) = module.find_function(wanted) {
        return Ok(function);
    }
    let kernels: Vec<String> = module.kernels().iter().map(|f| format!("{f} `{}`", module.function_name(*f))).collect();
    match kernels.is_empty() {
        true => bail!("The module has no function `{wanted}`, and no kernels at all."),
        false => bail!("The module has no function `{wanted}`. Its kernels are: {}.", kernels.join(", ")),
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let written = match path.as_os_str() == "-" {
        true => std::io::stdout().write_all(bytes),
        false => std::fs::write(path, bytes),
    };
    written.map_err(|error| anyhow!("The output can't be written to `{}`: {error}.", path.display()))
}
