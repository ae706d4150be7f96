//! How soon a decision reaches the agent, and what is done among gates by the number of those that are open.
//!
//! A decision is answered once it is committed. Then the holder writes the answer to the agent's stdin, and says so; when
//! that is committed too, subscribers are told that the gate was delivered. This is the last that can be seen from
//! outside, so what is told here as the way to the agent has a commit more in it than the way itself.
//!
//! Of open gates there is one daemon for each number, and one more with few of them and a long log of other events. Beside
//! the sessions that only ask, each has a small one with one gate at a time. The daemons take turns. Whole lists come last:
//! who has just written megabytes begins the next thing with cold caches.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::cost::Costs;
use super::report::{Report, Samples};
use super::{Size, many};
use crate::support::{Fallible, Home, Session, Spec, Stream, ensure, with_daemon};

/// What the way to the agent may cost beyond the commit of the decision, at the median.
const TARGET: Duration = Duration::from_millis(2);

/// The sessions that ask in each daemon, and how many gates each of them has open.
const OPEN: [(usize, usize); 3] = [(10, 1), (10, 100), (40, 250)];
const QUICK_OPEN: [(usize, usize); 3] = [(1, 1), (1, 4), (2, 4)];

/// The turns in which one session has written lines in the last daemon, where the fewest gates are open, and the lines of
/// each.
const WRITTEN: (u32, u32) = (10, 10_000);
const QUICK_WRITTEN: (u32, u32) = (2, 100);

const GATES: &str = "/v1/gates";
const SESSIONS: &str = "/v1/sessions?status=awaiting_input";

/// The times of a decision, from its request.
#[derive(Default)]
struct Decisions {
    answered: Samples,
    delivered: Samples,
}

/// A daemon with so many open gates.
struct Asking<'a> {
    home: &'a Home,
    open: usize,
    /// The sessions that have them.
    sessions: usize,
    small: Small<'a>,
    costs: CostsOfAll,
}

#[derive(Default)]
struct CostsOfAll {
    gates: Costs,
    sessions: Costs,
    of_session: Costs,
    decision: Costs,
}

/// A session with one open gate at a time.
struct Small<'a> {
    session: Session<'a>,
    stream: Stream,
}

pub(crate) fn measure(size: Size) -> Fallible<Report> {
    let mut report = Report::default();
    decisions(size, &mut report)?;
    let open = size.of(OPEN, QUICK_OPEN);
    many::daemons("", open.len() + 1, |homes| {
        let mut hosts = Vec::new();
        for (home, (sessions, each)) in homes.iter().zip(open.iter().chain(&open[..1])) {
            hosts.push(Asking::new(home, *sessions, *each)?);
        }
        let (turns, lines) = size.of(WRITTEN, QUICK_WRITTEN);
        for _ in 0..turns {
            let Some(busy) = hosts.last_mut() else { break };
            busy.small.write(lines)?;
        }
        for _ in 0..size.of(100, 2) {
            for host in &mut hosts {
                host.decide()?;
                host.list_small()?;
            }
        }
        for _ in 0..size.of(50, 2) {
            for host in &mut hosts {
                host.list_all()?;
            }
        }
        tell(&hosts, turns * lines, &mut report);
        Ok(())
    })?;
    Ok(report)
}

/// Decides again and again about what one agent asks.
fn decisions(size: Size, report: &mut Report) -> Fallible {
    let mut times = Decisions::default();
    with_daemon("", |home| {
        let mut small = Small::new(home)?;
        for _ in 0..size.of(200, 3) {
            let gate = small.ask()?;
            let start = Instant::now();
            small.allow(&gate)?;
            times.answered.push(start.elapsed());
            small.stream.event("gate.delivered")?;
            times.delivered.push(start.elapsed());
            small.stream.event("turn.ended")?;
        }
        Ok(())
    })?;
    report.add("a decision, until it is answered", &times.answered);
    report.add("a decision, until the gate is delivered", &times.delivered);
    report.difference("the way to the agent", &times.delivered, &times.answered, TARGET);
    Ok(())
}

/// One of the costs.
type Kind = fn(&CostsOfAll) -> &Samples;

