//! From a plan that fails to the smallest one that fails in the same way.

use crate::fault::Faults;
use crate::ledger::Violation;
use crate::plan::{Plan, Setting};
use crate::program::{Node, Program};
use crate::scenario::simulate;

/// The most simulations that are spent on it.
const TRIES: u32 = 400;

/// Leaves away what the failure doesn't need: runs, faults, pieces of programs.
pub fn shrink(plan: &Plan, violation: &Violation) -> Plan {
    let mut smallest = plan.clone();
    let mut tries = 0;
    loop {
        let smaller = candidates(&smallest).into_iter().find(|candidate| {
            tries += 1;
            tries <= TRIES && fails_so(candidate, violation)
        });
        match smaller {
            Some(smaller) => smallest = smaller,
            None => return smallest,
        }
    }
}

fn fails_so(plan: &Plan, violation: &Violation) -> bool {
    simulate(plan, false).violations.iter().any(|other| other.invariant == violation.invariant)
}

/// The same with a little less.
fn candidates(plan: &Plan) -> Vec<Plan> {
    let mut all = Vec::new();
    let mut with = |change: &dyn Fn(&mut Plan)| {
        let mut smaller = plan.clone();
        change(&mut smaller);
        if smaller != *plan {
            all.push(smaller);
        }
    };
    for index in 0..plan.roots.len() {
        with(&|plan| {
            plan.roots.remove(index);
        });
    }
    for index in 0..plan.blows.len() {
        with(&|plan| {
            plan.blows.remove(index);
        });
    }
    with(&|plan| plan.events.clear());
    with(&|plan| plan.faults = Faults { delay_ms: plan.faults.delay_ms, ..Faults::default() });
    with(&|plan| plan.faults.errors = 0);
    with(&|plan| plan.faults.lost = 0);
    with(&|plan| plan.faults.doubled = 0);
    with(&|plan| plan.faults.late = 0);
    with(&|plan| plan.faults.delay_ms = 0);
    with(&|plan| plan.clock_rate = 1_000);
    with(&|plan| plan.verify = false);
    with(&|plan| plan.last_alone = false);
    with(&|plan| plan.last = Setting { other_queue: true, concurrency: 100, resident: 1_000, drivers: 1 });
    if plan.executors.len() > 1 {
        with(&|plan| plan.executors.truncate(plan.executors.len() - 1));
    }
    for index in 0..plan.roots.len() {
        with(&|plan| plan.roots[index].twice = false);
        with(&|plan| plan.roots[index].cancel_after_ms = None);
        with(&|plan| plan.roots[index].delay_ms = None);
        for program in programs(&plan.roots[index].program) {
            with(&|plan| plan.roots[index].program = program.clone());
        }
    }
    all
}

/// The same program with one piece less.
fn programs(program: &Program) -> Vec<Program> {
    lists(&program.nodes).into_iter().map(|nodes| Program { nodes, ..program.clone() }).collect()
}

fn lists(nodes: &[Node]) -> Vec<Vec<Node>> {
    let mut all = Vec::new();
    for index in 0..nodes.len() {
        if nodes.len() > 1 {
            let mut fewer = nodes.to_vec();
            fewer.remove(index);
            all.push(fewer);
        }
        for node in simpler(&nodes[index]) {
            let mut changed = nodes.to_vec();
            changed[index] = node;
            all.push(changed);
        }
    }
    all
}

fn simpler(node: &Node) -> Vec<Node> {
    match node {
        Node::Join(nodes) => inside(nodes, Node::Join),
        Node::Each(nodes) => inside(nodes, Node::Each),
        // A race needs one that ends.
        Node::Race(nodes) if nodes.len() > 2 => lists(nodes).into_iter().map(Node::Race).collect(),
        Node::Race(nodes) => nodes.first().cloned().into_iter().collect(),
        Node::Loop(_, node) => vec![(**node).clone()],
        Node::Child(child) => programs(child).into_iter().map(|child| Node::Child(Box::new(child))).collect(),
        Node::Detached(child) => programs(child).into_iter().map(|child| Node::Detached(Box::new(child))).collect(),
        Node::Step { id, ms, fails, trouble } if *ms > 0 || *fails > 0 => {
            vec![
                Node::Step { id: *id, ms: 0, fails: 0, trouble: *trouble },
                Node::Step { id: *id, ms: *ms, fails: 0, trouble: *trouble },
            ]
        }
        _ => Vec::new(),
    }
}

fn inside(nodes: &[Node], make: impl Fn(Vec<Node>) -> Node) -> Vec<Node> {
    let mut all = nodes.to_vec();
    all.extend(lists(nodes).into_iter().map(make));
    all
}
