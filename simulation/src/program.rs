//! Random workflows as data, and what each may answer.
//!
//! A program's answer tells which way it took, so [`Program::admits`] decides without running anything whether an
//! answer is one that this program can give: exactly one where nothing is left to the clock or to others.

use serde::{Deserialize, Serialize};
use workflow::RunId;

use crate::random::{Random, mix};

/// How often a step is tried.
pub const ATTEMPTS: u8 = 3;

/// How many topics there are.
pub const TOPICS: u8 = 3;

/// What a run does: its input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Program {
    /// Tells it apart from every other one of its seed.
    pub name: u32,
    /// One after the other.
    pub nodes: Vec<Node>,
    /// How it ends.
    pub end: End,
    /// Whether it is put into the queue that not every executor serves.
    pub other_queue: bool,
}

/// How a program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// With what it has seen.
    Well,
    /// With a failure.
    Failure,
    /// Only when it is cancelled.
    Never,
}

/// How the first attempts of a step fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trouble {
    /// With an error.
    Error,
    /// With a panic.
    Panic,
    /// They take longer than they may.
    Hang,
}

impl Trouble {
    /// The code of the step's failure when no attempt is left.
    pub fn code(self) -> &'static str {
        match self {
            Trouble::Error => "FAILED",
            Trouble::Panic => "PANICKED",
            Trouble::Hang => "TIMED_OUT",
        }
    }
}

/// A piece of a program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Node {
    /// A step.
    Step {
        /// Its name.
        id: u16,
        /// How long its body takes.
        ms: u16,
        /// How many attempts fail.
        fails: u8,
        /// How they fail.
        trouble: Trouble,
    },
    /// Nothing for a while.
    Sleep {
        /// For how long.
        ms: u16,
    },
    /// Nothing until an instant.
    SleepUntil {
        /// How long from now that is.
        ms: u16,
    },
    /// The next event of a topic.
    Wait {
        /// Which.
        topic: u8,
        /// How long it waits at most.
        timeout_ms: Option<u16>,
    },
    /// An event.
    Emit {
        /// Which of the program's emissions it is.
        id: u16,
        /// The topic.
        topic: u8,
    },
    /// A child, and its answer.
    Child(Box<Program>),
    /// A run of its own.
    Detached(Box<Program>),
    /// All of them, side by side.
    Join(Vec<Node>),
    /// The first of them.
    Race(Vec<Node>),
    /// One after the other.
    Each(Vec<Node>),
    /// Again and again.
    Loop(u8, Box<Node>),
}

/// What a program has seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Seen {
    /// Nothing, as it should be.
    Done,
    /// The value of a step.
    Value(u64),
    /// The payload of an event.
    Event(u64),
    /// A failure, by its code.
    Failed(String),
    /// The id of an independent run.
    Started(RunId),
    /// What several have seen.
    All(Vec<Seen>),
    /// Which one was first, and what it has seen.
    First(usize, Box<Seen>),
}

/// Where in a program: its name and the rounds of the loops around.
#[derive(Debug, Clone, Copy)]
pub struct At {
    /// The program's name.
    pub name: u32,
    rounds: u64,
}

impl At {
    /// At the beginning.
    pub fn new(name: u32) -> Self {
        Self { name, rounds: 0 }
    }

    /// In a round of a loop.
    pub fn round(self, n: u8) -> Self {
        Self { rounds: mix(self.rounds.wrapping_add(u64::from(n) + 1)), ..self }
    }

    /// The value that belongs to a node here: of no other node, round or program.
    pub fn value(self, id: u16) -> u64 {
        // JSON in other languages has 53 bits.
        mix(mix(u64::from(self.name) << 16 | u64::from(id)).wrapping_add(self.rounds.rotate_left(17))) >> 11
    }
}

impl Program {
    /// A random program.
    pub fn random(random: &mut Random) -> Self {
        let mut maker = Maker { random, names: 0, ids: 0, room: 0 };
        maker.room = maker.random.between(1, 12);
        maker.program(0)
    }

    /// Whether it can give this answer. `emitted` tells whether somebody emitted this to that topic.
    pub fn admits(&self, seen: &Seen, emitted: &dyn Fn(u8, u64) -> bool) -> bool {
        let Seen::All(seen) = seen else { return false };
        let at = At::new(self.name);
        self.end == End::Well
            && seen.len() == self.nodes.len()
            && self.nodes.iter().zip(seen).all(|(node, seen)| node.admits(seen, at, emitted))
    }

    /// All programs in it, itself first.
    pub fn family(&self) -> Vec<&Program> {
        let mut family = vec![self];
        self.nodes.iter().for_each(|node| node.collect(&mut family));
        family
    }

    /// The most events of one topic that a run of it waits for.
    pub fn waits(&self) -> u32 {
        self.nodes.iter().map(Node::waits).sum()
    }

    /// Replaces every name in it by a new one.
    pub fn rename(&mut self, next: &mut u32) {
        self.name = *next;
        *next += 1;
        self.nodes.iter_mut().for_each(|node| node.rename(next));
    }
}

