//! A guest that passes a test's numbers on to the host's functions.

use wavelift::wasmtime::Val;
use wavelift::{Config, DeviceChoice, Error, Instance, Module, Runtime, WasiCtxBuilder};

/// A guest with one export for each function, and some kernels in its table, which it does not export.
pub const DRIVER: &str = include_str!("driver.wat");

/// A function of `k` that calls itself `k` times.
pub const DEEP: &str = r#"
  (func $deep (param $k i32) (result i32)
    (if (result i32) (local.get $k)
      (then (i32.add (i32.const 3) (i32.mul (local.get $k) (call $deep (i32.sub (local.get $k) (i32.const 1))))))
      (else (i32.const 1))))"#;

/// The driver with a stack pointer and more functions, of which these are entries of its table from 20 on.
pub fn driver_with(entries: &str, functions: &str) -> String {
    let text = DRIVER.trim_end().strip_suffix(')').unwrap();
    let size = 20 + entries.split_whitespace().count();
    let table = format!(
        "(global $__stack_pointer (mut i32) (i32.const 65536))\n  (table {size} funcref)\n  (elem (i32.const 20) {entries})"
    );
    text.replace("(table 20 funcref)", &table) + functions + ")"
}

/// Functions of the module `wavelift`, and how many parameters each has.
const EXTENSIONS: [(&str, usize); 5] =
    [("free_buffer", 1), ("buffer_copy_in", 4), ("buffer_copy_out", 4), ("synchronize", 1), ("device_info", 3)];

/// The driver, with our own functions exported, too.
pub fn driver_with_extensions() -> String {
    let (mut imports, mut exports) = (String::new(), String::new());
    for (name, count) in EXTENSIONS {
        let params = "i32 ".repeat(count);
        let passed: String = (0..count).map(|number| format!("(local.get {number}) ")).collect();
        imports += &format!("(import \"wavelift\" \"{name}\" (func ${name} (param {params}) (result i32)))\n");
        exports += &format!("(func (export \"{name}\") (param {params}) (result i32) (call ${name} {passed}))\n");
    }
    let (head, rest) = DRIVER.split_once("(module").unwrap();
    let (rest, tail) = rest.rsplit_once(')').unwrap();
    format!("{head}(module\n{imports}{rest}{exports}){tail}")
}

/// Entries of the driver's table.
pub mod table {
    pub const NULL: i32 = 0;
    /// One buffer: `buffer[i] = 3 * i + n`.
    pub const FILL: i32 = 1;
    /// Two buffers: `second[i] = 2 * first[i]`.
    pub const DOUBLE: i32 = 2;
    /// No kernel's type.
    pub const WRONG_TYPE: i32 = 3;
    /// One buffer; iterations from 5 on trap.
    pub const TRAPS: i32 = 4;
    /// No buffers: `memory[4096 + 4 * i] = i + 1`.
    pub const MEMORY: i32 = 5;
    /// One buffer; calls the host, and counts in a global that is private to each invocation.
    pub const CALLS_HOST: i32 = 6;
    /// One buffer; calls `get_device`.
    pub const CALLS_US: i32 = 7;
    /// A function of the host.
    pub const HOST: i32 = 8;
    /// One buffer; calls the host, and iterations from 5 on divide by zero.
    pub const CALLS_HOST_AND_TRAPS: i32 = 9;
    /// One buffer; calls `proc_exit(7)`.
    pub const EXITS: i32 = 10;
    /// Nothing.
    pub const FREE: i32 = 11;
    /// One buffer; iterations from 5 on load atomically from an address that is no multiple of 4.
    pub const MISALIGNED: i32 = 12;
    /// The same, and calls the host.
    pub const CALLS_HOST_AND_MISALIGNED: i32 = 13;
    /// One buffer; `buffer[i]` is what the function at `CALLED` makes of `i`.
    pub const INDIRECT: i32 = 14;
    /// `i + 1` at first.
    pub const CALLED: i32 = 15;
    /// `-i`
    pub const NEGATED: i32 = 16;
    /// One buffer; iterations from 5 on call a function that calls the host and never comes back.
    pub const GIVES_UP: i32 = 17;
    /// One buffer; `buffer[i]` is a word of a data segment, from byte `i % 8` on.
    pub const INIT: i32 = 18;
    /// The same, and drops the segment; iterations from 20 on initialise a byte behind that.
    pub const INIT_AND_DROP: i32 = 19;
}

/// A running guest.
pub struct Guest {
    pub instance: Instance,
}

impl Guest {
    pub fn new(runtime: &Runtime, text: &str) -> Guest {
        let module = Module::new(runtime, text).unwrap();
        let instance = Instance::new(runtime, &module, WasiCtxBuilder::new().build_p1()).unwrap();
        Guest { instance }
    }

    /// The driver on one kind of device.
    pub fn on(device: DeviceChoice) -> Guest {
        Guest::new(&Runtime::new(Config { device, ..Config::default() }).unwrap(), DRIVER)
    }

    pub fn call(&mut self, name: &str, arguments: &[i32]) -> Result<i32, Error> {
        let arguments: Vec<Val> = arguments.iter().map(|v| Val::I32(*v)).collect();
        let results = self.instance.call(name, &arguments)?;
        Ok(results.first().and_then(Val::i32).unwrap_or_default())
    }

    /// The error that a call must end with.
    pub fn fault(&mut self, name: &str, arguments: &[i32]) -> String {
        let error = self.call(name, arguments).expect_err("the guest is stopped");
        error.to_string()
    }

    /// A call that must succeed and return 0.
    pub fn ok(&mut self, name: &str, arguments: &[i32]) {
        assert_eq!(self.call(name, arguments).unwrap(), 0, "{name}{arguments:?}");
    }

    pub fn load(&mut self, address: i32) -> i32 {
        self.call("load", &[address]).unwrap()
    }

    pub fn store(&mut self, address: i32, value: i32) {
        self.call("store", &[address, value]).unwrap();
    }

    pub fn device(&mut self, hint: i32) -> i32 {
        self.ok("get_device", &[hint, 0]);
        self.load(0)
    }

    /// A buffer on the device of hint 0.
    pub fn buffer(&mut self, size: i32, access: i32) -> i32 {
        let device = self.device(0);
        self.ok("create_buffer", &[device, size, access, 0]);
        self.load(0)
    }

    /// Launches with these lists, which are written to memory at 256.
    pub fn launch(&mut self, kernel: i32, iterations: i32, ins: &[i32], outs: &[i32]) -> Result<i32, Error> {
        for (i, handle) in ins.iter().chain(outs).enumerate() {
            self.store(256 + 4 * i as i32, *handle);
        }
        let outs_at = 256 + 4 * ins.len() as i32;
        self.call("parallel_for", &[kernel, iterations, 1, 256, ins.len() as i32, outs_at, outs.len() as i32])
    }

    /// The first words of a buffer.
    pub fn words(&mut self, buffer: i32, count: i32) -> Vec<i32> {
        self.ok("read_buffer", &[buffer, 1024, 4 * count]);
        (0..count).map(|i| self.load(1024 + 4 * i)).collect()
    }

    /// Sets the first words of a buffer.
    pub fn set_words(&mut self, buffer: i32, words: &[i32]) {
        for (i, word) in words.iter().enumerate() {
            self.store(1024 + 4 * i as i32, *word);
        }
        self.ok("write_buffer", &[1024, 4 * words.len() as i32, buffer]);
    }
}

/// What `FILL` makes.
pub fn filled(iterations: i32) -> Vec<i32> {
    (0..iterations).map(|i| 3 * i + iterations).collect()
}
