//! The audit: what is kept of decisions, on real processes.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};

use super::{VERSIONS, asked, asking, kept, with_rules, write};
use crate::support::{Failure, Fallible, Home, PATIENCE, ensure};

const NO_EDITS: &str = "[[rule]]\nname = \"no-edits\"\neffect = \"deny\"\ntool = \"Edit\"\n";

fn entries(home: &Home, query: &str) -> Fallible<Vec<Value>> {
    let list = home.api().get(&format!("/v1/audit{query}"))?;
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}

/// What was recorded, with the gate and who did it.
fn told(entries: &[Value]) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let line = |entry: &Value| {
        let record = &entry["record"];
        let gate = record["gate"].as_u64().map_or_else(|| "-".to_owned(), |no| format!("g{no}"));
        let by = text(&record["by"]);
        // The name of this user.
        let by = if by == "-" || by.contains(':') { by } else { "user".to_owned() };
        format!("{} {gate} {by}", text(&record["what"]))
    };
    entries.iter().map(line).collect()
}

/// Runs lk; its exit code, standard output and standard error.
fn lk(home: &Home, arguments: &[&str]) -> Fallible<(i32, String, String)> {
    let output = home.lk(arguments).output()?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok((output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr)))
}

#[test]
fn every_decision_is_recorded_with_what_became_of_it_and_outlives_its_session() -> Fallible {
    with_rules(NO_EDITS, |home| {
        let made = home.workspace().join("made");
        let script = format!(
            "{} ;; {} ;; TOOL Edit {} ;; SAY end",
            asked("export API_TOKEN=abcdefgh && make"),
            asked("make install"),
            json!({"file_path": made, "old_string": "a", "new_string": "b"}),
        );
        let (session, mut watch) = asking(home, VERSIONS[1], &script)?;
        session.allow()?;
        watch.status("awaiting_input")?;
        let no = json!({"decision": "deny", "message": "not today"});
        session.decide(&format!("{}.g2", session.id), &no)?.good()?;
        watch.status("idle")?;
        let all = entries(home, "")?;
        let expected = [
            "gate.opened g1 -",
            "gate.decided g1 user",
            "gate.delivered g1 user",
            "gate.outcome g1 -",
            "gate.opened g2 -",
            "gate.decided g2 user",
            "gate.delivered g2 user",
            "gate.outcome g2 -",
            "gate.opened g3 -",
            "gate.decided g3 user:no-edits",
            "gate.delivered g3 user:no-edits",
            "gate.outcome g3 -",
        ];
        assert_eq!(told(&all), expected);
        let record = |at: usize| &all[at]["record"];
        let gates = session.gates("all")?;
        let first = gates.iter().find(|gate| gate["no"] == 1).cloned().unwrap_or_default();
        assert_eq!((&record(1)["input_hash"], &record(1)["rule"]), (&first["input_hash"], &first["rule"]));
        assert_eq!(record(0)["input"], r#"{"command":"export API_TOKEN=[redacted] && make"}"#);
        assert_eq!((&record(3)["outcome"], &record(7)["outcome"]), (&json!("ok"), &json!("denied")));
        assert_eq!((&record(5)["decision"], &record(5)["why"]), (&json!("deny"), &json!("not today")));
        assert_eq!((&record(9)["through"], &record(11)["outcome"]), (&json!("rule"), &json!("denied")));

        // A crash loses and repeats nothing, and a removal takes nothing away.
        home.crash_and_start()?;
        assert_eq!(entries(home, "")?, all);
        session.act("stop")?;
        session.wait("end")?;
        home.api().send("DELETE", &session.path(""), &[], None)?.good()?;
        let after = entries(home, &format!("?session={}", session.id))?;
        assert_eq!(after[..all.len()], all);
        assert_eq!(told(&after[all.len()..]), ["session.removed - user"]);
        Ok(())
    })
}

#[test]
fn what_changes_what_agents_may_do_is_recorded() -> Fallible {
    with_rules("", |home| {
        let session = home.session(&kept(VERSIONS[0]).with("mode", "plan"))?;
        home.api().post(&session.path("/bypass"), &json!({"for_ms": 60_000}))?;
        home.api().json("DELETE", &session.path("/bypass"), &json!({}))?.good()?;
        let no = json!({"effect": "deny", "tool": "Bash", "name": "no", "reason": "it is password=hunter2"});
        home.api().post("/v1/rules", &no)?;
        home.api().send("DELETE", "/v1/rules/user:no", &[], None)?;
        let own = format!("/v1/rules?session={}", session.id);
        home.api().post(&own, &json!({"effect": "deny", "tool": "Bash"}))?;
        home.api().send("DELETE", &format!("/v1/rules/session:r1?session={}", session.id), &[], None)?;
        home.api().json("PATCH", &session.path("/settings"), &json!({"mode": "default"}))?.good()?;
        let all = entries(home, "")?;
        let expected = [
            "session.created - user",
            "bypass.began - user",
            "bypass.ended - user",
            "rule.written - user",
            "rule.taken_out - user",
            "rule.added - user",
            "rule.removed - user",
            "settings.wanted - user",
        ];
        assert_eq!(told(&all), expected);
        assert_eq!(
            (&all[0]["record"]["mode"], &all[7]["record"]["mode"]),
            (&json!("plan"), &json!("default"))
        );
        let said =
            json!({"name": "no", "effect": "deny", "tool": "Bash", "reason": "it is password=[redacted]"});
        assert_eq!(all[3]["record"]["spec"], said);
        Ok(())
    })
}

#[test]
fn a_gate_is_listed_where_it_was_decided() -> Fallible {
    with_rules("", |home| {
        let session =
            home.session(&kept(VERSIONS[0]).prompt("ASK Bash {\"command\":\"make\"} ;; SAY done"))?;
        session.watch()?.status("awaiting_input")?;
        home.api().post(&session.path("/bypass"), &json!({"for_ms": 60_000, "kinds": ["fetch"]}))?;
        session.allow()?;
        session.wait("idle")?;
        let (_, listed, _) = lk(home, &["audit"])?;
        let at = |part: &str| listed.lines().position(|line| line.contains(part));
        ensure!(at("bypass").is_some() && at("bypass") < at("make"), "{listed}");
        Ok(())
    })
}

/// The last record about a rule.
fn last_about(home: &Home, rule: &str) -> Fallible<String> {
    let about = entries(home, "")?.into_iter().rfind(|entry| entry["record"]["rule"] == rule);
    Ok(about.map(|entry| entry["record"]["what"].as_str().unwrap_or_default().to_owned()).unwrap_or_default())
}

#[test]
fn the_audit_tells_of_rules_what_the_file_says_whenever_the_daemon_is_killed() -> Fallible {
    with_rules("", |home| {
        let file = || fs::read_to_string(home.user_rules());
        // Without a pause: it is killed in the moment in which it is seen.
        let until = |name: &str, there: bool| {
            let deadline = Instant::now() + PATIENCE;
            while Instant::now() < deadline {
                if file()?.contains(name) == there {
                    return Ok(());
                }
            }
            Err(Failure::new("the file stays as it is"))
        };
        for round in 0..8 {
            let name = format!("rule{round}");
            let (id, path) = (format!("user:{name}"), format!("/v1/rules/user:{name}"));
            let rule = json!({"effect": "ask", "tool": "Bash", "name": name});
            // Whether it hears the answer is nothing that matters here.
            std::thread::scope(|threads| {
                threads.spawn(|| home.api().post("/v1/rules", &rule).is_ok());
                until(&name, true)?;
                home.crash_and_start()
            })?;
            assert_eq!(last_about(home, &id)?, "rule.written", "round {round}");
            std::thread::scope(|threads| {
                threads.spawn(|| home.api().send("DELETE", &path, &[], None).is_ok());
                // Every other time as soon as it may have begun.
                if round % 2 == 0 {
                    until(&name, false)?;
                }
                home.crash_and_start()
            })?;
            let is_there = file()?.contains(&name);
            let told = last_about(home, &id)?;
            let allowed =
                if is_there { &["rule.written", "rule.not_taken_out"][..] } else { &["rule.taken_out"] };
            ensure!(allowed.contains(&told.as_str()), "round {round}: {told}, and there is {is_there}");
        }
        let (code, said, _) = lk(home, &["audit", "verify"])?;
        ensure!(code == 0, "{said}");
        Ok(())
    })
}

#[test]
fn an_altered_and_a_removed_record_show() -> Fallible {
    with_rules("", |home| {
        let (code, said, _) = lk(home, &["audit", "verify"])?;
        assert_eq!((code, said.as_str()), (0, "there are no records\n"));
        let (session, mut watch) =
            asking(home, VERSIONS[0], &format!("{} ;; SAY end", asked("rm '\u{202e}x'")))?;
        session.allow()?;
        watch.status("idle")?;
        let (code, said, note) = lk(home, &["audit", "verify"])?;
        ensure!(code == 0 && said.starts_with("4 records, none altered or missing up to 4\n"), "{said}");
        ensure!(note.contains("note that hash elsewhere"), "{note}");
        let hash = said.trim_end().rsplit(' ').next().unwrap_or_default().to_owned();

        let (_, exported, _) = lk(home, &["audit", "export"])?;
        let file = home.path("audit.jsonl");
        fs::write(&file, &exported)?;
        let verify = |arguments: &[&str]| lk(home, &[&["audit", "verify"], arguments].concat());
        let name = file.display().to_string();
        assert_eq!(verify(&[&name, "--includes", &hash])?.0, 0);
        // As anybody can check without us.
        let lines: Vec<Value> = exported.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        let raw = exported
            .lines()
            .next()
            .and_then(|line| line.split_once(r#""record":"#))
            .map_or("", |(_, rest)| rest);
        let record = raw.rsplit_once(r#","hash":"#).map_or("", |(record, _)| record);
        let shell =
            format!("printf '%s\\n%s' {} '{}' | sha256sum", "0".repeat(64), record.replace('\'', r"'\''"));
        let sum = Command::new("sh").args(["-c", &shell]).stdin(Stdio::null()).output()?;
        let sum = String::from_utf8_lossy(&sum.stdout).into_owned();
        ensure!(sum.starts_with(lines[0]["hash"].as_str().unwrap_or("none")), "{sum}");

        fs::write(&file, exported.replacen(r#""decision":"allow""#, r#""decision":"deny""#, 1))?;
        let (code, _, said) = verify(&[&name])?;
        ensure!(code == 1 && said.contains("record 2 is not as it was written"), "{code} {said}");
        let without: Vec<&str> =
            exported.lines().enumerate().filter(|(at, _)| *at != 1).map(|(_, line)| line).collect();
        fs::write(&file, without.join("\n"))?;
        let (code, _, said) = verify(&[&name])?;
        ensure!(code == 1 && said.contains("what follows record 1 is missing"), "{code} {said}");
        // The end that is cut off is known by its hash alone.
        let shorter: Vec<&str> = exported.lines().take(3).collect();
        fs::write(&file, shorter.join("\n"))?;
        assert_eq!(verify(&[&name])?.0, 0);
        let (code, _, said) = verify(&[&name, "--includes", &hash])?;
        ensure!(code == 1 && said.contains("no record has the hash"), "{said}");
        fs::write(&file, "{}\n")?;
        let (code, _, said) = verify(&[&name])?;
        ensure!(code == 2 && said.contains("audit.jsonl:1: this is no record"), "{said}");

        // What somebody changes in the database.
        home.stop_daemon()?;
        let database = home.data().join("lockkeeper.db");
        ensure!(database.exists(), "there is no {}", database.display());
        let sql = rusqlite::Connection::open(&database)?;
        sql.execute("UPDATE audit SET record = replace(record, '\"allow\"', '\"deny\"') WHERE no = 2", [])?;
        drop(sql);
        home.start()?;
        let (code, _, said) = lk(home, &["audit", "verify"])?;
        ensure!(code == 1 && said.contains("record 2 is not as it was written"), "{code} {said}");
        Ok(())
    })
}

#[test]
fn whatever_somebody_put_in_the_place_of_a_record_shows_and_hides_no_other() -> Fallible {
    with_rules("", |home| {
        let (session, mut watch) = asking(home, VERSIONS[0], &format!("{} ;; SAY end", asked("make")))?;
        session.allow()?;
        watch.status("idle")?;
        for stands in ["'no JSON'", "x'00ff'", "' ' || record", "7", "'{}'"] {
            home.stop_daemon()?;
            let sql = rusqlite::Connection::open(home.data().join("lockkeeper.db"))?;
            sql.execute(&format!("UPDATE audit SET record = {stands} WHERE no = 2"), [])?;
            drop(sql);
            home.start()?;
            let (code, _, said) = lk(home, &["audit", "verify"])?;
            ensure!(
                code == 1 && said.contains("record 2 is not as it was written"),
                "{stands}: {code} {said}"
            );
            let (code, listed, said) = lk(home, &["audit", "ls"])?;
            ensure!(code == 0 && listed.contains("make"), "{stands}: {code} {listed}");
            ensure!(said.contains("1 record cannot be read"), "{stands}: {said}");
            let (code, exported, _) = lk(home, &["audit", "export"])?;
            assert_eq!((code, exported.lines().count()), (0, 4), "{stands}");
            let file = home.path("audit.jsonl");
            fs::write(&file, &exported)?;
            let (code, _, said) = lk(home, &["audit", "verify", &file.display().to_string()])?;
            ensure!(
                code == 1 && said.contains("record 2 is not as it was written"),
                "{stands}: {code} {said}"
            );
            assert_eq!(lk(home, &["audit", "export", "-o", "csv"])?.0, 0, "{stands}");
            assert_eq!(entries(home, &format!("?session={}", session.id))?.len(), 3, "{stands}");
        }
        Ok(())
    })
}

#[test]
fn the_records_of_one_session_are_no_chain_and_verify_says_so() -> Fallible {
    with_rules("", |home| {
        home.api().post("/v1/rules", &json!({"effect": "deny", "tool": "Edit", "name": "no"}))?;
        let (session, mut watch) = asking(home, VERSIONS[0], &format!("{} ;; SAY end", asked("make")))?;
        session.allow()?;
        watch.status("idle")?;
        let (_, exported, _) = lk(home, &["audit", "export", "-s", &session.id])?;
        let file = home.path("part.jsonl");
        fs::write(&file, &exported)?;
        let name = file.display().to_string();
        let (code, _, said) = lk(home, &["audit", "verify", &name])?;
        ensure!(code == 1 && said.contains("the first records are missing"), "{code} {said}");
        ensure!(said.contains("records of one session cannot be verified"), "{said}");

        // A hash is the same in capitals, and a line is a record and nothing beside it.
        let (_, exported, _) = lk(home, &["audit", "export"])?;
        let last = exported.trim_end().rsplit(r#""hash":""#).next().unwrap_or_default();
        let hash = last.trim_end_matches("\"}").to_uppercase();
        assert_eq!(lk(home, &["audit", "verify", "--includes", &hash])?.0, 0);
        fs::write(&file, exported.replacen(r#"{"no":1,"#, r#"{"no":1,"checked":true,"#, 1))?;
        let (code, _, said) = lk(home, &["audit", "verify", &name])?;
        ensure!(code == 2 && said.contains("part.jsonl:1: this is no record"), "{code} {said}");
        Ok(())
    })
}

#[test]
fn the_audit_is_listed_for_people_and_exported_for_spreadsheets() -> Fallible {
    with_rules("", |home| {
        let (session, mut watch) = asking(
            home,
            VERSIONS[0],
            &format!("{} ;; {} ;; SAY end", asked("make x"), write(&home.workspace().join("f"))),
        )?;
        session.allow()?;
        watch.status("idle")?;
        let (code, shown, _) = lk(home, &["audit"])?;
        ensure!(code == 0 && shown.lines().count() == 2, "{shown}");
        for part in
            ["WHO", "allowed", "Bash", "make x", "high", "agent", "ok", &format!("{}.g1", &session.id[..6])]
        {
            ensure!(shown.contains(part), "{part:?} is not in {shown}");
        }
        let (code, csv, _) = lk(home, &["audit", "export", "-o", "csv", "-s", &session.id])?;
        ensure!(code == 0 && csv.starts_with("no,at,what,by,session,"), "{csv}");
        assert_eq!(csv.matches("\r\n").count(), 5, "{csv}");
        let (code, _, said) = lk(home, &["audit", "-s", "nobody"])?;
        ensure!(code == 3 && said.contains("no session is called nobody"), "{code} {said}");
        home.api().send("GET", "/v1/audit?befor=1", &[], None)?.is_problem(400, "query_invalid")?;
        home.stop_daemon()?;
        let (code, shown, said) = lk(home, &["audit", "export"])?;
        ensure!(code == 5 && shown.is_empty() && said.contains("no daemon runs"), "{code} {said}");
        assert_eq!(lk(home, &["audit", "verify"])?.0, 5);
        Ok(())
    })
}
