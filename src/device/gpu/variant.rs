//! Which form of a kernel a launch takes, and what it is given.
//!
//! Where pointers point that the kernel takes from memory is read before the launch and is part of the form; checks that
//! the launch's parameters prove are left out; memory is bound in the layout that keeps the device's limits.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Instant;

use wavelift_translator::layout::DATA;
use wavelift_translator::passes::coarsen::LANES;
use wavelift_translator::pointers::{LaunchMemory, Resolved};
use wavelift_translator::speculation::{is_large, is_worth};
use wavelift_translator::{
    Assumption, Coarsen, Environment, Flatten, Input, LINEAR, LaunchState, Layout, Options, RoundCount, Seen, Shape,
    Share, Speculate, Speculation,
};

use crate::device::gpu::Shared;
use crate::device::gpu::again::Parameter;
use crate::device::gpu::connection::Connection;
use crate::device::gpu::context::GpuContext;
use crate::device::gpu::immediates::all_immediates;
use crate::device::gpu::kept::Lift;
use crate::device::gpu::known_data::own_stack;
use crate::device::gpu::launch::shape_of;
use crate::device::gpu::layout::Demand;
use crate::device::gpu::linear::{CallerState, Window};
use crate::device::gpu::pipeline::{Kernel, Lifting};
use crate::device::{BufferSpec, Launch, LaunchError};

/// A kernel lifted for a launch, and what the launch gives it.
pub(super) struct Lifted {
    pub kernel: Arc<Kernel>,
    pub lift: Lift,
    /// The words of the interface's inputs.
    pub inputs: Vec<u32>,
    /// What it can reach of linear memory.
    pub window: Option<Window>,
    /// Whether it may store there.
    pub stores: bool,
    /// Whether the launch binds linear memory itself, all of the window, and no copy.
    pub imported: bool,
    /// Whether the form depends on words of memory that were read for it.
    pub asked: bool,
    /// The words of buffers to which no kernel may store by which it was chosen.
    pub parameters: Vec<Parameter>,
    /// How many invocations stand for one of the launch's.
    pub rounds: u32,
}

/// What lifting for a launch comes to.
enum Form {
    Lifted(Box<Lifted>),
    /// Words that the module's data does not, or may not, hold any more, what lifting took, and which functions were kept once.
    InDoubt(Vec<u32>, Lift, Share),
}

/// Lifts a launch's kernel in this form and that.
struct Lifter<'a> {
    shared: &'a Shared,
    launch: &'a Launch,
    options: Options,
    /// What it took.
    lift: Lift,
}

impl Lifter<'_> {
    fn get(&mut self, shape: &Shape) -> Result<Arc<Kernel>, LaunchError> {
        let Launch { module, function, .. } = self.launch;
        let (kernel, lift) = self.shared.kernels.get(module, *function, shape.clone(), &self.options)?;
        self.lift.add(lift);
        Ok(kernel)
    }

    fn get_or_ask(&mut self, shape: &Shape) -> Result<Lifting, LaunchError> {
        let Launch { module, function, .. } = self.launch;
        let (lifting, lift) = self.shared.kernels.get_or_ask(module, *function, shape.clone(), &self.options)?;
        self.lift.add(lift);
        Ok(lifting)
    }
}

/// The launch's memory, for pointers that are read before it.
struct Memory<'a, 'c> {
    context: &'a mut GpuContext,
    connection: &'a Connection,
    state: &'a mut CallerState<'c>,
    slots: &'a [BufferSpec],
}

impl LaunchMemory for Memory<'_, '_> {
    fn global(&mut self, global: u32) -> Option<u32> {
        self.state.number(global)
    }

    fn range(&mut self, place: u32) -> Option<(u32, u32)> {
        match place {
            LINEAR => Some((0, self.state.size())),
            slot => self.slots.get(slot as usize).map(|spec| (spec.address, spec.size)),
        }
    }

