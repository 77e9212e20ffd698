//! Kernels with their buffers and memory, and how they run on a device.

use std::sync::Arc;

use libtest_mimic::Failed;
use wavelift::device::{
    Access, BufferId, BufferSpec, Caller, Context, Device, GlobalValue, GuestModule, KernelTrap, Launch, LaunchError,
    LaunchTimes, TableEntry,
};
use wavelift::memory::AddressSpace;
use wavelift_translator::Module;

/// A buffer of a case.
#[derive(Clone)]
pub struct Filled {
    pub bytes: Vec<u8>,
    pub access: Access,
}

/// A launch.
#[derive(Clone)]
pub struct Case {
    pub module: Arc<GuestModule>,
    pub buffers: Vec<Filled>,
    /// The buffers of the launch by number: one may stand here twice.
    list: Vec<usize>,
    memory: Vec<u8>,
    iterations: u32,
}

/// What a launch left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub buffers: Vec<Vec<u8>>,
    pub memory: Vec<u8>,
    pub trap: Option<KernelTrap>,
    before: Vec<Vec<u8>>,
}

impl Outcome {
    /// What differs, as a sentence. What a trap leaves in buffers does not count, nor which of two operators that Cranelift
    /// makes one instruction is said to trap.
    pub fn difference(&self, other: &Outcome) -> Option<String> {
        let what = |outcome: &Outcome| outcome.trap.map(|trap| (trap.kind, trap.iteration));
        if what(self) != what(other) {
            return Some(format!("the trap is {:?} instead of {:?}", other.trap, self.trap));
        }
        if self.trap.is_some() {
            return None;
        }
        let mut pairs = self.buffers.iter().zip(&other.buffers).chain([(&self.memory, &other.memory)]).enumerate();
        pairs.find_map(|(number, (want, got))| {
            let at = want.iter().zip(got).position(|(want, got)| want != got)?;
            Some(format!("byte {at} of buffer {number} (the last is memory) is {} instead of {}", got[at], want[at]))
        })
    }

    /// Whether the launch stored anything.
    pub fn changed(&self) -> bool {
        self.buffers != self.before
    }
}

impl Case {
    fn new(wat: &str, buffers: Vec<Filled>, iterations: u32) -> Case {
        let bytes = wat::parse_str(wat).expect("the test's module is valid text");
        let module = GuestModule::new(Module::parse(bytes).expect("the test's module is valid"));
        let list = (0..buffers.len()).collect();
        Case { module, buffers, list, memory: noise(4 << 16, 77), iterations }
    }

    fn place(&self, space: &AddressSpace) -> Result<Vec<BufferSpec>, LaunchError> {
        let spec = |(id, buffer): (u64, &Filled)| {
            let size = buffer.bytes.len() as u32;
            let address = space.allocate(size, self.memory.len() as u64);
            let address = address.ok_or_else(|| LaunchError::Internal("No address is left.".into()))?;
            Ok(BufferSpec { id: BufferId(id), address, size, access: buffer.access })
        };
        (1..).zip(&self.buffers).map(spec).collect()
    }

    /// The buffers with addresses.
    pub fn specs(&self) -> Result<Vec<BufferSpec>, Failed> {
        let space = AddressSpace::detached().map_err(|error| error.to_string())?;
        Ok(self.place(&space)?)
    }

    /// Launches once on buffers that are there.
    pub fn launch(&self, context: &mut dyn Context, specs: &[BufferSpec]) -> Result<LaunchTimes, LaunchError> {
        self.launch_on(context, specs, &mut Memory(self.memory.clone()))
    }

    fn launch_on(
        &self,
        context: &mut dyn Context,
        specs: &[BufferSpec],
        memory: &mut Memory,
    ) -> Result<LaunchTimes, LaunchError> {
        let launch = Launch {
            module: self.module.clone(),
            function: 0,
            iterations: self.iterations,
            block_size: 5,
            buffers: self.list.iter().map(|number| specs[*number]).collect(),
        };
        context.launch(&launch, memory)
    }

