//! Events: each reaches every waiter once, in the order in which they were emitted.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::Violation;
use super::evidence::Evidence;
use super::facts::Facts;
use super::timer::is_timeout;
use crate::dump::{Entry, Event, Key};
use crate::record::{Line, Op, Record};

/// Name and key.
type Topic<'a> = (&'a str, &'a str);

/// The events of each topic, by seq.
fn topics<'a>(facts: &Facts<'a>) -> BTreeMap<Topic<'a>, BTreeMap<i64, &'a Event>> {
    let mut found = BTreeMap::<_, BTreeMap<_, _>>::new();
    for event in &facts.dump.events {
        found.entry((event.name.as_str(), event.key.as_str())).or_default().insert(event.seq, event);
    }
    found
}

/// What an event's payload holds as its token.
fn token(payload: &[u8]) -> Option<String> {
    let value: serde_json::Value = serde_json::from_slice(payload).ok()?;
    value.as_str().or_else(|| value["token"].as_str()).map(str::to_owned)
}

/// The wait of a run for an event.
struct Wait<'a> {
    run: Uuid,
    asked: &'a Entry,
    key: String,
    after: i64,
    outcome: Option<&'a Entry>,
}

impl<'a> Wait<'a> {
    fn topic(&self) -> Topic<'_> {
        (&self.asked.key.name, &self.key)
    }

    fn slice(&self) -> Evidence {
        Evidence::default().entry(self.run, self.asked).entries(self.run, self.outcome)
    }
}

/// All waits, by run and position.
fn waits<'a>(facts: &Facts<'a>) -> Vec<Wait<'a>> {
    let mut found = Vec::new();
    for (&run, journal) in &facts.dump.journals {
        let mut outcomes = BTreeMap::<&Key, &Entry>::new();
        for entry in journal.iter().filter(|entry| entry.key.kind == "event" && entry.is_outcome()) {
            outcomes.entry(&entry.key).or_insert(entry);
        }
        for asked in journal.iter().filter(|entry| entry.key.kind == "event" && entry.phase == "asked") {
            let request = asked.json().unwrap_or_default();
            let key = request["key"].as_str().unwrap_or_default().to_owned();
            let after = request["after"].as_i64().unwrap_or(0);
            found.push(Wait { run, asked, key, after, outcome: outcomes.get(&asked.key).copied() });
        }
    }
    found
}

/// I11.
pub(super) fn each_reaches_all(facts: &Facts<'_>) -> Vec<Violation> {
    let topics = topics(facts);
    let waits = waits(facts);
    let mut found = emitted(facts);
    for wait in &waits {
        let events = topics.get(&wait.topic());
        let Some(outcome) = wait.outcome else { continue };
        if outcome.phase == "ok" {
            let mark = outcome.mark.unwrap_or(0);
            let event = events.and_then(|events| events.get(&mark)).copied();
            let what = match event {
                _ if mark <= wait.after => format!("{} got event {mark}, which it had already", wait.asked.key),
                None if !facts.may_be_swept() => format!("{} got event {mark}, which nobody emitted", wait.asked.key),
                Some(event) if event.payload != outcome.payload => {
                    format!("{} got event {mark} with another payload", wait.asked.key)
                }
                _ => continue,
            };
            let slice = event.into_iter().fold(wait.slice(), Evidence::event);
            found.push(facts.violation("I11", Some(wait.run), what, slice));
        } else if is_timeout(outcome) {
            // An event may come in the moment of the timeout, and the executor not know of it; not long before.
            let before = outcome.recorded_at - facts.options.settle;
            let missed =
                events.into_iter().flatten().find(|(seq, event)| **seq > wait.after && event.emitted_at < before);
            if let Some((_, event)) = missed.filter(|(_, event)| event.expires_at > outcome.recorded_at) {
                let what = format!("{} ran into its timeout with an event there for long", wait.asked.key);
                found.push(facts.violation("I11", Some(wait.run), what, wait.slice().event(event)));
            }
        }
    }
    found.extend(received_twice(facts, &waits));
    for subscription in &facts.dump.subscriptions {
        let topic = (subscription.topic_name.as_str(), subscription.topic_key.as_str());
        let missed = topics.get(&topic).and_then(|events| {
            let after = events.range(subscription.after + 1..).map(|(_, event)| *event);
            after.into_iter().find(|event| event.expires_at > facts.dump.taken_at)
        });
        if let Some(event) = missed {
            let what = format!("{} still waits, and the event is there", subscription.key);
            let entries = facts.entries(subscription.run, &subscription.key);
            let slice = Evidence::default().entries(subscription.run, entries).event(event);
            let slice = slice.maybe_run(facts.dump.runs.get(&subscription.run));
            found.push(facts.violation("I11", Some(subscription.run), what, slice));
        }
    }
    found
}

