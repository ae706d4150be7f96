//! Rules that are made of a decision.

use std::fs;

use serde_json::{Value, json};

use super::{VERSIONS, asked, asking, kept, with_rules};
use crate::support::{Answer, Failure, Fallible, Frame, Home, Session, ensure, number_of};

const LOOK: &str = "[[rule]]\nname = \"look\"\neffect = \"ask\"\ncommand = \"git push *\"\n";

/// What would be made of a decision at the last gate of a session.
fn offer(home: &Home, session: &Session<'_>, scope: &str) -> Fallible<Answer> {
    let gate = last_gate(session)?;
    home.api().send("GET", &format!("/v1/gates/{gate}/rules?scope={scope}"), &[], None)
}

fn last_gate(session: &Session<'_>) -> Fallible<String> {
    Ok(last(session)?["id"].as_str().unwrap_or_default().to_owned())
}

fn last(session: &Session<'_>) -> Fallible<Value> {
    let gates = session.gates("all")?.into_iter();
    gates.max_by_key(|gate| gate["no"].as_u64()).ok_or_else(|| Failure::new("there is no gate"))
}

fn allow_always(session: &Session<'_>, scope: &str, rules: &Value) -> Fallible<Answer> {
    let always = json!({"scope": scope, "rules": rules});
    session.decide(&last_gate(session)?, &json!({"decision": "allow", "always": always}))
}

/// How the last gate of a session was decided, and by which rule.
fn by(session: &Session<'_>) -> Fallible<(String, String)> {
    let gate = last(session)?;
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok((word(&gate["rule"]), word(&gate["decision"]["through"])))
}

fn rule(through: &str, id: &str) -> (String, String) {
    (id.to_owned(), through.to_owned())
}

/// Has a session run a command; then it has this status.
fn runs(session: &Session<'_>, command: &str, then: &str) -> Fallible {
    let mut watch = session.watch()?;
    let receipt = session.prompt(&format!("{} ;; SAY end", asked(command)))?;
    let no = number_of(&receipt["prompt"])?;
    let accepted = |frame: &Frame| frame.is("prompt.accepted") && frame.event()["prompt"]["no"] == no;
    watch.until("the prompt", accepted)?;
    watch.status("running")?;
    watch.status(then)?;
    Ok(())
}

#[test]
fn what_is_allowed_for_good_in_a_workspace_goes_on_there_and_nowhere_else() -> Fallible {
    with_rules(LOOK, |home| {
        let (session, mut watch) = asking(home, VERSIONS[0], &format!("{} ;; SAY end", asked("make x")))?;
        let offered = offer(home, &session, "workspace")?.good()?;
        let workspace = fs::canonicalize(home.workspace())?;
        let expected = json!([{"effect": "allow", "agent": "claude", "workspace": workspace, "tool": "Bash", "command": "make x"}]);
        assert_eq!((&offered["rules"], &offered["scope"]), (&expected, &json!("workspace")));
        assert_eq!(offered["file"], home.user_rules().display().to_string());
        assert_eq!(fs::read_to_string(home.user_rules())?, LOOK, "nothing is written by looking");

        let gate = allow_always(&session, "workspace", &offered["rules"])?.good()?;
        let id = format!("user:{}.r1", session.id);
        assert_eq!(gate["decision"]["rules"], json!([id]));
        watch.status("idle")?;
        let written = fs::read_to_string(home.user_rules())?;
        ensure!(written.starts_with(LOOK) && written.contains("command = \"make x\""), "{written}");

        home.crash_and_start()?;
        runs(&session, "make x", "idle")?;
        assert_eq!(by(&session)?, rule("rule", &id));
        let other = home.session(&kept(VERSIONS[1]))?;
        runs(&other, "make x", "idle")?;
        assert_eq!(by(&other)?, rule("rule", &id));
        runs(&other, "make x y", "awaiting_input")?;
        let elsewhere = home.path("elsewhere");
        fs::create_dir(&elsewhere)?;
        let far = home.session(&kept(VERSIONS[1]).with("dir", elsewhere.display().to_string()))?;
        runs(&far, "make x", "awaiting_input")?;
        Ok(())
    })
}

