//! What can go wrong: each spoils a good history in one way.

use serde_json::json;
use uuid::Uuid;
use workflow_checker::dump::{Effect, Subscription, prefixes};
use workflow_checker::record::{Finding, Hit, Life, Op, Record, Reply};

use crate::histories::*;
use crate::world::*;

/// The invariant, what is done, and how.
pub type Mutation = (&'static str, &'static str, fn(&mut World));

pub const MUTATIONS: &[Mutation] = &[
    ("I1", "an acknowledged run is gone", |w| {
        w.dump.runs.remove(&id(ORDER));
        w.dump.journals.remove(&id(ORDER));
    }),
    ("I1", "another workflow runs under the id", |w| w.row(ORDER).workflow = "transfer".to_owned()),
    ("I1", "the run has another id", |w| w.row(ORDER).invoke_id = Some("order-2".to_owned())),
    ("I2", "a completed run is running again", |w| {
        w.ok(Op::Status { run: id(ORDER) }, Reply::Seen { status: seen("running", None) });
    }),
    ("I2", "a completed run has failed in the end", |w| w.row(ORDER).status = "failed".to_owned()),
    ("I2", "two readers saw two outcomes", |w| {
        w.line("reader", Record::Observed { run: id(ORDER), status: seen("completed", Some("another")) });
    }),
    ("I2", "the journal goes on after the end", |w| {
        w.now = w.begin + ms(50_000);
        w.entry(ORDER, "emit", "late", "ok", json!(null));
    }),
    ("I2", "an end without its instant", |w| w.row(SLEEPER).finished_at = None),
    ("I3", "an entry is missing", |w| {
        w.journal(ORDER).remove(1);
    }),
    ("I3", "a position is there twice", |w| {
        let twin = w.journal(ORDER)[1].clone();
        w.journal(ORDER).insert(2, twin);
    }),
    ("I3", "an outcome is recorded twice", |w| {
        let mut twin = w.entry_mut(ORDER, "reserve", "ok").clone();
        let journal = w.journal(ORDER);
        (twin.position, twin.recorded_at) = (journal.len() as i64, journal[journal.len() - 1].recorded_at);
        journal.push(twin);
    }),
    ("I3", "entries changed their places", |w| w.entry_mut(ORDER, "reserve", "ok").recorded_at += ms(60_000)),
    ("I3", "a journal without its run", |w| {
        w.dump.runs.remove(&id(SLEEPER));
    }),
    ("I3", "an outcome that nobody asked for", |w| w.forget(SLEEPER, "", "asked")),
    ("I4", "a body begins after its outcome", |w| {
        let at = w.entry_mut(ORDER, "ship", "ok").recorded_at;
        let body = w.body(ORDER, "ship");
        (body.sent_at, body.at) = (at + ms(1), at + ms(2));
    }),
    ("I4", "a failed attempt begins again", |w| {
        let at = w.entry_mut(ORDER, "charge", "retry").recorded_at;
        let body = w.record(|r| matches!(r, Record::BodyStarted { attempt: 1, step, .. } if step.name == "charge"));
        (body.sent_at, body.at) = (at + ms(1), at + ms(2));
    }),
    ("I4", "two bodies of one freeze and thread", |w| {
        // The first is excused twice over: two threads let bodies begin. The third isn't.
        let zombie = w.last(|r| matches!(r, Record::BodyStarted { process, .. } if process == "e3")).clone();
        for n in 1..=2 {
            let mut line = zombie.clone();
            line.seq += 10_000 + n;
            w.lines.push(line);
        }
    }),
    ("I4", "a thawed body begins too late to be excused", |w| {
        let zombie = w.last(|r| matches!(r, Record::BodyStarted { process, .. } if process == "e3"));
        (zombie.sent_at, zombie.at) = (zombie.sent_at + ms(100), zombie.at + ms(100));
    }),
    ("I4", "a body begins after the run's end", |w| {
        let (at, name) = (w.row(SLEEPER).finished_at.expect("ended"), "late");
        w.start(SLEEPER, name, 1, "e2");
        assert!(w.body(SLEEPER, name).sent_at > at);
    }),
    ("I5", "an effect is there twice", |w| {
        let effects = w.effects();
        effects.push(effects[0].clone());
    }),
    ("I5", "two attempts were committed", |w| {
        let effects = w.effects();
        effects.push(Effect { token: effects[1].token - 1, ..effects[1].clone() });
    }),
    ("I5", "the entry is there without the effect", |w| {
        w.effects().retain(|effect| effect.step != "deposit");
    }),
    ("I5", "the effect is there without the entry", |w| w.forget(TRANSFER, "deposit", "ok")),
    ("I5", "only half of the effect is there", |w| {
        let line = w.last(|r| matches!(r, Record::TxWrote { .. }));
        let Record::TxWrote { rows, .. } = &mut line.record else { return };
        rows.push((1, -30));
    }),
    ("I6", "an attempt begins again without a fault", |w| {
        w.drop_records(|r| matches!(r, Record::Fault { hit: Hit::Kill, process: Some(p), .. } if p == "e1"));
        w.drop_records(|r| matches!(r, Record::Executor { process, life: Life::Exited { .. } } if process == "e1"));
    }),
    ("I6", "the fault hit somebody else", |w| {
        w.drop_records(|r| matches!(r, Record::Executor { process, life: Life::Exited { .. } } if process == "e1"));
        let fault = w.record(|r| matches!(r, Record::Fault { hit: Hit::Kill, process: Some(p), .. } if p == "e1"));
        let Record::Fault { process, .. } = &mut fault.record else { return };
        *process = Some("e2".to_owned());
    }),
    ("I6", "an outcome without a body", |w| {
        w.drop_records(|r| matches!(r, Record::BodyStarted { step, .. } if step.name == "ship"));
    }),
    ("I6", "a body has its effect twice", |w| {
        let effect = w.record(|r| matches!(r, Record::BodyEffect { .. })).clone();
        w.lines.push(effect);
    }),
    ("I6", "two steps have the same idempotency key", |w| {
        let line = w.body(ORDER, "ship");
        let Record::BodyStarted { key, .. } = &mut line.record else { return };
        *key = format!("{}/step/reserve/1", id(ORDER));
    }),
    ("I6", "an attempt has another idempotency key", |w| {
        let line = w.body(ORDER, "charge");
        let Record::BodyStarted { key, .. } = &mut line.record else { return };
        key.push('x');
    }),
    ("I7", "an entry has changed", |w| w.entry_mut(ORDER, "reserve", "ok").payload = b"1".to_vec()),
    ("I7", "the journal has become shorter", |w| w.journal(ORDER).truncate(2)),
    ("I7", "two readers saw different journals", |w| {
        let other = prefixes(w.dump.journal(id(TRANSFER)));
        w.line("reader", Record::Journal { run: id(ORDER), prefixes: other });
    }),
    ("I7", "a replay diverged", |w| {
        let row = w.row(STUCK);
        (row.status, row.finished_at) = ("parked".to_owned(), None);
        row.parked = Some(("DIVERGED".to_owned(), "asks for something else".to_owned()));
    }),
    ("I8", "an outcome of who had lost the run", |w| {
        let old = w.record(|r| matches!(r, Record::BodyStarted { step, attempt: 2, .. } if step.name == "charge")).seq;
        w.entry_mut(ORDER, "charge", "ok").payload = json!({ "body": old }).to_string().into_bytes();
    }),
    ("I8", "an outcome that was committed when others had the run", |w| {
        let old = w.record(|r| matches!(r, Record::BodyStarted { step, attempt: 2, .. } if step.name == "charge")).at;
        let entry = w.entry_mut(ORDER, "reserve", "ok");
        entry.committed_at = Some(old + ms(60_000));
    }),
    ("I8", "an outcome of a body that never was", |w| {
        w.entry_mut(ORDER, "charge", "ok").payload = json!({ "body": 999 }).to_string().into_bytes();
    }),
    ("I8", "an outcome of another step's body", |w| {
        let other = w.body(ORDER, "reserve").seq;
        w.entry_mut(ORDER, "ship", "ok").payload = json!({ "body": other }).to_string().into_bytes();
    }),
    ("I9", "a run belongs to nobody who is known", |w| {
        let row = w.row(STUCK);
        (row.status, row.owner, row.finished_at) = ("running".to_owned(), Some(Uuid::max()), None);
    }),
    ("I9", "a run is running and owned by nobody", |w| {
        let row = w.row(STUCK);
        (row.status, row.finished_at) = ("running".to_owned(), None);
    }),
    ("I9", "two processes run it at once", |w| {
        w.start(PARENT, "one", 1, "e2");
        w.start(PARENT, "two", 1, "e5");
        let first = w.body(PARENT, "one").seq;
        w.end(first, "e2", true);
    }),
    ("I10", "a sleep ends early in the journal", |w| {
        let asked = w.entry_mut(SLEEPER, "", "asked").recorded_at;
        w.entry_mut(SLEEPER, "", "ok").recorded_at = asked + ms(49);
    }),
    ("I10", "a timer fires early by the database's clock", |w| {
        let fired = w.record(|r| matches!(r, Record::TimerFired { .. }));
        let Record::TimerFired { db_at, .. } = &mut fired.record else { return };
        *db_at -= ms(20);
    }),
    ("I10", "a retry begins before its delay is over", |w| w.entry_mut(ORDER, "charge", "retry").mark = Some(30_000)),
    ("I10", "a timeout comes early", |w| {
        let entry = w.journal(WAITER).iter_mut().find(|entry| entry.phase == "asked" && entry.key.nth == 3);
        entry.expect("an entry").payload = br#"{"key":"k","after":2,"timeout_us":20000}"#.to_vec();
    }),
    ("I10", "a sleep until an instant ends early", |w| {
        let entry = w.journal(SLEEPER).iter_mut().find(|e| e.key.kind == "sleep_until" && e.phase == "ok");
        entry.expect("an entry").recorded_at -= ms(6);
    }),
    ("I11", "an acknowledged event is gone", |w| {
        w.dump.events.retain(|event| event.seq != 3);
    }),
    ("I11", "an event is there twice", |w| {
        w.event("news", "k", "t2");
    }),
    ("I11", "a waiter is passed over", |w| {
        let topic = ("news".to_owned(), "k".to_owned());
        let (run, key) = (id(STUCK), key("event", "news"));
        let (topic_name, topic_key) = topic;
        w.dump.subscriptions.push(Subscription { run, key, topic_name, topic_key, after: 2 });
    }),
    ("I11", "a waiter gets an event again", |w| {
        let entry = w.journal(WAITER).iter_mut().find(|entry| entry.phase == "ok" && entry.key.nth == 2);
        let entry = entry.expect("an entry");
        (entry.mark, entry.payload) = (Some(1), br#"{"token":"t1"}"#.to_vec());
    }),
    ("I11", "a waiter gets another payload", |w| w.entry_mut(WAITER, "news", "ok").payload = b"{}".to_vec()),
    ("I11", "an event from inside is lost", |w| {
        w.dump.events.retain(|event| event.name != "done");
    }),
    ("I11", "a timeout though the event was there", |w| {
        let failed = w.entry_mut(WAITER, "news", "failed");
        failed.recorded_at += ms(100_000);
    }),
    ("I12", "nothing wakes the parent", |w| {
        w.forget(PARENT, "child", "ok");
        let row = w.row(PARENT);
        (row.status, row.finished_at) = ("waiting".to_owned(), None);
        w.message(PARENT, key("invoke", "child"), "ok");
    }),
    ("I12", "the child's outcome is lost", |w| {
        w.forget(PARENT, "child", "ok");
        let row = w.row(PARENT);
        (row.status, row.finished_at) = ("waiting".to_owned(), None);
    }),
    ("I12", "the parent is told another outcome", |w| w.entry_mut(PARENT, "child", "ok").payload = b"7".to_vec()),
    ("I12", "the parent was told too early", |w| {
        let row = w.row(CHILD);
        (row.status, row.finished_at) = ("waiting".to_owned(), None);
    }),
    ("I13", "an event is skipped", |w| {
        let entry = w.entry_mut(WAITER, "news", "ok");
        (entry.mark, entry.payload) = (Some(3), br#"{"token":"t3"}"#.to_vec());
    }),
    ("I13", "a later emission comes first", |w| {
        let (first, third) = (w.dump.events[0].clone(), w.dump.events[2].clone());
        (w.dump.events[0].payload, w.dump.events[2].payload) = (third.payload, first.payload);
    }),
    ("I13", "a topic has a gap", |w| {
        w.dump.events.retain(|event| event.seq != 2);
    }),
    ("I14", "a place too many is taken", |w| {
        w.drop_records(|r| matches!(r, Record::PlaceLeft { .. }));
    }),
    ("I14", "a place is taken from who lives", |w| {
        w.drop_records(|r| matches!(r, Record::Fault { process: Some(p), .. } if p == "e4"));
    }),
    ("I15", "a child goes on without its parent", |w| {
        let row = w.row(CHILD);
        (row.status, row.finished_at) = ("ready".to_owned(), None);
    }),
    ("I15", "a child that nobody asked for", |w| {
        w.journal(PARENT).clear();
    }),
    ("I15", "a child is lost", |w| {
        w.dump.runs.remove(&id(CHILD));
    }),
    ("I15", "a child is there twice", |w| {
        let twin = w.row(CHILD).clone();
        w.run(77, "child").parent = twin.parent;
        w.finish(77, "completed");
    }),
    ("I15", "a parent is gone", |w| {
        w.dump.runs.remove(&id(PARENT));
    }),
    ("I16", "a step begins after the cancellation", |w| {
        let line = w.body(CANCELLED, "release");
        let Record::BodyStarted { cleanup, .. } = &mut line.record else { return };
        *cleanup = false;
    }),
    ("I16", "a cleanup isn't journaled", |w| w.forget(CANCELLED, "release", "ok")),
    ("I16", "a step that was under way begins again", |w| {
        let at = w.entry_mut(CANCELLED, "", "ok").recorded_at;
        let line = w.body(CANCELLED, "reserve");
        (line.sent_at, line.at) = (at + ms(1), at + ms(1));
    }),
    ("I17", "the same id is two runs", |w| {
        w.ok(invocation("order-1", "order", "input"), Reply::Run { run: id(STUCK) });
    }),
    ("I17", "another input without a conflict", |w| {
        w.ok(invocation("order-1", "order", "third input"), Reply::Run { run: id(ORDER) });
    }),
    ("I17", "a conflict without another input", |w| {
        w.failed(invocation("transfer-2", "transfer", "input"), "ID_CONFLICT");
    }),
    ("I17", "two runs have one id", |w| w.row(TRANSFER).invoke_id = Some("order-1".to_owned())),
    ("I17", "a run that nobody asked for", |w| {
        w.run(99, "order").invoke_id = Some("ghost".to_owned());
        w.finish(99, "completed");
    }),
    ("I18", "a run doesn't end", |w| {
        let row = w.row(STUCK);
        (row.status, row.finished_at) = ("waiting".to_owned(), None);
    }),
    ("I18", "a run ends too late", |w| {
        let at = w.record(|r| matches!(r, Record::FaultsStopped)).at;
        w.row(STUCK).finished_at = Some(at + ms(30_001));
    }),
    ("I19", "an attempt that never failed is counted", |w| {
        let line = w.body(ORDER, "ship");
        let Record::BodyStarted { attempt, .. } = &mut line.record else { return };
        *attempt = 2;
    }),
    ("I19", "a crash is counted that never was", |w| w.row(ORDER).crashes = 9),
    ("I20", "money is lost", |w| w.dump.accounts[1].1 -= 1),
    ("I20", "half a transfer", |w| {
        w.effects().retain(|effect| effect.step != "deposit");
        w.dump.accounts[1].1 -= 30;
    }),
    ("I20", "an account is there twice", |w| w.dump.accounts.push((1, 5))),
    ("I21", "a tick is skipped", |w| {
        let last = w.last(|r| matches!(r, Record::Tick { .. })).seq;
        w.lines.retain(|line| line.seq != last);
    }),
    ("I21", "a tick has two runs", |w| {
        let mut twin = w.last(|r| matches!(r, Record::Tick { .. })).record.clone();
        if let Record::Tick { run, .. } = &mut twin {
            *run = id(200);
        }
        w.line("e2", twin);
    }),
    ("I21", "a run at no tick", |w| {
        let tick = w.begin + ms(1_500);
        w.line("e2", Record::Tick { schedule: "hourly".to_owned(), tick, run: id(201) });
    }),
    ("I22", "a client doesn't find its run", |w| w.failed(Op::Status { run: id(ORDER) }, "NO_SUCH_RUN")),
    ("I22", "a client can't cancel its run", |w| w.failed(Op::Cancel { run: id(CANCELLED) }, "NO_SUCH_RUN")),
    ("I23", "files leak", |w| {
        for (n, line) in w.lines.iter_mut().filter(|l| matches!(l.record, Record::Gauge { .. })).enumerate() {
            let Record::Gauge { value, .. } = &mut line.record else { continue };
            *value = n as f64;
        }
    }),
    ("I23", "memory leaks slowly", |w| {
        for n in 0..100 {
            let what = "memory_bytes".to_owned();
            w.line("e2", Record::Gauge { process: "e2".to_owned(), what, value: 1e6 + 1e4 * f64::from(n) });
        }
    }),
    ("I24", "an error without a code that is known", |w| {
        w.line("e2", Record::ErrorSeen { process: "e2".to_owned(), code: "Database(PoolTimedOut)".to_owned() });
    }),
    ("I24", "a client is told something unheard of", |w| w.failed(Op::Status { run: id(ORDER) }, "WHO_KNOWS")),
    ("I24", "a panic", |w| {
        let (finding, line) = (Finding::Panic, "thread panicked".to_owned());
        w.line("harness", Record::LogFound { process: "e2".to_owned(), finding, line });
    }),
    ("I24", "a secret in a log", |w| {
        let (finding, line) = (Finding::Secret, "payload: ***".to_owned());
        w.line("harness", Record::LogFound { process: "e2".to_owned(), finding, line });
    }),
];
