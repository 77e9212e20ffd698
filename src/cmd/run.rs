//! `wavelift run`

use std::path::Path;

use anyhow::{Result, bail};
use wavelift::{Config, FsPerms, Instance, Module, Notice, Runtime, WasiCtxBuilder, WasiP1Ctx};

use crate::cli::{RunArguments, check_libm};

/// Runs a guest and gives its exit code.
pub fn run(arguments: &RunArguments) -> Result<i32> {
    check_libm(arguments.float_mode, arguments.libm)?;
    let runtime = Runtime::new(config(arguments))?;
    if let (Some(folder), None) = (&arguments.cache_dir, runtime.cache_statistics()) {
        super::say(&format!(
            "wavelift: `{}` can't be used as a cache, so nothing is kept; WAVELIFT_LOG=warn says why",
            folder.display()
        ));
    }
    let module = Module::from_file(&runtime, &arguments.module)?;
    let mut instance = Instance::new(&runtime, &module, wasi(arguments)?)?;
    let outcome = match &arguments.invoke {
        None => instance.start().map(|code| (code, Vec::new())),
        Some(name) => {
            let called = instance.initialize().and_then(|()| instance.invoke(name, &arguments.arguments));
            called.map(|results| (0, results))
        }
    };
    if arguments.report {
        super::say(&instance.report().to_string());
    }
    match outcome {
        Err(wavelift::Error::Exit(code)) => Ok(code),
        Err(error) => Err(error.into()),
        Ok((code, results)) => {
            results.iter().try_for_each(|result| super::print(result))?;
            Ok(code)
        }
    }
}

fn config(arguments: &RunArguments) -> Config {
    Config {
        device: arguments.device.into(),
        adapter: arguments.adapter.clone(),
        sync: arguments.sync,
        timed: arguments.report,
        verify: arguments.verify,
        profile: arguments.profile.into(),
        float: arguments.float_mode.into(),
        lanes: arguments.lanes,
        libm: arguments.libm.map(Into::into),
        limits: (&arguments.limits).into(),
        speculate: arguments.speculate.into(),
        coarsen: arguments.coarsen.into(),
        flatten: arguments.flatten.into(),
        workgroup_size: arguments.workgroup_size,
        emulate: crate::cli::emulate(&arguments.emulate),
        cache_dir: match arguments.no_cache {
            true => None,
            false => arguments.cache_dir.clone().or_else(wavelift::default_cache_dir),
        },
        notice: Notice::new(|message| super::say(&format!("wavelift: {message}"))),
        ..Config::default()
    }
}

fn wasi(arguments: &RunArguments) -> Result<WasiP1Ctx> {
    let mut builder = WasiCtxBuilder::new();
    builder.inherit_stdio().allow_blocking_current_thread(true);
    builder.arg(program_name(&arguments.module));
    if arguments.invoke.is_none() {
        builder.args(&arguments.arguments);
    }
    builder.envs(&arguments.environment);
    for (host, guest) in &arguments.directories {
        if !host.is_dir() {
            bail!("The directory `{}` does not exist, or is no directory.", host.display());
        }
        if let Err(error) = builder.preopened_dir(host, guest, FsPerms::ReadWrite) {
            bail!("The directory `{}` can't be opened: {error}.", host.display());
        }
    }
    Ok(builder.build_p1())
}

fn program_name(module: &Path) -> String {
    module.file_name().map_or_else(|| "guest".to_string(), |name| name.to_string_lossy().into_owned())
}
