//! The slice of history that proves a violation: records and rows, in the order in which they happened.

use uuid::Uuid;

use crate::dump::{Entry, Event, Message, Run};
use crate::record::{Line, Time};

/// Of a failure, so many characters are shown.
const LONGEST: usize = 400;

/// Records and rows with their times.
#[derive(Debug, Default)]
pub(super) struct Evidence(Vec<(Option<Time>, String)>);

impl Evidence {
    /// A record.
    pub fn line(mut self, line: &Line) -> Self {
        let record = serde_json::to_string(&line.record).unwrap_or_default();
        self.0.push((Some(line.at), format!("ledger {} {} by {}: {record}", line.seq, clock(line.at), line.from)));
        self
    }

    /// Records.
    pub fn lines<'a>(self, lines: impl IntoIterator<Item = &'a Line>) -> Self {
        lines.into_iter().fold(self, Self::line)
    }

    /// An entry of a journal.
    pub fn entry(mut self, run: Uuid, entry: &Entry) -> Self {
        let Entry { position, key, phase, mark, recorded_at, .. } = entry;
        let mark = mark.map(|mark| format!(" mark {mark}")).unwrap_or_default();
        let text = format!("journal {run} {position} {}: {key} {phase}{mark}", clock(*recorded_at));
        self.0.push((Some(*recorded_at), text));
        self
    }

    /// Entries of a journal.
    pub fn entries<'a>(self, run: Uuid, entries: impl IntoIterator<Item = &'a Entry>) -> Self {
        entries.into_iter().fold(self, |slice, entry| slice.entry(run, entry))
    }

    /// A run.
    pub fn run(mut self, run: &Run) -> Self {
        let mut text = format!("run {} {} {} created {}", run.id, run.workflow, run.status, clock(run.created_at));
        if let Some(at) = run.finished_at {
            text += &format!(" finished {}", clock(at));
        }
        if let Some(owner) = run.owner {
            text += &format!(" owner {owner}");
        }
        if let Some((parent, key)) = &run.parent {
            text += &format!(" parent {parent} {key}");
        }
        if let Some((code, message)) = &run.parked {
            text += &format!(" parked {code}: {message}");
        }
        if run.crashes > 0 {
            text += &format!(" crashes {}", run.crashes);
        }
        if let Some((_, output)) = run.output.as_ref().filter(|_| run.status == "failed") {
            text += &format!(": {}", String::from_utf8_lossy(output).chars().take(LONGEST).collect::<String>());
        }
        self.0.push((run.finished_at.or(Some(run.created_at)), text));
        self
    }

    /// A run by its id, if it is there.
    pub fn maybe_run(self, run: Option<&Run>) -> Self {
        run.into_iter().fold(self, Self::run)
    }

    /// A message in an inbox.
    pub fn message(self, run: Uuid, message: &Message) -> Self {
        self.row(format!("inbox {run} {}: {} {}", message.seq, message.key, message.phase))
    }

    /// An event.
    pub fn event(mut self, event: &Event) -> Self {
        let Event { name, key, seq, emitted_at, .. } = event;
        self.0.push((Some(*emitted_at), format!("event {name} {key:?} {seq} emitted {}", clock(*emitted_at))));
        self
    }

    /// Any other row.
    pub fn row(mut self, text: String) -> Self {
        self.0.push((None, text));
        self
    }

    /// In order; rows without a time come last.
    pub fn told(mut self) -> Vec<String> {
        self.0.sort_by_key(|(at, _)| at.unwrap_or(Time::MAX_UTC));
        self.0.into_iter().map(|(_, text)| text).collect()
    }
}

fn clock(at: Time) -> String {
    at.format("%H:%M:%S%.6f").to_string()
}
