//! What transactions wrote, in a table without any unique index.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::Violation;
use super::evidence::Evidence;
use super::facts::Facts;
use crate::dump::{Effect, Key};
use crate::record::{Line, Record};

/// Which transaction.
type Place = (Uuid, Key);

/// A body with what it said that it wrote.
type Told<'a> = (u64, &'a Line, &'a [(i64, i64)]);

fn place(effect: &Effect) -> Place {
    (effect.run, Key { kind: "transaction".to_owned(), name: effect.step.clone(), nth: effect.nth })
}

fn rows<'a>(slice: Evidence, effects: impl IntoIterator<Item = &'a Effect>) -> Evidence {
    effects.into_iter().fold(slice, |slice, effect| {
        let Effect { run, step, nth, token, account, amount } = effect;
        slice.row(format!("effect {run} {step} #{nth} token {token} account {account} amount {amount}"))
    })
}

/// I5.
pub(super) fn exactly_once(facts: &Facts<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    let Some(effects) = &facts.dump.effects else { return found };
    let mut by_place = BTreeMap::<Place, Vec<&Effect>>::new();
    for effect in effects {
        by_place.entry(place(effect)).or_default().push(effect);
    }
    let mut wrote = BTreeMap::<Place, Vec<Told<'_>>>::new();
    for body in &facts.bodies {
        for line in &body.wrote {
            if let Record::TxWrote { rows, .. } = &line.record {
                wrote.entry((body.step.run, body.op())).or_default().push((body.id(), line, rows));
            }
        }
    }
    for ((run, key), effects) in &by_place {
        let told = wrote.get(&(*run, key.clone())).map_or(&[][..], Vec::as_slice);
        let outcome = facts.outcome(*run, key).filter(|entry| entry.phase == "ok");
        let tokens: BTreeSet<i64> = effects.iter().map(|effect| effect.token).collect();
        let what = if tokens.len() > 1 {
            format!("{key} had its effect {} times", tokens.len())
        } else if let Some(what) = differs(effects, told) {
            format!("{key} {what}")
        } else if outcome.is_none() && facts.dump.runs.contains_key(run) {
            format!("{key} had its effect, and its entry isn't there")
        } else if let Some(body) = outcome.and_then(|entry| entry.json()?["body"].as_i64())
            && !tokens.contains(&body)
        {
            format!("{key} is recorded as what body {body} did")
        } else {
            continue;
        };
        let slice = rows(Evidence::default(), effects.iter().copied()).entries(*run, outcome);
        let slice = slice.lines(told.iter().map(|(_, line, _)| *line));
        found.push(facts.violation("I5", Some(*run), what, slice));
    }
    for ((run, key), told) in &wrote {
        let outcome = facts.outcome(*run, key).filter(|entry| entry.phase == "ok");
        if let Some(entry) = outcome.filter(|_| !by_place.contains_key(&(*run, key.clone()))) {
            let slice = Evidence::default().entry(*run, entry).lines(told.iter().map(|(_, line, _)| *line));
            found.push(facts.violation(
                "I5",
                Some(*run),
                format!("{key} is recorded, and its effect isn't there"),
                slice,
            ));
        }
    }
    found
}

/// How rows of one token aren't what its body told that it wrote.
fn differs(effects: &[&Effect], told: &[Told<'_>]) -> Option<String> {
    let token = effects.first()?.token;
    let mut there: Vec<_> = effects.iter().map(|effect| (effect.account, effect.amount)).collect();
    there.sort_unstable();
    let Some((.., rows)) = told.iter().rev().find(|(body, ..)| i64::try_from(*body) == Ok(token)) else {
        return Some(format!("was committed by body {token}, which never said that it wrote anything"));
    };
    let mut rows = rows.to_vec();
    rows.sort_unstable();
    (rows != there).then(|| format!("wrote {rows:?}, and {there:?} is there"))
}

/// I20.
pub(super) fn sums_are_conserved(facts: &Facts<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    let begin = facts.lines.iter().find_map(|line| match &line.record {
        Record::Accounts { balances } => Some((line, balances)),
        _ => None,
    });
    let (Some((line, balances)), Some(effects)) = (begin, &facts.dump.effects) else { return found };
    let mut expected = BTreeMap::<i64, i64>::new();
    for (account, balance) in balances {
        *expected.entry(*account).or_default() += balance;
    }
    let mut by_run = BTreeMap::<Uuid, Vec<&Effect>>::new();
    for effect in effects.iter().filter(|effect| effect.account != 0) {
        *expected.entry(effect.account).or_default() += effect.amount;
        by_run.entry(effect.run).or_default().push(effect);
    }
    let mut held = BTreeMap::<i64, i64>::new();
    for (account, balance) in &facts.dump.accounts {
        *held.entry(*account).or_default() += balance;
    }
    let all: BTreeSet<i64> = expected.keys().chain(held.keys()).copied().collect();
    for account in all {
        let (should, is) = (expected.get(&account).copied().unwrap_or(0), held.get(&account).copied().unwrap_or(0));
        if should != is {
            let what = format!("account {account} holds {is}, and its bookings make {should}");
            let slice = rows(Evidence::default(), effects.iter().filter(|effect| effect.account == account).take(20));
            found.push(facts.violation("I20", None, what, slice));
        }
    }
    let (before, now) = (balances.iter().map(|(_, b)| b).sum::<i64>(), held.values().sum::<i64>());
    if before != now && facts.dump.runs.values().all(|row| row.is_terminal()) {
        let what = format!("there was {before} in all accounts, and there is {now}, with every run over");
        found.push(facts.violation("I20", None, what, Evidence::default().line(line)));
    }
    for (run, effects) in by_run {
        let sum: i64 = effects.iter().map(|effect| effect.amount).sum();
        let Some(row) = facts.dump.runs.get(&run).filter(|row| row.is_terminal() && sum != 0) else { continue };
        let slice = rows(Evidence::default().run(row), effects);
        found.push(facts.violation("I20", Some(run), format!("it is over, and its bookings make {sum}"), slice));
    }
    found
}
