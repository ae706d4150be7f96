//! The commands as processes, where no daemon runs: what they say, where, and their exit codes.

use std::path::Path;
use std::process::{Command, Output};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

fn lk(home: &Path, args: &[&str]) -> Result<Output> {
    Ok(Command::new(env!("CARGO_BIN_EXE_lk"))
        .args(args)
        .current_dir(home)
        .env_clear()
        .env("LK_HOME", home.join("lk"))
        .env("PATH", home)
        .output()?)
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

#[test]
fn looking_starts_nothing_and_says_that_nothing_runs() -> Result {
    let home = tempfile::tempdir()?;
    for args in [["ls"].as_slice(), &["ps", "-a"], &["status"], &["gates"]] {
        let output = lk(home.path(), args)?;
        assert_eq!(code(&output), 0, "{args:?}");
        assert!(output.stdout.is_empty(), "{args:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "no daemon runs; `lk run` starts one\n");
    }
    let output = lk(home.path(), &[])?;
    assert_eq!(code(&output), 0);
    assert!(String::from_utf8_lossy(&output.stdout).contains("lk run -a demo \"add a test\""));
    assert!(!home.path().join("lk").exists(), "looking makes no directory");
    Ok(())
}

#[test]
fn programs_read_an_empty_list_where_nothing_runs() -> Result {
    let home = tempfile::tempdir()?;
    for args in [["ls"].as_slice(), &["status"], &["gates"]] {
        let output = lk(home.path(), &[args, &["-o", "json"]].concat())?;
        assert_eq!(
            (code(&output), String::from_utf8(output.stdout.clone())?.as_str()),
            (0, "[]\n"),
            "{args:?}"
        );
        let lines = lk(home.path(), &[args, &["-o", "jsonl"]].concat())?;
        assert!(lines.stdout.is_empty(), "{args:?}");
    }
    Ok(())
}

#[test]
fn a_complaint_holds_nothing_that_a_terminal_obeys() -> Result {
    let home = tempfile::tempdir()?;
    let hostile = "\u{1b}[2J\u{202e}";
    for args in [
        [hostile].as_slice(),
        &["show", hostile],
        &["run", "-a", hostile, "x"],
        &["run", "-C", hostile, "x"],
        &["ls", "-f", hostile],
        &["label", "x", hostile],
        &["help", hostile],
        &["interrupt", "x", "--turn", hostile],
        &["logs", "x", "--since", hostile],
    ] {
        let output = lk(home.path(), args)?;
        let said = String::from_utf8(output.stderr.clone())?;
        assert_eq!(code(&output), 2, "{args:?}: {said}");
        assert!(said.starts_with("lk: "), "{args:?}: {said}");
        assert!(!said.contains(['\u{1b}', '\u{202e}']), "{args:?}: {said:?}");
    }
    Ok(())
}

#[test]
fn what_needs_a_daemon_ends_with_its_own_code() -> Result {
    let home = tempfile::tempdir()?;
    for args in [
        ["show", "x"].as_slice(),
        &["why", "x"],
        &["logs", "x"],
        &["events"],
        &["attach", "x"],
        &["queue", "x"],
        &["wait", "x"],
        &["interrupt", "x"],
        &["stop", "x"],
        &["kill", "x"],
        &["rm", "x"],
        &["allow", "x.g1"],
        &["deny", "x.g1", "-m", "no"],
        &["answer", "x.g1", "1"],
        &["rename", "x", "y"],
        &["label", "x", "a=b"],
        &["set", "x", "model=m"],
        &["daemon", "status"],
        &["daemon", "stop"],
        &["daemon", "pause"],
        &["daemon", "unpause"],
    ] {
        let output = lk(home.path(), args)?;
        assert_eq!(code(&output), 5, "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stdout.is_empty(), "{args:?}");
    }
    Ok(())
}

#[test]
fn a_wrong_command_line_is_refused_before_anything_happens() -> Result {
    let home = tempfile::tempdir()?;
    for args in [
        ["nonsense"].as_slice(),
        &["run"],
        &["run", " "],
        &["run", "--budget", "1", "x"],
        &["run", "-d", "--wait-gates", "x"],
        &["run", "-e", "A", "x"],
        &["run", "-l", "a=1", "-l", "a=2", "x"],
        &["run", "--name", "a b", "x"],
        &["run", "--turn-timeout", "soon", "x"],
        &["run", "-a", "Claude!", "x"],
        &["ls", "-f", "status=asleep"],
        &["ls", "--watch"],
        &["ls", "--watch", "-q"],
        &["events", "--after", "now"],
        &["show", "a/b"],
        &["wait", "x", "--for", "ever"],
        &["--as", "a b", "ls"],
        &["--as", "session:7f3k9q2m4xab", "ls"],
        &["--as", "", "ls"],
        &["allow", "x.t1"],
        &["set", "x", "colour=red"],
        &["label", "x", "a"],
        &["run", "--allow", "*", "-o", "json", "hello"],
        &["run", "--wait-gates", "-o", "json", "hello"],
        &["logs", "x", "--stream", "stdout"],
        &["daemon"],
        &["help", "nonsense"],
        &["send", "x", "--key", "a\nb", "y"],
        &["run", "-d", "--key", "", "y"],
        &["claim", "x", "--ttl", "1ms", "--", "true"],
    ] {
        let output = lk(home.path(), args)?;
        assert_eq!(code(&output), 2, "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stdout.is_empty(), "{args:?}");
        assert!(!output.stderr.is_empty(), "{args:?}");
    }
    assert!(!home.path().join("lk").exists(), "no daemon was started");
    Ok(())
}

#[test]
fn a_value_that_the_daemon_would_refuse_is_told_as_people_type_it() -> Result {
    let home = tempfile::tempdir()?;
    let long = "a".repeat(201);
    let key = "must have between 1 and 200 visible ASCII characters";
    for (args, said) in [
        (["send", "x", "--key", "a\nb", "y"].as_slice(), key),
        (&["send", "x", "--key", "\u{e4}", "y"], key),
        (&["run", "-d", "--key", &long, "y"], key),
        (&["claim", "x", "--ttl", "999ms", "--", "true"], "1s to 24h"),
        (&["claim", "x", "--ttl", "2d", "--", "true"], "1s to 24h"),
    ] {
        let output = lk(home.path(), args)?;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(code(&output), 2, "{args:?}: {stderr}");
        assert!(stderr.contains(said), "{args:?}: {stderr}");
    }
    Ok(())
}

#[test]
fn a_program_of_an_agent_is_told_that_its_daemon_may_be_elsewhere() -> Result {
    let home = tempfile::tempdir()?;
    for args in [["ls"].as_slice(), &["gates"], &["webhook"], &["show", "x"], &["send", "x", "y"]] {
        let run = |marker: &str| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_lk"));
            command.args(args).env_clear().env("LK_HOME", home.path().join("lk"));
            command.env("LOCKKEEPER_ATTEMPT", marker).output()
        };
        let said = String::from_utf8(run("7f3k9q2m4xab.a1")?.stderr)?;
        assert!(said.contains("another LK_HOME"), "{args:?}: {said}");
        if args[0] != "send" {
            let said = String::from_utf8(run("")?.stderr)?;
            assert!(said.contains("starts one") && !said.contains("LK_HOME"), "{args:?}: {said}");
        }
    }
    Ok(())
}

#[test]
fn a_workspace_that_is_not_there_is_refused() -> Result {
    let home = tempfile::tempdir()?;
    let output = lk(home.path(), &["run", "-C", "nowhere", "x"])?;
    assert_eq!(code(&output), 2);
    assert!(String::from_utf8_lossy(&output.stderr).contains("nowhere"));
    assert!(!home.path().join("lk").exists());
    Ok(())
}

#[test]
fn no_daemon_is_started_inside_an_agent() -> Result {
    let home = tempfile::tempdir()?;
    for args in [["run", "-a", "demo", "x"].as_slice(), &["send", "x", "y"], &["daemon", "start"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_lk"))
            .args(args)
            .env_clear()
            .env("LK_HOME", home.path().join("lk"))
            .env("LOCKKEEPER_ATTEMPT", "7f3k9q2m4xab.a1")
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(code(&output), 5, "{args:?}: {said}");
        assert!(said.contains("none is started inside an agent"), "{said}");
        assert!(!home.path().join("lk").exists(), "{args:?}");
    }
    Ok(())
}

#[test]
fn a_wrong_configuration_is_told_once_and_doctor_finds_it() -> Result {
    let home = tempfile::tempdir()?;
    std::fs::create_dir(home.path().join("lk"))?;
    for (config, wrong) in [
        ("[deadlines]\nsilence = 3\n", "unknown field `silence`"),
        ("[callers]\nagents = \"high\"\n", "unknown variant `high`"),
    ] {
        std::fs::write(home.path().join("lk/config.toml"), config)?;
        for args in [["daemon", "run"].as_slice(), &["run", "-a", "demo", "x"], &["doctor"]] {
            let output = lk(home.path(), args)?;
            let said = String::from_utf8(output.stdout.clone())? + &String::from_utf8_lossy(&output.stderr);
            assert_ne!(code(&output), 0, "{args:?}");
            assert_eq!(said.matches(wrong).count(), 1, "{args:?}: {said}");
            assert!(said.contains('\n') && !said.contains("\\n"), "{args:?}: {said}");
        }
    }
    Ok(())
}

#[test]
fn a_doctor_ends_nothing_that_another_one_has_begun() -> Result {
    let home = tempfile::tempdir()?;
    // What a holder that a doctor has started runs, as the sweep of another one sees it.
    let mut other = Command::new("sleep").arg("600").env("LOCKKEEPER_ATTEMPT", "lk-doctor").spawn()?;
    let output = lk(home.path(), &["doctor"]);
    let ended = other.try_wait()?;
    other.kill()?;
    other.wait()?;
    let said = String::from_utf8(output?.stdout)?;
    assert!(said.contains("+ holder"), "{said}");
    assert!(ended.is_none(), "the other one's program was ended");
    Ok(())
}

#[test]
fn a_name_of_a_caller_in_the_environment_is_checked_and_an_empty_one_is_none() -> Result {
    let home = tempfile::tempdir()?;
    let ls = |name: &str| {
        Command::new(env!("CARGO_BIN_EXE_lk"))
            .arg("ls")
            .env_clear()
            .env("LK_HOME", home.path().join("lk"))
            .env("LK_CALLER", name)
            .output()
    };
    let output = ls("night/watch")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(code(&output), 2, "{said}");
    for part in ["LK_CALLER", "\"night/watch\"", "1 to 64 characters"] {
        assert!(said.contains(part), "{said}");
    }
    for name in ["", "night-watch"] {
        assert_eq!(code(&ls(name)?), 0, "{name:?}");
    }
    Ok(())
}

#[test]
fn help_and_versions_need_no_daemon() -> Result {
    let home = tempfile::tempdir()?;
    let version = lk(home.path(), &["--version"])?;
    assert_eq!(String::from_utf8(version.stdout)?, format!("lk {}\n", env!("CARGO_PKG_VERSION")));
    let both = lk(home.path(), &["version", "-o", "jsonl"])?;
    assert_eq!(
        String::from_utf8(both.stdout)?,
        format!("{{\"lk\":\"{}\",\"daemon\":null}}\n", env!("CARGO_PKG_VERSION"))
    );
    let codes = lk(home.path(), &["help", "exit-codes"])?;
    assert!(String::from_utf8(codes.stdout)?.contains("130  the turn was interrupted"));
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = lk(home.path(), &["completion", shell])?;
        assert_eq!(code(&script), 0);
        assert!(String::from_utf8(script.stdout)?.contains("exit-codes") || shell != "zsh");
    }
    assert_eq!(code(&lk(home.path(), &["help", "queue", "edit"])?), 0);
    assert_eq!(code(&lk(home.path(), &["hold"])?), 2);
    Ok(())
}

#[test]
fn a_reader_who_has_had_enough_is_no_failure() -> Result {
    let home = tempfile::tempdir()?;
    let script = format!(
        "'{}' completion bash | head -n 1 > /dev/null; exit ${{PIPESTATUS[0]}}",
        env!("CARGO_BIN_EXE_lk")
    );
    let status = Command::new("bash").args(["-c", &script]).env("LK_HOME", home.path()).status()?;
    assert_eq!(status.code(), Some(0));
    Ok(())
}
