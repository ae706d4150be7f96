//! Where rules are written, and when what is written there holds.

use std::fs;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{VERSIONS, asked, asking, content, kept, only_gate, outcomes, with_rules, write};
use crate::support::{Failure, Fallible, Home, SHORT, Session, Spec, ensure, kill, with_home};

const NO_WRITING: &str = "[[rule]]\nname = \"no-writing\"\neffect = \"deny\"\ntool = \"Write\"\n";
const UNRELATED: &str = "[[rule]]\nname = \"unrelated\"\neffect = \"ask\"\ntool = \"NotebookEdit\"\n";

fn write_project(home: &Home, rules: &str) -> Fallible {
    fs::create_dir_all(home.workspace().join(".lockkeeper"))?;
    Ok(fs::write(home.workspace().join(".lockkeeper/rules.toml"), rules)?)
}

/// How the files of rules stand: what is wrong with that of a layer.
fn wrong_in(home: &Home, layer: &str) -> Fallible<Value> {
    let list = home.api().get("/v1/rules")?;
    let files = list["files"].as_array().cloned().unwrap_or_default();
    let file = files.into_iter().find(|file| file["layer"] == layer).unwrap_or_default();
    ensure!(file["path"].is_string(), "no file of {layer}: {list}");
    Ok(file["error"].clone())
}

/// Has the agent write a file of this name, and tells whether it did.
fn writes(session: &Session<'_>, home: &Home, name: &str) -> Fallible<bool> {
    let made = home.workspace().join(name);
    assert_eq!(session.ask(&write(&made))?["outcome"], "completed");
    Ok(made.exists())
}

#[test]
fn the_rules_of_a_workspace_only_tighten_and_one_that_allows_is_refused_with_its_place() -> Fallible {
    with_rules("", |home| {
        write_project(
            home,
            "[[rule]]\neffect = \"deny\"\ntool = \"Write\"\n\n[[rule]]\neffect = \"allow\"\ntool = \"Bash\"\n",
        )?;
        let place = home.workspace().join(".lockkeeper/rules.toml");
        for (rules, line, part) in [
            (None, 5, "only tighten"),
            (Some("\n[[rule]]\neffect = \"notify\"\ntool = \"Bash\"\n"), 2, "only tighten"),
            (Some("[[rule]]\neffect = \"deny\"\ntol = \"Bash\"\n"), 3, "tol"),
            (Some("[[rule]]\neffect = \"deny\"\npath = \"a/../b\"\n"), 1, "path"),
        ] {
            if let Some(rules) = rules {
                write_project(home, rules)?;
            }
            let answer = home.api().json("POST", "/v1/sessions", &Spec::kept().body(home))?;
            answer.is_problem(422, "rule_invalid")?;
            let text = answer.text();
            for part in [format!("{}:{line}: ", place.display()), part.to_owned()] {
                ensure!(text.contains(&part), "{part:?} is not in {text}");
            }
        }
        assert_eq!(home.api().get("/v1/sessions")?["items"], json!([]));
        Ok(())
    })
}

#[test]
fn where_the_rules_of_a_workspace_cannot_be_read_when_an_agent_starts_everything_is_asked() -> Fallible {
    with_rules("[[rule]]\neffect = \"allow\"\ntool = \"Read\"\n", |home| {
        let session = home.session(&Spec::kept())?;
        write_project(home, "[[rule]]\neffect = \"allow\"\ntool = \"Bash\"\n")?;
        let mut watch = session.watch()?;
        session.prompt("TOOL Read {\"file_path\":\"x\"}")?;
        watch.status("awaiting_input")?;
        let gate = only_gate(&session)?;
        assert_eq!(gate["rule"], "project:unreadable");
        ensure!(
            gate["rule_reason"].as_str().is_some_and(|reason| reason.contains("rules.toml:1: ")),
            "{gate}"
        );
        session.allow()?;
        watch.status("idle")?;
        assert_eq!(outcomes(&session)?, ["ok"]);
        Ok(())
    })
}