#[test]
fn what_is_allowed_for_good_in_a_session_goes_on_in_that_one_alone_also_under_another_daemon() -> Fallible {
    with_rules(LOOK, |home| {
        let (session, mut watch) = asking(home, VERSIONS[1], &format!("{} ;; SAY end", asked("a && b")))?;
        let offered = offer(home, &session, "session")?.good()?;
        assert_eq!((offered["rules"].as_array().map(Vec::len), &offered["file"]), (Some(2), &Value::Null));
        allow_always(&session, "session", &offered["rules"])?.good()?;
        watch.status("idle")?;
        home.crash_and_start()?;
        runs(&session, "b", "idle")?;
        assert_eq!(by(&session)?, rule("rule", "session:r2"));
        let other = home.session(&kept(VERSIONS[1]))?;
        runs(&other, "b", "awaiting_input")?;
        assert_eq!(fs::read_to_string(home.user_rules())?, LOOK);

        let list = home.api().get(&format!("/v1/rules?session={}", session.id))?;
        let own: Vec<&Value> = list["rules"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|rule| rule["layer"] == "session")
            .collect();
        assert_eq!(own.len(), 2);
        assert_eq!((&own[0]["id"], &own[0]["file"]), (&json!("session:r1"), &Value::Null));
        let tried = json!({"session": session.id, "tool": "Bash", "text": "b"});
        assert_eq!(home.api().post("/v1/rules/test", &tried)?["rule"], "session:r2");

        let path = format!("/v1/rules/session:r2?session={}", session.id);
        assert_eq!(home.api().send("DELETE", &path, &[], None)?.status, 204);
        home.api().send("DELETE", &path, &[], None)?.is_problem(404, "rule_not_found")?;
        runs(&session, "b", "awaiting_input")?;
        Ok(())
    })
}

#[test]
fn a_session_is_given_a_rule_that_holds_up_and_no_other_session_is() -> Fallible {
    with_rules("", |home| {
        let session = home.session(&kept(VERSIONS[0]))?;
        let path = format!("/v1/rules?session={}", session.id);
        let rule_of =
            json!({"effect": "deny", "command": "curl *", "name": "offline", "reason": "stay here"});
        let added = home.api().post(&path, &rule_of)?;
        assert_eq!(added, json!({"id": "session:offline", "file": null, "partly": []}));
        home.api().json("POST", &path, &rule_of)?.is_problem(409, "rule_name_taken")?;
        home.api().json("POST", &path, &json!({"effect": "allow"}))?.is_problem(422, "rule_invalid")?;
        runs(&session, "curl x", "idle")?;
        assert_eq!(by(&session)?, rule("rule", "session:offline"));
        let other = home.session(&kept(VERSIONS[0]))?;
        runs(&other, "curl x", "awaiting_input")?;
        // An agent that was started before it is held up in what it asks about.
        let path = format!("/v1/rules?session={}", other.id);
        let added = home.api().post(&path, &json!({"effect": "ask", "tool": "Read"}))?;
        assert_eq!(added["partly"], json!([other.id]));
        Ok(())
    })
}

