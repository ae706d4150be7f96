//! Sessions whose agents wait for each other.

use std::fs;
use std::process::Output;

use serde_json::json;

use crate::support::{Fallible, Home, SHORT, Session, Spec, ensure, wait_until, with_daemon};

fn named<'a>(home: &'a Home, name: &str) -> Fallible<Session<'a>> {
    home.session(&Spec::kept().with("name", name))
}

/// How often something of this kind happened to a session.
fn count(home: &Home, session: &Session<'_>, kind: &str) -> Fallible<usize> {
    let page = home.api().get(&session.path(&format!("/events?kind={kind}")))?;
    Ok(page["items"].as_array().map_or(0, Vec::len))
}

/// Runs `lk` as what a service outside has started for the session's agent.
fn outside(home: &Home, session: &Session<'_>, arguments: &[&str]) -> Fallible<Output> {
    Ok(home.lk(arguments).env("LOCKKEEPER_ATTEMPT", format!("{}.a1", session.id)).output()?)
}

#[test]
fn of_two_agents_that_wait_for_each_other_one_is_refused_before_anything_changes() -> Fallible {
    with_daemon(SHORT, |home| {
        let (a, b) = (named(home, "a")?, named(home, "b")?);
        for command in ["send a SAY x --wait", "claim a -- true", "wait a", "attach a"] {
            let mut watch = a.watch()?;
            let inner = home.lk_line(command);
            let prompt = format!("SHELL {}", home.lk_line(&format!("send b 'SHELL {inner}' --wait")));
            let said = a.ask(&prompt).and_then(|_| b.messages())?.pop().unwrap_or_default();
            ensure!(said.starts_with("running exit 3: "), "{command}: {said}");
            for part in ["b waits for a, a waits for b", "without waiting"] {
                ensure!(said.contains(part), "{command}: {said}");
            }
            // The other one has its answer.
            let said = a.messages()?.pop().unwrap_or_default();
            ensure!(said.starts_with("running exit 0: "), "{command}: {said}");
            let prompts = count(home, &a, "prompt.accepted")?;
            watch
                .until("the last turn", |frame| frame.is("turn.ended") && frame.event()["turn"] == prompts)?;
            assert_eq!(watch.count("prompt.accepted"), prompts, "{command}");
        }
        assert_eq!(count(home, &a, "prompt.accepted")?, 4, "those of this test alone");
        assert_eq!(count(home, &a, "claim.made")?, 0);
        // It works as soon as nobody waits for it any more.
        for command in ["send a SAY after --wait", "claim a -- true", "wait a"] {
            let said = b.runs(&home.lk_line(command))?;
            ensure!(said.starts_with("exit 0: "), "{command}: {said}");
        }
        assert_eq!(a.messages()?.pop().as_deref(), Some("after"));
        Ok(())
    })
}

#[test]
fn an_agent_cannot_wait_for_its_own_session_and_may_send_without_waiting() -> Fallible {
    with_daemon(SHORT, |home| {
        let a = named(home, "a")?;
        let said = a.runs(&home.lk_line("wait a"))?;
        ensure!(said.starts_with("exit 3: ") && said.contains("a waits for a"), "{said}");
        a.ask(&format!("SHELL {}", home.lk_line("send a SAY later")))?;
        a.wait("idle")?;
        let said = a.messages()?;
        ensure!(said[1].starts_with("running exit 0: ") && said[2] == "later", "{said:?}");
        Ok(())
    })
}

#[test]
fn a_wait_is_known_to_the_next_daemon_and_ends_with_its_process() -> Fallible {
    with_daemon(SHORT, |home| {
        let (a, b) = (named(home, "a")?, named(home, "b")?);
        b.prompt(&format!("WAITFILE {}", home.path("go").display()))?;
        b.watch()?.event("turn.taken")?;
        // It has nothing to send, whose answer a kill of the daemon would cut off.
        a.prompt(&format!("SHELL {}", home.lk_line("wait b")))?;
        let told = || home.api().get(&a.path("/why")).map(|why| why.to_string());
        let waits = || told().is_ok_and(|why| why.contains("a program of its agent waits for b"));
        wait_until("the wait", waits)?;
        let refused = || -> Fallible<Option<i32>> {
            Ok(outside(home, &b, &["wait", "a", "--timeout", "0"])?.status.code())
        };
        assert_eq!(refused()?, Some(3));
        // The user waits for whom they like.
        assert_eq!(home.lk(&["wait", "a", "--timeout", "0"]).output()?.status.code(), Some(124));
        home.crash_and_start()?;
        // Asked without waiting, for whoever waits first is not refused.
        wait_until("the wait", waits)?;
        assert_eq!(refused()?, Some(3));
        a.act("interrupt")?;
        a.wait("idle")?;
        wait_until("the end of the wait", || refused().is_ok_and(|code| code != Some(3)))?;
        fs::write(home.path("go"), "")?;
        b.wait("idle")?;
        Ok(())
    })
}

#[test]
fn o46_only_who_reads_the_stream_of_one_session_can_say_that_it_waits() -> Fallible {
    with_daemon(SHORT, |home| {
        let a = named(home, "a")?;
        for path in ["/v1/events?waits=true".to_owned(), a.path("/events?waits=true")] {
            home.api().send("GET", &path, &[], None)?.is_problem(400, "query_invalid")?;
        }
        let page = home.api().get(&a.path("/events?waits=false"))?;
        assert_eq!(page["items"][0]["kind"], json!("session.created"));
        Ok(())
    })
}
