//! Telling people of gates.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::{VERSIONS, asked, asking, kept};
use crate::support::{Fallible, Home, SHORT, ensure, wait_until, with_home};

/// A program that writes down what it is told, and the file that it writes to.
fn told(home: &Home, more: &str) -> Fallible<(PathBuf, PathBuf)> {
    let (program, told) = (home.path("tell"), home.path("told"));
    let script = format!(
        "#!/bin/sh\nread -r json\n{more}\nprintf '%s\\n%s\\n' \"$2\" \"$json\" >> {}.part\nmv {0}.part {0}\ncp {0} {0}.part\n",
        told.display()
    );
    fs::write(&program, script)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700))?;
    Ok((program, told))
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
        start(home, &json!([program, "--flag"]), rules)?;
        let script =
            format!("{} ;; {} ;; SAY end", asked("make x"), asked("git push \u{202e}token=abcdefgh"));
        let spec = kept(VERSIONS[0]).with("name", "fix").prompt(&script);
        let session = home.session(&spec)?;
        let mut watch = session.watch()?;
        watch.status("awaiting_input")?;
        watch.event("notice.told")?;
        wait_until("two notices", || fs::read_to_string(&told).is_ok_and(|text| text.lines().count() == 4))?;
        let text = fs::read_to_string(&told)?;
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            r#"Lockkeeper: fix did, as user:watch allows: Bash {"command":"make x"} (risk high)"#
        );
        let asks = lines[2];
        ensure!(asks.starts_with("Lockkeeper: fix.g2 asks: Bash {") && !asks.contains('\u{202e}'), "{asks}");
        ensure!(!asks.contains("abcdefgh") && asks.ends_with("(risk high)"), "{asks}");
        let json: Value = serde_json::from_str(lines[3])?;
        assert_eq!(
            (&json["what"], &json["name"], &json["text"]),
            (&json!("asks"), &json!("fix"), &json!(asks))
        );
        assert_eq!(json["gate"], format!("{}.g2", session.id));
        session.allow()?;
        watch.status("idle")?;
        home.crash_and_start()?;
        session.ask("SAY again")?;
        assert_eq!(fs::read_to_string(&told)?, text, "nobody is told twice");
        Ok(())
    })
}

#[test]
fn a_notice_that_was_under_way_when_the_daemon_was_killed_is_told_by_the_next() -> Fallible {
    with_home(|home| {
        let (begun, go) = (home.path("begun"), home.path("go"));
        let wait = format!("touch {}\nwhile [ ! -e {} ]; do sleep 0.05; done", begun.display(), go.display());
        let (program, told) = told(home, &wait)?;
        start(home, &json!([program, ""]), "")?;
        let (session, _) = asking(home, VERSIONS[1], &format!("{} ;; SAY end", asked("make x")))?;
        wait_until("the program", || begun.exists())?;
        home.kill_daemon()?;
        fs::remove_file(&begun)?;
        home.start()?;
        wait_until("the program again", || begun.exists())?;
        fs::write(&go, "")?;
        let mut watch = session.watch()?;
        watch.event("notice.told")?;
        ensure!(fs::read_to_string(&told)?.contains("asks: Bash"), "somebody was told");
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
