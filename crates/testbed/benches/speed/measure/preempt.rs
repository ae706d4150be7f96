//! A preemption beside a plain interrupt.
//!
//! Both cut short a turn of the background that hangs, in the same session, in turns. What a preemption costs is the time
//! from its request until the agent has taken the urgent prompt, less the time from an interrupt's request until the
//! interrupted turn has ended.

use std::time::{Duration, Instant};

use serde_json::json;

use super::Size;
use super::report::{Report, Samples};
use crate::support::{Fallible, Session, Spec, Stream, with_daemon};

/// What a preemption may cost beyond the agent's own interrupt, at the median.
const TARGET: Duration = Duration::from_millis(5);

/// The times of one preemption, from its request.
#[derive(Default)]
struct Preemptions {
    ended: Samples,
    started: Samples,
    taken: Samples,
}

pub(crate) fn measure(size: Size) -> Fallible<Report> {
    let (mut interrupts, mut preemptions) = (Samples::default(), Preemptions::default());
    with_daemon("", |home| {
        let session = home.session(&Spec::kept())?;
        let kinds = "after=start&kind=turn.started,turn.taken,turn.ended";
        let mut stream = home.stream(&session.path(&format!("/events?{kinds}")))?;
        // The first turn launches the agent.
        interrupt(&session, &mut stream)?;
        for _ in 0..size.of(200, 3) {
            interrupts.push(interrupt(&session, &mut stream)?);
            preempt(&session, &mut stream, &mut preemptions)?;
        }
        Ok(())
    })?;
    let mut report = Report::default();
    report.add("interrupt, until the turn has ended", &interrupts);
    report.add("preemption, until the turn cut short has ended", &preemptions.ended);
    report.add("preemption, until the urgent turn has started", &preemptions.started);
    report.add("preemption, until the agent has taken the urgent prompt", &preemptions.taken);
    let beyond = "a preemption beyond an interrupt";
    report.difference(beyond, &preemptions.taken, &interrupts, TARGET);
    report.ratio("a preemption to an interrupt", &preemptions.taken, &interrupts);
    Ok(report)
}

fn interrupt(session: &Session<'_>, stream: &mut Stream) -> Fallible<Duration> {
    begin_work(session, stream)?;
    let start = Instant::now();
    session.act("interrupt")?;
    stream.event("turn.ended")?;
    Ok(start.elapsed())
}

fn preempt(session: &Session<'_>, stream: &mut Stream, times: &mut Preemptions) -> Fallible {
    begin_work(session, stream)?;
    let start = Instant::now();
    session.preempt("SAY urgent")?;
    stream.event("turn.ended")?;
    times.ended.push(start.elapsed());
    stream.event("turn.started")?;
    times.started.push(start.elapsed());
    stream.event("turn.taken")?;
    times.taken.push(start.elapsed());
    stream.event("turn.ended")?;
    Ok(())
}

/// Lets the agent begin a turn of the background that does not end by itself, and is not gone on with.
fn begin_work(session: &Session<'_>, stream: &mut Stream) -> Fallible {
    session.post_prompt(&json!({"text": "HANG", "class": "background", "on_preempt": "drop"}))?;
    stream.event("turn.taken")?;
    Ok(())
}
