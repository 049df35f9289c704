//! Everything that a seed decides before a simulation begins: what runs, on what, and what goes wrong when.

use crate::fault::Faults;
use crate::program::{End, Program, TOPICS};
use crate::random::Random;

/// As good as never.
const NEVER_MS: u64 = 3_600_000;

/// One simulation. A plan and its seed decide everything that happens.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What all chance in it comes from.
    pub seed: u64,
    /// The executors at the beginning.
    pub executors: Vec<Setting>,
    /// The one that joins them when nothing goes wrong any more. It serves every queue.
    pub last: Setting,
    /// Whether the others leave then.
    pub last_alone: bool,
    /// The runs from outside.
    pub roots: Vec<Root>,
    /// Events from outside.
    pub events: Vec<Event>,
    /// What happens to executors.
    pub blows: Vec<Blow>,
    /// What goes wrong on the way to the store.
    pub faults: Faults,
    /// How long a lease lasts, in milliseconds.
    pub lease_ms: u64,
    /// How often an executor looks for what no wake-up told of.
    pub poll_ms: u64,
    /// How long a waiting run stays in memory.
    pub linger_ms: u64,
    /// How fast the store's clock runs, in thousandths.
    pub clock_rate: u32,
    /// Whether each run is replayed after each commit.
    pub verify: bool,
}

/// An executor.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// Whether it serves the other queue, too.
    pub other_queue: bool,
    /// How many runs of a queue it works on at once.
    pub concurrency: usize,
    /// How many runs it keeps in memory.
    pub resident: usize,
    /// How many drivers it has.
    pub drivers: usize,
}

/// A run from outside.
#[derive(Debug, Clone, PartialEq)]
pub struct Root {
    /// What it does.
    pub program: Program,
    /// When it is invoked.
    pub at_ms: u64,
    /// By the client of which executor; else by one of its own.
    pub through: Option<usize>,
    /// How long it waits before it begins.
    pub delay_ms: Option<u64>,
    /// Whether it is invoked twice, and once with another input.
    pub twice: bool,
    /// How long after its invocation it is cancelled.
    pub cancel_after_ms: Option<u64>,
}

/// An event from outside.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// When.
    pub at_ms: u64,
    /// The topic.
    pub topic: u8,
    /// The payload.
    pub value: u64,
}

/// Something that happens to an executor.
#[derive(Debug, Clone, PartialEq)]
pub struct Blow {
    /// When.
    pub at_ms: u64,
    /// To which.
    pub executor: usize,
    /// What.
    pub kind: Kind,
}

/// What happens to an executor.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// It is dropped where it stands, and another one takes its place after a while.
    Kill {
        /// How much later, in milliseconds.
        again_ms: u64,
        /// As what.
        setting: Setting,
    },
    /// Its calls are held back for so long.
    Freeze {
        /// In milliseconds.
        for_ms: u64,
    },
    /// It is shut down in good order, and another one takes its place after a while.
    Shutdown {
        /// How much later, in milliseconds.
        again_ms: u64,
        /// As what.
        setting: Setting,
    },
}

impl Setting {
    fn random(random: &mut Random) -> Self {
        let resident = if random.chance(1, 4) { random.between(1, 3) } else { 1_000 } as usize;
        Self {
            other_queue: random.chance(2, 3),
            concurrency: if random.chance(1, 3) { random.between(1, 2) as usize } else { 100 },
            resident,
            drivers: random.between(1, 2) as usize,
        }
    }
}

impl Plan {
    /// The plan of a seed.
    pub fn random(seed: u64) -> Self {
        let random = &mut Random::new(seed, "plan");
        let lease_ms = random.pick(&[900, 1_500, 3_000]);
        let faults = faults(random, lease_ms);
        // Where no wake-up is lost, nobody needs to look without one.
        let poll_ms = if faults.lost == 0 { NEVER_MS } else { random.pick(&[300, 1_000, 3_000]) };
        let executors: Vec<_> = (0..random.between(1, 3)).map(|_| Setting::random(random)).collect();
        let count = executors.len() as u64;
        let mut name = 0;
        let roots = (0..random.between(1, 5)).map(|_| root(random, &mut name, count)).collect();
        let events = (0..random.between(0, 4)).map(|n| Event {
            at_ms: random.between(0, 3_000),
            topic: random.below(u64::from(TOPICS)) as u8,
            value: 1_000_000 + n,
        });
        let events = events.collect();
        let blows = if random.chance(1, 4) { 0 } else { random.between(1, 4) };
        let blows = (0..blows).map(|_| Blow {
            at_ms: random.between(0, 4_000),
            executor: random.below(count) as usize,
            kind: kind(random, lease_ms),
        });
        let mut blows: Vec<_> = blows.collect();
        blows.sort_by_key(|blow| blow.at_ms);
        let last = Setting { other_queue: true, ..Setting::random(random) };
        Self {
            seed,
            executors,
            last,
            last_alone: random.chance(1, 2),
            roots,
            events,
            blows,
            faults,
            lease_ms,
            poll_ms,
            linger_ms: random.pick(&[0, 20, 300, 10_000]),
            clock_rate: if random.chance(1, 3) { random.between(900, 999) as u32 } else { 1_000 },
            verify: random.chance(1, 3),
        }
    }

    /// The same without anything going wrong.
    pub fn calm(self) -> Self {
        let delay_ms = self.faults.delay_ms;
        Self { blows: Vec::new(), faults: Faults { delay_ms, ..Faults::default() }, ..self }
    }

    /// Whether no executor loses its lease.
    pub fn loses_no_lease(&self) -> bool {
        let shut_down = |blow: &Blow| matches!(blow.kind, Kind::Shutdown { .. });
        self.faults.errors == 0 && self.faults.single.is_none() && self.blows.iter().all(shut_down)
    }

    /// How many events each topic needs, so that nobody waits in vain.
    pub fn waits(&self) -> u32 {
        let programs = self.roots.iter().flat_map(|root| root.program.family());
        programs.map(Program::waits).max().unwrap_or(0)
    }
}

fn root(random: &mut Random, name: &mut u32, executors: u64) -> Root {
    let mut program = Program::random(random);
    if random.chance(1, 12) {
        program.end = End::Never;
    }
    program.rename(name);
    let through = random.chance(2, 3).then(|| random.below(executors) as usize);
    Root {
        at_ms: random.between(0, 2_500),
        through,
        delay_ms: random.chance(1, 6).then(|| random.between(1, 1_500)),
        twice: random.chance(1, 3),
        cancel_after_ms: random.chance(1, 5).then(|| random.between(0, 2_000)),
        program,
    }
}

fn kind(random: &mut Random, lease_ms: u64) -> Kind {
    let again_ms = if random.chance(1, 2) { random.between(0, 50) } else { random.between(50, 2 * lease_ms) };
    let setting = Setting::random(random);
    match random.below(3) {
        0 => Kind::Kill { again_ms, setting },
        1 => Kind::Freeze { for_ms: random.between(lease_ms * 3 / 2, lease_ms * 4) },
        _ => Kind::Shutdown { again_ms, setting },
    }
}

fn faults(random: &mut Random, lease_ms: u64) -> Faults {
    let rough = |random: &mut Random, most: u64| if random.chance(1, 2) { random.between(1, most) } else { 0 };
    Faults {
        delay_ms: random.pick(&[0, 5, 40, lease_ms / 4]),
        errors: rough(random, 120),
        lost: rough(random, 300),
        doubled: rough(random, 200),
        late: rough(random, 300),
        single: None,
    }
}