    fn word(&mut self, place: u32, offset: u32) -> Option<u32> {
        if place == LINEAR {
            return Some(self.state.memory_word(offset));
        }
        self.context.host_word(self.connection, self.slots.get(place as usize)?, offset)
    }
}

impl GpuContext {
    /// The kernel for this launch: the exact form or, where the device's options want it, a speculative one.
    pub(super) fn lifted(
        &mut self,
        launch: &Launch,
        environment: &Environment,
        state: &mut CallerState<'_>,
        connection: &Connection,
    ) -> Result<Lifted, LaunchError> {
        let lifted = self.lifted_in_some_form(launch, environment, state, connection)?;
        if self.shared.kernels.is_too_deep(&launch.module, launch.function) && lifted.kernel.assumed().frames {
            return Err(LaunchError::Unsupported(
                "The kernel makes arrays of variable length, which did not fit into a GPU's private stack before."
                    .into(),
            ));
        }
        Ok(lifted)
    }

    fn lifted_in_some_form(
        &mut self,
        launch: &Launch,
        environment: &Environment,
        state: &mut CallerState<'_>,
        connection: &Connection,
    ) -> Result<Lifted, LaunchError> {
        let left = self.shared.kernels.speculation(&launch.module, launch.function);
        let exact = Speculation { frames: left.frames, ..Speculation::NONE };
        let (speculate, options) = (self.shared.speculate, Options { speculation: exact, ..self.shared.options });
        if speculate == Speculate::Always && left.any() {
            let options = Options { speculation: left, ..options };
            return self.lifted_knowing(launch, environment, state, connection, options);
        }
        let started = Instant::now();
        let exact = self.lifted_knowing(launch, environment, state, connection, options);
        if speculate != Speculate::Auto || !left.any() {
            return exact;
        }
        match &exact {
            Ok(lifted) if !is_large(lifted.kernel.shader.accesses, &options) => return exact,
            Ok(_) | Err(LaunchError::Unsupported(_)) => {}
            Err(_) => return exact,
        }
        let mut lifted = self.speculative(launch, environment, state, connection, exact)?;
        // Those that were refused took time, too.
        if lifted.lift.lifted || lifted.lift.found {
            lifted.lift.took = started.elapsed();
        }
        Ok(lifted)
    }

    /// A speculative form, in place of an exact one that is large, or refused, if there is a smaller one.
    fn speculative(
        &mut self,
        launch: &Launch,
        environment: &Environment,
        state: &mut CallerState<'_>,
        connection: &Connection,
        exact: Result<Lifted, LaunchError>,
    ) -> Result<Lifted, LaunchError> {
        let options = self.shared.options;
        let accesses = exact.as_ref().map_or(u32::MAX, |lifted| lifted.kernel.shader.accesses);
        // Where functions are kept once in the exact form, this needs it, too.
        let share = exact.as_ref().map_or(options.share, |lifted| match lifted.kernel.shader.share {
            Share::Never => options.share,
            share => share,
        });
        let seen = self.seen(launch, environment, state, connection);
        // A rehearsal may have shown that something does not hold.
        let left = self.shared.kernels.speculation(&launch.module, launch.function);
        let may_cut = left.paths && seen.as_deref().is_some_and(Seen::is_whole);
        let environment = Environment { seen, ..environment.clone() };
        let whole = left.without(Assumption::Paths);
        // What was not reached is left out where the kernel is large still, or where what is in it can't be lifted: then no form
        // that has more in it can be.
        let forms = match (&exact, may_cut) {
            (Err(_), true) => vec![left],
            (Ok(_), true) => vec![whole, left],
            (_, false) => vec![whole],
        };
        let mut best = (exact, accesses);
        for speculation in forms.into_iter().filter(|form| form.any()) {
            if !is_large(best.1, &options) {
                break;
            }
            let options = Options { speculation, share, ..options };
            match self.lifted_knowing(launch, &environment, state, connection, options) {
                Ok(form) if is_worth(form.kernel.shader.accesses, best.1) => {
                    let accesses = form.kernel.shader.accesses;
                    best = (Ok(form), accesses);
                }
                Err(refused @ LaunchError::Unsupported(_)) if best.0.is_err() && may_cut => best.0 = Err(refused),
                _ => {}
            }
        }
        best.0
    }

