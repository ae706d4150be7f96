//! `lk` as people and scripts run it: what it waits for, what it runs, and what it says.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Output, Stdio};

use rusqlite::config::DbConfig;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{
    Failure, Fallible, Home, SHORT, Session, Spec, children_of, ensure, is_running, kill, number_of,
    wait_until, with_daemon,
};

/// Starts a command whose output is read at its end, and which reads from a pipe that nobody writes to.
fn started(mut command: Command) -> Fallible<Child> {
    Ok(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
}

/// Waits for the end of a command: its exit code, and all that it wrote to standard output and to standard error.
fn ended(mut child: Child) -> Fallible<(Option<i32>, String, String)> {
    // Waiting would close it.
    let stdin = child.stdin.take();
    let left = wait_until("the end of lk", || child.try_wait().is_ok_and(|ended| ended.is_some()));
    if left.is_err() {
        child.kill()?;
    }
    let Output { status, stdout, stderr } = child.wait_with_output()?;
    drop(stdin);
    let (stdout, stderr) = (String::from_utf8(stdout)?, String::from_utf8(stderr)?);
    left.map_err(|failure| failure.within(&format!("with what it said, {stdout:?} and {stderr:?}")))?;
    Ok((status.code(), stdout, stderr))
}

/// Runs `lk` to its end.
fn run(home: &Home, arguments: &[&str]) -> Fallible<(Option<i32>, String, String)> {
    ended(started(home.lk(arguments))?)
}

/// A session at work, until the file `go` is there.
fn busy<'a>(home: &'a Home, name: &str) -> Fallible<Session<'a>> {
    let work = format!("WAITFILE {} ;; SAY done", home.path("go").display());
    let session = home.session(&Spec::kept().with("name", name).prompt(&work))?;
    session.watch()?.event("turn.taken")?;
    Ok(session)
}

/// Starts `lk` as what a service outside has started for a session's agent, and waits until the daemon knows that it waits.
fn waits(home: &Home, who: &Session<'_>, whom: &str, arguments: &[&str]) -> Fallible<Child> {
    let mut command = home.lk(arguments);
    command.env("LOCKKEEPER_ATTEMPT", format!("{}.a1", who.id));
    let child = started(command)?;
    wait_until("the wait", || {
        let why = home.api().get(&who.path("/why")).unwrap_or_default();
        why.to_string().contains(&format!("a program of its agent waits for {whom}"))
    })?;
    Ok(child)
}

/// A session with an agent that has nothing to do.
fn ready(home: &Home) -> Fallible<Session<'_>> {
    let session = home.session(&Spec::kept())?;
    session.ask("SAY ready")?;
    Ok(session)
}

/// How the claims of a session ended.
fn claims_ended(session: &Session<'_>, home: &Home) -> Fallible<Vec<Value>> {
    let page = home.api().get(&session.path("/events?kind=claim.ended"))?;
    Ok(page["items"].as_array().into_iter().flatten().map(|event| event["data"]["how"].clone()).collect())
}

#[test]
fn a_claim_and_a_wait_outlive_a_kill_of_the_daemon_that_they_wait_for() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = busy(home, "busy")?;
        let (claimer, waiter) = (ready(home)?, ready(home)?);
        let claim = ["claim", "busy", "--", "sh", "-c", "echo \"under $LK_CLAIM\""];
        let claim = waits(home, &claimer, "busy", &claim)?;
        wait_until("the claim", || session.list("claims").is_ok_and(|claims| claims.len() == 1))?;
        let wait = waits(home, &waiter, "busy", &["wait", "busy"])?;
        home.crash_and_start()?;
        session.known()?;
        ensure!(session.list("claims")?.len() == 1, "the claim is there still");
        fs::write(home.path("go"), "")?;
        for (child, wanted) in
            [(claim, format!("under {}.k1\n", session.id)), (wait, "busy is idle\n".to_owned())]
        {
            let (code, stdout, stderr) = ended(child)?;
            assert_eq!((code, stdout), (Some(0), wanted), "{stderr}");
            let told: Vec<_> = ["waiting for the daemon\n", "the daemon is back\n"]
                .iter()
                .map(|part| stderr.matches(part).count())
                .collect();
            assert_eq!(told, [1, 1], "{stderr}");
        }
        assert_eq!(session.list("claims")?, Vec::<Value>::new());
        assert_eq!(claims_ended(&session, home)?, ["released"]);
        Ok(())
    })
}

