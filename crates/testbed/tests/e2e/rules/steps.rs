//! One step, and what rules make of it.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use super::{VERSIONS, asked, asking, content, kept, only_gate, outcomes, told, with_rules, write};
use crate::support::{Fallible, Home, Spec, ensure};

const ALLOW_LS: &str = "[[rule]]\nname = \"ls\"\neffect = \"allow\"\ncommand = \"ls *\"\n";
const ALLOW_GIT: &str = "[[rule]]\nname = \"git\"\neffect = \"allow\"\ncommand = \"git *\"\n";
const NO_WRITING: &str = "[[rule]]\nname = \"no-writing\"\neffect = \"deny\"\ntool = \"Write\"\nreason = \"this place is read only\"\n";
const LOOK: &str = "[[rule]]\nname = \"look\"\neffect = \"ask\"\ntool = \"Write\"\nreason = \"somebody reads what is written\"\n";

#[test]
fn a_rule_about_the_home_directory_is_also_about_what_an_agent_may_reach_by_a_tilde() -> Fallible {
    const SECRET: &str = "[[rule]]\nname = \"keys\"\neffect = \"deny\"\npath = \"~/.ssh/**\"\n";
    with_rules(SECRET, |home| {
        for (path, expected) in
            [("~/.ssh/id", "deny"), ("~/x/../.ssh/id", "deny"), ("~/.sshd/id", ""), ("~x/.ssh/id", "")]
        {
            let step = json!({"tool": "Read", "input": {"file_path": path}, "dir": home.workspace()});
            let ruling = home.api().post("/v1/rules/test", &step)?;
            assert_eq!(ruling["effect"].as_str().unwrap_or_default(), expected, "{path}: {ruling}");
        }
        Ok(())
    })
}

#[test]
fn o26_what_a_rule_allows_waits_for_nobody_and_its_record_tells_which_rule() -> Fallible {
    with_rules(ALLOW_LS, |home| {
        let session = home.session(&Spec::kept().prompt(&format!("{} ;; SAY end", asked("ls -l"))))?;
        let mut watch = session.watch()?;
        watch.status("idle")?;
        ensure!(!watch.statuses().contains(&"awaiting_input".to_owned()), "{:?}", watch.statuses());
        assert_eq!(session.gates("open")?, Vec::<Value>::new());
        let gate = only_gate(&session)?;
        assert_eq!((&gate["state"], &gate["rule"]), (&json!("delivered"), &json!("user:ls")));
        let decision = &gate["decision"];
        assert_eq!((&decision["decision"], &decision["through"]), (&json!("allow"), &json!("rule")));
        assert_eq!(decision["by"], "user:ls");
        assert_eq!(gate["risk"], "high", "a command may do anything");
        assert_eq!(outcomes(&session)?, ["ok"]);
        // A rule that only allows is no reason to have everything announced.
        let greeting = &session.lines("stdin", 1)?[0];
        assert_eq!(
            (&greeting["request"]["subtype"], &greeting["request"]["hooks"]),
            (&json!("initialize"), &Value::Null)
        );
        Ok(())
    })
}

#[test]
fn o26_what_a_rule_denies_does_not_happen_though_the_agent_would_not_ask_and_it_is_told_why() -> Fallible {
    with_rules(NO_WRITING, |home| {
        for (version, mode) in
            VERSIONS.iter().flat_map(|version| [(version, None), (version, Some("bypassPermissions"))])
        {
            let made = home.workspace().join("made");
            let script = format!("{} ;; TOOL Read {{}} ;; SAY end", write(&made));
            let spec = kept(version).prompt(&script);
            let session = home.session(&mode.map_or(spec.clone(), |mode| spec.with("mode", mode)))?;
            session.wait("idle")?;
            assert!(!made.exists(), "{version} {mode:?}");
            assert_eq!(outcomes(&session)?, ["denied", "ok"], "{version} {mode:?}");
            let told = &told(&session)?[0];
            for part in ["user:no-writing", "this place is read only"] {
                ensure!(told.contains(part), "{version}: {told:?}");
            }
            let gate = only_gate(&session)?;
            assert_eq!(
                (&gate["rule"], &gate["decision"]["through"]),
                (&json!("user:no-writing"), &json!("rule"))
            );
            assert_eq!((&gate["state"], &gate["tool"]), (&json!("delivered"), &json!("Write")));
            assert_eq!(session.messages()?.last().map(String::as_str), Some("end"));
            session.act("stop")?;
            session.wait("end")?;
        }
        Ok(())
    })
}