/// Emissions that aren't there, or twice.
fn emitted(facts: &Facts<'_>) -> Vec<Violation> {
    let mut by_token = BTreeMap::<(Topic<'_>, String), Vec<&Event>>::new();
    for event in &facts.dump.events {
        if let Some(token) = token(&event.payload) {
            by_token.entry(((&event.name, &event.key), token)).or_default().push(event);
        }
    }
    let mut emissions = BTreeMap::<(Topic<'_>, String), (Evidence, bool)>::new();
    for call in &facts.calls {
        let Op::Emit { name, key, token } = call.op else { continue };
        let must = call.done().is_some_and(|(line, _)| line.at <= facts.dump.taken_at);
        emissions.insert(((name, key), token.clone()), (call.slice(), must));
    }
    for line in facts.lines {
        let Record::Emitted { run, name, key, token } = &line.record else { continue };
        let row = facts.dump.runs.get(run);
        let must = row.is_some_and(|row| row.status == "completed");
        let slice = Evidence::default().line(line).maybe_run(row);
        emissions.insert(((name, key), token.clone()), (slice, must));
    }
    let mut found = Vec::new();
    for (emission, (slice, must)) in emissions {
        let events = by_token.get(&emission).map_or(&[][..], Vec::as_slice);
        let ((name, key), token) = &emission;
        let what = match events.len() {
            0 if must && !facts.may_be_swept() => format!("event {name} {key:?} {token:?} was emitted and isn't there"),
            0 | 1 => continue,
            n => format!("event {name} {key:?} {token:?} was emitted once and is there {n} times"),
        };
        let slice = events.iter().copied().fold(slice, Evidence::event);
        found.push(facts.violation("I11", None, what, slice));
    }
    found
}

/// Events that a run got twice though it waited for one after the other.
fn received_twice(facts: &Facts<'_>, waits: &[Wait<'_>]) -> Vec<Violation> {
    let mut by_topic = BTreeMap::<(Uuid, Topic<'_>), Vec<&Wait<'_>>>::new();
    for wait in waits {
        by_topic.entry((wait.run, wait.topic())).or_default().push(wait);
    }
    let mut found = Vec::new();
    for ((run, _), waits) in by_topic {
        let in_turn = waits
            .windows(2)
            .all(|pair| pair[0].outcome.is_some_and(|outcome| outcome.position < pair[1].asked.position));
        let got: Vec<_> =
            waits.iter().filter(|wait| wait.outcome.is_some_and(|outcome| outcome.phase == "ok")).collect();
        let again =
            got.windows(2).find(|pair| pair[0].outcome.and_then(|o| o.mark) >= pair[1].outcome.and_then(|o| o.mark));
        if let Some(pair) = again.filter(|_| in_turn) {
            let what =
                format!("{} got an event that {} had got, or an earlier one", pair[1].asked.key, pair[0].asked.key);
            let slice = pair[0].slice().entry(run, pair[1].asked).entries(run, pair[1].outcome);
            found.push(facts.violation("I11", Some(run), what, slice));
        }
    }
    found
}

/// I13.
pub(super) fn in_order(facts: &Facts<'_>) -> Vec<Violation> {
    let topics = topics(facts);
    let mut found = Vec::new();
    for wait in waits(facts) {
        let Some(outcome) = wait.outcome.filter(|outcome| outcome.phase == "ok") else { continue };
        let Some(events) = topics.get(&wait.topic()) else { continue };
        let mark = outcome.mark.unwrap_or(0);
        let between = wait.after.saturating_add(1)..mark.max(wait.after.saturating_add(1));
        let skipped = events.range(between).find(|(_, event)| event.expires_at > outcome.recorded_at);
        if let Some((seq, event)) = skipped {
            let what = format!("{} got event {mark} before event {seq}", wait.asked.key);
            found.push(facts.violation("I13", Some(wait.run), what, wait.slice().event(event)));
        }
    }
    for (topic, events) in &topics {
        let has_gap = events.keys().zip(events.keys().skip(1)).find(|(a, b)| **b != **a + 1);
        if let Some((a, b)) = has_gap.filter(|_| !facts.may_be_swept()) {
            let what = format!("the topic {topic:?} has event {b} after event {a}");
            found.push(facts.violation("I13", None, what, Evidence::default().event(events[a]).event(events[b])));
        }
    }
    found.extend(overtaken(facts));
    found
}

/// Events that were emitted after another emission had returned, and come before it.
fn overtaken(facts: &Facts<'_>) -> Vec<Violation> {
    let mut by_token = BTreeMap::<(Topic<'_>, String), &Event>::new();
    for event in &facts.dump.events {
        if let Some(token) = token(&event.payload) {
            by_token.insert(((&event.name, &event.key), token), event);
        }
    }
    // The questions and answers in the order of the ledger: what is asked now must come after the last that returned.
    let mut moments = Vec::<(u64, bool, Topic<'_>, &Event, &Line)>::new();
    for call in &facts.calls {
        let Op::Emit { name, key, token } = call.op else { continue };
        let topic = (name.as_str(), key.as_str());
        let Some(event) = by_token.get(&(topic, token.clone())).copied() else { continue };
        moments.push((call.asked.seq, false, topic, event, call.asked));
        if let Some((told, _)) = call.done() {
            moments.push((told.seq, true, topic, event, told));
        }
    }
    moments.sort_by_key(|(seq, ..)| *seq);
    let mut last = BTreeMap::<Topic<'_>, (&Event, &Line)>::new();
    let mut found = Vec::new();
    for (_, returned, topic, event, line) in moments {
        let before = last.get(&topic).copied();
        if returned {
            if before.is_none_or(|(before, _)| before.seq < event.seq) {
                last.insert(topic, (event, line));
            }
        } else if let Some((before, told)) = before.filter(|(before, _)| before.seq > event.seq) {
            let what = format!("event {} of {topic:?} was emitted after event {} had been", event.seq, before.seq);
            let slice = Evidence::default().line(told).line(line).event(before).event(event);
            found.push(facts.violation("I13", None, what, slice));
        }
    }
    found
}
