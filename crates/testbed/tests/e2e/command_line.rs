//! `lk` as people and scripts run it: what it waits for, what it runs, and what it says.

use std::process::{Child, Command, Output, Stdio};

use crate::support::{Fallible, Home, SHORT, Spec, ensure, wait_until, with_daemon};

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