#[test]
fn a_claim_is_renewed_and_given_back_across_a_restart_of_the_daemon() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::kept())?;
        let script = format!("touch {}; read line; exit 3", home.path("runs").display());
        let mut child = started(home.lk(&["claim", &session.id, "--ttl", "1s", "--", "sh", "-c", &script]))?;
        wait_until("the command", || home.path("runs").exists())?;
        home.stop_daemon()?;
        // It ends while nobody is there to take the claim.
        drop(child.stdin.take());
        home.start()?;
        let (code, _, stderr) = ended(child)?;
        assert_eq!(code, Some(3), "{stderr}");
        assert_eq!(session.list("claims")?, Vec::<Value>::new());
        Ok(())
    })
}

#[test]
fn who_does_not_want_to_wait_for_the_daemon_may_leave_before_the_claim_is_given_back() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::kept())?;
        let script = format!("touch {}; read line; exit 3", home.path("runs").display());
        let mut child = started(home.lk(&["claim", &session.id, "--", "sh", "-c", &script]))?;
        wait_until("the command", || home.path("runs").exists())?;
        home.kill_daemon()?;
        drop(child.stdin.take());
        let pid = child.id();
        wait_until("the end of the command", || children_of(pid).is_empty())?;
        // One that comes before the daemon is missed does not count.
        wait_until("the end of lk", || {
            kill(pid, Signal::INT).is_ok() && child.try_wait().is_ok_and(|ended| ended.is_some())
        })?;
        let (code, _, stderr) = ended(child)?;
        assert_eq!(code, Some(3), "{stderr}");
        ensure!(stderr.contains("k1 is not given back"), "{stderr}");
        Ok(())
    })
}

#[test]
fn a_wait_gives_up_after_its_timeout_also_where_the_daemon_went_away_meanwhile() -> Fallible {
    with_daemon(SHORT, |home| {
        let (_session, waiter) = (busy(home, "busy")?, ready(home)?);
        let child = waits(home, &waiter, "busy", &["wait", "busy", "--timeout", "3s"])?;
        home.kill_daemon()?;
        let (code, _, stderr) = ended(child)?;
        assert_eq!(code, Some(124), "{stderr}");
        ensure!(stderr.contains("busy is not settled yet"), "{stderr}");
        home.start()
    })
}

#[test]
fn what_would_wait_behind_its_own_claim_is_refused_and_changes_nothing() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::kept().with("name", "own"))?;
        let other = home.session(&Spec::kept().with("name", "other"))?;
        for (inner, parts) in [
            ("send own --class normal SAY x --wait", ["k1", "leave out --class"]),
            ("send own --class urgent SAY x", ["k2", "leave out --class"]),
            ("send own --preempt SAY x", ["k3", "leave out --preempt"]),
            ("send own --on-preempt drop SAY x", ["k4", "leave out --preempt"]),
            ("claim own -- true", ["k5", "runs under it already"]),
        ] {
            let line = home.lk_line(inner);
            let (code, _, stderr) = run(home, &["claim", "own", "--", "sh", "-c", &line])?;
            assert_eq!(code, Some(2), "{inner}: {stderr}");
            for part in parts.into_iter().chain(["unset LK_CLAIM"]) {
                ensure!(stderr.contains(part), "{inner}: {stderr}");
            }
        }
        assert_eq!(session.list("queue")?.len() + session.list("turns")?.len(), 0);
        // What is no matter of the claim goes on, and so does what asks for something beside it.
        for inner in [
            "claim other -- true",
            "send other --class normal SAY x --wait",
            "--as me claim other --class urgent -- true",
            "send own --claim k99 SAY x",
        ] {
            let line = home.lk_line(inner);
            let (code, _, stderr) = run(home, &["claim", "own", "--", "sh", "-c", &line])?;
            assert_eq!(code, Some(if inner.contains("k99") { 3 } else { 0 }), "{inner}: {stderr}");
        }
        let beside = format!("unset LK_CLAIM; {}", home.lk_line("send own --class normal SAY beside"));
        let (code, _, stderr) = run(home, &["claim", "own", "--", "sh", "-c", &beside])?;
        assert_eq!(code, Some(0), "{stderr}");
        session.wait("idle")?;
        assert_eq!(session.messages()?, ["beside"]);
        assert_eq!(other.messages()?, ["x"]);
        Ok(())
    })
}

