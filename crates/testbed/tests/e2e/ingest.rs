//! What agents write, and what disks do.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use rusqlite::Connection;
use serde_json::json;

use crate::support::{
    Failure, Fallible, Home, SHORT, Spec, ensure, is_running, peak_memory_kb, skipped, wait_until,
    with_daemon, with_home,
};

#[test]
fn o45_garbage_is_counted_and_kept_and_the_turn_goes_on() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::kept().prompt("SAY before ;; GARBAGE ;; SAY after"))?;
        let mut watch = session.watch()?;
        assert_eq!(watch.event("turn.ended")?["outcome"], "completed");
        watch.status("idle")?;
        assert_eq!(session.messages()?, ["before", "garbage done", "after"]);
        ensure!(watch.count("agent.malformed") >= 5, "{}", watch.count("agent.malformed"));
        ensure!(watch.count("agent.unrecognized") >= 1, "{}", watch.count("agent.unrecognized"));
        // The bytes are in the journal as they came.
        let raw = session.journal("stdout", 1)?;
        ensure!(raw.windows(4).any(|part| part == b"\xff\xfe n"), "the bytes are not kept");
        assert_eq!(session.ask("SAY on")?["outcome"], "completed");
        Ok(())
    })
}

#[test]
fn o45_half_a_line_before_the_end_is_told_and_the_turn_has_failed() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::kept().prompt("SAY whole ;; HALF"))?;
        let mut watch = session.watch()?;
        watch.event("agent.malformed")?;
        assert_eq!(watch.event("turn.ended")?["outcome"]["failed"]["kind"], "exit");
        assert_eq!(session.messages()?, ["whole"]);
        Ok(())
    })
}

#[test]
fn o45_a_line_of_forty_megabytes_is_noted_with_its_hash_and_memory_stays_bounded() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::kept().prompt("HUGE 40"))?;
        let mut watch = session.watch()?;
        let malformed = watch.event("agent.malformed")?;
        ensure!(malformed["bytes"].as_u64().is_some_and(|bytes| bytes > 40 << 20), "{malformed}");
        ensure!(malformed["why"].to_string().contains("SHA-256"), "{malformed}");
        assert_eq!(watch.event("turn.ended")?["outcome"], "completed");
        assert_eq!(session.messages()?, ["huge done"]);
        let peak = peak_memory_kb(home.daemon_pid())?;
        ensure!(peak < 200_000, "the daemon took {peak} kB");
        // One that fits is an item, and it is sent to those who watch.
        session.prompt("HUGE 10")?;
        let item = watch.event("item.added")?;
        let text = item["item"]["body"]["message"]["text"].as_str().map(str::len);
        assert_eq!(text, Some(10 << 20));
        Ok(())
    })
}

#[test]
fn a_long_history_is_told_to_its_end_in_bounded_memory() -> Fallible {
    const LINES: usize = 20_000;
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::kept().prompt(&format!("LINES {LINES} 0 3000 ;; EXIT 0")))?;
        session.watch()?.status("suspended")?;
        home.stop_daemon()?;
        home.start()?;
        session.row()?;
        let before = peak_memory_kb(home.daemon_pid())?;
        let items = session.list("items")?;
        let full = home.api().get(&session.path("/full"))?;
        let raw = session.journal("stdout", 1)?;
        let grown = peak_memory_kb(home.daemon_pid())? - before;
        assert_eq!(items.len(), LINES);
        let added = |event: &&serde_json::Value| event["kind"] == "item.added";
        assert_eq!(full["events"].as_array().map(|events| events.iter().filter(added).count()), Some(LINES));
        ensure!(raw.len() > LINES * 3000, "{}", raw.len());
        ensure!(grown < 40_000, "the daemon took {grown} kB more to tell {} kB", raw.len() / 1000);
        Ok(())
    })
}

#[test]
fn a_burst_of_lines_right_before_an_exit_is_stored_to_the_last_one() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::kept().prompt("LINES 5000 ;; EXIT 0"))?;
        let mut watch = session.watch()?;
        watch.status("suspended")?;
        let messages = session.messages()?;
        assert_eq!(messages.len(), 5000);
        assert_eq!(messages.last().map(String::as_str), Some("line 005000"));
        Ok(())
    })
}