#[test]
fn what_rules_do_not_let_go_on_for_good_is_refused_and_nothing_is_decided_or_written() -> Fallible {
    with_rules(LOOK, |home| {
        let make = json!([{"effect": "allow", "tool": "Bash", "command": "make *"}]);
        let (session, mut watch) =
            asking(home, VERSIONS[0], &format!("{} ;; SAY end", asked("git push origin")))?;
        for scope in ["session", "workspace", "user"] {
            let refused = offer(home, &session, scope)?;
            refused.is_problem(409, "always_impossible")?;
            ensure!(refused.text().contains("user:look asks about it"), "{}", refused.text());
            let git = json!([{"effect": "allow", "tool": "Bash", "command": "git push *"}]);
            for rules in [&git, &make, &json!([])] {
                allow_always(&session, scope, rules)?.is_problem(409, "always_impossible")?;
            }
        }
        session.allow()?;
        watch.status("idle")?;

        runs(&session, "make > out", "awaiting_input")?;
        let refused = offer(home, &session, "user")?;
        refused.is_problem(409, "always_impossible")?;
        ensure!(refused.text().contains("a redirection"), "{}", refused.text());
        session.allow()?;
        watch.status("idle")?;

        runs(&session, "make", "awaiting_input")?;
        offer(home, &session, "everywhere")?.is_problem(400, "query_invalid")?;
        let bad = [
            json!([{"effect": "deny", "tool": "Bash"}]),
            json!([{"effect": "allow"}]),
            json!([{"effect": "allow", "workspace": "here", "tool": "Bash"}]),
        ];
        for rules in bad {
            for scope in ["session", "user"] {
                allow_always(&session, scope, &rules)?.is_problem(422, "rule_invalid")?;
            }
        }
        let gate = last_gate(&session)?;
        let always = json!({"scope": "user", "rules": make});
        for decision in [
            json!({"decision": "deny", "message": "no", "always": always}),
            json!({"decision": "edit", "input": {}, "always": always}),
        ] {
            session.decide(&gate, &decision)?.is_problem(422, "decision_invalid")?;
        }
        assert_eq!(fs::read_to_string(home.user_rules())?, LOOK);
        // A wider rule than the offered one is the decider's to give. Whoever is second changes nothing.
        allow_always(&session, "user", &make)?.good()?;
        let written = fs::read_to_string(home.user_rules())?;
        allow_always(&session, "user", &make)?.is_problem(409, "gate_decided")?;
        allow_always(&session, "session", &make)?.is_problem(409, "gate_decided")?;
        assert_eq!(fs::read_to_string(home.user_rules())?, written);
        watch.status("idle")?;
        runs(&session, "make x", "idle")?;
        Ok(())
    })
}

#[test]
fn a_question_is_never_answered_for_good() -> Fallible {
    with_rules("", |home| {
        let question = json!({"questions": [{"question": "Which?", "header": "h", "options": [{"label": "a", "description": ""}], "multiSelect": false}]});
        let (session, _) = asking(home, VERSIONS[0], &format!("ASK AskUserQuestion {question} ;; SAY end"))?;
        let refused = offer(home, &session, "user")?;
        refused.is_problem(409, "always_impossible")?;
        ensure!(refused.text().contains("asks for no permission"), "{}", refused.text());
        Ok(())
    })
}

#[test]
fn the_command_shows_the_rules_before_it_writes_them_and_does_nothing_where_nobody_sees_them() -> Fallible {
    with_rules(LOOK, |home| {
        let (session, mut watch) = asking(home, VERSIONS[1], &format!("{} ;; SAY end", asked("make x")))?;
        let lk = |arguments: &[&str]| -> Fallible<(i32, String, String)> {
            let output = home.lk(arguments).output()?;
            let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
            Ok((output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr)))
        };
        let gate = format!("{}.g1", session.id);
        let (code, _, said) = lk(&["allow", &gate, "--always"])?;
        ensure!(code == 2 && said.contains("--dry-run shows them, -y writes them"), "{code} {said}");
        let (code, shown, _) = lk(&["allow", &gate, "--always", "--dry-run"])?;
        ensure!(
            code == 0 && shown.contains("allow tool Bash, command make x, agent claude, workspace "),
            "{shown}"
        );
        let (code, _, said) = lk(&["allow", &gate, "--always", "--edit", "x"])?;
        ensure!(code == 2 && said.contains("cannot be used with"), "{said}");
        let (code, _, said) = lk(&["allow", &gate, "--scope", "user"])?;
        ensure!(code == 2 && said.contains("--always"), "{said}");
        assert_eq!(
            (session.gates("open")?.len(), fs::read_to_string(home.user_rules())?),
            (1, LOOK.to_owned())
        );

        let (code, done, said) = lk(&["allow", &gate, "--always", "--scope", "session", "-y"])?;
        ensure!(
            code == 0 && said.contains("always for this session\n  allow tool Bash, command make x\n"),
            "{said}"
        );
        ensure!(done.contains("from now on by session:r1"), "{done}");
        watch.status("idle")?;
        let (code, listed, _) = lk(&["rules", "ls", "-s", session.id.as_str()])?;
        ensure!(code == 0 && listed.contains("session:r1") && listed.contains("user:look"), "{listed}");
        let (code, _, said) = lk(&["rules", "rm", "-s", session.id.as_str(), "session:r1"])?;
        ensure!(code == 0, "{said}");
        Ok(())
    })
}