#[test]
fn a_claim_that_is_over_is_in_the_way_of_nothing_beside_it() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::kept().with("name", "own"))?;
        let gone = home.lk_line("claims own end \"${LK_CLAIM##*.}\"");
        for (inner, code) in [
            ("send own --class normal SAY x --wait", 0),
            ("claim own -- true", 0),
            ("send own SAY x", 3),
            ("send own --preempt SAY x", 3),
        ] {
            let line = format!("{gone} && {}", home.lk_line(inner));
            let (ended, _, stderr) = run(home, &["claim", "own", "--", "sh", "-c", &line])?;
            assert_eq!(ended, Some(code), "{inner}: {stderr}");
            ensure!(code == 0 || stderr.contains("(claim_over)"), "{inner}: {stderr}");
        }
        assert_eq!(session.list("turns")?.len(), 1);
        Ok(())
    })
}

/// Runs a script under a claim until it has touched the file `runs`, and asks `lk` to terminate.
fn terminated(home: &Home, session: &Session<'_>, script: &str) -> Fallible<(Option<i32>, String, String)> {
    let runs = home.path("runs");
    let script = format!("{script}; touch {}; read line", runs.display());
    let child = started(home.lk(&["claim", &session.id, "--ttl", "5s", "--", "sh", "-c", &script]))?;
    wait_until("the command", || runs.exists())?;
    fs::remove_file(&runs)?;
    kill(child.id(), Signal::TERM)?;
    ended(child)
}

#[test]
fn a_claims_command_is_asked_to_terminate_before_its_claim_is_given_back() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::kept().with("name", "own"))?;
        let (code, _, stderr) = terminated(home, &session, "true")?;
        assert_eq!(code, Some(143), "{stderr}");
        // It tidies up with what is its right still.
        let tidy = home.lk_line("send own SAY tidied --wait");
        let (code, stdout, stderr) = terminated(home, &session, &format!("trap '{tidy}; exit 7' TERM"))?;
        assert_eq!((code, stdout.as_str()), (Some(7), "tidied\n"), "{stderr}");
        assert_eq!(claims_ended(&session, home)?, ["released", "released"]);
        Ok(())
    })
}

#[test]
fn a_claims_command_that_does_not_terminate_is_killed_and_has_the_claim_until_then() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::kept())?;
        let (code, _, stderr) = terminated(home, &session, "trap '' TERM")?;
        assert_eq!(code, Some(137), "{stderr}");
        assert_eq!(claims_ended(&session, home)?, ["released"], "it had not expired");
        Ok(())
    })
}

#[test]
fn a_command_that_cannot_be_run_ends_as_shells_tell_it_and_nothing_is_claimed() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = busy(home, "busy")?;
        let plain = home.path("plain");
        fs::write(&plain, "")?;
        let (plain, folder) = (plain.display().to_string(), home.workspace().display().to_string());
        for (program, wanted) in [
            ("no-such-program", 127),
            ("/nonexistent/program", 127),
            (plain.as_str(), 126),
            (folder.as_str(), 126),
        ] {
            let (code, stdout, stderr) = run(home, &["claim", "busy", "--", program])?;
            assert_eq!((code, stdout.as_str()), (Some(wanted), ""), "{program}: {stderr}");
            ensure!(stderr.starts_with("lk: ") && stderr.contains(program), "{program}: {stderr}");
        }
        let made = home.api().get(&session.path("/events?kind=claim.made"))?;
        assert_eq!(made["items"], json!([]), "nobody was held up");
        // What is found, and turns out to be no program once it is run.
        let broken = home.path("broken");
        fs::write(&broken, "#!/nonexistent/shell\n")?;
        fs::set_permissions(&broken, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        fs::write(home.path("go"), "")?;
        let (code, _, stderr) = run(home, &["claim", "busy", "--", &broken.display().to_string()])?;
        assert_eq!(code, Some(126), "{stderr}");
        assert_eq!(session.list("claims")?, Vec::<Value>::new(), "it was given back");
        Ok(())
    })
}