#[test]
fn a_long_session_has_one_snapshot_which_is_less_than_512_events_old() -> Fallible {
    with_daemon(SHORT, |home| {
        // One at a time, for a burst is one commit, and that has its snapshot at its end.
        let session = home.session(&Spec::kept().prompt("LINES 2000 1"))?;
        session.wait("idle")?;
        home.stop_daemon()?;
        let database = Connection::open(home.data().join("lockkeeper.db"))?;
        let sql =
            "SELECT sessions.seq, snapshots.seq FROM snapshots JOIN sessions ON pk = session WHERE id = ?";
        let mut select = database.prepare(sql)?;
        let rows = select.query_map([&session.id], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let rows: Vec<(i64, i64)> = rows.collect::<Result<_, _>>()?;
        let [(last, at)] = rows[..] else {
            return Err(Failure::new(format!("not one snapshot but {rows:?}")));
        };
        ensure!(last > 2000 && at <= last && last - at < 512, "one at event {at} of {last}");
        Ok(())
    })
}

#[test]
fn lines_need_far_fewer_syncs_than_there_are_lines() -> Fallible {
    if !has_strace() {
        skipped("lines_need_far_fewer_syncs_than_there_are_lines", "there is no strace");
        return Ok(());
    }
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::kept().prompt("SAY warm"))?;
        session.wait("idle")?;
        let syncs = traced(home, "fsync,fdatasync,sync_file_range", || session.ask("LINES 5000").map(drop))?;
        ensure!(!syncs.is_empty(), "nothing was synced");
        ensure!(syncs.len() < 500, "{} syncs for 5000 lines", syncs.len());
        // SQLite is built so, by flags of .cargo/config.toml, which cargo finds from where it is called.
        let more = syncs.iter().find(|call| !call.contains("fdatasync("));
        ensure!(more.is_none(), "more than data was synced; was SQLite built with other flags? {more:?}");
        Ok(())
    })
}

pub(crate) fn has_strace() -> bool {
    Command::new("strace").arg("-V").output().is_ok_and(|output| output.status.success())
}

/// The system calls of the daemon during something, one line each.
pub(crate) fn traced(home: &Home, calls: &str, act: impl FnOnce() -> Fallible) -> Fallible<Vec<String>> {
    let (out, err) = (home.path("strace.out"), home.path("strace.err"));
    let mut strace = Command::new("strace")
        .args(["-f", "-e", &format!("trace={calls}"), "-o"])
        .arg(&out)
        .args(["-p", &home.daemon_pid().to_string()])
        .stderr(std::fs::File::create(&err)?)
        .spawn()?;
    wait_until("strace", || std::fs::read_to_string(&err).is_ok_and(|text| text.contains("attached")))?;
    let done = act();
    crate::support::kill(strace.id(), rustix::process::Signal::INT)?;
    strace.wait()?;
    done?;
    let text = std::fs::read_to_string(&out)?;
    Ok(text
        .lines()
        .filter(|line| line.contains('(') && !line.contains("resumed>"))
        .map(str::to_owned)
        .collect())
}

/// Mounts a small file system on the data directory for as long as something runs.
fn on_small_disk(home: &Home, test: impl FnOnce(&Path) -> Fallible) -> Fallible {
    let data = home.data();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=24m,mode=0700", "tmpfs"])
        .arg(&data)
        .output()?;
    if !mounted.status.success() {
        skipped("a test with a small disk", &String::from_utf8_lossy(&mounted.stderr));
        return Ok(());
    }
    // The log goes with the disk, so it is looked at before.
    let done = test(&data).and_then(|()| home.logged_no_error());
    let done = done.map_err(|failure| failure.within(&home.log_tail()));
    // What still runs there keeps it busy; it goes away with the last process.
    let _ = Command::new("umount").arg("-l").arg(&data).output();
    done
}