impl Node {
    fn admits(&self, seen: &Seen, at: At, emitted: &dyn Fn(u8, u64) -> bool) -> bool {
        let all = |nodes: &[Node], seen: &[Seen]| {
            nodes.len() == seen.len() && nodes.iter().zip(seen).all(|(node, seen)| node.admits(seen, at, emitted))
        };
        match (self, seen) {
            (Node::Step { id, fails, .. }, Seen::Value(value)) => *fails < ATTEMPTS && *value == at.value(*id),
            (Node::Step { fails, trouble, .. }, Seen::Failed(code)) => *fails >= ATTEMPTS && code == trouble.code(),
            (Node::Sleep { .. } | Node::SleepUntil { .. } | Node::Emit { .. }, Seen::Done) => true,
            (Node::Wait { topic, .. }, Seen::Event(value)) => emitted(*topic, *value),
            (Node::Wait { timeout_ms, .. }, Seen::Failed(code)) => timeout_ms.is_some() && code == "TIMED_OUT",
            (Node::Child(program), Seen::Failed(code)) => program.end == End::Failure && code == "FAILED",
            (Node::Child(program), seen) => program.admits(seen, emitted),
            (Node::Detached(_), Seen::Started(_)) => true,
            (Node::Join(nodes) | Node::Each(nodes), Seen::All(seen)) => all(nodes, seen),
            (Node::Race(nodes), Seen::First(index, seen)) => {
                nodes.get(*index).is_some_and(|node| node.admits(seen, at, emitted))
            }
            (Node::Loop(times, node), Seen::All(seen)) => {
                seen.len() == usize::from(*times)
                    && (0..*times).zip(seen).all(|(n, seen)| node.admits(seen, at.round(n), emitted))
            }
            _ => false,
        }
    }

    fn parts(&self) -> &[Node] {
        match self {
            Node::Join(nodes) | Node::Race(nodes) | Node::Each(nodes) => nodes,
            Node::Loop(_, node) => std::slice::from_ref(node),
            _ => &[],
        }
    }

    fn collect<'a>(&'a self, family: &mut Vec<&'a Program>) {
        if let Node::Child(program) | Node::Detached(program) = self {
            family.extend(program.family());
        }
        self.parts().iter().for_each(|node| node.collect(family));
    }

    fn waits(&self) -> u32 {
        let times = if let Node::Loop(times, _) = self { u32::from(*times) } else { 1 };
        let own = u32::from(matches!(self, Node::Wait { .. }));
        own + times * self.parts().iter().map(Node::waits).sum::<u32>()
    }

    fn rename(&mut self, next: &mut u32) {
        match self {
            Node::Child(program) | Node::Detached(program) => program.rename(next),
            Node::Join(nodes) | Node::Race(nodes) | Node::Each(nodes) => {
                nodes.iter_mut().for_each(|node| node.rename(next));
            }
            Node::Loop(_, node) => node.rename(next),
            _ => {}
        }
    }
}

struct Maker<'a> {
    random: &'a mut Random,
    names: u32,
    ids: u16,
    /// How many more nodes there may be.
    room: u64,
}

impl Maker<'_> {
    fn program(&mut self, depth: u32) -> Program {
        let name = self.names;
        self.names += 1;
        let count = self.random.between(1, 3);
        let nodes = (0..count).map(|_| self.node(depth)).collect();
        let end = match self.random.below(16) {
            0 | 1 => End::Failure,
            _ => End::Well,
        };
        Program { name, nodes, end, other_queue: self.random.chance(1, 4) }
    }

    /// A child that nobody waits for to its end.
    fn endless(&mut self) -> Node {
        let program = self.program(3);
        Node::Child(Box::new(Program { end: End::Never, ..program }))
    }

    fn node(&mut self, depth: u32) -> Node {
        self.room = self.room.saturating_sub(1);
        if self.room == 0 || depth >= 3 || self.random.chance(11, 20) {
            return self.leaf();
        }
        match self.random.below(8) {
            0 | 1 => Node::Join(self.several(depth)),
            2 | 3 => {
                let mut nodes = self.several(depth);
                if self.random.chance(1, 4) {
                    nodes.push(self.endless());
                }
                Node::Race(nodes)
            }
            4 => Node::Loop(self.random.between(2, 3) as u8, Box::new(self.simple(depth))),
            5 => Node::Each(self.several(depth)),
            6 => Node::Detached(Box::new(self.program(depth + 1))),
            _ => Node::Child(Box::new(self.program(depth + 1))),
        }
    }

    /// Without runs in it: the same program doesn't run twice.
    fn simple(&mut self, depth: u32) -> Node {
        match self.random.below(4) {
            0 => Node::Each(vec![self.leaf(), self.leaf()]),
            1 if depth < 2 => Node::Race(vec![self.leaf(), self.leaf()]),
            _ => self.leaf(),
        }
    }

    fn several(&mut self, depth: u32) -> Vec<Node> {
        (0..self.random.between(2, 3)).map(|_| self.node(depth + 1)).collect()
    }

    fn leaf(&mut self) -> Node {
        let ms = |random: &mut Random| match random.below(8) {
            0 => random.between(500, 2_500),
            1..=3 => random.between(1, 30),
            _ => random.between(20, 400),
        } as u16;
        self.ids += 1;
        let id = self.ids;
        let random = &mut *self.random;
        match random.below(10) {
            0..=4 => {
                let fails = if random.chance(1, 4) { random.between(1, u64::from(ATTEMPTS)) } else { 0 } as u8;
                let trouble = random.pick(&[Trouble::Error, Trouble::Error, Trouble::Panic, Trouble::Hang]);
                let ms = if random.chance(1, 3) { 0 } else { ms(random).min(300) };
                Node::Step { id, ms, fails, trouble }
            }
            5 => Node::Sleep { ms: ms(random) },
            6 => Node::SleepUntil { ms: ms(random) },
            7 => Node::Emit { id, topic: random.below(u64::from(TOPICS)) as u8 },
            _ => {
                let timeout_ms = random.chance(1, 2).then(|| ms(random));
                Node::Wait { topic: random.below(u64::from(TOPICS)) as u8, timeout_ms }
            }
        }
    }
}