#[test]
fn it_is_told_what_holds_a_prompt_and_what_became_of_the_one_that_goes_on_with_it() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::kept().with("name", "fix"))?;
        let mut watch = session.watch()?;
        session.post_prompt(&json!({"text": "HANG", "class": "background", "on_preempt": "hold"}))?;
        watch.event("turn.taken")?;
        let now = number_of(&session.preempt("SAY now")?["prompt"])?;
        watch.until("its turn", |frame| frame.is("turn.ended") && frame.event()["prompt"] == now)?;
        let told = |arguments: &[&str]| -> Fallible<String> {
            let (code, stdout, stderr) = run(home, &[&["queue", "fix"], arguments].concat())?;
            ensure!(code == Some(0), "{arguments:?}: {stderr}");
            Ok(stdout)
        };
        assert_eq!(
            told(&["show", "p3"])?,
            "p3 is held until somebody lets it go: lk queue fix release p3, or lk resume fix\n"
        );
        let cut = told(&["show", "p1"])?;
        ensure!(
            cut.starts_with("p1 ended")
                && cut.ends_with("preempted; p3, which is held, is to go on with it\n"),
            "{cut}"
        );
        told(&["rm", "p3"])?;
        let cut = told(&["show", "p1"])?;
        ensure!(cut.contains("preempted; p3 was to go on with it, and was taken out of the queue"), "{cut}");

        let go = home.path("go");
        session.post_prompt(&json!({
            "text": format!("WAITFILE {} ;; SAY chores", go.display()), "class": "background", "on_preempt": "hold"
        }))?;
        watch.until("its turn", |frame| frame.is("turn.taken") && frame.event()["turn"] == 3)?;
        let waits =
            number_of(&session.post_prompt(&json!({"text": "SAY later", "class": "background"}))?["prompt"])?;
        assert_eq!(told(&["release", &format!("p{waits}")])?, format!("nothing held p{waits}\n"));
        let now = number_of(&session.preempt("SAY now")?["prompt"])?;
        watch.until("its turn", |frame| frame.is("turn.ended") && frame.event()["prompt"] == now)?;
        let rest = session.list("queue")?.into_iter().find(|prompt| prompt["parked"].is_string());
        let rest = number_of(&rest.unwrap_or_default()["id"])?;
        fs::write(&go, "")?;
        assert_eq!(told(&["release", &format!("p{rest}")])?, format!("p{rest} let go\n"));
        session.wait("idle")?;
        let cut = told(&["show", "p4"])?;
        ensure!(cut.contains(&format!("preempted; p{rest} went on with it, and ended")), "{cut}");
        ensure!(cut.ends_with(": completed\n"), "{cut}");
        Ok(())
    })
}

#[test]
fn advice_is_given_once_and_where_it_makes_sense() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::kept().with("name", "fix"))?;
        let (code, _, stderr) = run(home, &["claims", "fix", "end", "k7"])?;
        assert_eq!(code, Some(3), "{stderr}");
        ensure!(!stderr.contains("claim again") && stderr.contains("`lk claims fix` lists"), "{stderr}");
        session.act("stop")?;
        session.wait("end")?;
        let (code, _, stderr) = run(home, &["claim", "fix", "--", "true"])?;
        assert_eq!(code, Some(3), "{stderr}");
        assert_eq!(stderr.matches("send a prompt or resume it first").count(), 1, "{stderr}");
        Ok(())
    })
}

