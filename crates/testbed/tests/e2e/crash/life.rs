//! A life: a client goes on with a session, whatever comes between.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, thread};

use serde_json::Value;

use super::check;
use super::shim::{Call, Disk, Mode, Point, Role, Shim};
use super::watch::Watch;
use crate::support::{Answer, Api, Failure, Fallible, Home, ensure, is_running, kill, wait_until, with_home};

/// Steps of a ladder follow soon, and nothing else is hurried.
const CONFIG: &str = "[deadlines]\nrung_ms = 200\ndrain_ms = 500\n";

/// What a daemon logs of a disk that fails, in parts.
const OF_THE_DISK: [&str; 12] = [
    "a rule could not be written",
    "another daemon writes, or the disk failed; this one ends",
    "could not clear up what an earlier daemon left",
    "could not commit; nothing was changed, trying again",
    "could not flush the store",
    "could not load a session",
    "could not record what became of a rule",
    "daemon ends; agents stay with their holders",
    "the journal cannot be opened; trying again",
    "the journal cannot be read",
    "the store takes nothing more",
    "what became of a rule is not recorded yet; trying again",
];

/// What a client was told, which has to stay true.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The session that was made.
    pub(super) session: String,
    /// The prompts that were accepted: their numbers and texts.
    pub(super) prompts: Vec<(u64, String)>,
    /// The gates at which a decision was accepted.
    pub(super) decided: Vec<String>,
    /// The turn that is being interrupted.
    pub(super) interrupted: Option<u64>,
    /// The events that a subscriber was told, by their number in the session, and their kinds.
    pub(super) events: Vec<(u64, String)>,
}

/// A life, as it goes on.
pub(super) struct Life<'a> {
    pub(super) home: &'a Home,
    shim: Shim,
    between: Between<'a>,
    /// So many daemons were started that the client meant to start.
    daemons: usize,
    /// The boots of the machine.
    boots: u32,
    /// So many daemons ended that nobody had ended.
    ended: usize,
    pub(super) told: Told,
}

/// What comes between.
#[derive(Clone, Copy)]
enum Between<'a> {
    /// Nothing, and all that is done is taken down.
    Nothing,
    /// Nothing, and `strace` takes down these calls too.
    Traced(&'a str),
    /// Something, on such a disk.
    Something(Point, Disk),
}

/// What is done in a life in which nothing comes between.
pub(super) struct Undisturbed {
    calls: Vec<(Role, Vec<Call>)>,
}

/// A life of which the system was asked too.
pub(super) struct Traced {
    /// What the shim has counted, in daemons and holders.
    pub(super) calls: Vec<Call>,
    /// What `strace` wrote of each daemon and whom it started.
    pub(super) strace: Vec<String>,
    /// Where the data was.
    pub(super) data: String,
}

/// Lives a life in which nothing comes between.
pub(super) fn undisturbed() -> Fallible<Undisturbed> {
    with_home(|home| {
        let mut life = Life::new(home, Between::Nothing)?;
        life.whole().map_err(|failure| failure.within("a life in which nothing comes between"))?;
        let calls = Role::ALL.map(|role| Ok((role, life.shim.done_by(role)?)));
        Ok(Undisturbed { calls: calls.into_iter().collect::<Fallible<_>>()? })
    })
}

/// Lives a life in which something happens, on such a disk. Returns whether it came to it.
pub(super) fn live(point: Point, disk: Disk) -> Fallible<bool> {
    with_home(|home| {
        if point.mode != Mode::Kill {
            for part in OF_THE_DISK {
                home.expect_error(part);
            }
        }
        let mut life = Life::new(home, Between::Something(point, disk))?;
        let lived = life.whole();
        lived.map_err(|failure| failure.within(&format!("{point} ({})", life.shim.place(&point))))?;
        Ok(life.shim.has_happened(&point))
    })
}

/// Lives a life in which nothing comes between, and has `strace` take down these calls too. It knows nothing of the second
/// daemon, which is killed: a call may be under way then.
pub(super) fn traced(calls: &str) -> Fallible<Traced> {
    with_home(|home| {
        let mut life = Life::new(home, Between::Traced(calls))?;
        life.whole()?;
        let (mut all, mut strace) = (Vec::new(), Vec::new());
        for daemon in [1, 3] {
            all.extend(life.shim.done(daemon)?);
            strace.push(fs::read_to_string(strace_of(home, daemon))?);
        }
        Ok(Traced { calls: all, strace, data: home.data().display().to_string() })
    })
}

