//! The messages of Postgres' protocol, as far as a proxy has to tell them apart
//! (<https://www.postgresql.org/docs/current/protocol-message-formats.html>).

use std::collections::HashSet;

const SSL_REQUEST: [u8; 4] = 80_877_103_u32.to_be_bytes();
const GSS_REQUEST: [u8; 4] = 80_877_104_u32.to_be_bytes();

/// What an executor's commit looks like when it is one statement.
const WRITES: &[u8] = b"INSERT INTO workflow.journal";

/// A message, as it goes over the wire.
#[derive(Debug)]
pub struct Message {
    /// 0 for those that come before a session.
    pub tag: u8,
    pub bytes: Vec<u8>,
}

impl Message {
    fn body(&self) -> &[u8] {
        self.bytes.get(5..).unwrap_or_default()
    }

    /// Whether the server answers with a single byte.
    pub fn asks_for_encryption(&self) -> bool {
        self.tag == 0 && self.bytes.get(4..8).is_some_and(|code| code == SSL_REQUEST || code == GSS_REQUEST)
    }

    /// Whether the server says `ReadyForQuery` after it.
    pub fn asks_for_ready(&self) -> bool {
        matches!(self.tag, b'Q' | b'S')
    }
}

/// Cuts a stream into messages.
#[derive(Debug)]
pub struct Frames {
    buffer: Vec<u8>,
    /// The next message has no tag.
    untagged: bool,
}

impl Frames {
    /// What a client sends.
    pub fn of_client() -> Self {
        Self { buffer: Vec::new(), untagged: true }
    }

    /// What a server sends.
    pub fn of_server() -> Self {
        Self { buffer: Vec::new(), untagged: false }
    }

    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// One byte that is no message: the answer to a request for encryption.
    pub fn byte(&mut self) -> Option<u8> {
        (!self.buffer.is_empty()).then(|| self.buffer.remove(0))
    }

    /// The next whole message.
    pub fn next(&mut self) -> Option<Message> {
        let head = usize::from(!self.untagged);
        let length: [u8; 4] = self.buffer.get(head..head + 4)?.try_into().ok()?;
        let length = head + usize::try_from(u32::from_be_bytes(length)).ok()?.max(4);
        if self.buffer.len() < length {
            return None;
        }
        let rest = self.buffer.split_off(length);
        let bytes = std::mem::replace(&mut self.buffer, rest);
        let message = Message { tag: if self.untagged { 0 } else { bytes[0] }, bytes };
        // After the startup message, which is the first that asks for no encryption, all have tags.
        self.untagged = self.untagged && message.asks_for_encryption();
        Some(message)
    }
}

/// Finds the messages of a session that commit something of an executor.
#[derive(Debug, Default)]
pub struct Commits {
    /// Prepared statements that write journals on their own.
    writers: HashSet<Vec<u8>>,
    in_transaction: bool,
}

impl Commits {
    /// Whether this message begins a commit.
    pub fn is_commit(&mut self, message: &Message) -> bool {
        let body = message.body();
        match message.tag {
            b'Q' => {
                let commit = body == b"COMMIT\0";
                self.in_transaction =
                    body.starts_with(b"BEGIN") || (self.in_transaction && !commit && !body.starts_with(b"ROLLBACK"));
                commit
            }
            b'P' => {
                let (name, rest) = split(body);
                if rest.windows(WRITES.len()).any(|window| window == WRITES) {
                    self.writers.insert(name.to_vec());
                } else {
                    self.writers.remove(name);
                }
                false
            }
            b'B' => {
                let (_, rest) = split(body);
                !self.in_transaction && self.writers.contains(split(rest).0)
            }
            _ => false,
        }
    }
}

/// Up to the next zero byte, and what comes after it.
fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    (&bytes[..end], bytes.get(end + 1..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![tag];
        bytes.extend(u32::try_from(body.len() + 4).expect("short").to_be_bytes());
        bytes.extend(body);
        bytes
    }

    #[test]
    fn messages_are_cut_wherever_the_chunks_end() {
        let mut stream = vec![0, 0, 0, 8];
        stream.extend(SSL_REQUEST);
        stream.extend([0, 0, 0, 9, 0, 3, 0, 0, 0]);
        stream.extend(message(b'Q', b"COMMIT\0"));
        for size in 1..stream.len() {
            let (mut frames, mut tags) = (Frames::of_client(), Vec::new());
            for chunk in stream.chunks(size) {
                frames.feed(chunk);
                while let Some(message) = frames.next() {
                    tags.push(message.tag);
                }
            }
            assert_eq!(tags, [0, 0, b'Q'], "in chunks of {size}");
        }
    }

    #[test]
    fn commits_are_found_in_both_forms() {
        let mut commits = Commits::default();
        let mut is = |tag, body: &[u8]| commits.is_commit(&Message { tag, bytes: message(tag, body) });
        assert!(!is(b'P', b"s1\0WITH x AS (INSERT INTO workflow.journal (a)\0"));
        assert!(is(b'B', b"\0s1\0rest"));
        assert!(!is(b'B', b"\0s2\0rest"));
        assert!(!is(b'Q', b"BEGIN; SET LOCAL x = 1\0"));
        assert!(!is(b'B', b"\0s1\0rest"), "its transaction commits");
        assert!(is(b'Q', b"COMMIT\0"));
        assert!(is(b'B', b"\0s1\0rest"));
    }
}