#[test]
fn what_was_stopped_or_killed_before_a_wrong_name_is_told() -> Fallible {
    with_daemon(SHORT, |home| {
        for verb in ["stop", "kill"] {
            let names = ["before", "after"].map(|name| format!("{verb}-{name}"));
            let sessions = names
                .iter()
                .map(|name| home.session(&Spec::kept().with("name", name.as_str())))
                .collect::<Fallible<Vec<_>>>()?;
            for session in &sessions {
                session.wait("idle")?;
            }
            let (code, out, error) = run(home, &[verb, &names[0], "nobody", &names[1]])?;
            assert_eq!(code, Some(3), "{error}");
            ensure!(out.contains(&names[0]) && !out.contains(&names[1]), "{verb}: {out:?}");
            ensure!(error.contains("nobody (session_not_found)"), "{verb}: {error}");
            assert_eq!(sessions[0].row()?["status"], "stopped");
            assert_eq!(sessions[1].row()?["ended_at"], Value::Null, "{verb}");
        }
        Ok(())
    })
}

#[test]
fn a_daemon_is_not_ended_for_one_that_could_not_start_with_the_rules() -> Fallible {
    with_daemon(SHORT, |home| {
        fs::write(home.user_rules(), "[[rule]]\neffect = \"alow\"\n")?;
        let pid = home.daemon_pid();
        let (code, _, error) = run(home, &["daemon", "restart"])?;
        ensure!(code == Some(1) && error.contains("rules.toml") && error.contains("left alone"), "{error}");
        assert_eq!(home.daemon_pid(), pid);
        home.api().get("/v1/sessions")?;
        let (code, out, _) = run(home, &["doctor"])?;
        ensure!(code == Some(1) && out.contains("rules.toml"), "{out}");
        Ok(())
    })
}

#[test]
fn the_doctor_says_what_would_keep_a_daemon_from_its_store_or_port_and_changes_nothing() -> Fallible {
    with_daemon(SHORT, |home| {
        home.session(&Spec::one_shot().prompt("SAY hi"))?.wait("end")?;
        home.kill_daemon()?;
        let says = |code: i32, words: &str| -> Fallible {
            let (ended, out, error) = run(home, &["doctor"])?;
            ensure!(ended == Some(code) && out.contains(words), "{ended:?}, and not {words:?}: {out}{error}");
            Ok(())
        };
        let file = |suffix: &str| home.data().join(format!("lockkeeper.db{suffix}"));
        let stored = || Ok::<_, Failure>((fs::read(file(""))?, fs::read(file("-wal"))?));
        let before = stored()?;
        ensure!(!before.1.is_empty(), "the daemon was killed, and left no log");
        says(0, "store          sqlite, ")?;
        let locker = rusqlite::Connection::open(file(""))?;
        // Or it would take the log with it.
        locker.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        locker.execute_batch("BEGIN IMMEDIATE")?;
        says(1, "another process has locked")?;
        locker.execute_batch("ROLLBACK")?;
        let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
        let config = format!("[webhooks]\nlisten = \"{}\"\n", taken.local_addr()?);
        fs::write(home.data().join("config.toml"), config)?;
        says(1, "cannot listen for webhooks")?;
        says(1, "Address already in use")?;
        says(1, "end what listens there, or set another port")?;
        drop(taken);
        says(0, "is free to listen on")?;
        ensure!(stored()? == before, "the doctor has changed what is stored");
        drop(locker);
        fs::write(file(""), "no database".repeat(100))?;
        says(1, "the store is damaged")?;
        fs::remove_file(file(""))?;
        says(1, "is gone or empty")?;
        ensure!(
            stored().is_err() && fs::read(file("-wal"))? == before.1,
            "the doctor has changed what is stored"
        );
        fs::remove_file(file("-wal"))?;
        says(1, "is gone or empty")?;
        fs::remove_dir_all(home.data().join("sessions"))?;
        says(0, "store          will be made")?;
        ensure!(!file("").exists(), "the doctor has made a store");
        Ok(())
    })
}

#[test]
fn a_prompt_behind_an_interrupt_is_told_to_be_held_and_by_whom() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::kept().with("name", "fix").prompt("HANG"))?;
        let mut watch = session.watch()?;
        watch.event("turn.taken")?;
        session.prompt("SAY later")?;
        let (code, _, error) = run(home, &["--as", "ci", "interrupt", "fix"])?;
        assert_eq!(code, Some(0), "{error}");
        watch.event("turn.ended")?;
        let (_, told, _) = run(home, &["queue", "fix", "show", "p2"])?;
        ensure!(told.starts_with("p2 waits: ") && told.ends_with("/ci holds the queue\n"), "{told}");
        Ok(())
    })
}