    /// Launches so many times in one context, on the same buffers, filled anew.
    pub fn run(&self, device: &dyn Device, times: usize) -> Result<Vec<Outcome>, LaunchError> {
        let space = AddressSpace::detached().map_err(|error| LaunchError::Internal(error.to_string()))?;
        let specs = self.place(&space)?;
        let mut context = device.new_context(space)?;
        for spec in &specs {
            context.create_buffer(spec)?;
        }
        (0..times).map(|_| self.run_once(&mut *context, &specs)).collect()
    }

    /// Launches once on buffers that are there, filled anew.
    pub fn run_once(&self, context: &mut dyn Context, specs: &[BufferSpec]) -> Result<Outcome, LaunchError> {
        let before: Vec<Vec<u8>> = self.buffers.iter().map(|buffer| buffer.bytes.clone()).collect();
        for (spec, bytes) in specs.iter().zip(&before) {
            context.write_buffer(spec.id, 0, bytes)?;
        }
        let mut memory = Memory(self.memory.clone());
        let trap = match self.launch_on(context, specs, &mut memory) {
            Ok(_) => None,
            Err(LaunchError::Trap(trap)) => Some(trap),
            Err(error) => return Err(error),
        };
        let mut buffers = before.clone();
        for (spec, bytes) in specs.iter().zip(&mut buffers) {
            context.read_buffer(spec.id, 0, bytes)?;
        }
        Ok(Outcome { buffers, memory: memory.0, trap, before })
    }
}

/// A caller with linear memory, and nothing else.
struct Memory(Vec<u8>);

impl Caller for Memory {
    fn memory_size(&mut self) -> u64 {
        self.0.len() as u64
    }

    fn read_memory(&mut self, offset: u64, out: &mut [u8]) {
        let start = offset as usize;
        out.copy_from_slice(&self.0[start..start + out.len()]);
    }

    fn write_memory(&mut self, offset: u64, data: &[u8]) {
        let start = offset as usize;
        self.0[start..start + data.len()].copy_from_slice(data);
    }

    fn global(&mut self, _index: u32) -> Option<GlobalValue> {
        None
    }

    fn table(&mut self, _index: u32) -> Vec<TableEntry> {
        Vec::new()
    }
}

/// Bytes without a pattern.
fn noise(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..len).map(next).collect()
}

/// Five buffers, accessed in as many ways, and linear memory:
///
/// 0. loaded by four words, 16 bytes an iteration;
/// 1. loaded unaligned, 3 bytes an iteration and 5 more;
/// 2. changed in place by words, 4 bytes an iteration;
/// 3. stored by bytes, one an iteration;
/// 4. stored unaligned by words, 5 bytes an iteration.
pub fn work(iterations: u32) -> Case {
    let n = iterations as usize;
    let sizes = [(16 * n, Access::Read), (3 * n + 5, Access::ReadWrite), (4 * n, Access::ReadWrite)];
    let more = [(n, Access::Write), (5 * n, Access::ReadWrite)];
    let filled = |(seed, (len, access)): (u32, (usize, Access))| Filled { bytes: noise(len, seed), access };
    let buffers = (1..).zip(sizes.into_iter().chain(more)).map(filled).collect();
    let wat = r#"(module (memory 4)
      (func (param $i i32) (param $n i32) (param $block i32)
            (param $a i32) (param i32) (param $b i32) (param i32) (param $c i32) (param i32)
            (param $d i32) (param i32) (param $e i32) (param i32)
        (local $x i32)
        (local.set $a (i32.add (local.get $a) (i32.mul (local.get $i) (i32.const 16))))
        (local.set $x (i32.xor
          (i32.add (i32.load (local.get $a)) (i32.load offset=4 (local.get $a)))
          (i32.sub (i32.load offset=8 (local.get $a)) (i32.load offset=12 (local.get $a)))))
        (local.set $b (i32.add (local.get $b) (i32.mul (local.get $i) (i32.const 3))))
        (local.set $x (i32.add (local.get $x) (i32.load align=1 (local.get $b))))
        (local.set $x (i32.rotl (local.get $x) (i32.load8_u offset=4 (local.get $b))))
        (local.set $c (i32.add (local.get $c) (i32.mul (local.get $i) (i32.const 4))))
        (i32.store (local.get $c) (i32.add (local.get $x)
          (i32.mul (i32.load (local.get $c)) (local.get $n))))
        (i32.store8 (i32.add (local.get $d) (local.get $i)) (i32.add (local.get $x) (local.get $block)))
        (i32.store align=1 (i32.add (local.get $e) (i32.mul (local.get $i) (i32.const 5))) (local.get $x))
        (i32.store offset=70000 (i32.mul (local.get $i) (i32.const 8))
          (i32.add (i32.load offset=70004 (i32.mul (local.get $i) (i32.const 8))) (local.get $x)))))"#;
    Case::new(wat, buffers, iterations)
}