fn strace_of(home: &Home, daemon: usize) -> PathBuf {
    home.path(&format!("strace{daemon}"))
}

impl Undisturbed {
    /// What was done by a role, in order.
    pub(super) fn calls(&self, role: Role) -> &[Call] {
        self.calls.iter().find(|(known, _)| *known == role).map_or(&[], |(_, calls)| calls)
    }

    /// How many of these can be the place of a point.
    pub(super) fn places(&self, role: Role, mode: Mode) -> usize {
        self.calls(role).iter().filter(|call| mode.can_hit(call.kind)).count()
    }
}

impl<'a> Life<'a> {
    fn new(home: &'a Home, between: Between<'a>) -> Fallible<Self> {
        let shim = Shim::new(home.as_ref())?;
        Ok(Self { home, shim, between, daemons: 0, boots: 1, ended: 0, told: Told::default() })
    }

    /// Lives it, and looks at what is left.
    fn whole(&mut self) -> Fallible {
        fs::write(self.home.data().join("config.toml"), CONFIG)?;
        self.home.have_clock()?;
        self.start_next()?;
        let (watch, api) = (Watch::default(), self.home.api());
        thread::scope(|scope| {
            scope.spawn(|| watch.read(&api));
            let lived = self.all().and_then(|seq| watch.reaches(seq)).and_then(|()| {
                self.told.events = watch.told();
                self.end()
            });
            watch.ends();
            // A stream ends with its daemon.
            self.home.kill_daemon_if_any();
            lived
        })
    }

    /// Starts the next of the daemons that the client means to start. It may end at once.
    fn start_next(&mut self) -> Fallible {
        self.daemons += 1;
        let mut command = self.home.daemon_command();
        match self.between {
            Between::Nothing => self.shim.count(&mut command, self.daemons),
            Between::Traced(calls) if self.daemons != 2 => command = self.under_strace(calls),
            Between::Traced(_) => {}
            Between::Something(point, disk) if point.role.daemon() == self.daemons => {
                self.shim.plan(&mut command, &point, disk);
            }
            Between::Something(..) => self.with_boot(&mut command)?,
        }
        self.home.try_start_as(command).map(drop)
    }

    /// The command that runs a daemon and takes down what it asks of the system.
    fn under_strace(&self, calls: &str) -> Command {
        let plain = self.home.daemon_command();
        let mut command = Command::new("strace");
        // The tracer is a grandchild: the daemon is who was started.
        command
            .args(["-D", "-f", "-y", "-qq", "-e", "signal=none", "-e", &format!("trace={calls}"), "-o"])
            .arg(strace_of(self.home, self.daemons));
        for (name, value) in self.shim.to_count(self.daemons) {
            command.arg("-E").arg(format!("{name}={value}"));
        }
        command.arg(plain.get_program()).args(plain.get_args()).current_dir(self.home.as_ref());
        command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command
    }

    fn with_boot(&self, command: &mut Command) -> Fallible {
        if self.boots > 1 {
            self.shim.boot(command, &format!("{:08x}-0000-4000-8000-000000000000", self.boots))?;
        }
        Ok(())
    }

    /// Ends the daemon in order, and starts the next one.
    pub(super) fn restart(&mut self) -> Fallible {
        if !self.home.has_ended() {
            self.home.stop_daemon()?;
        }
        self.lose_power_if_so()?;
        self.start_next()
    }

    /// Kills the daemon and the holder together, and starts the next daemon.
    pub(super) fn kill_with_holder(&mut self) -> Fallible {
        if !self.home.has_ended() {
            self.home.kill_daemon()?;
        }
        self.lose_power_if_so()?;
        // There is none if something came between.
        if let Ok(holder) = self.home.holder_of(&self.told.session) {
            // It may have ended meanwhile.
            let _ = kill(holder, rustix::process::Signal::KILL);
            wait_until("the end of the holder", || !is_running(holder))?;
        }
        self.start_next()
    }