#[test]
fn what_cuts_a_turn_short_is_told_to_wait_where_others_go_first() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::kept().with("name", "fix").prompt("HANG"))?;
        let mut watch = session.watch()?;
        watch.event("turn.taken")?;
        let (_, _, error) = run(home, &["send", "fix", "--class", "urgent", "SAY first"])?;
        assert_eq!(error, "");
        let (_, told, error) = run(home, &["send", "fix", "--class", "urgent", "--preempt", "SAY second"])?;
        ensure!(told.starts_with("fix.p3 waits behind 1 other, and cuts fix.t1 short"), "{told}{error}");
        Ok(())
    })
}

#[test]
fn a_list_does_not_say_that_there_is_nothing_while_agents_are_at_work_without_a_daemon() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = busy(home, "busy")?;
        home.kill_daemon()?;
        for arguments in [&["ls"][..], &["gates", "-o", "json"], &["status"], &[]] {
            let (code, stdout, stderr) = run(home, arguments)?;
            assert_eq!((code, stdout.as_str()), (Some(5), ""), "{arguments:?} {stderr}");
            assert_eq!(
                stderr,
                "lk: no daemon runs, and an agent is at work all the same\n    `lk daemon start` takes it over, with nothing lost\n"
            );
        }
        home.start()?;
        session.known()?;
        fs::write(home.path("go"), "")?;
        session.wait("idle")?;
        session.act("stop")?;
        session.wait("end")?;
        home.kill_daemon()?;
        let (code, stdout, stderr) = run(home, &["gates", "-o", "json"])?;
        ensure!(code == Some(0) && stdout.trim() == "[]", "{stdout} {stderr}");
        Ok(())
    })
}

#[test]
fn a_list_does_not_say_that_there_is_nothing_while_a_session_is_open_without_a_daemon() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::kept().prompt("SAY ready"))?;
        session.wait("idle")?;
        let agent = session.pid()?;
        kill(agent, Signal::KILL)?;
        session.watch()?.event("attempt.exited")?;
        wait_until("the end of the agent", || home.left().iter().all(|pid| *pid == home.daemon_pid()))?;
        home.kill_daemon()?;
        let (code, stdout, stderr) = run(home, &["ls", "-o", "json"])?;
        assert_eq!((code, stdout.as_str()), (Some(5), ""), "{stderr}");
        assert_eq!(
            stderr,
            "lk: no daemon runs, and a session is open\n    `lk daemon start` starts one, which knows how it is\n"
        );
        Ok(())
    })
}

#[test]
fn without_its_database_a_daemon_does_not_begin_anew_beside_sessions() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::kept().prompt("SAY ready"))?;
        session.wait("idle")?;
        let agent = session.pid()?;
        home.kill_daemon()?;
        let (database, aside) = (home.data().join("lockkeeper.db"), home.path("aside"));
        let log = home.data().join("lockkeeper.db-wal");
        fs::create_dir(&aside)?;
        fs::rename(&database, aside.join("db"))?;
        fs::rename(&log, aside.join("db-wal"))?;
        for is_empty in [false, true] {
            if is_empty {
                fs::write(&database, "")?;
            }
            for arguments in [&["daemon", "start"][..], &["ls"], &["doctor"], &["run", "-d", "SAY x"]] {
                let (code, stdout, stderr) = run(home, arguments)?;
                let said = stdout + &stderr;
                ensure!(
                    code != Some(0) && said.contains("is gone or empty"),
                    "{arguments:?} {code:?}: {said}"
                );
                ensure!(!said.contains("nothing lost"), "{arguments:?}: {said}");
            }
            ensure!(fs::metadata(&database).map_or(0, |meta| meta.len()) == 0, "one was made");
        }
        ensure!(is_running(agent), "the agent was ended");
        fs::rename(aside.join("db"), &database)?;
        fs::rename(aside.join("db-wal"), &log)?;
        home.start()?;
        assert_eq!(
            (session.ask("SAY again")?["outcome"].clone(), session.pid()?),
            (json!("completed"), agent)
        );
        Ok(())
    })
}