#[test]
fn what_an_agent_writes_over_the_rules_of_its_workspace_changes_nothing_for_it() -> Fallible {
    with_rules("", |home| {
        write_project(home, "[[rule]]\nname = \"made\"\neffect = \"deny\"\npath = \"made*\"\n")?;
        let rules = home.workspace().join(".lockkeeper/rules.toml");
        let over = format!("TOOL Write {}", content(&rules, "# nothing\n"));
        let session = home.session(
            &Spec::kept().prompt(&format!("{over} ;; {}", write(&home.workspace().join("made1")))),
        )?;
        let mut watch = session.watch()?;
        watch.status("idle")?;
        assert_eq!(outcomes(&session)?, ["ok", "denied"]);
        assert_eq!(only_gate(&session)?["rule"], "project:made");
        session.runs("rm -r .lockkeeper")?;
        assert!(!rules.exists());
        assert!(!writes(&session, home, "made2")?);
        // Also for a daemon that has never seen them.
        home.crash_and_start()?;
        session.known()?;
        assert!(!writes(&session, home, "made3")?);
        assert_eq!(session.list("attempts")?.len(), 1);
        // The next agent starts with what is there then.
        watch.reconnect()?;
        kill(session.pid()?, Signal::KILL)?;
        watch.status("suspended")?;
        assert!(writes(&session, home, "made4")?);
        assert_eq!(session.list("attempts")?.len(), 2);
        Ok(())
    })
}

#[test]
fn the_users_file_holds_as_it_is_at_each_step_and_as_it_was_while_it_cannot_be_read() -> Fallible {
    with_rules(UNRELATED, |home| {
        let session = home.session(&Spec::kept())?;
        assert!(writes(&session, home, "a")?);
        fs::write(home.user_rules(), NO_WRITING)?;
        assert!(!writes(&session, home, "b")?);
        assert_eq!(wrong_in(home, "user")?, Value::Null);
        fs::write(home.user_rules(), "\n\n[[rule]]\neffect = \"forbid\"\n")?;
        assert!(!writes(&session, home, "c")?);
        let wrong = wrong_in(home, "user")?;
        let place = format!("{}:4: ", home.user_rules().display());
        ensure!(wrong.as_str().is_some_and(|wrong| wrong.contains(&place)), "{wrong}");
        let list = home.api().get("/v1/rules")?;
        assert_eq!(list["rules"][0]["id"], "user:no-writing", "what held before holds: {list}");
        // Nothing is written into what cannot be read.
        let added = home.api().json("POST", "/v1/rules", &json!({"effect": "ask", "tool": "Bash"}))?;
        added.is_problem(422, "rule_invalid")?;
        let removed = home.api().send("DELETE", "/v1/rules/user:no-writing", &[], None)?;
        removed.is_problem(422, "rule_invalid")?;
        fs::write(home.user_rules(), UNRELATED)?;
        assert!(writes(&session, home, "d")?);
        assert_eq!(wrong_in(home, "user")?, Value::Null);
        Ok(())
    })
}

#[test]
fn a_daemon_does_not_start_with_rules_that_it_cannot_understand_and_says_where() -> Fallible {
    with_home(|home| {
        fs::write(home.data().join("config.toml"), SHORT)?;
        for (rules, line, part) in [
            ("[[rule]]\neffect = \"ask\"\n\n[[rule]]\neffect = \"deny\"\ncommand = \"'rm\"\n", 4, "quote"),
            ("[[rule]]\neffect = \"allow\"\n", 1, "allows everything"),
            ("[[rules]]\n", 1, "rules"),
            ("[[rule]]\neffect = \"deny\"\nhosts = \"x\"\n", 3, "hosts"),
            ("[[rule]\n", 1, ""),
        ] {
            for path in [home.user_rules(), home.admin_rules()] {
                fs::write(&path, rules)?;
                let output = home.daemon_command().output()?;
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                ensure!(!output.status.success(), "it ran with {rules:?}");
                let place = format!("{}:{line}: ", path.display());
                ensure!(said.contains(&place) && said.contains(part), "{place} {part:?} is not in {said:?}");
                fs::remove_file(&path)?;
            }
        }
        home.start()
    })
}

#[test]
fn nobodys_rule_loosens_the_administrators() -> Fallible {
    with_home(|home| {
        fs::write(home.data().join("config.toml"), SHORT)?;
        fs::write(
            home.admin_rules(),
            "[[rule]]\nname = \"rm\"\neffect = \"deny\"\ncommand = \"rm *\"\n[[rule]]\nname = \"write\"\neffect = \"ask\"\ntool = \"Write\"\n",
        )?;
        fs::write(
            home.user_rules(),
            "[[rule]]\nname = \"rm\"\neffect = \"allow\"\ncommand = \"rm *\"\n[[rule]]\nname = \"write\"\neffect = \"allow\"\ntool = \"*\"\n",
        )?;
        home.start()?;
        let made = home.workspace().join("made");
        let (session, mut watch) =
            asking(home, VERSIONS[1], &format!("{} ;; {}", asked("rm x"), write(&made)))?;
        assert_eq!(outcomes(&session)?, ["denied"]);
        let gates = session.gates("all")?;
        let by: Vec<&str> = gates.iter().filter_map(|gate| gate["rule"].as_str()).collect();
        assert_eq!(by, ["admin:write", "admin:rm"]);
        session
            .decide(&format!("{}.g2", session.id), &json!({"decision": "deny", "message": "no"}))?
            .good()?;
        watch.status("idle")?;
        assert!(!made.exists());
        // They are not the user's to remove.
        let removed = home.api().send("DELETE", "/v1/rules/admin:rm", &[], None)?;
        removed.is_problem(404, "rule_not_found")?;
        // Nor does what was there first matter: one that is added to the administrator's holds at once.
        fs::write(home.admin_rules(), "[[rule]]\nname = \"all\"\neffect = \"deny\"\ntool = \"*\"\n")?;
        assert_eq!(session.ask(&asked("ls"))?["outcome"], "completed");
        assert_eq!(outcomes(&session)?, ["denied", "denied", "denied"]);
        Ok(())
    })
}