    /// The kernel for this launch, lifted as these options say, and what is known of the module's data.
    fn lifted_knowing(
        &mut self,
        launch: &Launch,
        environment: &Environment,
        state: &mut CallerState<'_>,
        connection: &Connection,
        options: Options,
    ) -> Result<Lifted, LaunchError> {
        let shared = self.shared.clone();
        let mut lift = Lift::default();
        // Where the kernel is too large with all functions inlined, it will be so with some words unknown.
        let mut share = options.share;
        // Each time more words are known to be something else, and soon none is taken for granted.
        loop {
            let initial = shared.kernels.changed.of(&launch.module, launch.function);
            let environment = Environment { initial, ..environment.clone() };
            match self.lifted_as(launch, &environment, state, connection, Options { share, ..options }) {
                Ok(Form::Lifted(mut lifted)) => {
                    lifted.lift.add(lift);
                    return Ok(*lifted);
                }
                Ok(Form::InDoubt(words, took, kept)) => {
                    lift.add(took);
                    share = kept;
                    shared.kernels.changed.note(&launch.module, launch.function, &words);
                }
                Err(LaunchError::Unsupported(_)) if share != options.share => share = options.share,
                Err(error) => return Err(error),
            }
        }
    }

    /// The same where the environment says what is known.
    fn lifted_as(
        &mut self,
        launch: &Launch,
        environment: &Environment,
        state: &mut CallerState<'_>,
        connection: &Connection,
        options: Options,
    ) -> Result<Form, LaunchError> {
        let (mut shape, slots) = shape_of(&launch.buffers);
        shape.environment = environment.clone();
        let shared = self.shared.clone();
        let mut lifter = Lifter { shared: &shared, launch, options, lift: Lift::default() };
        let immediates = all_immediates(launch, &slots);
        let mut lifting = lifter.get_or_ask(&shape)?;
        let asks = !matches!(lifting, Lifting::Kernel(_));
        // Each time it asks for words that it does not have, of which there is an end.
        while let Lifting::AsksWords(addresses) = &lifting {
            // By a word outside of linear memory no function is called: the load of it traps.
            let word = |address: &u32| (*address, state.word_at(*address).unwrap_or_default());
            shape.environment.know_words(addresses.iter().map(word));
            lifting = lifter.get_or_ask(&shape)?;
        }
        let (mut kernel, pointers) = match lifting {
            Lifting::AsksWords(_) => return Err(LaunchError::Internal("Words are read above.".into())),
            Lifting::Kernel(kernel) => (kernel, Vec::new()),
            Lifting::Asks(sources) => {
                self.host_copies.next_launch();
                let memory = &mut Memory { context: self, connection, state, slots: &slots };
                let resolved = Resolved::new(&sources, slots.len() as u32, memory);
                knowing(&mut lifter, &mut shape, resolved, state, &immediates)?
            }
        };
        lifter.options.share = kernel.shader.share;
        let mut words = state.words(kernel.interface(), &pointers)?;
        let input = |input: Input| words.iter().find(|(known, _)| *known == input).map(|(_, word)| *word);
        let (copies, read) = (&self.host_copies, RefCell::new(Vec::<Parameter>::new()));
        let parameter = |slot: u32, index: u32| {
            let buffer = slots.get(slot as usize)?;
            let word = copies.parameter(buffer, index)?;
            let parameter = Parameter { buffer: *buffer, index, word };
            let mut read = read.borrow_mut();
            if !read.contains(&parameter) {
                read.push(parameter);
            }
            Some(word)
        };
        let iterations = launch.iterations;
        let known = LaunchState { immediates: &immediates, inputs: &input, words: &parameter, iterations };
        let in_doubt = kernel.known_data.in_doubt(&kernel.shader, state, &words, &known);
        if !in_doubt.is_empty() {
            return Ok(Form::InDoubt(in_doubt, lifter.lift, kernel.shader.share));
        }
        let asked = asks || !kernel.shader.relies_on.is_empty();
        if let Err(refused) = check_words(&kernel, &shape.environment, &words, &known) {
            if !options.speculation.callees {
                return Err(refused);
            }
            let environment = Environment { closed: true, ..environment.clone() };
            return self.lifted_as(launch, &environment, state, connection, options);
        }
        let mut reached = None;
        let rounds = self.rounds(&kernel, &known).unwrap_or(1);
        if rounds > 1 {
            // The host finds out less of what the flattened one reaches, which is the same.
            reached = Some(reach(&kernel, state, &known));
            lifter.options.flatten = true;
            kernel = lifter.get(&shape)?;
            words.push((Input::Rounds, rounds));
        }
        let input = |input: Input| words.iter().find(|(known, _)| *known == input).map(|(_, word)| *word);
        // There are fewer than 2^32.
        let invocations = launch.iterations * rounds;
        let known = LaunchState { immediates: &immediates, inputs: &input, words: &parameter, iterations: invocations };
        let proved = kernel.shader.launch_checks.proved(&known);
        if !proved.is_empty() {
            lifter.options.checks_proved = proved;
            kernel = lifter.get(&shape)?;
        }
        if kernel.shader.may_coarsen && self.is_to_coarsen(connection, invocations) {
            lifter.options.coarsen = true;
            let coarse = lifter.get(&shape)?;
            match coarse.interface().lanes {
                1 => lifter.options.coarsen = false,
                _ => kernel = coarse,
            }
        }
        let (window, stores) = reached.unwrap_or_else(|| reach(&kernel, state, &known));
        let whole = window.and_then(|window| self.imported(connection, state, &kernel, (window, stores)));
        let (window, imported) = (whole.or(window), whole.is_some());
        if let (Some(window), Some((_, word))) = (window, words.iter_mut().find(|(i, _)| *i == Input::WindowStart)) {
            *word = window.start;
        }
        let data = 4 * kernel.interface().data.len() as u64;
        let size = |slot: u32| match slots.get(slot as usize) {
            Some(spec) => spec.size.into(),
            None if slot == DATA => data,
            None => window.map_or(0, Window::size),
        };
        let demand = Demand { interface: kernel.interface(), slots: slots.len() as u32, size: &size };
        shape.layout = demand.layout(&connection.limits)?;
        if shape.layout != Layout::default() {
            kernel = lifter.get(&shape)?;
        }
        // The form without checks may read less of the launch's state.
        let used = |(input, word): &(Input, u32)| kernel.interface().inputs.contains(input).then_some(*word);
        let inputs = words.iter().filter_map(used).collect();
        let lift = lifter.lift;
        let parameters = read.into_inner();
        Ok(Form::Lifted(Box::new(Lifted { kernel, lift, inputs, window, stores, imported, asked, parameters, rounds })))
    }
}