#[test]
fn the_doctor_names_an_agent_that_an_older_copy_of_the_database_does_not_know() -> Fallible {
    with_daemon(SHORT, |home| {
        home.stop_daemon()?;
        let (database, copy) = (home.data().join("lockkeeper.db"), home.path("copy"));
        fs::copy(&database, &copy)?;
        home.start()?;
        let session = home.session(&Spec::kept().prompt("SAY ready"))?;
        session.wait("idle")?;
        let (agent, holder) = (session.pid()?, home.holder_of(&session.id)?);
        home.stop_daemon()?;
        fs::copy(&copy, &database)?;
        home.start()?;
        let (code, stdout, _) = run(home, &["doctor"])?;
        let stray =
            format!("an agent of the session {} is at work, which the store does not know", session.id);
        let next = format!("or end the agent by ending its holder: kill -9 {holder}");
        ensure!(code == Some(1) && stdout.contains(&stray) && stdout.contains(&next), "{stdout}");
        kill(holder, Signal::KILL)?;
        wait_until("the end of the agent", || !is_running(agent))?;
        let (code, stdout, _) = run(home, &["doctor"])?;
        ensure!(code == Some(0) && !stdout.contains(&stray), "{stdout}");
        Ok(())
    })
}

#[test]
fn who_waits_at_a_gate_is_told_so() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = home
            .session(&Spec::kept().with("name", "asks").prompt("ASK Bash {\"command\":\"x\"} ;; SAY done"))?;
        session.watch()?.status("awaiting_input")?;
        let (code, _, stderr) = run(home, &["wait", "asks", "--timeout", "100ms"])?;
        assert_eq!(code, Some(124));
        let told = [
            "asks waits for a decision at a gate: lk gates asks\n",
            "lk: asks is not settled yet\n    it waits for a decision at a gate: lk gates asks\n",
        ];
        assert_eq!(stderr, told.concat());
        // Whoever sends a prompt and waits for it leaves at that gate, and its own prompt is there still.
        let (code, stdout, stderr) = run(home, &["send", "asks", "--wait", "--preempt", "SAY second"])?;
        assert_eq!((code, stdout), (Some(8), format!("{}.g1\n", session.id)));
        ensure!(stderr.contains("asks.p2 waits behind 1 other; follow it: lk attach asks\n"), "{stderr}");
        let (_, _, stderr) = run(home, &["send", "asks", "--preempt", "SAY third"])?;
        ensure!(stderr.contains("nothing is cut short for it"), "{stderr}");
        Ok(())
    })
}

#[test]
fn a_daemon_whose_socket_was_removed_is_none_that_does_not_run_and_listens_again() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = busy(home, "busy")?;
        for restart in [false, true] {
            let before = home.daemon_pid();
            fs::remove_file(home.socket())?;
            let (_, _, stderr) = run(home, &["ls"])?;
            let cannot_be_reached = format!("a daemon runs, process {before}, and does not listen at ");
            ensure!(stderr.is_empty() || stderr.contains(&cannot_be_reached), "{stderr}");
            if restart {
                let (code, _, stderr) = run(home, &["daemon", "restart"])?;
                ensure!(code == Some(0), "{stderr}");
                home.wait_for_end()?;
                let pid = home.api().get("/v1/status")?["pid"].as_u64();
                ensure!(pid.is_some_and(|pid| pid != u64::from(before)), "{pid:?}");
            } else {
                wait_until("a socket", || home.api().get("/v1/status").is_ok())?;
            }
            assert_eq!(session.known()?["status"], "running");
        }
        let (code, ..) = run(home, &["daemon", "stop", "--kill"])?;
        ensure!(code == Some(0), "it does not end");
        Ok(())
    })
}

#[test]
fn events_in_a_pipe_come_with_their_data() -> Fallible {
    with_daemon(SHORT, |home| {
        home.session(&Spec::kept().with("name", "one"))?;
        let mut child = started(home.lk(&["events", "-f", "one"]))?;
        let mut line = String::new();
        if let Some(stdout) = &mut child.stdout {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        kill(child.id(), Signal::INT)?;
        let (_, _, stderr) = ended(child)?;
        ensure!(line.contains("session.created") && line.contains("\"agent\":\"claude\""), "{line} {stderr}");
        Ok(())
    })
}
