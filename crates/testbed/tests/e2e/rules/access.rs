//! What a program that an agent runs may not do: say what agents may do.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use super::{VERSIONS, asking, with_rules};
use crate::support::{Fallible, Home, Spec, ensure, wait_until};

const LOOK: &str = "[[rule]]\nname = \"look\"\neffect = \"ask\"\ntool = \"Write\"\n";

/// A line for a shell that sends a request to the daemon's socket, and writes the status and the body.
fn curl(home: &Home, method: &str, path: &str, body: &Value) -> String {
    // No quotes within: the line stands in quotes itself in some of the ways to run it.
    let file = home.path(&format!("{}.json", method.to_lowercase()));
    // A line that cannot be written shows when curl finds nothing.
    let _ = fs::write(&file, body.to_string());
    format!(
        "curl -s -o - -w \\ %{{http_code}} -X {method} -H Content-Type:application/json -d @{} --unix-socket {} http://lk{path}",
        file.display(),
        home.socket().display(),
    )
}

/// The ways in which a program may try not to be known as the agent's: without the marker, in a session of its own, left
/// behind by its parents.
fn disguised(line: &str, out: &str) -> [String; 4] {
    [
        format!("{line} > {out} 2>&1"),
        format!("env -u LOCKKEEPER_ATTEMPT {line} > {out} 2>&1"),
        format!("setsid -w env -i PATH=/usr/bin:/bin {line} > {out} 2>&1"),
        format!("(setsid env -i PATH=/usr/bin:/bin sh -c '{line} > {out}.part 2>&1; mv {out}.part {out}' &)"),
    ]
}

#[test]
fn a_program_that_an_agent_runs_decides_no_gate_changes_no_rule_and_sets_no_mode() -> Fallible {
    with_rules(LOOK, |home| {
        let before = fs::read_to_string(home.user_rules())?;
        let made = home.workspace().join("made");
        let script = format!("{} ;; SAY end", super::write(&made));
        let (other, mut watch) = asking(home, VERSIONS[1], &script)?;
        let agent = home.session(&Spec::kept().with("name", "inside"))?;
        let gate = format!("/v1/gates/{}.g1/decision", other.id);
        let requests = [
            ("POST", gate, json!({"decision": "allow"})),
            ("POST", "/v1/rules".to_owned(), json!({"effect": "allow", "tool": "Write"})),
            ("DELETE", "/v1/rules/user:look".to_owned(), json!({})),
            ("POST", format!("/v1/rules?session={}", agent.id), json!({"effect": "allow", "tool": "Write"})),
            ("DELETE", format!("/v1/rules/session:r1?session={}", agent.id), json!({})),
            ("PATCH", agent.path("/settings"), json!({"mode": "bypassPermissions"})),
            ("PATCH", other.path("/settings"), json!({"mode": "bypassPermissions", "model": "m"})),
            ("POST", agent.path("/bypass"), json!({"for_ms": 60_000})),
            ("POST", other.path("/bypass"), json!({"for_ms": 60_000, "kinds": ["edit"]})),
            // Another agent that asks nobody would do it for this one.
            ("POST", "/v1/sessions".to_owned(), Spec::kept().with("mode", "bypassPermissions").body(home)),
        ];
        for (at, (method, path, body)) in requests.iter().enumerate() {
            for (how, line) in
                disguised(&curl(home, method, path, body), &home.path("said").display().to_string())
                    .iter()
                    .enumerate()
            {
                let said = home.path("said");
                agent.runs(line)?;
                wait_until("an answer", || said.exists())?;
                let text = fs::read_to_string(&said)?;
                ensure!(text.contains("decision_forbidden") && text.ends_with(" 403"), "{at} {how}: {text}");
                fs::remove_file(said)?;
            }
        }
        // By the commands as well.
        for command in [
            format!("allow {}.g1", other.id),
            format!("deny {}.g1", other.id),
            "set inside mode=plan".to_owned(),
            "bypass inside --for 1m".to_owned(),
        ] {
            let said = agent.runs(&home.lk_line(&command))?;
            ensure!(
                said.starts_with("exit 3: ") && said.contains("outside of the agent"),
                "{command}: {said}"
            );
        }
        assert_eq!(fs::read_to_string(home.user_rules())?, before);
        assert_eq!(other.gates("open")?.len(), 1);
        assert_eq!(agent.row()?["mode"], "default");
        assert_eq!(home.api().get("/v1/sessions")?["items"].as_array().map(Vec::len), Some(2));
        // To ask what rules say is free.
        let tried = curl(home, "POST", "/v1/rules/test", &json!({"tool": "Write", "text": "x"}));
        ensure!(agent.runs(&tried)?.ends_with(" 200"), "it may be asked");
        // The user does all of it.
        other.allow()?;
        watch.status("idle")?;
        assert!(made.exists());
        Ok(())
    })
}