#[test]
fn o26_what_a_rule_asks_about_waits_and_is_allowed_denied_or_edited() -> Fallible {
    with_rules(LOOK, |home| {
        for version in VERSIONS {
            let file = |name: &str| home.workspace().join(format!("{name}-{version}"));
            let steps: Vec<String> =
                ["allowed", "denied", "edited"].iter().map(|name| write(&file(name))).collect();
            // What the agent would ask about as well is asked once.
            let script =
                format!("{} ;; ASK Write {} ;; SAY end", steps.join(" ;; "), content(&file("both"), "x"));
            let (session, mut watch) = asking(home, version, &script)?;
            let gate = session.gates("open")?[0].clone();
            assert_eq!((&gate["rule"], &gate["tool"]), (&json!("user:look"), &json!("Write")));
            assert_eq!(gate["rule_reason"], "somebody reads what is written");
            assert_eq!(gate["turn"], format!("{}.t1", session.id));
            assert!(!file("allowed").exists());
            session.allow()?;
            watch.status("awaiting_input")?;
            assert!(file("allowed").exists());
            let deny = json!({"decision": "deny", "message": "not today"});
            session.decide(&format!("{}.g2", session.id), &deny)?.good()?;
            watch.status("awaiting_input")?;
            let edit = json!({"decision": "edit", "input": content(&file("edited"), "by hand")});
            session.decide(&format!("{}.g3", session.id), &edit)?.good()?;
            watch.status("awaiting_input")?;
            assert!(!file("both").exists());
            session.allow()?;
            watch.status("idle")?;
            assert_eq!(fs::read_to_string(file("edited"))?, "by hand");
            assert!(!file("denied").exists());
            assert_eq!(outcomes(&session)?, ["ok", "denied", "ok", "ok"], "{version}");
            ensure!(told(&session)?[1].contains("not today"), "{:?}", told(&session)?);
            let gates = session.gates("all")?;
            assert_eq!(gates.len(), 4, "{gates:#?}");
            ensure!(gates.iter().all(|gate| gate["decision"]["through"] == "person"), "{gates:#?}");
        }
        Ok(())
    })
}

#[test]
fn what_a_rule_notifies_of_goes_on_and_is_recorded_though_the_agent_would_not_ask() -> Fallible {
    let notify = "[[rule]]\nname = \"tell\"\neffect = \"notify\"\ntool = \"Write\"\n";
    with_rules(notify, |home| {
        let made = home.workspace().join("made");
        let session = home.session(&Spec::kept().prompt(&format!("{} ;; TOOL Read {{}}", write(&made))))?;
        let mut watch = session.watch()?;
        watch.status("idle")?;
        assert!(made.exists());
        ensure!(!watch.statuses().contains(&"awaiting_input".to_owned()), "{:?}", watch.statuses());
        let gate = only_gate(&session)?;
        assert_eq!((&gate["rule"], &gate["state"]), (&json!("user:tell"), &json!("delivered")));
        assert_eq!(
            (&gate["decision"]["decision"], &gate["decision"]["through"]),
            (&json!("allow"), &json!("rule"))
        );
        Ok(())
    })
}

#[test]
fn a_line_is_allowed_only_if_each_of_its_commands_is() -> Fallible {
    with_rules(ALLOW_GIT, |home| {
        let (session, mut watch) = asking(home, VERSIONS[1], &asked("git status && rm x"))?;
        let gate = session.gates("open")?[0].clone();
        assert_eq!((&gate["rule"], &gate["risk"]), (&json!("agent"), &json!("high")));
        session
            .decide(&format!("{}.g1", session.id), &json!({"decision": "deny", "message": "no"}))?
            .good()?;
        watch.status("idle")?;
        for (line, passes) in [
            ("git status", true),
            ("git status | git hash-object --stdin", true),
            ("git status; rm x", false),
            ("git status\nrm x", false),
            ("git status & rm x", false),
            ("git log $(rm x)", false),
            ("git log > /etc/passwd", false),
            ("sh -c 'git status; rm x'", false),
            ("/tmp/git status", false),
        ] {
            session.prompt(&asked(line))?;
            watch.event("gate.opened")?;
            if !passes {
                watch.status("awaiting_input")?;
                session.act("interrupt")?;
            }
            watch.status("idle")?;
            let gate = session.gates("all")?.remove(0);
            assert_eq!(gate["rule"], if passes { "user:git" } else { "agent" }, "{line}");
        }
        Ok(())
    })
}

