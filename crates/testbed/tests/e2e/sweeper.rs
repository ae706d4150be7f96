//! What a test that is killed leaves behind: nothing.

use std::io::{BufRead as _, BufReader, Write as _, stdout};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::{env, thread};

use lockkeeper_testbed::sweeper::{kill_all_left, left_in};

use crate::support::{Fallible, SHORT, Spec, ensure, wait_until, with_daemon};

/// Says to the test below that it is the one to be killed.
const VICTIM: &str = "LK_TEST_VICTIM";

#[test]
fn what_a_test_has_started_ends_with_it_if_that_is_killed() -> Fallible {
    if env::var_os(VICTIM).is_some() {
        return victim();
    }
    let mut command = Command::new(env::current_exe()?);
    command.args([
        "--exact",
        "sweeper::what_a_test_has_started_ends_with_it_if_that_is_killed",
        "--nocapture",
    ]);
    let mut victim = command.env(VICTIM, "1").stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let root = root_of(&mut victim);
    victim.kill()?;
    victim.wait()?;
    let root = root?;
    let root = Path::new(&root);
    let ended =
        wait_until("the end of all that it has started", || left_in(root).is_empty() && !root.exists());
    kill_all_left(root);
    ended
}

/// Reads where the victim has started its daemon, its holder and its agent, of which each runs.
fn root_of(victim: &mut Child) -> Fallible<String> {
    let stdout = victim.stdout.take().into_iter().flat_map(|stdout| BufReader::new(stdout).lines());
    let root = stdout.map_while(Result::ok).find(|line| line.starts_with('/')).unwrap_or_default();
    let left = left_in(Path::new(&root));
    ensure!(!root.is_empty() && left.len() == 3, "in {root:?} run {left:?}");
    Ok(root)
}

/// Starts what outlives it, tells where, and waits for its end.
fn victim() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::kept().prompt("WAITFILE /nowhere/at/all"))?;
        session.watch()?.event("turn.taken")?;
        writeln!(stdout(), "\n{}", home.as_ref().display())?;
        loop {
            thread::park();
        }
    })
}
