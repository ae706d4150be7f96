//! What a program that an agent runs may not do: say what agents may do.

use std::fs;

use serde_json::{Value, json};

use super::{VERSIONS, asking, with_rules};
use crate::support::{Fallible, Home, Spec, ensure};

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
                crate::support::wait_until("an answer", || said.exists())?;
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