/// A shell that runs its line below so many others.
const DEEP: &str = "n=$1\nif [ $n -gt 0 ]; then sh $0 $((n-1)) \"$2\"; else eval \"$2\"; fi\n:\n";

/// Connects by a child that is gone before the request is sent.
const BY_A_CHILD: &str = r#"
use Socket;
my ($socket, $path, $file) = @ARGV;
my $body = do { local $/; open my $from, '<', $file or die; <$from> };
socket(my $to, AF_UNIX, SOCK_STREAM, 0) or die;
if (!(my $child = fork)) { connect($to, sockaddr_un($socket)) or exit 1; kill 9, $$ } else { waitpid $child, 0 }
my $length = length $body;
syswrite $to, "POST $path HTTP/1.1\r\nHost: lk\r\nConnection: close\r\nContent-Type: application/json\r\n"
  . "Content-Length: $length\r\n\r\n$body";
while (sysread $to, my $part, 65536) { print $part }
"#;

#[test]
fn a_program_decides_nothing_however_far_below_its_agent_it_runs() -> Fallible {
    with_rules(LOOK, |home| {
        let (other, _watch) = asking(home, VERSIONS[1], &super::asked("true"))?;
        let agent = home.session(&Spec::kept())?;
        let deep = home.path("deep.sh");
        fs::write(&deep, DEEP)?;
        let decision =
            curl(home, "POST", &format!("/v1/gates/{}.g1/decision", other.id), &json!({"decision": "allow"}));
        // Where its ancestors are seen it is told as what it is; where they are too many it is not known.
        for (depth, why) in [(70, agent.id.as_str()), (1100, "is not known")] {
            let said = agent
                .runs(&format!("env -u LOCKKEEPER_ATTEMPT sh {} {depth} '{decision}'", deep.display()))?;
            ensure!(said.contains("decision_forbidden") && said.ends_with(" 403"), "{depth}: {said}");
            ensure!(said.contains(why), "{depth}: {said}");
        }
        assert_eq!(other.gates("open")?.len(), 1);
        Ok(())
    })
}

#[test]
fn a_connection_whose_maker_is_gone_decides_nothing() -> Fallible {
    with_rules(LOOK, |home| {
        let (other, _watch) = asking(home, VERSIONS[1], &super::asked("true"))?;
        let agent = home.session(&Spec::kept())?;
        let script = home.path("by_a_child.pl");
        fs::write(&script, BY_A_CHILD)?;
        let body = home.path("allow.json");
        fs::write(&body, json!({"decision": "allow"}).to_string())?;
        let line = format!(
            "env -u LOCKKEEPER_ATTEMPT perl {} {} /v1/gates/{}.g1/decision {}",
            script.display(),
            home.socket().display(),
            other.id,
            body.display()
        );
        for _ in 0..20 {
            let said = agent.runs(&line)?;
            ensure!(said.contains("decision_forbidden"), "{said}");
        }
        assert_eq!(other.gates("open")?.len(), 1);
        Ok(())
    })
}

#[test]
fn what_people_run_decides_also_where_the_machine_is_busy_and_its_parents_are_gone() -> Fallible {
    with_rules(LOOK, |home| {
        // Whoever may pause may decide.
        let pause = curl(home, "POST", "/v1/daemon/pause", &json!({}));
        let script = format!(
            "cd {}; for one in 1 2 3 4 5 6; do while :; do :; done & done\n\
             for each in $(seq 25); do\n\
             for way in 1 2 3 4; do ({pause} > said.$each.$way.part 2>&1; mv said.$each.$way.part said.$each.$way) & done\n\
             for way in 5 6 7 8; do (setsid sh -c '{pause} > said.$0.part 2>&1; mv said.$0.part said.$0' $each.$way &); done\n\
             done",
            home.as_ref().display()
        );
        // What is busy ends with the home.
        ensure!(Command::new("sh").args(["-c", &script]).status()?.success(), "no shell");
        let said = || {
            let each = (1..=25).flat_map(|each| (1..=8).map(move |way| format!("said.{each}.{way}")));
            each.map(|name| fs::read_to_string(home.path(&name)).unwrap_or_default()).collect::<Vec<_>>()
        };
        wait_until("the answers", || said().iter().all(|text| !text.is_empty()))?;
        for text in said() {
            ensure!(text.ends_with(" 200"), "{text}");
        }
        Ok(())
    })
}

