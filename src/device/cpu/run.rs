//! Calls of a device module's functions.

use wasmtime::{Func, Store, ValRaw, ValType};

/// A function that takes numbers of 32 bits and gives nothing. Its type is looked at once, and not at each of its many calls.
pub struct Run {
    function: Func,
    parameters: usize,
    /// Holds the arguments of a call.
    raw: Vec<ValRaw>,
}

impl Run {
    /// A function, if it has such a type.
    pub fn new(store: &Store<()>, function: Func) -> Option<Run> {
        let ty = function.ty(store);
        let fits = ty.results().len() == 0 && ty.params().all(|ty| matches!(ty, ValType::I32));
        fits.then(|| Run { function, parameters: ty.params().len(), raw: Vec::new() })
    }

    /// Calls it. There must be as many arguments as it has parameters, all of them `i32`.
    ///
    /// # Errors
    /// A trap; or the arguments are more or fewer.
    pub fn call(&mut self, store: &mut Store<()>, arguments: &[u32]) -> wasmtime::Result<()> {
        self.raw.clear();
        self.raw.extend(arguments.iter().copied().map(ValRaw::u32));
        if self.raw.len() != self.parameters {
            return Err(wasmtime::Error::msg("a device module's function was given other arguments than it takes"));
        }
        // SAFETY: the array has a value of its type for each parameter (`new` and the check above), and there are no results;
        // no reference is passed. The store is the function's own, or the call panics, and it is not asynchronous.
        unsafe { self.function.call_unchecked(store, self.raw.as_mut_slice()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtime::{Engine, Instance, Module};

    #[test]
    fn takes_what_its_type_says_and_nothing_else() {
        let text = r#"(module (global (export "sum") (mut i32) (i32.const 0))
            (func (export "add") (param i32 i32)
              (if (i32.eqz (local.get 1)) (then unreachable))
              (global.set 0 (i32.add (local.get 0) (local.get 1))))
            (func (export "long") (param i64)) (func (export "result") (result i32) (i32.const 0)))"#;
        let engine = Engine::default();
        let module = Module::new(&engine, wat::parse_str(text).unwrap()).unwrap();
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let mut function = |name| instance.get_func(&mut store, name).unwrap();
        let (add, long, result) = (function("add"), function("long"), function("result"));
        assert!(Run::new(&store, long).is_none() && Run::new(&store, result).is_none());
        let mut add = Run::new(&store, add).unwrap();
        add.call(&mut store, &[40, -2_i32 as u32]).unwrap();
        assert_eq!(instance.get_global(&mut store, "sum").unwrap().get(&mut store).i32(), Some(38));
        for wrong in [&[1][..], &[1; 3]] {
            assert!(add.call(&mut store, wrong).unwrap_err().to_string().contains("other arguments"));
        }
        let trap = add.call(&mut store, &[1, 0]).unwrap_err();
        assert_eq!(trap.downcast_ref(), Some(&wasmtime::Trap::UnreachableCodeReached));
        assert!(trap.downcast_ref::<wasmtime::WasmBacktrace>().is_some());
    }
}