#[test]
fn o11_o45_on_a_full_disk_ends_are_recorded_nothing_is_lost_and_it_goes_on_when_there_is_room() -> Fallible {
    with_home(|home| {
        on_small_disk(home, |data| {
            home.expect_error("could not commit");
            home.expect_error("disk is full");
            home.expect_error("database or disk is full");
            std::fs::write(data.join("config.toml"), SHORT)?;
            home.start()?;
            let api = home.api();
            let session = home.session(&Spec::kept().prompt("SAY ready"))?;
            session.wait("idle")?;
            let go = home.path("go");
            session.prompt(&format!("WAITFILE {} ;; LINES 2000 0 500", go.display()))?;
            let mut watch = session.watch()?;
            watch.until("text", |frame| frame.name == "live")?;
            fill(&data.join("filler"))?;
            // New work is refused, and says why.
            let refused = api.json(
                "POST",
                &session.path("/prompts"),
                &json!({"text": "z".repeat(1 << 20), "class": "normal"}),
            )?;
            refused.is_problem(507, "disk_full")?;
            let status = api.get("/v1/status")?;
            ensure!(status["store"]["problem"].is_string(), "{status}");
            let card = String::from_utf8(home.lk(&["daemon", "status"]).output()?.stdout)?;
            ensure!(card.contains("are stored until 8 MB are free"), "{card}");
            // What goes on meanwhile waits, or is stored out of the reserve.
            std::fs::write(&go, "")?;
            session
                .try_act("interrupt")?
                .good()
                .map_err(|failure| failure.within("an interrupt on a full disk"))?;
            std::fs::remove_file(data.join("filler"))?;
            let row = session.wait("idle")?;
            ensure!(row["status"] != "failed", "{row}");
            assert_eq!(session.ask("SAY again")?["outcome"], "completed");
            let messages = session.messages()?;
            let lines: Vec<&String> = messages.iter().filter(|text| text.starts_with("line ")).collect();
            for (n, text) in lines.iter().enumerate() {
                ensure!(text.starts_with(&format!("line {:06}", n + 1)), "line {} is {text:.20}", n + 1);
            }
            wait_until("a store without problems", || {
                api.get("/v1/status").is_ok_and(|status| status["store"]["problem"].is_null())
            })?;
            home.crash_and_start()?;
            assert_eq!(session.messages()?, messages);
            home.kill_daemon()
        })
    })
}

#[test]
fn o45_an_agent_is_killed_although_what_it_has_said_cannot_be_stored() -> Fallible {
    with_home(|home| {
        on_small_disk(home, |data| {
            home.expect_error("could not commit");
            home.expect_error("disk is full");
            std::fs::write(data.join("config.toml"), SHORT)?;
            home.start()?;
            let go = home.path("go");
            let script = format!("WAITFILE {} ;; LINES 2000 0 500 ;; HANG", go.display());
            let session = home.session(&Spec::kept().prompt(&script))?;
            let mut watch = session.watch()?;
            watch.until("text", |frame| frame.name == "live")?;
            let pid = session.pid()?;
            // Room for the journal, and none for the store, which keeps some for what ends things.
            std::fs::write(data.join("room"), vec![1; 2 << 20])?;
            fill(&data.join("filler"))?;
            std::fs::remove_file(data.join("room"))?;
            std::fs::write(&go, "")?;
            let why = || Ok::<_, Failure>(home.api().get(&session.path("/why"))?.to_string());
            wait_until("a full disk", || why().is_ok_and(|why| why.contains("cannot be stored")))?;
            ensure!(why()?.contains("cannot be stored"), "who looks does not end it: {}", why()?);
            session.act("kill")?;
            wait_until("the end of the agent", || !is_running(pid))?;
            std::fs::remove_file(data.join("filler"))?;
            session.wait("end")?;
            home.kill_daemon()
        })
    })
}

#[test]
fn o45_a_log_that_cannot_be_written_stops_nothing_even_with_nobody_to_tell() -> Fallible {
    with_home(|home| {
        let log = home.data().join("logs/daemon.log");
        std::fs::create_dir(home.data().join("logs"))?;
        // As on a full disk, on which standard error lies too.
        symlink("/dev/full", &log)?;
        let daemon = home.daemon_command();
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$0\" daemon run 2>/dev/full"]).arg(daemon.get_program());
        command.env("LK_HOME", home.data()).current_dir(home);
        let started = home.start_as(command);
        std::fs::remove_file(log)?;
        started?;
        let session = home.session(&Spec::kept())?;
        assert_eq!(session.ask("SAY on")?["outcome"], "completed");
        session.act("stop")?;
        session.wait("end")?;
        let status = home.stop_daemon()?;
        ensure!(status.success(), "the daemon ended with {status}");
        Ok(())
    })
}

/// Writes a file until there is no room any more.
fn fill(path: &Path) -> Fallible {
    use std::io::Write as _;
    let mut file = std::fs::File::create(path)?;
    for size in [1 << 16, 1 << 12, 1] {
        let block = vec![b'f'; size];
        while file.write_all(&block).is_ok() {}
    }
    Ok(())
}

#[test]
fn o45_a_data_directory_that_cannot_be_written_is_a_clear_error() -> Fallible {
    with_home(|home| {
        on_small_disk(home, |data| {
            home.start()?;
            home.session(&Spec::kept())?;
            home.stop_daemon()?;
            let remounted = Command::new("mount").args(["-o", "remount,ro"]).arg(data).output()?;
            ensure!(remounted.status.success(), "{}", String::from_utf8_lossy(&remounted.stderr));
            let output = home.daemon_command().stdin(std::process::Stdio::null()).output()?;
            ensure!(!output.status.success(), "it ran");
            let said = String::from_utf8_lossy(&output.stderr).to_lowercase();
            ensure!(said.contains("read-only"), "{said}");
            Ok(())
        })
    })
}