    /// Does what whoever looks after a machine does: starts what has ended.
    fn mend(&mut self) -> Fallible {
        if !self.home.has_ended() {
            return Ok(());
        }
        self.home.wait_for_end()?;
        self.ended += 1;
        ensure!(self.ended <= 1, "a daemon has ended although nothing more was done to any");
        self.lose_power_if_so()?;
        let mut command = self.home.daemon_command();
        self.with_boot(&mut command)?;
        if !self.home.try_start_as(command)? {
            // Nothing is done to it any more, so it would have no reason not to start.
            let said = fs::read_to_string(self.home.path("daemon.err"))?;
            return Err(Failure::new(format!("the next daemon does not start: {said}")));
        }
        Ok(())
    }

    /// If it was the power that ended the daemon: ends what is left running, and takes the ends of the journals, which nobody
    /// syncs.
    fn lose_power_if_so(&mut self) -> Fallible {
        let Between::Something(point @ Point { mode: Mode::Power, .. }, _) = self.between else {
            return Ok(());
        };
        if self.boots > 1 || !self.shim.has_happened(&point) {
            return Ok(());
        }
        self.boots += 1;
        self.home.kill_all_left();
        let mut random = point.seed.wrapping_add(point.at as u64);
        for journal in journals(&self.home.data().join("sessions"))? {
            let file = fs::File::options().write(true).open(&journal)?;
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let length = file.metadata()?.len();
            file.set_len((random >> 33) % (length + 1))?;
        }
        Ok(())
    }

    /// Asks until there is an answer that is one.
    pub(super) fn ask(&mut self, what: &str, request: impl Fn(&Api) -> Fallible<Answer>) -> Fallible<Answer> {
        self.until(what, |home| {
            let answer = request(&home.api())?;
            ensure!(answer.status < 500, "{}", answer.text());
            Ok(Some(answer))
        })
    }

    /// Looks until it is there; what goes wrong meanwhile is mended.
    pub(super) fn until<T>(
        &mut self,
        what: &str,
        mut look: impl FnMut(&Home) -> Fallible<Option<T>>,
    ) -> Fallible<T> {
        let (mut found, mut failed) = (None, None);
        let waited = wait_until(what, || {
            match look(self.home) {
                Ok(thing) => found = thing.map(Ok),
                // What was acknowledged and is not there will not come.
                Err(failure) if format!("{failure:?}").contains("_not_found") => {
                    found = Some(Err(failure.within(check::LOST)));
                }
                Err(failure) => failed = Some(failure),
            }
            if found.is_none()
                && let Err(failure) = self.mend()
            {
                found = Some(Err(failure));
            }
            found.is_some()
        });
        match (found, waited) {
            (Some(found), _) => found.map_err(|failure| failure.within(what)),
            (None, Err(failure)) => Err(failure.within(&format!("the last that failed is {failed:?}"))),
            (None, Ok(())) => Err(Failure::new(what)),
        }
    }

    /// Ends the daemon in order, and looks at what is left.
    fn end(&mut self) -> Fallible {
        if !self.home.has_ended() {
            self.home.stop_daemon()?;
        }
        let is_strict = match self.between {
            Between::Nothing | Between::Traced(_) => true,
            Between::Something(point, _) => point.mode == Mode::Kill && point.role.is_daemon(),
        };
        check::all(self.home, &self.told, is_strict)?;
        // And whoever comes next finds it as it is.
        let mut command = self.home.daemon_command();
        self.with_boot(&mut command)?;
        self.home.start_as(command)?;
        let row = self.home.api().get(&format!("/v1/sessions/{}", self.told.session))?;
        ensure!(row["ended_at"] != Value::Null, "it has ended: {row}");
        self.home.stop_daemon()?;
        wait_until("the end of all processes", || self.home.left().is_empty())
    }
}

fn journals(sessions: &Path) -> Fallible<Vec<PathBuf>> {
    let mut found = Vec::new();
    if !sessions.exists() {
        return Ok(found);
    }
    for session in fs::read_dir(sessions)? {
        for attempt in fs::read_dir(session?.path())? {
            let journal = attempt?.path().join("journal");
            if journal.is_file() {
                found.push(journal);
            }
        }
    }
    found.sort();
    Ok(found)
}
