//! The time from an agent's write to a subscriber, at a thousand lines a second from one busy session, from ten and from a hundred,
//! beside the floor; and an interrupt beside the agent's own answer.

use std::time::Duration;
use std::{fs, thread};

use super::Size;
use super::cost::Cpu;
use super::floor::Floor;
use super::many;
use super::reader::{ENDED, Reader, TAKEN};
use super::report::{Report, Samples};
use crate::support::{Failure, Fallible, Home, Session, Spec, Stream, ensure, with_daemon};

/// Beyond the floor, for one busy session.
const MEDIAN: Duration = Duration::from_micros(300);
const P99: Duration = Duration::from_micros(1500);
/// For a hundred of them.
const P99_OF_MANY: f64 = 5000.0;
/// What an event costs on a processor, at a thousand a second.
const CPU_TIMES: f64 = 1.5;
/// An interrupt beyond the agent's own answer.
const INTERRUPT: Duration = Duration::from_millis(1);

/// Of all busy sessions together.
const A_LINE_EVERY: Duration = Duration::from_millis(1);

const BUSY: [u32; 3] = [1, 10, 100];
const QUICK_BUSY: [u32; 3] = [1, 2, 3];

pub(crate) fn measure(size: Size) -> Fallible<Report> {
    let (lines, rounds, interrupts, warm) = size.of((3000, 3, 100, 10_000), (20, 1, 2, 20));
    let mut report = Report::default();
    let (mut floor, mut floor_cpu) = (Samples::default(), Samples::default());
    let mut all = Vec::new();
    let (mut own, mut ours) = (Samples::default(), Samples::default());
    many::daemons("", size.of(BUSY, QUICK_BUSY).len(), |homes| {
        let mut hosts = Vec::new();
        for (home, busy) in homes.iter().zip(size.of(BUSY, QUICK_BUSY)) {
            hosts.push(Host::new(home, busy)?);
        }
        let mut alone = Floor::start(homes[0])?;
        for _ in 0..rounds {
            let cost = alone.turn(&format!("STAMPS {lines} 1 600"), Some(&mut floor))?;
            floor_cpu.push(cost.cpu / lines);
            for host in &mut hosts {
                host.round(lines)?;
            }
        }
        for host in hosts {
            all.push((host.busy, host.latency, host.cpu));
        }
        Ok(())
    })?;
    with_daemon("", |home| {
        let mut alone = Floor::start(home)?;
        let session = home.session(&Spec::kept())?;
        let mut stream = home.stream(&session.path("/events?after=start&kind=turn.taken,turn.ended"))?;
        // As in any daemon that has been at work for a while, the log does not grow any more.
        session.prompt(&format!("LINES {warm}"))?;
        stream.event("turn.ended")?;
        for _ in 0..interrupts {
            own.push(alone.interrupt()?);
            ours.push(interrupt(&session, &mut stream)?);
        }
        Ok(())
    })?;
    report.add("from the agent's write to the commit, floor", &floor);
    for (busy, latency, _) in &all {
        report.add(format!("from the agent's write to a subscriber, {busy} busy"), latency);
    }
    report.add("a line at 1,000 a second, floor, CPU", &floor_cpu);
    for (busy, _, cpu) in &all {
        report.add(format!("a line at 1,000 a second, {busy} busy, CPU"), cpu);
    }
    report.add("an interrupt, the agent's own answer", &own);
    report.add("an interrupt, until the turn has ended", &ours);
    let [(_, one, one_cpu), .., (busy, many, _)] = &all[..] else { return Ok(report) };
    report.difference("write to subscriber, one busy, beyond the floor", one, &floor, MEDIAN);
    report.difference_p99("write to subscriber, one busy, beyond the floor", one, &floor, P99);
    report.p99(&format!("write to subscriber, {busy} busy"), many, P99_OF_MANY);
    report.ratio_at_most(
        "CPU of a line at 1,000 a second, one busy to the floor",
        one_cpu,
        &floor_cpu,
        Some(CPU_TIMES),
    );
    report.difference("an interrupt beyond the agent's own answer", &ours, &own, INTERRUPT);
    Ok(report)
}

/// A daemon with so many busy sessions.
struct Host<'a> {
    home: &'a Home,
    busy: u32,
    sessions: Vec<Session<'a>>,
    stream: Reader,
    processes: Vec<u32>,
    latency: Samples,
    cpu: Samples,
}

impl<'a> Host<'a> {
    fn new(home: &'a Home, busy: u32) -> Fallible<Self> {
        let mut stream = Reader::open(home, "/v1/events")?;
        let mut sessions = Vec::new();
        for _ in 0..busy {
            sessions.push(home.session(&Spec::kept().prompt("SAY ready"))?);
            stream.until(ENDED, 1, None)?;
        }
        let mut processes = vec![home.daemon_pid()];
        for session in &sessions {
            processes.push(home.holder_of(&session.id)?);
        }
        let (latency, cpu) = (Samples::default(), Samples::default());
        Ok(Self { home, busy, sessions, stream, processes, latency, cpu })
    }

    /// Has all of them write, together a line every millisecond. They begin once all have been asked to, so that the lines are all
    /// that goes on, and one after the other, so that the lines are spread.
    fn round(&mut self, lines: u32) -> Fallible {
        let each = (lines / self.busy).max(1);
        let go = |session: &Session<'_>| self.home.path(&format!("go-{}", session.id));
        for session in &self.sessions {
            let wait = go(session).display().to_string();
            session.prompt(&format!("WAITFILE {wait} ;; STAMPS {each} {} 600", self.busy))?;
        }
        self.stream.until(TAKEN, self.sessions.len(), None)?;
        let (before, known) = (Cpu::of(&self.processes)?, self.latency.count());
        thread::scope(|threads| {
            let start = threads.spawn(|| -> Fallible {
                for session in &self.sessions {
                    fs::write(go(session), "")?;
                    thread::sleep(A_LINE_EVERY);
                }
                Ok(())
            });
            self.stream.until(ENDED, self.sessions.len(), Some(&mut self.latency))?;
            start.join().map_err(|_| Failure::new("panicked"))?
        })?;
        for session in &self.sessions {
            fs::remove_file(go(session))?;
        }
        let (told, all) = (self.latency.count() - known, (each * self.busy) as usize);
        ensure!(told == all, "{told} lines were told of {all}");
        self.cpu.push(Cpu::of(&self.processes)?.since(&before) / (each * self.busy));
        Ok(())
    }
}

fn interrupt(session: &Session<'_>, stream: &mut Stream) -> Fallible<Duration> {
    session.prompt("HANG")?;
    stream.event("turn.taken")?;
    let start = std::time::Instant::now();
    session.act("interrupt")?;
    stream.event("turn.ended")?;
    Ok(start.elapsed())
}
