#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::io::Write as _;

use lockkeeper_agents::registry;
use lockkeeper_core::agent::Action;
use lockkeeper_core::id::{PromptNo, TurnNo};
use lockkeeper_holder::journal::{BootId, Part, WriteOp};

use super::*;

/// The journal of an attempt whose agent answers one prompt at length.
struct Attempt {
    file: tempfile::NamedTempFile,
    bytes: Vec<u8>,
}

const LINES: usize = 6000;

impl Attempt {
    fn new() -> Self {
        let header = Header { version: 1, boot_id: BootId([7; 16]), wall_us: 1_000_000, mono_us: 0 };
        let mut new = Self { file: tempfile::NamedTempFile::new().unwrap(), bytes: header.encode().to_vec() };
        new.put(&Record::Spawned { pid: 1, start_ticks: 1, boot_id: BootId([7; 16]) });
        let prompt =
            adapter().wire(seed()).encode(&Action::Prompt { turn: TurnNo(1), prompt: PromptNo(1) }, "go");
        new.put(&Record::Accepted { number: 1, op: WriteOp::Write, bytes: &prompt });
        new.put(&Record::Written { number: 1 });
        for line in 0..LINES {
            new.says(&format!(
                r#"{{"type":"assistant","message":{{"id":"m{line}","role":"assistant","content":[{{"type":"text","text":"{line} {}"}}]}}}}"#,
                "x".repeat(1000)
            ));
        }
        new
    }

    fn put(&mut self, record: &Record<'_>) {
        record.encode(1, &mut self.bytes);
    }

    fn says(&mut self, line: &str) {
        self.put(&Record::Output {
            stream: Stream::Stdout,
            part: Part::Lines,
            bytes: format!("{line}\n").as_bytes(),
        });
    }

    fn open(&mut self, at: Option<&Ingested>) -> Feed {
        self.file.write_all(&std::mem::take(&mut self.bytes)).unwrap();
        match Feed::open(self.file.path(), adapter(), seed(), at).unwrap() {
            Opened::Feed(feed) => *feed,
            other @ (Opened::NotYet | Opened::Unreadable(_)) => panic!("{other:?}"),
        }
    }
}

fn adapter() -> &'static dyn Adapter {
    registry::find("claude").unwrap()
}

fn seed() -> WireSeed {
    WireSeed {
        session: "0123456789ab".parse().unwrap(),
        attempt: AttemptNo(1),
        conversation: None,
        model: None,
        mode: None,
        tasks: Vec::new(),
    }
}

/// Reads to the end, and tells all positions that were handed out.
fn read_all(feed: &mut Feed, ahead: bool) -> (Vec<(Stamp, Input)>, Vec<Ingested>) {
    let (mut inputs, mut positions) = (Vec::new(), Vec::new());
    loop {
        let read = feed.read().unwrap();
        let position = feed.position();
        let news = !read.inputs.is_empty();
        positions.push(position);
        inputs.extend(read.inputs);
        if !read.more {
            return (inputs, positions);
        }
        if ahead && news {
            feed.read_ahead();
            assert_eq!(feed.position(), position, "what is read ahead is not handed out");
        }
    }
}

#[test]
fn what_is_read_ahead_is_handed_out_once_and_in_order() {
    let mut attempt = Attempt::new();
    let (inputs, positions) = read_all(&mut attempt.open(None), false);
    assert!(
        inputs.len() > LINES && positions.len() > 2,
        "{} inputs in {} steps",
        inputs.len(),
        positions.len()
    );
    let (ahead, steps) = read_all(&mut attempt.open(None), true);
    assert_eq!(ahead, inputs);
    assert_eq!(steps.last(), positions.last());
}

#[test]
fn what_was_taken_in_stays_so_while_it_is_read_again() {
    let mut attempt = Attempt::new();
    let (_, positions) = read_all(&mut attempt.open(None), false);
    let end = positions.last().unwrap();
    // The turn is open: its wire is rebuilt from far behind, in several steps. Whatever is committed meanwhile must not
    // set the position back, or the next daemon would take the same lines in again.
    assert!(end.rebuild_from < end.upto / 2);
    let (inputs, again) = read_all(&mut attempt.open(Some(end)), false);
    assert_eq!(inputs, []);
    assert!(again.len() > 2 && again.iter().all(|position| position == end), "{again:?}");
}

#[test]
fn a_journal_that_is_shorter_than_its_holder_says_is_damaged_whatever_was_taken_in() {
    let mut attempt = Attempt::new();
    let mut feed = attempt.open(None);
    let len = attempt.file.as_file().metadata().unwrap().len();
    attempt.file.as_file().set_len(len - 10).unwrap();
    let end = |feed: &mut Feed| loop {
        let read = feed.read().unwrap();
        if !read.more {
            return read.ended;
        }
    };
    assert_eq!(end(&mut feed), None, "a record that is being written looks the same");
    feed.expect(len);
    assert_eq!(end(&mut feed), Some(Ended::Damaged(len - 10)));
}
