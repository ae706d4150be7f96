//! What is done to a busy session, by the prompts that wait in it.
//!
//! One daemon has one busy session of each length, and they take turns. Each prompt that waits would hang, so whichever is
//! served keeps the session busy.

use serde_json::{Value, json};

use super::cost::Costs;
use super::report::{Report, Samples};
use super::{Size, many};
use crate::support::{Fallible, Home, Session, Spec, Stream, ensure, with_daemon};

/// The prompts that wait in one session may be 10,000.
const LENGTHS: [usize; 3] = [10, 1000, 10_000];
const QUICK_LENGTHS: [usize; 3] = [2, 20, 40];

/// A busy session with prompts that wait.
struct Busy<'a> {
    home: &'a Home,
    session: Session<'a>,
    stream: Stream,
    /// How many wait with the one that is added.
    length: usize,
    costs: CostsOfAll,
}

#[derive(Default)]
struct CostsOfAll {
    add: Costs,
    front: Costs,
    drop: Costs,
    preempt: Costs,
    next: Costs,
}

pub(crate) fn measure(size: Size) -> Fallible<Report> {
    let mut report = Report::default();
    with_daemon("", |home| {
        let lengths = size.of(LENGTHS, QUICK_LENGTHS);
        let mut sessions = Vec::new();
        for length in lengths {
            sessions.push(Busy::new(home, length)?);
        }
        for _ in 0..size.of(100, 2) {
            for busy in &mut sessions {
                busy.round()?;
            }
        }
        for (what, samples) in CostsOfAll::KINDS {
            let those = sessions.iter().map(|busy| (busy.length, samples(&busy.costs)));
            report.add_by_count(what, "wait", &those.collect::<Vec<_>>());
        }
        Ok(())
    })?;
    Ok(report)
}

/// One of the costs.
type Kind = fn(&CostsOfAll) -> &Samples;

impl CostsOfAll {
    const KINDS: [(&'static str, Kind); 10] = [
        ("add a prompt, time", |costs| &costs.add.time),
        ("add a prompt, CPU", |costs| &costs.add.cpu),
        ("move it to the front, time", |costs| &costs.front.time),
        ("move it to the front, CPU", |costs| &costs.front.cpu),
        ("drop it, time", |costs| &costs.drop.time),
        ("drop it, CPU", |costs| &costs.drop.cpu),
        ("preempt until taken, time", |costs| &costs.preempt.time),
        ("preempt until taken, CPU", |costs| &costs.preempt.cpu),
        ("end a turn until the next is taken, time", |costs| &costs.next.time),
        ("end a turn until the next is taken, CPU", |costs| &costs.next.cpu),
    ];
}

impl<'a> Busy<'a> {
    fn new(home: &'a Home, length: usize) -> Fallible<Self> {
        let session = home.session(&Spec::kept())?;
        let kinds = "after=start&kind=turn.taken,turn.ended";
        let mut stream = home.stream(&session.path(&format!("/events?{kinds}")))?;
        add(&session)?;
        stream.event("turn.taken")?;
        let busy = Self { home, session, stream, length, costs: CostsOfAll::default() };
        busy.fill()?;
        Ok(busy)
    }

    /// Has prompts wait, one less than the length.
    fn fill(&self) -> Fallible {
        many::times(self.length - 1, || add(&self.session).map(drop))?;
        let waiting = &self.session.row()?["queue"];
        ensure!(*waiting == self.length - 1, "{waiting} prompts wait, not {}", self.length - 1);
        Ok(())
    }

    /// Does everything once, and leaves as many waiting as there were.
    fn round(&mut self) -> Fallible {
        let Self { home, session, stream, costs, .. } = self;
        let api = home.api();
        let receipt = costs.add.of(home, || add(session))?;
        let prompt = format!("/v1/prompts/{}", receipt["prompt"].as_str().unwrap_or_default());
        costs.front.of(home, || api.json("PATCH", &prompt, &json!({"to": "first"}))?.good())?;
        costs.drop.of(home, || api.send("DELETE", &prompt, &[], None)?.good())?;
        costs.preempt.of(home, || {
            session.preempt("SAY urgent")?;
            stream.event("turn.taken")
        })?;
        costs.next.of(home, || {
            stream.event("turn.ended")?;
            stream.event("turn.taken")
        })?;
        add(session)?;
        Ok(())
    }
}

/// Sends a prompt that would hang, and is not gone on with if it is cut short.
fn add(session: &Session<'_>) -> Fallible<Value> {
    session.post_prompt(&json!({"text": "HANG", "class": "background", "on_preempt": "drop"}))
}