/// The user's file is not there, cannot be written, or is broken by hand: nothing is decided.
#[test]
fn where_the_rule_cannot_be_written_nothing_is_decided() -> Fallible {
    with_rules(LOOK, |home: &Home| {
        let (session, _) = asking(home, VERSIONS[0], &format!("{} ;; SAY end", asked("make x")))?;
        let rules = offer(home, &session, "user")?.good()?["rules"].clone();
        fs::write(home.user_rules(), "broken [")?;
        allow_always(&session, "user", &rules)?.is_problem(422, "rule_invalid")?;
        assert_eq!(
            (session.gates("open")?.len(), fs::read_to_string(home.user_rules())?),
            (1, "broken [".to_owned())
        );
        fs::remove_file(home.user_rules())?;
        allow_always(&session, "user", &rules)?.good()?;
        ensure!(fs::read_to_string(home.user_rules())?.contains("make x"), "it is written");
        Ok(())
    })
}

#[test]
fn a_shell_line_without_a_command_is_no_licence_for_all_of_the_shell() -> Fallible {
    with_rules(LOOK, |home| {
        for line in ["x=1", "[[ -f x ]]", "((1+1))", "# x", "", "case x in esac"] {
            let (session, mut watch) = asking(home, VERSIONS[0], &format!("{} ;; SAY end", asked(line)))?;
            offer(home, &session, "session")?.is_problem(409, "always_impossible")?;
            let wide = json!([{"effect": "allow", "tool": "Bash", "command": "*"}]);
            allow_always(&session, "session", &wide)?.is_problem(409, "always_impossible")?;
            session.allow()?;
            watch.status("idle")?;
        }
        Ok(())
    })
}