/// What rules may go by, of a session.
fn kind(row: &Value) -> Value {
    json!([row["name"], row["labels"], row["environment"], row["submitter"]])
}

#[test]
fn a_program_that_an_agent_runs_does_not_choose_which_rules_hold() -> Fallible {
    with_rules(LOOK, |home| {
        let spec =
            Spec::kept().with("labels", json!({"team": "web", "trusted": "no"})).with("environment", "prod");
        let agent = home.session(&spec.with("name", "inside"))?;
        let other = home.session(&Spec::kept().with("name", "other"))?;
        let before = [kind(&agent.row()?), kind(&other.row()?)];
        for (session, body) in [
            (&agent, json!({"labels": {"trusted": "yes"}})),
            (&agent, json!({"labels": {"team": null}})),
            (&other, json!({"name": "another"})),
            (&other, json!({"name": null})),
        ] {
            let said = agent.runs(&curl(home, "PATCH", &session.path(""), &body))?;
            ensure!(said.contains("decision_forbidden") && said.ends_with(" 403"), "{body}: {said}");
            ensure!(said.contains("labels"), "{body}: {said}");
        }
        for command in ["label inside trusted=yes", "rename other another"] {
            let said = agent.runs(&home.lk_line(command))?;
            ensure!(said.starts_with("exit 3: "), "{command}: {said}");
        }
        assert_eq!([kind(&agent.row()?), kind(&other.row()?)], before);

        // A session that it makes is of the kind of its agent's, which it may say.
        let kept = Spec::kept;
        for (spec, part) in [
            (kept().with("labels", json!({"team": "ops"})), "team"),
            (kept().with("labels", json!({"team": "web", "more": "x"})), "more"),
            (kept().with("environment", "dev"), "environment"),
            (kept().with("submitter", "ada"), "submitter"),
        ] {
            let said = agent.runs(&curl(home, "POST", "/v1/sessions", &spec.body(home)))?;
            ensure!(said.contains("decision_forbidden") && said.ends_with(" 403"), "{part}: {said}");
            ensure!(said.contains(part), "{part}: {said}");
        }
        let same = kept().with("labels", json!({"team": "web"})).with("environment", "prod");
        for (name, spec) in [("plain", kept()), ("same", same)] {
            let said =
                agent.runs(&curl(home, "POST", "/v1/sessions", &spec.with("name", name).body(home)))?;
            ensure!(said.ends_with(" 201"), "{said}");
            let row = home.api().get(&format!("/v1/sessions/{name}"))?;
            assert_eq!(kind(&row).as_array().map(|all| &all[1..]), before[0].as_array().map(|all| &all[1..]));
        }
        assert_eq!(home.api().get("/v1/sessions")?["items"].as_array().map(Vec::len), Some(4));
        // People choose.
        home.api()
            .json("PATCH", &other.path(""), &json!({"name": "another", "labels": {"team": "ops"}}))?
            .good()?;
        let made = home.session(&kept().with("environment", "dev").with("submitter", "ada"))?;
        assert_eq!(kind(&made.row()?), json!([null, {}, "dev", "ada"]));
        Ok(())
    })
}

#[test]
fn a_program_that_an_agent_runs_neither_stops_nor_pauses_the_daemon() -> Fallible {
    with_rules(LOOK, |home| {
        let agent = home.session(&Spec::kept())?;
        for (path, body) in [
            ("/v1/daemon/stop", json!({"agents": "leave"})),
            ("/v1/daemon/stop", json!({"agents": "drain"})),
            ("/v1/daemon/stop", json!({"agents": "kill"})),
            ("/v1/daemon/pause", json!({"reason": "mine"})),
            ("/v1/daemon/unpause", json!({})),
        ] {
            let said = agent.runs(&curl(home, "POST", path, &body))?;
            ensure!(said.contains("decision_forbidden") && said.ends_with(" 403"), "{path} {body}: {said}");
        }
        for command in ["stop", "stop --kill", "drain", "restart", "pause", "unpause"] {
            // With the marker lk itself would refuse to start one.
            let line = home.lk_line(&format!("daemon {command}"));
            let said = agent.runs(&format!("env -u LOCKKEEPER_ATTEMPT {line}"))?;
            ensure!(
                said.starts_with("exit 3: ") && said.contains("outside of the agent"),
                "{command}: {said}"
            );
        }
        let status = home.api().get("/v1/status")?;
        assert_eq!((&status["state"], &status["paused"]), (&json!("ready"), &Value::Null));
        Ok(())
    })
}