#[test]
fn a_rule_holds_for_an_agent_that_runs_already_as_far_as_it_asks_and_the_answer_says_which_those_are()
-> Fallible {
    with_rules("", |home| {
        let session = home.session(&kept(VERSIONS[1]).with("name", "early").prompt("SAY hello"))?;
        session.wait("idle")?;
        let added = home
            .api()
            .post("/v1/rules", &json!({"name": "no-writing", "effect": "deny", "tool": "Write"}))?;
        assert_eq!((&added["id"], &added["partly"]), (&json!("user:no-writing"), &json!(["early"])));
        let made = home.workspace().join("made");
        session.ask(&format!("ASK Write {}", content(&made, "x")))?;
        assert_eq!((outcomes(&session)?, made.exists()), (vec!["denied".to_owned()], false));
        // It announces nothing until it is started again.
        assert!(writes(&session, home, "unasked")?);
        let mut watch = session.watch()?;
        kill(session.pid()?, Signal::KILL)?;
        watch.status("suspended")?;
        assert!(!writes(&session, home, "unasked2")?);
        let allowed = home.api().post("/v1/rules", &json!({"effect": "allow", "tool": "Read"}))?;
        assert_eq!(allowed["partly"], json!([]), "{allowed}");
        Ok(())
    })
}

#[test]
fn what_is_at_the_place_of_rules_and_is_no_file_of_rules_keeps_nothing_up() -> Fallible {
    with_rules("", |home| {
        let place = home.workspace().join(".lockkeeper");
        fs::create_dir(&place)?;
        let rules = place.join("rules.toml");
        let session = home.session(&super::kept(super::VERSIONS[0]).prompt("HANG"))?;
        let mut watch = session.watch()?;
        watch.status("running")?;
        ensure!(std::process::Command::new("mkfifo").arg(&rules).status()?.success(), "no pipe");
        session.act("interrupt")?;
        watch.status("idle")?;
        let list = home.api().get(&format!("/v1/rules?session={}", session.id))?;
        let errors: Vec<&str> = list["files"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|file| file["error"].as_str())
            .collect();
        ensure!(errors.iter().any(|error| error.contains("no ordinary file")), "{errors:?}");
        session.act("kill")?;
        session.wait("end")?;
        // None is started there before that is mended.
        let body = super::kept(super::VERSIONS[0]).body(home);
        home.api().json("POST", "/v1/sessions", &body)?.is_problem(422, "rule_invalid")?;
        fs::remove_file(&rules)?;
        std::os::unix::fs::symlink("/dev/zero", &rules)?;
        home.api().json("POST", "/v1/sessions", &body)?.is_problem(422, "rule_invalid")?;
        Ok(())
    })
}

#[test]
fn rules_that_would_be_too_many_to_be_read_again_are_not_written() -> Fallible {
    with_rules("", |home| {
        let long = "x".repeat(4000);
        let mut refused = None;
        for no in 0..100 {
            let rule = json!({"effect": "ask", "command": format!("{long}{no}")});
            let answer = home.api().json("POST", "/v1/rules", &rule)?;
            if answer.status != 201 {
                refused = Some(answer);
                break;
            }
        }
        let refused = refused.ok_or_else(|| Failure::new("all were written"))?;
        refused.is_problem(422, "rule_invalid")?;
        ensure!(refused.text().contains("rules have at most"), "{}", refused.text());
        home.crash_and_start()?;
        Ok(())
    })
}

