//! `lk` on a terminal: the dialogue at a gate, Ctrl-C, a daemon that dies, and the list that draws itself again.
//!
//! With the demonstration agent, a daemon of its own, and a real pseudo-terminal; what counts is what the screen got.

mod screen;

use std::path::Path;
use std::process::{Command, Output};

use screen::Screen;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A home with a workspace. Its daemon and agents end with it.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Result<Self> {
        let home = tempfile::tempdir()?;
        std::fs::create_dir(home.path().join("ws"))?;
        Ok(Self(home))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lk"));
        command
            .args(args)
            .current_dir(self.path().join("ws"))
            .env_clear()
            .env("LK_HOME", self.path().join("lk"))
            .env("PATH", "/usr/bin:/bin")
            .env("LANG", "C.UTF-8")
            .env("TERM", "xterm")
            .env("NO_COLOR", "1");
        command
    }

    /// Runs a command to its end, beside the terminal.
    fn lk(&self, args: &[&str]) -> Result<Output> {
        Ok(self.command(args).output()?)
    }

    fn text(&self, args: &[&str]) -> Result<String> {
        Ok(String::from_utf8(self.lk(args)?.stdout)?)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // There may be no daemon any more.
        let _ = self.lk(&["daemon", "stop", "--kill"]);
    }
}

const QUESTION: &str = "[a]llow [A]lways [d]eny [e]dit [s]kip [?] ";

#[test]
fn a_gate_is_shown_once_and_allowed_with_a_key() -> Result {
    let home = Home::new()?;
    let mut screen = Screen::open(&home.command(&["run", "-a", "demo", "add a test"]))?;
    screen.wait_for(QUESTION)?;
    screen.type_in("?\n")?;
    screen.wait_for("the exact bytes of the input")?;
    screen.wait_for(QUESTION)?;
    screen.type_in("maybe\n")?;
    screen.wait_for("type a, A, d, e, v, s or ?")?;
    screen.wait_for(QUESTION)?;
    // What comes behind the decision decides nothing, and shows nothing again.
    screen.type_in("a\n\na\n")?;
    assert_eq!(screen.end()?, 0);
    let text = screen.text();
    assert_eq!(text.matches("asks for permission").count(), 1, "{text}");
    assert!(text.contains("g1 allowed by "), "{text}");
    assert!(text.contains("✓ completed"), "{text}");
    assert!(home.path().join("ws/lockkeeper_demo_test.sh").exists());
    Ok(())
}

#[test]
fn a_gate_that_was_left_open_is_asked_about_again_and_no_line_before_that_decides_it() -> Result {
    let home = Home::new()?;
    let mut screen = Screen::open(&home.command(&["run", "-a", "demo", "--name", "fix", "add a test"]))?;
    screen.wait_for(QUESTION)?;
    screen.type_in("s\n")?;
    screen.wait_for("left open: Enter asks again, or lk allow fix.g1, lk deny fix.g1 -m WHY")?;
    screen.type_in("a\n")?;
    screen.wait_for("asks for permission")?;
    screen.wait_for(QUESTION)?;
    assert!(!screen.text().contains("g1 allowed"), "{}", screen.text());
    screen.type_in("d no\n")?;
    assert_eq!(screen.end()?, 0);
    assert!(screen.text().contains("g1 denied by "), "{}", screen.text());
    Ok(())
}

#[test]
fn what_an_editor_spoilt_is_still_there_for_the_next_one() -> Result {
    let home = Home::new()?;
    let mut run = home.command(&["run", "-a", "demo", "--name", "fix", "add a test"]);
    // The first time it spoils the JSON, the second time it mends that and changes something.
    let editor = home.path().join("editor");
    let script = "#!/bin/sh\nif grep -q SPOILT \"$1\"; then sed -i 's/SPOILT//; s/#!/# edited/' \"$1\"; else sed -i '1s/^/SPOILT/' \"$1\"; fi\n";
    std::fs::write(&editor, script)?;
    run.env("VISUAL", format!("sh {}", editor.display()));
    let mut screen = Screen::open(&run)?;
    screen.wait_for(QUESTION)?;
    screen.type_in("e\n")?;
    screen.wait_for("nothing is decided. e goes on with what you typed")?;
    screen.wait_for(QUESTION)?;
    screen.type_in("e\n")?;
    screen.wait_for("g1 allowed with changes by ")?;
    assert_eq!(screen.end()?, 0);
    let made = std::fs::read_to_string(home.path().join("ws/lockkeeper_demo_test.sh"))?;
    assert!(made.starts_with("# edited"), "{made}");
    Ok(())
}