/// What a launch can reach of linear memory, and whether it may store there.
fn reach(kernel: &Kernel, state: &CallerState<'_>, known: &LaunchState<'_>) -> (Option<Window>, bool) {
    let reach = kernel.shader.linear.as_ref();
    (reach.map(|reach| state.window(reach, known)), reach.is_some_and(|reach| reach.stores))
}

/// So many invocations are run four at once: a quarter of them keeps a large GPU busy, or pays for compiling the longer
/// shader.
const MANY: u32 = 1 << 18;
/// The same of GPUs that are software.
const MANY_IN_SOFTWARE: u32 = 1 << 13;

/// A launch of fewer invocations than this is flattened, as is one of any number where that is asked for.
const FEW: u32 = 1 << 20;
/// Fewest rounds for which it is.
const ENOUGH_ROUNDS: u32 = 4;
/// One in so many invocations, at least, has a round to do.
const MOST_IDLE: u64 = 4;

impl GpuContext {
    /// How many invocations are to stand for one of a launch's, if it is to be flattened.
    fn rounds(&self, kernel: &Kernel, known: &LaunchState<'_>) -> Option<u32> {
        let program = kernel.shader.rounds.as_ref()?;
        let always = match self.shared.flatten {
            Flatten::Never => return None,
            Flatten::Always => true,
            Flatten::Auto => false,
        };
        if !always && known.iterations >= FEW {
            return None;
        }
        let RoundCount { most, all } = program.count(known, self.shared.options.fuel)?;
        // Four neighbours are of one invocation then.
        let rounds = most.checked_next_multiple_of(LANES)?;
        let invocations = u64::from(rounds) * u64::from(known.iterations);
        let pays = most >= ENOUGH_ROUNDS && invocations / MOST_IDLE <= all;
        (invocations < u64::from(u32::MAX) && (always || pays)).then_some(rounds)
    }