#[test]
fn o45_a_database_of_somebody_else_or_a_damaged_one_is_refused_and_left_alone() -> Fallible {
    with_home(|home| {
        let database = home.data().join("lockkeeper.db");
        home.start()?;
        home.session(&Spec::kept())?;
        home.stop_daemon()?;
        let good = std::fs::read(&database)?;
        let mut damaged = good.clone();
        for byte in damaged.iter_mut().take(4000).skip(200) {
            *byte ^= 0x55;
        }
        for (bytes, what) in
            [(b"this is a diary, and no database at all".repeat(200), "foreign"), (damaged, "damaged")]
        {
            std::fs::write(&database, &bytes)?;
            for side in ["lockkeeper.db-wal", "lockkeeper.db-shm"] {
                if home.data().join(side).exists() {
                    std::fs::remove_file(home.data().join(side))?;
                }
            }
            let output = home.daemon_command().stdin(std::process::Stdio::null()).output()?;
            ensure!(!output.status.success(), "it ran with a {what} database");
            ensure!(!output.stderr.is_empty(), "it said nothing about a {what} database");
            ensure!(std::fs::read(&database)? == bytes, "the {what} database was changed");
        }
        std::fs::write(&database, &good)?;
        home.start()?;
        assert_eq!(home.api().get("/v1/sessions")?["items"].as_array().map(Vec::len), Some(1));
        Ok(())
    })
}

/// What the next daemon says, which has to end at its start.
fn refused(home: &Home) -> Fallible<String> {
    match home.start() {
        Ok(()) => Err(Failure::new("the daemon runs")),
        Err(why) => Ok(format!("{why:?}")),
    }
}

#[test]
fn o43_o45_a_database_of_a_later_lk_is_refused_and_left_alone_and_its_agents_go_on() -> Fallible {
    with_daemon(SHORT, |home| {
        let go = home.path("go");
        let script = format!("WAITFILE {} ;; LINES 200", go.display());
        let session = home.session(&Spec::kept().prompt(&script))?;
        let mut watch = session.watch()?;
        watch.until("text", |frame| frame.name == "live")?;
        let (agent, holder) = (session.pid()?, home.holder_of(&session.id)?);
        home.kill_daemon()?;
        let path = home.data().join("lockkeeper.db");
        let version = |to: Option<i64>| {
            let database = Connection::open(&path)?;
            let known: i64 = database.query_row("PRAGMA user_version", [], |row| row.get(0))?;
            to.map_or(Ok(()), |to| database.pragma_update(None, "user_version", to))?;
            Ok::<_, rusqlite::Error>(known)
        };
        let known = version(Some(99))?;
        let before = std::fs::read(&path)?;
        let said = refused(home)?;
        let versions = said.contains("format 99") && said.contains(&format!("this one knows {known}"));
        ensure!(versions && said.contains("a newer lk"), "{said}");
        ensure!(std::fs::read(&path)? == before, "the database was changed");
        // What its agent says meanwhile is for the daemon that understands what was stored.
        ensure!(is_running(agent) && is_running(holder), "the agent or its holder is gone");
        std::fs::write(&go, "")?;
        let journal = home.data().join("sessions").join(&session.id).join("a1/journal");
        wait_until("the last line", || {
            let bytes = std::fs::read(&journal).unwrap_or_default();
            bytes.windows(11).any(|part| part == b"line 000200")
        })?;
        assert_eq!(version(Some(known))?, 99);
        home.start()?;
        watch.reconnect()?;
        watch.status("idle")?;
        assert_eq!((session.pid()?, session.list("attempts")?.len()), (agent, 1));
        let lines = (1..=200).map(|n| format!("line {n:06}"));
        let said: Vec<String> = std::iter::once("waiting released".to_owned()).chain(lines).collect();
        assert_eq!(session.messages()?, said);
        Ok(())
    })
}

/// Somebody else who holds the write lock of the database until told to let go.
pub(crate) struct Locker(std::process::Child);

