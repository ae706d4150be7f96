//! Lines on their whole way (agent, holder, journal, decode, decide, commit, subscriber) beside the floor, as fast as they come,
//! and with subscribers that do not read.

use std::io::Write as _;
use std::time::{Duration, Instant};

use super::Size;
use super::cost::Cpu;
use super::floor::Floor;
use super::reader::{ENDED, Reader};
use super::report::{Report, Samples};
use crate::support::{Fallible, Home, Session, Spec, ensure, with_daemon};

/// The target for the throughput of the whole way, as a part of the floor's.
const PART_OF_FLOOR: f64 = 0.8;
/// The target for what a line costs on a processor.
const CPU_TIMES: f64 = 3.0;
/// Subscribers that never read.
const DEAF: usize = 20;
/// The text of a line, so that a line has about a kilobyte.
const TEXT_BYTES: u32 = 600;

#[derive(Default)]
struct Lines {
    time: Samples,
    cpu: Samples,
}

impl Lines {
    fn push(&mut self, lines: u32, time: Duration, cpu: Duration) {
        self.time.push(time / lines);
        self.cpu.push(cpu / lines);
    }
}

pub(crate) fn measure(size: Size) -> Fallible<Report> {
    let (lines, rounds) = size.of((20_000, 9), (50, 1));
    let (mut floor, mut whole, mut beside) = (Lines::default(), Lines::default(), Lines::default());
    with_daemon("", |home| {
        let mut alone = Floor::start(home)?;
        let [session, other] = [home.session(&Spec::kept())?, home.session(&Spec::kept())?];
        let prompt = format!("LINES {lines} 0 {TEXT_BYTES}");
        let mut streams = [reader(home, &session)?, reader(home, &other)?];
        let mut deaf = Vec::new();
        for _ in 0..DEAF {
            let mut stream = home.api().connect()?;
            let path = other.path("/events?after=start");
            write!(stream, "GET {path} HTTP/1.1\r\nHost: lk\r\nAccept: text/event-stream\r\n\r\n")?;
            deaf.push(stream);
        }
        // The first turn launches the agent.
        for (session, stream) in [&session, &other].into_iter().zip(&mut streams) {
            session.prompt("SAY ready")?;
            stream.until(ENDED, 1, None)?;
        }
        for _ in 0..rounds {
            let cost = alone.turn(&prompt, None)?;
            floor.push(lines, cost.time, cost.cpu);
            turn(home, &session, &mut streams[0], &prompt, lines, &mut whole)?;
            turn(home, &other, &mut streams[1], &prompt, lines, &mut beside)?;
        }
        Ok(())
    })?;
    let mut report = Report::default();
    for (what, lines) in [
        ("floor", &floor),
        ("the whole way", &whole),
        ("the whole way, 20 subscribers that never read", &beside),
    ] {
        report.add(format!("a line, {what}, time"), &lines.time);
        report.add(format!("a line, {what}, CPU"), &lines.cpu);
    }
    report.ratio_at_most(
        "time of a line, the whole way to the floor",
        &whole.time,
        &floor.time,
        Some(1.0 / PART_OF_FLOOR),
    );
    report.ratio_at_most(
        "CPU of a line, the whole way to the floor",
        &whole.cpu,
        &floor.cpu,
        Some(CPU_TIMES),
    );
    report.ratio("time of a line, with subscribers that never read to without", &beside.time, &whole.time);
    report.ratio("CPU of a line, with subscribers that never read to without", &beside.cpu, &whole.cpu);
    Ok(report)
}

fn reader(home: &Home, session: &Session<'_>) -> Fallible<Reader> {
    Reader::open(home, &session.path("/events"))
}

/// Has an agent write lines, until a subscriber was told all of them.
fn turn(
    home: &Home,
    session: &Session<'_>,
    stream: &mut Reader,
    prompt: &str,
    lines: u32,
    costs: &mut Lines,
) -> Fallible {
    let processes = [home.daemon_pid(), home.holder_of(&session.id)?];
    let (cpu, start) = (Cpu::of(&processes)?, Instant::now());
    session.prompt(prompt)?;
    let told = stream.until(ENDED, 1, None)?;
    ensure!(told == lines as usize, "{told} lines were told of {lines}");
    costs.push(lines, start.elapsed(), Cpu::of(&processes)?.since(&cpu));
    Ok(())
}
