//! What a client does with a session, whatever comes between.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::{fs, thread};

use serde_json::{Value, json};

use super::check;
use super::shim::{Call, Disk, Mode, Point, Role, Shim};
use crate::support::{
    Answer, Api, Failure, Fallible, Home, Spec, Stream, ensure, number_of, wait_until, with_home,
};

/// Steps of a ladder follow soon, and nothing else is hurried.
const CONFIG: &str = "[deadlines]\nrung_ms = 200\ndrain_ms = 500\n";
const ASKED: &str = "ASK Bash {\"command\":\"x\"} ;; SAY one";

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
    home: &'a Home,
    shim: Shim,
    point: Option<Point>,
    /// The boots of the machine.
    boots: u32,
    pub(super) told: Told,
}

/// How a life went.
#[derive(Debug)]
pub(super) struct Lived {
    /// How many things were done by whom something may happen to.
    pub(super) done: Vec<Call>,
    pub(super) has_happened: bool,
}

/// A life of which the system was asked too.
pub(super) struct Traced {
    /// What the shim has counted, in the daemon and in the holder.
    pub(super) calls: Vec<Call>,
    /// What `strace` wrote.
    pub(super) strace: String,
    /// Where the data was.
    pub(super) data: String,
}

/// Lives a life in which something happens; nothing does without a point, and things are counted for `role`.
pub(super) fn live(role: Role, point: Option<Point>) -> Fallible<Lived> {
    live_on(Disk::Honest, role, point)
}

/// The same on any disk.
pub(super) fn live_on(disk: Disk, role: Role, point: Option<Point>) -> Fallible<Lived> {
    with_home(|home| {
        let shim = Shim::new(home.as_ref())?;
        let mut command = home.daemon_command();
        let never = Point { role, mode: Mode::Kill, at: 0, seed: 0 };
        shim.plan(&mut command, &point.unwrap_or(never), disk);
        if point.is_some_and(|point| !matches!(point.mode, Mode::Kill)) {
            // What fails is logged, and it is meant to fail.
            home.expect_error("");
        }
        let mut life = Life::new(home, shim, point);
        let lived = life.whole(command);
        let done = life.shim.done().unwrap_or_default();
        let place = match &point {
            Some(point) => {
                format!("{point} ({:?})", done.iter().filter(|call| point.counts(call)).nth(point.at - 1))
            }
            None => "a life in which nothing happens".to_owned(),
        };
        lived.map_err(|failure| failure.within(&place))?;
        Ok(Lived { done, has_happened: life.shim.has_happened() })
    })
}

