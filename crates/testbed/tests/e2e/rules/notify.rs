//! Telling people of gates.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{VERSIONS, asked, asking, kept};
use crate::ingest::Locker;
use crate::support::{Failure, Fallible, Home, SHORT, Session, ensure, wait_until, with_home};

/// A program that writes down what it is told, a file for each notice, and the directory of these.
fn told(home: &Home, more: &str) -> Fallible<(PathBuf, PathBuf)> {
    let (program, told) = (home.path("tell"), home.path("told"));
    fs::create_dir(&told)?;
    let script = format!(
        "#!/bin/sh\nread -r json\n{more}\nprintf '%s\\n%s\\n' \"$2\" \"$json\" > {0}/.$$\nmv {0}/.$$ {0}/$$\n",
        told.display()
    );
    fs::write(&program, script)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700))?;
    Ok((program, told))
}

/// What was told so far: the text and the JSON of each notice, by their texts.
fn notices(told: &Path) -> Fallible<Vec<(String, String)>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(told)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            let text = fs::read_to_string(entry.path())?;
            let (text, json) = text.split_once('\n').unwrap_or_default();
            all.push((text.to_owned(), json.trim_end().to_owned()));
        }
    }
    all.sort();
    Ok(all)
}

fn start(home: &Home, command: &Value, rules: &str) -> Fallible {
    let config = format!("[notify]\ncommand = {command}\n{SHORT}");
    fs::write(home.data().join("config.toml"), config)?;
    fs::write(home.user_rules(), rules)?;
    home.start()
}

#[test]
fn somebody_is_told_of_a_gate_and_of_what_a_rule_wants_told_once() -> Fallible {
    with_home(|home| {
        let (program, told) = told(home, "")?;
        let rules = "[[rule]]\neffect = \"notify\"\nname = \"watch\"\ncommand = \"make *\"\n";
        // Its home directory is that of the daemon.
        fs::write(
            home.data().join("config.toml"),
            format!(
                "[notify]\ncommand = [\"~/{}\", \"--flag\"]\n{SHORT}",
                program.file_name().unwrap_or_default().to_string_lossy()
            ),
        )?;
        fs::write(home.user_rules(), rules)?;
        let mut daemon = home.daemon_command();
        daemon.env("HOME", program.parent().unwrap_or(&program));
        home.start_as(daemon)?;
        let script =
            format!("{} ;; {} ;; SAY end", asked("make x"), asked("git push \u{202e}token=abcdefgh"));
        let spec = kept(VERSIONS[0]).with("name", "fix").prompt(&script);
        let session = home.session(&spec)?;
        let mut watch = session.watch()?;
        watch.status("awaiting_input")?;
        // The first may have been told before.
        while watch.count("notice.told") < 2 {
            watch.event("notice.told")?;
        }
        let text = notices(&told)?;
        let [(did, _), (asks, json)] = &text[..] else { return Err(Failure::new(format!("{text:?}"))) };
        assert_eq!(
            did,
            r#"Lockkeeper: fix did, as user:watch allows: Bash {"command":"make x"} (risk high)"#
        );
        ensure!(asks.starts_with("Lockkeeper: fix.g2 asks: Bash {") && !asks.contains('\u{202e}'), "{asks}");
        ensure!(!asks.contains("abcdefgh") && asks.ends_with("(risk high)"), "{asks}");
        let json: Value = serde_json::from_str(json)?;
        assert_eq!(
            (&json["what"], &json["name"], &json["text"]),
            (&json!("asks"), &json!("fix"), &json!(asks))
        );
        assert_eq!(json["gate"], format!("{}.g2", session.id));
        session.allow()?;
        watch.status("idle")?;
        home.crash_and_start()?;
        session.ask("SAY again")?;
        assert_eq!(notices(&told)?, text, "nobody is told twice");
        Ok(())
    })
}

/// A session at a gate, and a program that was begun to tell of it.
struct HeldUp<'a> {
    session: Session<'a>,
    /// Is made when the program begins.
    begun: PathBuf,
    /// Lets it end.
    go: PathBuf,
    /// See [`told`].
    told: PathBuf,
}