/// So many buffers (more than three), of which every third is changed, and the last is stored by bytes. Sizes are odd, one
/// buffer is empty, and one stands in the list twice.
pub fn many(count: usize, iterations: u32) -> Case {
    let n = iterations as usize;
    let mut buffers = Vec::new();
    let mut body = String::new();
    for number in 0..count {
        let at = format!("(i32.add (local.get $p{number}) (i32.mul (local.get $i) (i32.const 4)))");
        let (mut len, mut access) = (4 * n + number % 7, Access::Read);
        match number {
            1 => len = 0,
            _ if number == count - 1 => {
                access = Access::Write;
                body += &format!("(i32.store8 (i32.add (local.get $p{number}) (local.get $i)) (local.get $x))\n");
            }
            _ if number % 3 == 2 => {
                access = Access::ReadWrite;
                body += &format!(
                    "(i32.store {at} (i32.add (i32.load {at}) (i32.mul (local.get $x) (local.get $l{number}))))\n"
                );
            }
            // Pairs of words: two of three such buffers are loaded by more than a word at a time.
            _ => {
                len = 8 * n;
                let at = format!("(i32.add (local.get $p{number}) (i32.mul (local.get $i) (i32.const 8)))");
                let pair = format!("(i32.sub (i32.load {at}) (i32.load offset=4 {at}))");
                body += &format!("(local.set $x (i32.add (i32.mul (local.get $x) (i32.const 31)) {pair}))\n");
            }
        }
        buffers.push(Filled { bytes: noise(len, number as u32 + 9), access });
    }
    // The third one again, loaded.
    body += &format!(
        "(i32.store (i32.add (local.get $p2) (i32.mul (local.get $i) (i32.const 4)))
           (i32.add (local.get $x) (i32.load (i32.add (local.get $p{count}) (i32.mul (local.get $i) (i32.const 4))))))"
    );
    let params: String = (0..=count).map(|p| format!("(param $p{p} i32) (param $l{p} i32)")).collect();
    let wat = format!("(module (memory 4) (func (param $i i32 ) (param i32 i32) {params} (local $x i32)\n{body}))");
    let mut case = Case::new(&wat, buffers, iterations);
    case.list.push(2);
    case
}

/// One buffer of so many bytes, zeroes, of which each iteration sets a word, at equal distances.
pub fn sparse(size: u32, iterations: u32) -> Case {
    let stride = (size / iterations) & !3;
    let wat = format!(
        "(module (memory 4) (func (param $i i32) (param i32 i32) (param $p i32) (param i32)
           (local.set $p (i32.add (local.get $p) (i32.mul (local.get $i) (i32.const {stride}))))
           (i32.store (local.get $p) (i32.xor (i32.load (local.get $p)) (i32.xor (local.get $i) (i32.const 0x5a5a0000))))))"
    );
    Case::new(&wat, vec![Filled { bytes: vec![0; size as usize], access: Access::ReadWrite }], iterations)
}

/// As many invocations as there can be, of which the last stores its number.
pub fn last() -> Case {
    let wat = "(module (memory 4) (func (param i32 i32 i32 i32 i32)
      (br_if 0 (i32.ne (i32.add (local.get 0) (i32.const 1)) (local.get 1)))
      (i32.store (local.get 3) (local.get 0))))";
    Case::new(wat, vec![Filled { bytes: vec![0; 4], access: Access::Write }], u32::MAX)
}
