//! Lifts WebAssembly kernels to SPIR-V compute shaders.

pub mod backend;
pub mod error;
pub mod ir;
pub mod module;
pub mod options;

pub use error::{Error, Location, Result, TrapKind};
pub use module::Module;
pub use options::{
    Access, Binding, BufferParam, Features, FloatMode, Interface, Options, Profile, Shape, TRAP_BINDING, TrapSite,
    immediate,
};

/// A lifted kernel.
#[derive(Clone, Debug)]
pub struct Shader {
    /// The SPIR-V module; its entry point is `main`.
    pub words: Vec<u32>,
    /// What the host binds and sets.
    pub interface: Interface,
    /// Operators lifted, after inlining and before simplification.
    pub operators: u32,
}

/// Lifts the kernel `function` of `module` for launches of this `shape`.
///
/// # Errors
/// [`Error::NotAKernel`] for a wrong type, [`Error::Unsupported`] for what can't be lifted,
/// [`Error::Internal`] for a defect of the translator.
pub fn translate(_module: &Module, function: u32, _shape: &Shape, _options: &Options) -> Result<Shader> {
    Err(Error::NotAKernel(format!("There is no function {function}.")))
}