/// A directory outside of the workspace, and a link to it inside.
fn linked(home: &Home) -> Fallible<std::path::PathBuf> {
    let outside = home.path("outside");
    fs::create_dir(&outside)?;
    symlink(&outside, home.workspace().join("link"))?;
    Ok(outside)
}

#[test]
fn a_path_is_judged_by_where_it_leads() -> Fallible {
    with_rules("", |home| {
        let outside = linked(home)?;
        let deny =
            format!("[[rule]]\nname = \"outside\"\neffect = \"deny\"\npath = \"{}/**\"\n", outside.display());
        let allow = "[[rule]]\nname = \"inside\"\neffect = \"allow\"\ntool = \"Write\"\npath = \"**\"\n";
        fs::write(home.user_rules(), format!("{deny}{allow}"))?;
        let read = |path: &str| format!("TOOL Read {}", json!({"file_path": home.workspace().join(path)}));
        let inside = home.workspace().join("inside");
        let through = home.workspace().join("link/made");
        let steps = [
            read("link/key"),
            read("plain"),
            write(&through),
            format!("ASK Write {}", content(&inside, "x")),
            // One that the agent makes on its way.
            format!("SHELL ln -s {} late", outside.display()),
            read("late/key"),
            // The agent may take these for link/key, whatever the kernel would make of them.
            read("nothing/../link/key"),
            read("link/../link/key"),
        ];
        let session = home.session(&Spec::kept().prompt(&steps.join(" ;; ")))?;
        session.wait("idle")?;
        assert_eq!(outcomes(&session)?, ["denied", "ok", "denied", "ok", "denied", "denied", "denied"]);
        assert!(inside.exists() && !outside.join("made").exists());
        Ok(())
    })
}

#[test]
fn what_is_allowed_inside_the_workspace_is_asked_where_a_link_leads_out_of_it() -> Fallible {
    let allow = "[[rule]]\nname = \"inside\"\neffect = \"allow\"\ntool = \"Write\"\npath = \"**\"\n";
    with_rules(allow, |home| {
        let outside = linked(home)?;
        // It leads to nothing yet, and would be written through.
        symlink(outside.join("new"), home.workspace().join("dangling"))?;
        // The kernel stays inside with what comes behind this one, and an agent that takes `..` for the folder before does not.
        fs::create_dir_all(home.workspace().join("a/b"))?;
        symlink("a/b", home.workspace().join("inner"))?;
        for path in ["link/made", "dangling", "../outside/made", "inner/../link/made"] {
            let script = format!("ASK Write {}", content(&home.workspace().join(path), "x"));
            let (session, _) = asking(home, VERSIONS[1], &script)?;
            assert_eq!(only_gate(&session)?["rule"], "agent", "{path}");
        }
        assert_eq!(fs::read_dir(&outside)?.count(), 0);
        Ok(())
    })
}

#[test]
fn o27_a_rule_is_about_the_sessions_that_it_names() -> Fallible {
    let rules = "[[rule]]\nname = \"prod\"\neffect = \"deny\"\ntool = \"Write\"\nenvironment = \"prod*\"\n\
                 [[rule]]\nname = \"team\"\neffect = \"deny\"\ntool = \"Write\"\nlabel = \"team=a\"\n\
                 [[rule]]\nname = \"ci\"\neffect = \"deny\"\ntool = \"Write\"\nsubmitter = \"ci\"\n";
    with_rules(rules, |home| {
        let plain = Spec::kept();
        let cases = [
            ("free", plain.clone(), None),
            ("prod", plain.clone().with("environment", "prod-eu"), Some("user:prod")),
            ("staging", plain.clone().with("environment", "staging"), None),
            ("team", plain.clone().with("labels", json!({"team": "a"})), Some("user:team")),
            ("other", plain.clone().with("labels", json!({"team": "b"})), None),
            ("ci", plain.with("submitter", "ci"), Some("user:ci")),
        ];
        for (name, spec, rule) in cases {
            let made = home.workspace().join(name);
            let session = home.session(&spec.prompt(&write(&made)))?;
            session.wait("idle")?;
            assert_eq!(made.exists(), rule.is_none(), "{name}");
            let gates = session.gates("all")?;
            let by: Vec<&str> = gates.iter().filter_map(|gate| gate["rule"].as_str()).collect();
            assert_eq!(by, rule.into_iter().collect::<Vec<_>>(), "{name}");
        }
        Ok(())
    })
}