/// Lives a life in which nothing happens, and has `strace` take down these calls too.
pub(super) fn traced(calls: &str) -> Fallible<Traced> {
    with_home(|home| {
        let shim = Shim::new(home.as_ref())?;
        let strace = home.path("strace");
        let plain = home.daemon_command();
        let mut command = Command::new("strace");
        // The tracer is a grandchild: the daemon is who was started.
        command
            .args(["-D", "-f", "-y", "-qq", "-e", "signal=none", "-e", &format!("trace={calls}"), "-o"])
            .arg(&strace);
        for (name, value) in shim.words("role=daemon,hold") {
            command.arg("-E").arg(format!("{name}={value}"));
        }
        command.arg(plain.get_program()).args(plain.get_args()).current_dir(home.as_ref());
        for (name, value) in plain.get_envs() {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        Life::new(home, shim, None).whole(command)?;
        let data = home.data().display().to_string();
        let (calls, strace) = (Shim::new(home.as_ref())?.done()?, fs::read_to_string(&strace)?);
        Ok(Traced { calls, strace, data })
    })
}

impl<'a> Life<'a> {
    fn new(home: &'a Home, shim: Shim, point: Option<Point>) -> Self {
        Self { home, shim, point, boots: 1, told: Told::default() }
    }

    /// Lives it, with a daemon that is started so, and looks at what is left.
    fn whole(&mut self, command: Command) -> Fallible {
        fs::write(self.home.data().join("config.toml"), CONFIG)?;
        // It may end at once.
        self.home.try_start_as(command)?;
        let (watch, api) = (Watch::default(), self.home.api());
        thread::scope(|scope| {
            scope.spawn(|| watch.read(&api));
            let lived = self.all().and_then(|seq| watch.reaches(seq)).and_then(|()| {
                self.told.events.clone_from(&lock(&watch.told));
                self.end()
            });
            watch.is_over.store(true, Ordering::Relaxed);
            // A stream ends with its daemon.
            self.home.kill_daemon_if_any();
            lived
        })
    }

    /// Does what whoever looks after a machine does: starts what has ended.
    fn mend(&mut self) -> Fallible {
        if !self.home.has_ended() {
            return Ok(());
        }
        self.home.wait_for_end()?;
        if self.shim.has_happened() && self.point.is_some_and(|point| point.mode == Mode::Power) {
            self.lose_power()?;
        }
        let mut command = self.home.daemon_command();
        self.with_boot(&mut command)?;
        if !self.home.try_start_as(command)? {
            // Nothing is done to it any more, so it would have no reason not to start.
            let said = fs::read_to_string(self.home.path("daemon.err"))?;
            return Err(Failure::new(format!("the next daemon does not start: {said}")));
        }
        Ok(())
    }

    fn with_boot(&self, command: &mut Command) -> Fallible {
        if self.boots > 1 {
            self.shim.boot(command, &format!("{:08x}-0000-4000-8000-000000000000", self.boots))?;
        }
        Ok(())
    }

    /// Ends what the power cut has left running, and takes the ends of the journals, which nobody syncs.
    fn lose_power(&mut self) -> Fallible {
        if self.boots > 1 {
            return Ok(());
        }
        self.boots += 1;
        self.home.kill_all_left();
        let mut random = self.point.map_or(0, |point| point.seed.wrapping_add(point.at as u64));
        for journal in journals(&self.home.data().join("sessions"))? {
            let file = fs::File::options().write(true).open(&journal)?;
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let length = file.metadata()?.len();
            file.set_len((random >> 33) % (length + 1))?;
        }
        Ok(())
    }

    /// Asks until there is an answer that is one.
    fn ask(&mut self, what: &str, request: impl Fn(&Api) -> Fallible<Answer>) -> Fallible<Answer> {
        self.until(what, |home| {
            let answer = request(&home.api())?;
            ensure!(answer.status < 500, "{}", answer.text());
            Ok(Some(answer))
        })
    }

    /// Looks until it is there; what goes wrong meanwhile is mended.
    fn until<T>(&mut self, what: &str, mut look: impl FnMut(&Home) -> Fallible<Option<T>>) -> Fallible<T> {
        let (mut found, mut failed) = (None, None);
        let waited = wait_until(what, || {
            match look(self.home) {
                Ok(thing) => found = thing.map(Ok),
                // What was acknowledged and is not there will not come.
                Err(failure) if format!("{failure:?}").contains("_not_found") => found = Some(Err(failure)),
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

    fn path(&self, rest: &str) -> String {
        format!("/v1/sessions/{}{rest}", self.told.session)
    }

    /// All that the client does. Returns the number of the last event.
    fn all(&mut self) -> Fallible<u64> {
        let body = Spec::kept().prompt(ASKED).body(self.home);
        let made = self.ask("a session", |api| api.keyed("/v1/sessions", "made", &body))?.good()?;
        made["session"]["id"].as_str().unwrap_or_default().clone_into(&mut self.told.session);
        self.told.prompts.push((number_of(&made["prompt"]["prompt"])?, ASKED.to_owned()));

        self.turn_of(1)?;

        let waits = format!("WAITFILE {}", self.home.path("never").display());
        let second = self.prompt("second", &waits)?;
        let taken = self.taken_or_ended(second)?;
        if let Some(turn) = taken {
            let (path, body) = (self.path("/interrupt"), json!({"turn": format!("t{turn}")}));
            let answer = self.ask("an interrupt", |api| api.json("POST", &path, &body))?;
            if answer.status < 300 {
                self.told.interrupted = Some(turn);
            }
        }
        self.turn_of(second)?;

        let rule = json!({"name": "no", "effect": "deny", "tool": "WebFetch", "reason": "because"});
        let answer = self.ask("a rule", |api| api.json("POST", "/v1/rules", &rule))?;
        ensure!(answer.status == 201 || answer.status == 409, "a rule: {}", answer.text());

        let third = self.prompt("third", "SAY three")?;
        self.turn_of(third)?;
        let path = self.path("/stop");
        let answer = self.ask("a stop", |api| api.send("POST", &path, &[], None))?;
        ensure!(answer.status < 300 || answer.status == 409, "a stop: {}", answer.text());
        let (path, events) = (self.path(""), self.path("/events?after=start&limit=1000"));
        self.until("the end of the session", |home| {
            if home.api().get(&path)?["ended_at"].is_null() {
                return Ok(None);
            }
            let page = home.api().get(&events)?;
            Ok(page["items"].as_array().and_then(|events| events.last()?["seq"].as_u64()))
        })
    }

    /// Sends a prompt, and returns its number.
    fn prompt(&mut self, key: &str, text: &str) -> Fallible<u64> {
        let (path, body) = (self.path("/prompts"), json!({"text": text, "class": "normal"}));
        let receipt = self.ask(key, |api| api.keyed(&path, key, &body))?.good()?;
        let no = number_of(&receipt["prompt"])?;
        self.told.prompts.push((no, text.to_owned()));
        Ok(no)
    }

    /// Waits for the end of a prompt's turn. Gates that open meanwhile are allowed, and a session that has ended before it came
    /// to the prompt is opened again.
    fn turn_of(&mut self, prompt: u64) -> Fallible {
        let (row, turns) = (self.path(""), self.path("/turns"));
        let gates = format!("/v1/gates?state=open&session={}", self.told.session);
        let id = format!("{}.p{prompt}", self.told.session);
        let mut decided = Vec::new();
        let resume = self.path("/resume");
        self.until(&format!("the end of the turn of prompt {prompt}"), |home| {
            let api = home.api();
            let list = api.get(&turns)?;
            let mut list = list["items"].as_array().into_iter().flatten();
            if list.any(|turn| turn["prompt"] == *id && !turn["outcome"].is_null()) {
                return Ok(Some(()));
            }
            if let Some(gate) = api.get(&gates)?["items"][0]["id"].as_str() {
                let answer =
                    api.json("POST", &format!("/v1/gates/{gate}/decision"), &json!({"decision": "allow"}))?;
                ensure!(answer.status < 500, "{}", answer.text());
                // Else it was taken by a daemon that could not say so, or the agent is gone.
                if answer.status < 300 {
                    decided.push(gate.to_owned());
                }
            } else if !api.get(&row)?["ended_at"].is_null() {
                api.send("POST", &resume, &[], None)?;
            }
            Ok(None)
        })?;
        self.told.decided.extend(decided);
        Ok(())
    }

    /// The turn of a prompt that the agent works on; none if it has ended already.
    fn taken_or_ended(&mut self, prompt: u64) -> Fallible<Option<u64>> {
        let (path, id) = (self.path(""), format!("{}.p{prompt}", self.told.session));
        let turns = self.path("/turns");
        self.until("the turn", |home| {
            let list = home.api().get(&turns)?;
            let mut list = list["items"].as_array().into_iter().flatten();
            let Some(turn) = list.find(|turn| turn["prompt"] == *id) else { return Ok(None) };
            if !turn["outcome"].is_null() {
                return Ok(Some(None));
            }
            let no = turn["no"].as_u64();
            Ok((home.api().get(&path)?["status"] == "running").then_some(no))
        })
    }

    /// Ends the daemon in order, and looks at what is left.
    fn end(&mut self) -> Fallible {
        if !self.home.has_ended() {
            self.home.stop_daemon()?;
        }
        let is_strict = self.point.is_none_or(|point| point.role == Role::Daemon && point.mode == Mode::Kill);
        check::all(self.home, &self.told, is_strict)?;
        // And whoever comes next finds it as it is.
        let mut command = self.home.daemon_command();
        self.with_boot(&mut command)?;
        self.home.start_as(command)?;
        let row = self.home.api().get(&self.path(""))?;
        ensure!(row["ended_at"] != Value::Null, "it has ended: {row}");
        self.home.stop_daemon().map(drop)
    }
}

/// What somebody is told who subscribes to everything, and again whenever the connection breaks.
#[derive(Debug, Default)]
struct Watch {
    /// The events: their numbers in the session, and their kinds.
    told: Mutex<Vec<(u64, String)>>,
    /// Why the last connection broke.
    broke: Mutex<Option<Failure>>,
    is_over: AtomicBool,
}

impl Watch {
    /// Reads until it is over.
    fn read(&self, api: &Api) {
        let mut stream: Option<Stream> = None;
        while !self.is_over.load(Ordering::Relaxed) {
            let opened = match &mut stream {
                Some(stream) => stream.reconnect(),
                None => Stream::open(api, "/v1/events?after=start").map(|opened| stream = Some(opened)),
            };
            let broke = match (opened, &mut stream) {
                (Ok(()), Some(stream)) => loop {
                    match stream.next() {
                        Ok(frame) if frame.name == "event" => {
                            let seq = frame.data["seq"].as_u64().unwrap_or_default();
                            let kind = frame.data["kind"].as_str().unwrap_or_default().to_owned();
                            lock(&self.told).push((seq, kind));
                        }
                        Ok(_) => {}
                        Err(failure) => break failure,
                    }
                },
                (Ok(()), None) => return,
                (Err(failure), _) => failure,
            };
            *lock(&self.broke) = Some(broke);
            // Where none comes, it is told what broke.
            let _ = wait_until("a daemon", || self.is_over.load(Ordering::Relaxed) || api.connect().is_ok());
        }
    }

    /// Waits until an event was told.
    fn reaches(&self, seq: u64) -> Fallible {
        wait_until("the last event on the stream", || {
            lock(&self.told).last().is_some_and(|last| last.0 >= seq)
        })
        .map_err(|failure| {
            failure.within(&format!(
                "the stream broke by {:?} after {:?}",
                lock(&self.broke),
                lock(&self.told).last()
            ))
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn journals(sessions: &Path) -> Fallible<Vec<std::path::PathBuf>> {
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