    fn is_to_coarsen(&self, connection: &Connection, iterations: u32) -> bool {
        match self.shared.coarsen {
            Coarsen::Never => false,
            Coarsen::Always => true,
            Coarsen::Auto => iterations >= if connection.software { MANY_IN_SOFTWARE } else { MANY },
        }
    }
}

/// Refuses a kernel that may find something else than the words by which it was lifted, from which it takes the numbers of
/// functions: stored by itself, or on its stack.
fn check_words(
    kernel: &Kernel,
    environment: &Environment,
    inputs: &[(Input, u32)],
    known: &LaunchState<'_>,
) -> Result<(), LaunchError> {
    // A form that bails out where calls come to other functions finds them when it runs.
    let Speculation { callees, methods, .. } = kernel.assumed();
    if environment.words.is_empty() || callees || methods {
        return Ok(());
    }
    let words: Vec<u32> = environment.words.iter().map(|(address, _)| *address).collect();
    let on_stack = own_stack(&kernel.shader, inputs);
    if words.iter().any(|address| on_stack(*address)) {
        return Err(unreadable("lies on its stack"));
    }
    match kernel.shader.linear.as_ref().is_none_or(|linear| linear.spares(known, &words)) {
        true => Ok(()),
        false => Err(unreadable("may be stored to by it")),
    }
}

fn unreadable(why: &str) -> LaunchError {
    LaunchError::Unsupported(format!("A kernel can't be lifted that takes a function's number from memory that {why}."))
}

/// The kernel for what is known of its pointers, which becomes part of the shape, and their values.
fn knowing(
    lifter: &mut Lifter<'_>,
    shape: &mut Shape,
    mut resolved: Resolved,
    state: &mut CallerState<'_>,
    immediates: &[u32],
) -> Result<(Arc<Kernel>, Vec<u32>), LaunchError> {
    if resolved.any() {
        shape.pointers.clone_from(&resolved.pointers);
        let kernel = lifter.get(shape)?;
        let words = state.words(kernel.interface(), &resolved.values)?;
        let input = |input: Input| words.iter().find(|(known, _)| *known == input).map(|(_, word)| *word);
        let iterations = lifter.launch.iterations;
        let known = LaunchState { immediates, inputs: &input, words: &|_, _| None, iterations };
        let linear = kernel.shader.linear.as_ref();
        if linear.is_none_or(|linear| linear.spares(&known, &resolved.linear_words())) {
            return Ok((kernel, resolved.values));
        }
        // It may store where some pointers are read: those are told apart when it runs.
        resolved.forget_linear();
    }
    shape.pointers.clear();
    if resolved.any() {
        shape.pointers.clone_from(&resolved.pointers);
    }
    Ok((lifter.get(shape)?, resolved.values))
}
