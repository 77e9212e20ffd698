//! Which form of each function a module imports, by name and type.

use wasmparser::{Parser, Payload, TypeRef, ValType};
use wavelift_translator as translator;

use super::{MODULE, PARALLEL_FOR, PARALLEL_FOR_MODULE_PARAMETERS, extensions};
use crate::error::{Error, Result};

/// Functions with one form, and their number of `i32` parameters.
const FUNCTIONS: [(&str, usize); 4] =
    [("get_device", 2), ("create_buffer", 4), ("write_buffer", 3), ("read_buffer", 3)];

const FORMS: &str = "The three forms are `parallel_for` with 7 parameters (worker, num_threads, block_size, in_buffers, \
     in_count, out_buffers, out_count), `parallel_for` with 8 (kernel, kernel_len, num_iterations, block_size, \
     in_buffers, in_count, out_buffers, out_count) and `parallel_exec` with 9 (device, then those 8); every parameter \
     and the result is an i32.";

/// What a module imports of `wasi_ephemeral_parallel`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Imports {
    /// It imports `parallel_exec`, and numbers device hints that way.
    pub parallel_exec: bool,
    /// It imports functions of other modules, such as WASI.
    pub others: bool,
}

/// Checks names and types.
///
/// # Errors
/// [`Error::ImportType`] for what is none of the ABI's functions.
pub(super) fn check(module: &translator::Module) -> Result<Imports> {
    refuse_other_kinds(module)?;
    let mut imports = Imports::default();
    for index in 0..module.imported_function_count() {
        let Some((of, name)) = module.imported_function(index) else { continue };
        if of != MODULE {
            imports.others |= of != extensions::MODULE;
            continue;
        }
        let Some(ty) = module.function_type(index) else { continue };
        let all_i32 = ty.params().iter().all(|p| *p == ValType::I32) && ty.results() == [ValType::I32];
        let count = ty.params().len();
        match (name, FUNCTIONS.iter().find(|(known, _)| *known == name)) {
            (_, Some((_, params))) if all_i32 && *params == count => {}
            (_, Some((_, params))) => {
                return Err(Error::ImportType(format!(
                    "The module imports `{MODULE}::{name}` with the type {ty}; it takes {params} parameters and \
                     returns an error code, all of type i32."
                )));
            }
            (PARALLEL_FOR, None) if all_i32 && (count == 7 || count == PARALLEL_FOR_MODULE_PARAMETERS) => {}
            ("parallel_exec", None) if all_i32 && count == 9 => {}
            (PARALLEL_FOR | "parallel_exec", None) => {
                return Err(Error::ImportType(format!(
                    "The module imports `{MODULE}::{name}` with the type {ty}, which is none of its forms. {FORMS}"
                )));
            }
            (_, None) => return Err(unknown(name)),
        }
        imports.parallel_exec |= name == "parallel_exec";
    }
    Ok(imports)
}

fn unknown(name: &str) -> Error {
    Error::ImportType(format!(
        "The module imports `{MODULE}::{name}`, and there is no such function. There are get_device, create_buffer, \
         write_buffer, read_buffer, parallel_for and parallel_exec."
    ))
}

/// A memory, table or global under the functions' module name.
fn refuse_other_kinds(module: &translator::Module) -> Result<()> {
    for payload in Parser::new(0).parse_all(module.bytes()) {
        match payload {
            Ok(Payload::ImportSection(imports)) => {
                for import in imports.into_imports().flatten() {
                    if import.module == MODULE && !matches!(import.ty, TypeRef::Func(_) | TypeRef::FuncExact(_)) {
                        return Err(Error::ImportType(format!(
                            "The module imports `{MODULE}::{}` as something other than a function.",
                            import.name
                        )));
                    }
                }
            }
            Ok(Payload::CodeSectionStart { .. }) | Err(_) => break,
            _ => {}
        }
    }
    Ok(())
}