impl CostsOfAll {
    const KINDS: [(&'static str, Kind); 8] = [
        ("list all gates, time per gate", |costs| &costs.gates.time),
        ("list all gates, CPU per gate", |costs| &costs.gates.cpu),
        ("list the sessions with gates, time per session", |costs| &costs.sessions.time),
        ("list the sessions with gates, CPU per session", |costs| &costs.sessions.cpu),
        ("list the gates of one session, time", |costs| &costs.of_session.time),
        ("list the gates of one session, CPU", |costs| &costs.of_session.cpu),
        ("decide, time", |costs| &costs.decision.time),
        ("decide, CPU", |costs| &costs.decision.cpu),
    ];
}

/// Tells how the costs depend on the gates that are open, and on the lines that were written.
fn tell(hosts: &[Asking<'_>], lines: u32, report: &mut Report) {
    let [plain @ .., busy] = hosts else { return };
    for (what, samples) in CostsOfAll::KINDS {
        let those = plain.iter().map(|host| (host.open, samples(&host.costs)));
        report.add_by_count(what, "are open", &those.collect::<Vec<_>>());
        let Some(few) = plain.first() else { continue };
        report.add(format!("{what}, {} are open after {lines} lines", busy.open), samples(&busy.costs));
        report.ratio(&format!("{what}, {lines} lines to none"), samples(&busy.costs), samples(&few.costs));
    }
}

impl<'a> Asking<'a> {
    /// Has so many sessions ask so many questions each.
    fn new(home: &'a Home, sessions: usize, each: usize) -> Fallible<Self> {
        let open = sessions * each;
        let mut opened = home.stream("/v1/events?after=start&kind=gate.opened")?;
        let asking = Spec::kept().prompt(&format!("ASKS {each}"));
        many::times(sessions, || home.session(&asking).map(drop))?;
        for _ in 0..open {
            opened.event("gate.opened")?;
        }
        for (path, length) in [(GATES, open), (SESSIONS, sessions)] {
            let listed = home.api().get(path)?["items"].as_array().map_or(0, Vec::len);
            ensure!(listed == length, "{path} has {listed}, not {length}");
        }
        Ok(Self { home, open, sessions, small: Small::new(home)?, costs: CostsOfAll::default() })
    }

    /// Decides about a gate of the small session.
    fn decide(&mut self) -> Fallible {
        let Self { home, small, costs, .. } = self;
        let gate = small.ask()?;
        costs.decision.of(home, || small.allow(&gate))?;
        small.stream.event("turn.ended").map(drop)
    }

    /// Lists the one gate of the small session.
    fn list_small(&mut self) -> Fallible {
        let Self { home, small, costs, .. } = self;
        let gate = small.ask()?;
        let list = costs.of_session.of(home, || small.session.gates("open"))?;
        ensure!(list.len() == 1, "not one open gate but {list:?}");
        small.allow(&gate)?;
        small.stream.event("turn.ended").map(drop)
    }

    /// Lists everything. The answers are not read as JSON, for that is what the client does.
    fn list_all(&mut self) -> Fallible {
        let Self { home, open, sessions, costs, .. } = self;
        let read = |path: &str| {
            let answer = home.api().send("GET", path, &[], None)?;
            ensure!(answer.status == 200, "{path}: {}", answer.text());
            Ok(())
        };
        // Whose turn follows that of the longest list finds cold caches.
        read(GATES)?;
        costs.gates.of_each(u32::try_from(*open)?, home, || read(GATES))?;
        costs.sessions.of_each(u32::try_from(*sessions)?, home, || read(SESSIONS))
    }
}

impl<'a> Small<'a> {
    /// Makes the session, and has its agent started.
    fn new(home: &'a Home) -> Fallible<Self> {
        let session = home.session(&Spec::kept().prompt("SAY ready"))?;
        let kinds = "after=start&kind=gate.opened,gate.delivered,turn.ended";
        let mut stream = home.stream(&session.path(&format!("/events?{kinds}")))?;
        stream.event("turn.ended")?;
        Ok(Self { session, stream })
    }

    /// Has the agent write so many lines.
    fn write(&mut self, lines: u32) -> Fallible {
        self.session.prompt(&format!("LINES {lines}"))?;
        self.stream.event("turn.ended").map(drop)
    }

    /// Has the agent ask, and returns the name of the gate.
    fn ask(&mut self) -> Fallible<String> {
        self.session.prompt("ASK")?;
        let opened = self.stream.event("gate.opened")?;
        Ok(format!("{}.g{}", self.session.id, opened["gate"]["no"]))
    }

    fn allow(&self, gate: &str) -> Fallible<Value> {
        self.session.decide(gate, &json!({"decision": "allow"}))?.good()
    }
}
