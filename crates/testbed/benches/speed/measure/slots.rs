//! A host with one slot, by the sessions that wait for it.
//!
//! Two sessions with agents hand the slot to each other; their prompts are urgent, so those of all others wait behind
//! them, without a process. One daemon for each number of sessions that wait, and the daemons take turns.

use std::path::PathBuf;
use std::time::Instant;
use std::{fs, mem};

use serde_json::json;

use super::cost::Costs;
use super::report::{Report, Samples};
use super::{Size, many};
use crate::support::{Fallible, Frame, Home, Session, Spec, Stream, ensure};

const ONE_SLOT: &str = "[slots]\nall = 1\n";

/// The sessions that wait for the slot.
const WAITING: [usize; 3] = [10, 100, 1000];
const QUICK_WAITING: [usize; 3] = [2, 4, 8];

/// The length of a line's text in bytes.
const LINE_BYTES: u32 = 200;

/// A host on which so many sessions wait for the slot that two others hand to each other.
struct Crowded<'a> {
    home: &'a Home,
    waiting: usize,
    at_work: Session<'a>,
    next: Session<'a>,
    stream: Stream,
    load: Load,
    turns: u32,
    costs: CostsOfAll,
}

/// The lines that the agent writes in one turn.
#[derive(Clone, Copy)]
struct Load {
    /// One every millisecond, so that each is committed by itself.
    paced: u32,
    /// As fast as it can.
    flood: u32,
}

#[derive(Default)]
struct CostsOfAll {
    paced: Costs,
    flood: Costs,
    /// A prompt that has to wait for the slot.
    queue: Costs,
    /// From the end of one session's turn to the start of the other's.
    started: Samples,
    /// From that end to the moment when the agent has taken its prompt.
    taken: Samples,
    /// All that leads from one turn to the other.
    hand_over: Costs,
}

pub(crate) fn measure(size: Size) -> Fallible<Report> {
    let mut report = Report::default();
    let load = size.of(Load { paced: 200, flood: 10_000 }, Load { paced: 5, flood: 20 });
    let waiting = size.of(WAITING, QUICK_WAITING);
    many::daemons(ONE_SLOT, waiting.len(), |homes| {
        let mut hosts = Vec::new();
        for (home, waiting) in homes.iter().zip(waiting) {
            hosts.push(Crowded::new(home, waiting, load)?);
        }
        for _ in 0..size.of(40, 2) {
            for host in &mut hosts {
                host.round()?;
            }
        }
        for (what, samples) in CostsOfAll::KINDS {
            let those = hosts.iter().map(|host| (host.waiting, samples(&host.costs)));
            report.add_by_count(what, "wait", &those.collect::<Vec<_>>());
        }
        Ok(())
    })?;
    Ok(report)
}

/// One of the costs.
type Kind = fn(&CostsOfAll) -> &Samples;

impl CostsOfAll {
    /// How long a line takes that comes every millisecond says nothing: it is that millisecond.
    const KINDS: [(&'static str, Kind); 8] = [
        ("a line by itself, CPU", |costs| &costs.paced.cpu),
        ("a line in a flood, time", |costs| &costs.flood.time),
        ("a line in a flood, CPU", |costs| &costs.flood.cpu),
        ("queue a prompt, time", |costs| &costs.queue.time),
        ("queue a prompt, CPU", |costs| &costs.queue.cpu),
        ("from a turn's end to the next's start", |costs| &costs.started),
        ("from a turn's end until the next is taken", |costs| &costs.taken),
        ("hand the slot over, CPU", |costs| &costs.hand_over.cpu),
    ];
}

impl<'a> Crowded<'a> {
    fn new(home: &'a Home, waiting: usize, load: Load) -> Fallible<Self> {
        let kinds = "after=start&kind=turn.started,turn.taken,turn.ended,tool.started";
        let stream = home.stream(&format!("/v1/events?{kinds}"))?;
        let [at_work, next] = [home.session(&Spec::kept())?, home.session(&Spec::kept())?];
        // Both agents are started before anybody waits.
        next.ask("SAY ready")?;
        prompt(home, &at_work, 0, load)?;
        let costs = CostsOfAll::default();
        let mut crowded = Self { home, waiting, at_work, next, stream, load, turns: 0, costs };
        event(&mut crowded.stream, &crowded.at_work, "turn.taken")?;
        crowded.lines()?;
        crowded.crowd()?;
        // Nobody waited for the slot so far.
        crowded.costs = CostsOfAll::default();
        Ok(crowded)
    }

    /// Makes the sessions that wait.
    fn crowd(&self) -> Fallible {
        let never = Spec::kept().prompt("SAY never");
        many::times(self.waiting, || self.home.session(&never).map(drop))?;
        let list = self.home.api().get("/v1/sessions?status=queued")?;
        let queued = list["items"].as_array().map_or(0, Vec::len);
        ensure!(queued == self.waiting, "{queued} sessions wait, not {}", self.waiting);
        Ok(())
    }

    /// Hands the slot over from the session at work, which has written its lines, to the next, which writes its own.
    fn round(&mut self) -> Fallible {
        let Self { home, at_work, next, stream, load, costs, turns, .. } = self;
        costs.queue.of(home, || prompt(home, next, *turns + 1, *load))?;
        costs.hand_over.of(home, || {
            fs::write(release(home, *turns), "")?;
            event(stream, at_work, "turn.ended")?;
            let ended = Instant::now();
            event(stream, next, "turn.started")?;
            costs.started.push(ended.elapsed());
            event(stream, next, "turn.taken")?;
            costs.taken.push(ended.elapsed());
            Ok(())
        })?;
        mem::swap(at_work, next);
        *turns += 1;
        self.lines()
    }

    /// Has the session at work write its lines.
    fn lines(&mut self) -> Fallible {
        let Self { home, at_work, stream, load, costs, turns, .. } = self;
        costs.paced.of_each(load.paced, home, || event(stream, at_work, "tool.started"))?;
        costs.flood.of_each(load.flood, home, || {
            fs::write(flood(home, *turns), "")?;
            event(stream, at_work, "tool.started")
        })
    }
}

/// Gives a session a prompt of this number: it writes lines, floods once it is let, and ends once it is released.
fn prompt(home: &Home, session: &Session<'_>, number: u32, load: Load) -> Fallible {
    let mark = "TOOL Bash {\"command\":\"mark\"}";
    let paced = format!("LINES {} 1 {LINE_BYTES} ;; {mark}", load.paced);
    let flood = format!(
        "WAITFILE {} ;; LINES {} 0 {LINE_BYTES} ;; {mark}",
        flood(home, number).display(),
        load.flood
    );
    let text = format!("{paced} ;; {flood} ;; WAITFILE {}", release(home, number).display());
    session.post_prompt(&json!({"text": text, "class": "urgent"})).map(drop)
}

/// The file that lets the turn of the prompt with this number flood.
fn flood(home: &Home, number: u32) -> PathBuf {
    home.path(&format!("flood-{number}"))
}

/// The file that lets it end.
fn release(home: &Home, number: u32) -> PathBuf {
    home.path(&format!("release-{number}"))
}

/// Waits for an event of a session.
fn event(stream: &mut Stream, session: &Session<'_>, kind: &str) -> Fallible {
    let fits = |frame: &Frame| frame.is(kind) && frame.data["session"] == session.id.as_str();
    stream.until(kind, fits).map(drop)
}