impl Locker {
    /// None, loudly, where there is no Python.
    pub(crate) fn lock(home: &Home) -> Fallible<Option<Self>> {
        use std::io::{BufRead as _, BufReader};
        use std::process::Stdio;
        const PROGRAM: &str = "import sqlite3,sys\n\
            c=sqlite3.connect(sys.argv[1],isolation_level=None)\n\
            c.execute('BEGIN IMMEDIATE')\n\
            print('locked',flush=True)\n\
            sys.stdin.readline()\n";
        let mut command = Command::new("python3");
        command.args(["-c", PROGRAM]).arg(home.data().join("lockkeeper.db"));
        let Ok(mut other) = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() else {
            skipped("a locked database", "there is no python3");
            return Ok(None);
        };
        let mut line = String::new();
        if let Some(stdout) = other.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        ensure!(line.contains("locked"), "the other one could not lock: {line:?}");
        Ok(Some(Self(other)))
    }

    pub(crate) fn let_go(mut self) -> Fallible {
        // The end of its input is the word.
        drop(self.0.stdin.take());
        self.0.wait()?;
        Ok(())
    }
}

#[test]
fn o45_while_somebody_locks_the_database_commands_say_so_and_reading_goes_on() -> Fallible {
    with_daemon(SHORT, |home| {
        home.expect_error("could not commit");
        let Some(locker) = Locker::lock(home)? else { return Ok(()) };
        let body = Spec::kept().prompt("SAY x").body(home);
        let answer = std::thread::scope(|scope| {
            let asked = scope.spawn(|| home.api().json("POST", "/v1/sessions", &body));
            home.api().get("/v1/sessions")?;
            asked.join().map_err(|_| Failure::new("panicked"))?
        })?;
        answer.is_problem(503, "store_unavailable")?;
        locker.let_go()?;
        assert_eq!(home.api().get("/v1/sessions?all=true")?["items"], json!([]));
        assert_eq!(std::fs::read_dir(home.data().join("sessions"))?.count(), 0, "no directory is left");
        let session = home.session(&Spec::one_shot().prompt("SAY now"))?;
        assert_eq!(session.wait("end")?["status"], "completed");
        let status = home.api().get("/v1/status")?;
        ensure!(status["store"]["problem"].is_null(), "{status}");
        Ok(())
    })
}

#[test]
fn o43_o45_a_daemon_that_finds_the_database_locked_says_so_and_ends_and_leaves_agents_to_the_next() -> Fallible
{
    with_daemon(SHORT, |home| {
        let go = home.path("go");
        let session = home.session(&Spec::kept().prompt(&format!("WAITFILE {}", go.display())))?;
        let mut watch = session.watch()?;
        watch.until("text", |frame| frame.name == "live")?;
        let (agent, holder) = (session.pid()?, home.holder_of(&session.id)?);
        home.kill_daemon()?;
        let Some(locker) = Locker::lock(home)? else { return Ok(()) };
        // It does not wait for the other one, who lets go only when it has ended.
        let said = refused(home)?;
        let database = home.data().join("lockkeeper.db").display().to_string();
        ensure!(said.contains("another process") && said.contains(&database), "{said}");
        ensure!(is_running(agent) && is_running(holder), "the agent or its holder is gone");
        locker.let_go()?;
        home.start()?;
        watch.reconnect()?;
        watch.status("running")?;
        std::fs::write(&go, "")?;
        watch.status("idle")?;
        assert_eq!((session.pid()?, session.list("attempts")?.len()), (agent, 1));
        assert_eq!(session.messages()?, ["waiting released"]);
        Ok(())
    })
}

#[test]
fn o11_a_store_error_while_judging_an_exit_changes_nothing_is_visible_and_is_retried() -> Fallible {
    with_daemon(SHORT, |home| {
        home.expect_error("could not commit");
        let go = home.path("go");
        let script = format!("WAITFILE {} ;; STDERR alas ;; EXIT 5", go.display());
        let session = home.session(&Spec::kept().prompt(&script))?;
        let mut watch = session.watch()?;
        watch.until("text", |frame| frame.name == "live")?;
        let pid = session.pid()?;
        let Some(locker) = Locker::lock(home)? else { return Ok(()) };
        std::fs::write(&go, "")?;
        wait_until("the end of the agent", || !is_running(pid))?;
        wait_until("a store that says so", || {
            home.api().get("/v1/status").is_ok_and(|status| status["store"]["problem"].is_string())
        })?;
        assert_eq!(session.row()?["status"], "running", "nothing was changed");
        locker.let_go()?;
        watch.status("suspended")?;
        ensure!(!watch.statuses().contains(&"failed".to_owned()), "{:?}", watch.statuses());
        let row = session.row()?;
        assert_eq!((&row["exit"]["code"], &row["exit"]["stderr"]), (&json!(5), &json!(["alas"])));
        assert_eq!(watch.count("turn.ended"), 1);
        assert_eq!(session.messages()?, ["waiting released"]);
        Ok(())
    })
}