#[test]
fn what_was_begun_at_a_gate_that_somebody_else_decides_is_no_command_of_the_shell() -> Result {
    let home = Home::new()?;
    let lk = home.command(&[]);
    let mut shell = Command::new("/bin/bash");
    // As a shell reads what stands on its line: key by key.
    let script = r#""$0" run -a demo --name fix "add a test"; stty -icanon; IFS= read -r -t 1 -N 99 left; echo "left over: [$left]""#;
    shell.args(["-c", script]).arg(lk.get_program()).current_dir(home.path().join("ws")).env_clear();
    shell.envs(lk.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut screen = Screen::open(&shell)?;
    screen.wait_for(QUESTION)?;
    screen.type_in("d no; rm all")?;
    screen.wait_for("rm all")?;
    home.lk(&["allow", "fix.g1"])?;
    screen.wait_for("✓ completed")?;
    screen.wait_for("left over: []")?;
    Ok(())
}

#[test]
fn what_was_typed_before_the_gate_decides_nothing() -> Result {
    let home = Home::new()?;
    let mut screen = Screen::open(&home.command(&["run", "-a", "demo", "add a test"]))?;
    screen.type_in("a\n")?;
    screen.wait_for(QUESTION)?;
    screen.type_in("d not here\n")?;
    assert_eq!(screen.end()?, 0);
    assert!(screen.text().contains("g1 denied by "), "{}", screen.text());
    assert!(screen.text().contains("not here"), "{}", screen.text());
    assert!(!home.path().join("ws/lockkeeper_demo_test.sh").exists());
    Ok(())
}

/// A session `fix` whose gate g1 stands on the screen. These keys are typed; then somebody else closes the gate, and
/// another one opens.
fn typed_at_a_gate_that_closes(home: &Home, keys: &str) -> Result<Screen> {
    home.lk(&["run", "-d", "--keep", "-a", "demo", "--name", "fix", "add a test"])?;
    let mut screen = Screen::open(&home.command(&["attach", "fix"]))?;
    screen.wait_for(QUESTION)?;
    screen.type_in(keys)?;
    screen.wait_for(keys.trim_end_matches('\x04'))?;
    home.lk(&["interrupt", "fix"])?;
    screen.wait_for("g1 closed: the turn was interrupted")?;
    home.lk(&["send", "fix", "again"])?;
    screen.wait_for("fix.g2")?;
    Ok(screen)
}

/// Says no at the gate g2, and makes sure that nobody has said yes before.
fn denied_in_the_end(home: &Home, screen: &mut Screen) -> Result {
    screen.wait_for(QUESTION)?;
    screen.type_in("d no\n")?;
    screen.wait_for("g2 denied by ")?;
    screen.wait_for("✓ completed")?;
    assert!(!screen.text().contains("allowed by"), "{}", screen.text());
    assert!(!home.path().join("ws/lockkeeper_demo_test.sh").exists());
    Ok(())
}

#[test]
fn what_was_begun_at_a_gate_is_not_gone_on_with_at_the_next() -> Result {
    let home = Home::new()?;
    // Ctrl-D hands over what was typed without ending the line.
    let mut screen = typed_at_a_gate_that_closes(&home, "a\x04")?;
    screen.wait_for("g1 closed meanwhile; Enter to decide about g2")?;
    screen.type_in("\n")?;
    denied_in_the_end(&home, &mut screen)
}

#[test]
fn what_is_typed_for_a_gate_that_has_just_closed_does_not_decide_the_next() -> Result {
    let home = Home::new()?;
    let mut screen = typed_at_a_gate_that_closes(&home, "a")?;
    screen.wait_for("g1 closed meanwhile; Enter to decide about g2")?;
    // Whoever types has not looked up yet.
    screen.type_in("a\n")?;
    denied_in_the_end(&home, &mut screen)
}

#[test]
fn what_a_box_leaves_out_is_shown_by_a_key() -> Result {
    let home = Home::new()?;
    let mut first = Screen::open(&home.command(&["run", "-a", "demo", "--name", "fix", "add a test"]))?;
    first.wait_for("│ @@ the file is not there yet @@\r\n│ +#!/bin/sh\r\n")?;
    first.wait_for(QUESTION)?;
    // The same where a file of a thousand lines has come to be there, on another terminal.
    let lines = (1..=1000).map(|no| format!("line {no}\n")).collect::<Vec<_>>().concat();
    std::fs::write(home.path().join("ws/lockkeeper_demo_test.sh"), lines)?;
    let mut screen = Screen::open(&home.command(&["attach", "fix"]))?;
    screen.wait_for("lines are not shown: lk gates fix.g1 shows all")?;
    screen.wait_for("[a]llow [A]lways [d]eny [e]dit [v]iew all [s]kip [?] ")?;
    assert!(!screen.text().contains("line 500"), "{}", screen.text());
    screen.type_in("v\n")?;
    screen.wait_for("│ -line 500\r\n")?;
    screen.wait_for("[v]iew all [s]kip")?;
    let whole = home.text(&["gates", "fix"])?;
    assert!(whole.contains("│ @@ against the file as it is @@\n│ -line 1\n│ -line 2\n"), "{whole}");
    assert!(whole.contains("│ -line 500\n"), "{whole}");
    let below = whole.lines().last().unwrap_or_default();
    assert!(below.contains(": lk allow fix.g1, lk deny fix.g1 -m WHY; "), "{whole}");
    assert!(below.ends_with(" may decide, and no program that an agent runs"), "{whole}");
    screen.type_in("d no\n")?;
    screen.wait_for("g1 denied by ")?;
    assert_eq!(first.end()?, 0);
    // By now the file may hold what was decided about.
    let whole = home.text(&["gates", "fix.g1"])?;
    assert!(whole.contains("│ +#!/bin/sh\n") && !whole.contains("line 500"), "{whole}");
    assert!(whole.contains("· denied by ") && whole.ends_with("ago: no\n"), "{whole}");
    let open = home.lk(&["gates", "fix"])?;
    assert!(String::from_utf8(open.stderr)?.contains("fix has no open gate"));
    Ok(())
}

#[test]
fn a_box_is_as_wide_as_the_terminal_is_then() -> Result {
    let home = Home::new()?;
    home.lk(&["run", "-d", "--keep", "-a", "demo", "--name", "fix", "add a test"])?;
    home.lk(&["wait", "fix", "--for", "input"])?;
    home.lk(&["deny", "fix"])?;
    home.lk(&["wait", "fix"])?;
    let mut screen = Screen::open(&home.command(&["attach", "fix"]))?;
    screen.wait_for("fix is idle")?;
    screen.resize(30)?;
    home.lk(&["send", "fix", "again"])?;
    screen.wait_for(QUESTION)?;
    let text = screen.text();
    let rows: Vec<&str> = text.lines().filter(|row| row.starts_with(['╭', '│', '┆'])).collect();
    assert!(rows.len() > 10 && rows.iter().all(|row| row.chars().count() <= 30), "{text}");
    screen.type_in("d no\n")?;
    screen.wait_for("✓ completed")?;
    Ok(())
}

#[test]
fn what_is_allowed_for_good_is_shown_first_and_a_no_writes_nothing() -> Result {
    let home = Home::new()?;
    let mut screen =
        Screen::open(&home.command(&["run", "-a", "demo", "--name", "fix", "--keep", "add a test"]))?;
    screen.wait_for(QUESTION)?;
    screen.type_in("A everywhere\n")?;
    screen.wait_for("type A, A session or A user")?;
    screen.type_in("A\n")?;
    screen.wait_for("fix.g1: always for this agent in this workspace, in ")?;
    screen.wait_for("write that, and allow? [y/N] ")?;
    screen.type_in("\n")?;
    screen.wait_for("nothing is written")?;
    assert!(!home.text(&["rules"])?.contains("user:"));
    screen.type_in("A session\n")?;
    screen.wait_for("fix.g1: always for this session\r\n")?;
    screen.wait_for("write that, and allow? [y/N] ")?;
    screen.type_in("y\n")?;
    screen.wait_for(", and from now on by session:r1")?;
    screen.wait_for("✓ completed")?;
    let rules = home.text(&["rules", "ls", "-s", "fix"])?;
    assert!(rules.contains("session:r1") && rules.contains("lockkeeper_demo_test.sh"), "{rules}");
    Ok(())
}

#[test]
fn a_gate_of_the_past_is_nobodys_question() -> Result {
    let home = Home::new()?;
    let args = ["run", "-a", "demo", "--key", "k", "--allow", "*", "add a test"];
    home.lk(&args)?;
    // The same session again, from its beginning.
    let again = home.lk(&args)?;
    let said = String::from_utf8(again.stderr)?;
    assert_eq!(again.status.code(), Some(0), "{said}");
    assert!(said.contains("g1 allowed by ") && !said.contains("already"), "{said}");
    Ok(())
}

#[test]
fn the_first_ctrl_c_interrupts_the_turn() -> Result {
    let home = Home::new()?;
    let mut screen = Screen::open(&home.command(&["run", "-a", "demo", "--name", "fix", "add a test"]))?;
    screen.wait_for(QUESTION)?;
    screen.type_in("\x03")?;
    screen.wait_for("g1 closed: the turn was interrupted")?;
    screen.wait_for("interrupted by ")?;
    screen.wait_for("fix stays open")?;
    assert_eq!(screen.end()?, 130);
    assert!(home.text(&["ls"])?.contains("idle"));
    Ok(())
}

#[test]
fn ctrl_c_without_a_turn_leaves() -> Result {
    let home = Home::new()?;
    home.lk(&["run", "-d", "--keep", "-a", "demo", "--name", "fix", "add a test"])?;
    home.lk(&["wait", "fix", "--for", "input"])?;
    home.lk(&["deny", "fix"])?;
    home.lk(&["wait", "fix"])?;
    let mut screen = Screen::open(&home.command(&["attach", "fix"]))?;
    screen.wait_for("fix is idle")?;
    // It follows as soon as it shows what comes.
    home.lk(&["send", "fix", "again"])?;
    screen.wait_for("❯ again")?;
    screen.wait_for(QUESTION)?;
    screen.type_in("d no\n")?;
    screen.wait_for("✓ completed")?;
    screen.type_in("\x03")?;
    screen.wait_for("left fix. back: lk attach fix, end it: lk stop fix")?;
    assert_eq!(screen.end()?, 130);
    assert!(home.text(&["ls"])?.contains("idle"));
    Ok(())
}

#[test]
fn ctrl_c_interrupts_each_turn() -> Result {
    let home = Home::new()?;
    home.lk(&["run", "-d", "--keep", "-a", "demo", "--name", "fix", "add a test"])?;
    let mut screen = Screen::open(&home.command(&["attach", "fix"]))?;
    for turn in 1..=2 {
        screen.wait_for(QUESTION)?;
        screen.type_in("\x03")?;
        screen.wait_for(&format!("interrupting t{turn}"))?;
        screen.wait_for("interrupted by ")?;
        if turn == 1 {
            home.lk(&["send", "fix", "again"])?;
        }
    }
    screen.type_in("\x03")?;
    assert_eq!(screen.end()?, 130);
    Ok(())
}

#[test]
fn a_second_ctrl_c_leaves_while_the_first_is_under_way() -> Result {
    let home = Home::new()?;
    let mut screen = Screen::open(&home.command(&["run", "-a", "demo", "--name", "fix", "add a test"]))?;
    screen.wait_for(QUESTION)?;
    // An agent that cannot hear is not interrupted yet when the second one comes.
    let shown = home.text(&["show", "fix", "-o", "json"])?;
    let pid = shown.lines().find_map(|line| line.trim().strip_prefix("\"pid\": ")).unwrap_or_default();
    let pid: i32 = pid.trim_end_matches(',').parse()?;
    let agent = rustix::process::Pid::from_raw(pid).ok_or("no process")?;
    rustix::process::kill_process(agent, rustix::process::Signal::STOP)?;
    screen.type_in("\x03")?;
    screen.wait_for("interrupting; Ctrl-C again leaves")?;
    screen.type_in("\x03")?;
    screen.wait_for("left fix; t1 is being interrupted")?;
    assert_eq!(screen.end()?, 130);
    rustix::process::kill_process(agent, rustix::process::Signal::CONT)?;
    Ok(())
}

#[test]
fn ctrl_backslash_leaves_and_the_turn_goes_on() -> Result {
    let home = Home::new()?;
    let mut screen = Screen::open(&home.command(&["run", "-a", "demo", "--name", "fix", "add a test"]))?;
    screen.wait_for("Ctrl-\\ leaves it running")?;
    screen.wait_for(QUESTION)?;
    screen.type_in("\x1c")?;
    screen.wait_for("left fix; it goes on")?;
    assert_eq!(screen.end()?, 130);
    assert!(home.text(&["gates"])?.contains("fix"), "its gate is open still");
    Ok(())
}

#[test]
fn what_is_typed_while_the_daemon_is_away_decides_nothing() -> Result {
    let home = Home::new()?;
    let mut screen = Screen::open(&home.command(&["run", "-a", "demo", "add a test"]))?;
    screen.wait_for(QUESTION)?;
    home.lk(&["daemon", "stop"])?;
    screen.wait_for("waiting for the daemon")?;
    screen.type_in("a\n")?;
    screen.wait_for("a\r\n")?;
    home.lk(&["daemon", "start"])?;
    screen.wait_for("the daemon is back")?;
    screen.wait_for(QUESTION)?;
    assert!(home.text(&["gates"])?.contains("open"));
    screen.type_in("d\n")?;
    screen.wait_for("why?")?;
    screen.type_in("too late\n")?;
    assert_eq!(screen.end()?, 0);
    assert!(screen.text().contains("too late"), "{}", screen.text());
    Ok(())
}

#[test]
fn the_list_is_drawn_again_when_something_happens() -> Result {
    let home = Home::new()?;
    home.lk(&["daemon", "start"])?;
    let mut screen = Screen::open(&home.command(&["ls", "--watch"]))?;
    screen.wait_for("no session is open")?;
    home.lk(&["run", "-d", "-a", "demo", "--name", "fix", "add a test"])?;
    screen.wait_for("fix   demo   awaiting_input")?;
    home.lk(&["daemon", "stop"])?;
    screen.wait_for("no daemon runs; waiting for one")?;
    home.lk(&["daemon", "start"])?;
    screen.wait_for("Ctrl-C leaves")?;
    screen.type_in("\x03")?;
    assert_eq!(screen.end()?, 0);
    assert!(screen.text().ends_with("\x1b[?25h\x1b[?1049l"), "the terminal is as it was");
    Ok(())
}

#[test]
fn gates_that_come_and_go_are_drawn_and_ring_once() -> Result {
    let home = Home::new()?;
    home.lk(&["run", "-d", "--keep", "-a", "demo", "--name", "one", "add a test"])?;
    home.lk(&["wait", "one", "--for", "input"])?;
    let mut screen = Screen::open(&home.command(&["gates", "--watch"]))?;
    screen.wait_for("one      Write  lockkeeper_demo_test.sh  medium  agent  open")?;
    // What was open before calls nobody.
    assert!(!screen.text().contains('\x07'), "{:?}", screen.text());
    home.lk(&["run", "-d", "--keep", "-a", "demo", "--name", "two", "add a test"])?;
    screen.wait_for("two      Write")?;
    screen.wait_for("\x07")?;
    home.lk(&["deny", "one"])?;
    home.lk(&["daemon", "stop"])?;
    screen.wait_for("no daemon runs; waiting for one")?;
    home.lk(&["daemon", "start"])?;
    // The one that is left has called before.
    screen.wait_for("two      Write")?;
    home.lk(&["deny", "two"])?;
    screen.wait_for("no gate is open")?;
    screen.type_in("\x03")?;
    assert_eq!(screen.end()?, 0);
    assert_eq!(screen.text().matches('\x07').count(), 1, "{:?}", screen.text());
    assert!(screen.text().ends_with("\x1b[?25h\x1b[?1049l"), "the terminal is as it was");
    Ok(())
}

/// Not a test: the process between a test and `lk`, which takes the terminal. See [`screen`].
#[test]
fn take_the_terminal() -> Result {
    screen::take_the_terminal()
}