fn held_up(home: &Home) -> Fallible<HeldUp<'_>> {
    let (begun, go) = (home.path("begun"), home.path("go"));
    let wait = format!("touch {}\nwhile [ ! -e {} ]; do sleep 0.05; done", begun.display(), go.display());
    let (program, told) = told(home, &wait)?;
    start(home, &json!([program, ""]), "")?;
    let (session, _) = asking(home, VERSIONS[1], &format!("{} ;; SAY end", asked("make x")))?;
    wait_until("the program", || begun.exists())?;
    Ok(HeldUp { session, begun, go, told })
}

#[test]
fn a_notice_that_was_under_way_when_the_daemon_was_killed_is_told_by_the_next() -> Fallible {
    with_home(|home| {
        let HeldUp { session, begun, go, told } = held_up(home)?;
        home.kill_daemon()?;
        fs::remove_file(&begun)?;
        home.start()?;
        wait_until("the program again", || begun.exists())?;
        fs::write(&go, "")?;
        let mut watch = session.watch()?;
        watch.event("notice.told")?;
        ensure!(notices(&told)?.iter().any(|(text, _)| text.contains("asks: Bash")), "somebody was told");
        Ok(())
    })
}

#[test]
fn a_notice_is_not_told_again_because_the_store_did_not_take_that_it_was() -> Fallible {
    with_home(|home| {
        home.expect_error("could not commit");
        let HeldUp { session, go, told, .. } = held_up(home)?;
        let mut watch = session.watch()?;
        let Some(locker) = Locker::lock(home)? else { return Ok(()) };
        fs::write(&go, "")?;
        wait_until("a store that says so", || {
            home.api().get("/v1/status").is_ok_and(|status| status["store"]["problem"].is_string())
        })?;
        locker.let_go()?;
        watch.event("notice.told")?;
        // Whatever was begun a second time has ended by then.
        session.allow()?;
        watch.status("idle")?;
        let all = notices(&told)?;
        ensure!(all.len() == 1, "{all:?}");
        Ok(())
    })
}

#[test]
fn a_program_that_is_not_there_or_fails_is_told_of_and_keeps_nothing_up() -> Fallible {
    for (command, why) in [
        (json!(["/nowhere/tell"]), "cannot be run"),
        (json!(["false"]), "ended with exit status: 1"),
        (json!(["sh", "-c", "kill -9 $$"]), "signal: 9"),
    ] {
        with_home(|home| {
            start(home, &command, "")?;
            let (session, mut watch) = asking(home, VERSIONS[1], &format!("{} ;; SAY end", asked("make x")))?;
            let told = watch.event("notice.told")?;
            let error = told["error"].as_str().unwrap_or_default();
            ensure!(error.contains(why), "{error}");
            session.allow()?;
            watch.status("idle")?;
            let output = home.lk(&["logs", &session.id]).output()?;
            ensure!(String::from_utf8_lossy(&output.stdout).contains("nobody was told"), "{output:?}");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_configuration_that_tells_nobody_is_refused_or_tells_nobody() -> Fallible {
    for (config, why) in [
        ("[notify]\ncommand = [\" \"]\n", "begins with no program"),
        ("[notify]\ncommand = \"notify-send\"\n", "command"),
        ("[notify]\ncommand = [\"true\"]\non = [\"everything\"]\n", "everything"),
    ] {
        with_home(|home| {
            fs::write(home.data().join("config.toml"), config)?;
            let output = home.lk(&["daemon", "start"]).output()?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            ensure!(!output.status.success() && said.contains(why), "{said}");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_notice_that_is_being_told_when_its_agent_ends_is_told_once() -> Fallible {
    with_home(|home| {
        let (begun, go) = (home.path("begun"), home.path("go"));
        let wait =
            format!("echo >> {}\nwhile [ ! -e {} ]; do sleep 0.05; done", begun.display(), go.display());
        let (program, told) = told(home, &wait)?;
        let rules = "[[rule]]\neffect = \"notify\"\ncommand = \"make *\"\n";
        start(home, &json!([program, ""]), rules)?;
        let session = home.session(&kept(VERSIONS[1]).prompt(&format!("{} ;; EXIT 0", asked("make x"))))?;
        let mut watch = session.watch()?;
        watch.event("attempt.exited")?;
        wait_until("the program", || begun.exists())?;
        fs::write(&go, "")?;
        watch.event("notice.told")?;
        assert_eq!((notices(&told)?.len(), fs::read_to_string(&begun)?.len()), (1, 1));
        Ok(())
    })
}