#[test]
fn a_caller_that_goes_away_leaves_no_rule_that_nobody_decided() -> Fallible {
    use std::io::Write as _;
    with_rules(LOOK, |home| {
        for round in 0..10 {
            let (session, mut watch) = asking(home, VERSIONS[0], &format!("{} ;; SAY end", asked("make x")))?;
            let gate = last_gate(&session)?;
            let rules = json!([{"effect": "allow", "tool": "Bash", "command": format!("make {round}")}, {"effect": "allow", "tool": "Bash", "command": "make x"}]);
            let body = json!({"decision": "allow", "always": {"scope": "user", "rules": rules}}).to_string();
            let mut socket = home.api().connect()?;
            let request = format!(
                "POST /v1/gates/{gate}/decision HTTP/1.1\r\nhost: lk\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            socket.write_all(request.as_bytes())?;
            drop(socket);
            session.decide(&gate, &json!({"decision": "deny", "message": "no"}))?;
            watch.status("idle")?;
            let decided = last(&session)?["decision"]["decision"].clone();
            if decided == "allow" {
                watch.event("rule.written")?;
                watch.event("rule.written")?;
            }
            let written = fs::read_to_string(home.user_rules())?.contains(&format!("make {round}\""));
            assert_eq!(written, decided == "allow", "round {round}");
            for rule in home.api().get("/v1/rules")?["rules"].as_array().into_iter().flatten() {
                let id = rule["id"].as_str().unwrap_or_default();
                if id != "user:look" {
                    assert_eq!(home.api().send("DELETE", &format!("/v1/rules/{id}"), &[], None)?.status, 204);
                }
            }
        }
        Ok(())
    })
}

#[test]
fn a_rule_that_is_taken_out_in_the_moment_it_is_written_stays_out_after_a_crash() -> Fallible {
    with_rules("", |home| {
        for round in 0..5 {
            let line = format!("make round{round}");
            let (session, _watch) = asking(home, VERSIONS[0], &format!("{} ;; SAY end", asked(&line)))?;
            let rules = json!([{"effect": "allow", "tool": "Bash", "command": line}]);
            let path = format!("/v1/rules/user:{}.r1", session.id);
            std::thread::scope(|threads| {
                // Whether it hears the answer is nothing that matters here.
                threads.spawn(|| allow_always(&session, "user", &rules).is_ok());
                for _ in 0..100_000 {
                    let removed = home.api().send("DELETE", &path, &[], None)?;
                    if removed.status == 204 {
                        return home.crash_and_start();
                    }
                    removed.is_problem(404, "rule_not_found")?;
                }
                Err(Failure::new("the rule was never written"))
            })?;
            session.wait("idle")?;
            let left = fs::read_to_string(home.user_rules())?;
            ensure!(!left.contains(&line), "round {round}: {left}");
        }
        Ok(())
    })
}

#[test]
fn what_a_rule_denies_by_now_is_not_let_go_on_by_a_decision() -> Fallible {
    with_rules(LOOK, |home| {
        let (session, mut watch) = asking(home, VERSIONS[1], &format!("{} ;; SAY end", asked("make x")))?;
        let deny = json!({"effect": "deny", "command": "rm *", "reason": "keep it"});
        home.api().post("/v1/rules", &deny)?;
        let gate = last_gate(&session)?;
        let nothing = session.decide(&gate, &json!({"decision": "edit", "input": {}}))?;
        nothing.is_problem(422, "decision_mismatch")?;
        ensure!(nothing.text().contains("Bash needs more than the edited input says"), "{}", nothing.text());
        let edit = json!({"decision": "edit", "input": {"command": "rm x"}});
        let refused = session.decide(&gate, &edit)?;
        refused.is_problem(409, "decision_denied")?;
        ensure!(refused.text().contains("denies it: keep it"), "{}", refused.text());
        home.api().post("/v1/rules", &json!({"effect": "deny", "command": "make *", "name": "late"}))?;
        session.decide(&gate, &json!({"decision": "allow"}))?.is_problem(409, "decision_denied")?;
        session.decide(&gate, &json!({"decision": "edit", "input": {"command": "true"}}))?.good()?;
        watch.status("idle")?;
        Ok(())
    })
}

#[test]
fn a_name_that_is_wrong_is_told_before_anything_is_decided() -> Fallible {
    with_rules(LOOK, |home| {
        let (session, mut watch) = asking(home, VERSIONS[0], &format!("{} ;; SAY end", asked("make x")))?;
        let allow = |names: &[&str]| -> Fallible<(Option<i32>, String)> {
            let output = home.lk(&[&["allow"], names].concat()).output()?;
            Ok((output.status.code(), String::from_utf8(output.stderr)?))
        };
        let (code, said) = allow(&[&session.id, "nosuch"])?;
        ensure!(code == Some(3) && said.contains("no session is called nosuch"), "{code:?} {said}");
        assert_eq!(session.gates("open")?.len(), 1);
        assert_eq!(allow(&[&session.id])?.0, Some(0));
        watch.status("idle")?;
        Ok(())
    })
}

#[test]
fn where_rules_cannot_be_put_nothing_is_decided_for_good() -> Fallible {
    with_rules("", |home| {
        let (session, _) = asking(home, VERSIONS[0], &format!("{} ;; SAY end", asked("make x")))?;
        let rules = offer(home, &session, "user")?.good()?["rules"].clone();
        fs::remove_file(home.user_rules())?;
        // Also to the superuser: a directory where the text would be put together.
        let part = home.user_rules().with_extension("toml.part");
        fs::create_dir(&part)?;
        home.expect_error("cannot be written");
        assert_eq!(allow_always(&session, "user", &rules)?.status, 500);
        assert_eq!(session.gates("open")?.len(), 1);
        fs::remove_dir(&part)?;
        allow_always(&session, "user", &rules)?.good()?;
        Ok(())
    })
}