#[test]
fn comments_stay_when_a_rule_is_taken_out_and_what_is_written_inline_is_told() -> Fallible {
    with_rules("# mine\n", |home| {
        home.api().post("/v1/rules", &json!({"effect": "ask", "tool": "A", "name": "a"}))?;
        home.api().post("/v1/rules", &json!({"effect": "ask", "tool": "B", "name": "b"}))?;
        for rule in ["user:a", "user:b"] {
            assert_eq!(home.api().send("DELETE", &format!("/v1/rules/{rule}"), &[], None)?.status, 204);
        }
        assert_eq!(fs::read_to_string(home.user_rules())?.trim_end(), "# mine");
        let inline = "rule = [{ name = \"x\", effect = \"ask\", tool = \"A\" }]\n";
        fs::write(home.user_rules(), inline)?;
        let answer = home.api().send("DELETE", "/v1/rules/user:x", &[], None)?;
        answer.is_problem(422, "rule_invalid")?;
        ensure!(answer.text().contains("take it out of"), "{}", answer.text());
        assert_eq!(fs::read_to_string(home.user_rules())?, inline);
        fs::write(home.user_rules(), "[[rating]]\nname = \"r1\"\nrisk = \"low\"\ntool = \"A\"\n")?;
        let number = || {
            Ok::<_, Failure>(
                home.api().post("/v1/rules", &json!({"effect": "ask", "tool": "B"}))?["id"].clone(),
            )
        };
        assert_eq!(number()?, "user:r2");
        // The audit would mean two rules by one name.
        assert_eq!(home.api().send("DELETE", "/v1/rules/user:r2", &[], None)?.status, 204);
        home.crash_and_start()?;
        assert_eq!(number()?, "user:r3");
        let unknown = home.api().send("DELETE", "/v1/rules/r3", &[], None)?;
        unknown.is_problem(404, "rule_not_found")?;
        ensure!(unknown.text().contains("user:r3 is one"), "{}", unknown.text());
        Ok(())
    })
}

#[test]
fn where_an_agent_works_for_its_rules_is_where_it_was_started() -> Fallible {
    use std::os::unix::fs::symlink;
    with_home(|home| {
        let (wild, trusted, link) = (home.path("wild"), home.path("trusted"), home.path("link"));
        fs::create_dir(&wild)?;
        fs::create_dir(&trusted)?;
        symlink(&wild, &link)?;
        let rule = |effect: &str, dir: &std::path::Path| {
            let dir = dir.display();
            format!(
                "[[rule]]\neffect = \"{effect}\"\nkind = \"execute\"\nworkspace = \"{dir}\"\n\n[[rule]]\neffect = \"{effect}\"\nkind = \"edit\"\npath = \"{dir}/**\"\n\n"
            )
        };
        fs::write(home.data().join("config.toml"), SHORT)?;
        fs::write(home.user_rules(), rule("deny", &wild) + &rule("allow", &trusted))?;
        home.start()?;
        let script = format!(
            "WAITFILE {} ;; {} ;; TOOL Write {{\"file_path\": \"made\", \"content\": \"x\"}} ;; SAY end",
            home.path("go").display(),
            asked("rm x")
        );
        let spec = kept(VERSIONS[1]).with("dir", link.display().to_string()).prompt(&script);
        let session = home.session(&spec)?;
        let mut watch = session.watch()?;
        watch.status("running")?;
        watch.event("turn.taken")?;
        fs::remove_file(&link)?;
        symlink(&trusted, &link)?;
        fs::write(home.path("go"), "")?;
        watch.status("idle")?;
        assert_eq!(outcomes(&session)?, ["denied", "denied"]);
        ensure!(!wild.join("made").exists() && !trusted.join("made").exists(), "it was written");
        // Where it has moved, nobody can tell what it names.
        fs::rename(&wild, home.path("moved"))?;
        fs::write(home.user_rules(), "[[rule]]\neffect = \"allow\"\nkind = \"edit\"\npath = \"**\"\n")?;
        session.prompt("ASK Write {\"file_path\": \"made\", \"content\": \"x\"} ;; SAY end")?;
        watch.status("awaiting_input")?;
        let gate = session.gates("open")?.remove(0);
        assert_eq!(gate["rule"], "agent", "{gate}");
        let id = gate["id"].as_str().unwrap_or_default().to_owned();
        session.decide(&id, &json!({"decision": "deny", "message": "no"}))?.good()?;
        watch.status("idle")?;
        // Nor where another directory is in its place.
        symlink(&trusted, &wild)?;
        fs::write(home.user_rules(), rule("allow", &trusted))?;
        session.prompt("TOOL Write {\"file_path\": \"made\", \"content\": \"x\"} ;; ASK Bash {\"command\": \"rm x\"} ;; SAY end")?;
        watch.status("awaiting_input")?;
        let gate = &session.gates("open")?[0];
        assert_eq!(gate["rule"], "agent", "{gate}");
        Ok(())
    })
}
