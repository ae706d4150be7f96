//! Rules over the API: listing, adding, removing, trying out.

use std::fs;

use serde_json::{Value, json};

use super::with_rules;
use crate::support::{Fallible, Home, Spec, ensure};

const OWN: &str = "# mine\n[[rule]]\nname = \"git\"\neffect = \"allow\"\ncommand = \"git *\"\n\n\
                   # what nobody may read\n[[rule]]\neffect = \"deny\"\npath = \"~/.ssh/**\"\nreason = \"keys\"\n";

fn ids(home: &Home) -> Fallible<Vec<String>> {
    let list = home.api().get("/v1/rules")?;
    let rules = list["rules"].as_array().cloned().unwrap_or_default();
    Ok(rules.iter().map(|rule| rule["id"].as_str().unwrap_or_default().to_owned()).collect())
}

#[test]
fn rules_are_listed_with_their_places_added_and_removed_and_the_rest_of_the_file_stays() -> Fallible {
    with_rules(OWN, |home| {
        let list = home.api().get("/v1/rules")?;
        assert_eq!(ids(home)?, ["user:git", "user:8"]);
        let second = &list["rules"][1];
        assert_eq!((&second["line"], &second["layer"]), (&json!(8), &json!("user")));
        assert_eq!(second["file"], home.user_rules().display().to_string());
        assert_eq!((&second["rule"]["effect"], &second["rule"]["reason"]), (&json!("deny"), &json!("keys")));
        let layers: Vec<&Value> =
            list["files"].as_array().into_iter().flatten().map(|file| &file["layer"]).collect();
        assert_eq!(layers, ["admin", "user"]);

        let rule =
            json!({"name": "npm", "effect": "ask", "command": "npm publish *", "reason": "look first"});
        let answer = home.api().json("POST", "/v1/rules", &rule)?;
        assert_eq!(answer.status, 201);
        let added = answer.good()?;
        assert_eq!((&added["id"], &added["file"]), (&json!("user:npm"), &json!(home.user_rules())));
        home.api().json("POST", "/v1/rules", &rule)?.is_problem(409, "rule_name_taken")?;
        let unnamed = home.api().post("/v1/rules", &json!({"effect": "ask", "tool": "WebFetch"}))?;
        let unnamed = unnamed["id"].as_str().unwrap_or_default().to_owned();
        assert_eq!(ids(home)?, ["user:git", "user:8", "user:npm", &unnamed]);
        ensure!(fs::read_to_string(home.user_rules())?.starts_with(OWN), "what was there stays");

        let remove = |id: &str| home.api().send("DELETE", &format!("/v1/rules/{id}"), &[], None);
        for id in ["user:npm", &unnamed] {
            assert_eq!(remove(id)?.status, 204);
            remove(id)?.is_problem(404, "rule_not_found")?;
        }
        assert_eq!(fs::read_to_string(home.user_rules())?.trim_end(), OWN.trim_end());
        assert_eq!(remove("user:git")?.status, 204);
        ensure!(fs::read_to_string(home.user_rules())?.contains("# what nobody may read"), "comments stay");
        remove("nothing")?.is_problem(404, "rule_not_found")?;
        Ok(())
    })
}

#[test]
fn o46_a_rule_that_is_none_is_refused_and_the_file_is_as_it_was() -> Fallible {
    with_rules(OWN, |home| {
        for (rule, code) in [
            (json!({"effect": "forbid", "tool": "Bash"}), "body_invalid"),
            (json!({"effect": "deny", "tol": "Bash"}), "body_invalid"),
            (json!({"tool": "Bash"}), "body_invalid"),
            (json!({"effect": "deny", "kind": "delete"}), "body_invalid"),
            (json!({"effect": "allow"}), "rule_invalid"),
            (json!({"effect": "deny", "command": "'rm"}), "rule_invalid"),
            (json!({"effect": "deny", "command": ""}), "rule_invalid"),
            (json!({"effect": "deny", "path": "../x"}), "rule_invalid"),
            (json!({"effect": "deny", "path": "[a"}), "rule_invalid"),
            (json!({"effect": "deny", "host": "https://example.com/"}), "rule_invalid"),
            (json!({"effect": "deny", "host": "x", "path": "y"}), "rule_invalid"),
            (json!({"effect": "deny", "label": "team"}), "rule_invalid"),
            (json!({"effect": "deny", "tool": "Bash", "name": "12"}), "rule_invalid"),
            (json!({"effect": "deny", "tool": "Bash", "name": "a b"}), "rule_invalid"),
            (json!({"effect": "deny", "tool": "Bash", "reason": " "}), "rule_invalid"),
            (json!({"effect": "deny", "tool": "Bash", "reason": "x".repeat(100_000)}), "rule_invalid"),
        ] {
            let answer = home.api().json("POST", "/v1/rules", &rule)?;
            answer.is_problem(422, code).map_err(|failure| failure.within(&rule.to_string()))?;
        }
        let body = b"{\"effect\":";
        let head = [("Content-Type", "application/json")];
        home.api().send("POST", "/v1/rules", &head, Some(body))?.is_problem(400, "json_invalid")?;
        assert_eq!(fs::read_to_string(home.user_rules())?, OWN);
        assert_eq!(ids(home)?, ["user:git", "user:8"]);
        Ok(())
    })
}

#[test]
fn the_rules_of_a_sessions_workspace_are_told_with_it() -> Fallible {
    with_rules(OWN, |home| {
        let session = home.session(&Spec::kept().with("name", "here"))?;
        fs::create_dir(home.workspace().join(".lockkeeper"))?;
        let project = home.workspace().join(".lockkeeper/rules.toml");
        fs::write(&project, "[[rule]]\nname = \"p\"\neffect = \"ask\"\ntool = \"Bash\"\n")?;
        let list = home.api().get("/v1/rules?session=here")?;
        assert_eq!(
            (&list["rules"][2]["id"], &list["rules"][2]["layer"]),
            (&json!("project:p"), &json!("project"))
        );
        assert_eq!(list["files"][2]["path"], project.display().to_string());
        fs::write(&project, "[[rule]]\neffect = \"allow\"\ntool = \"Bash\"\n")?;
        let list = home.api().get(&format!("/v1/rules?session={}", session.id))?;
        let error = list["files"][2]["error"].as_str().unwrap_or_default();
        ensure!(error.contains("rules.toml:1: "), "{list}");
        home.api()
            .send("GET", "/v1/rules?session=nobody", &[], None)?
            .is_problem(404, "session_not_found")?;
        home.api().send("GET", "/v1/rules?sesion=here", &[], None)?.is_problem(400, "query_invalid")?;
        Ok(())
    })
}

#[test]
fn a_step_is_tried_out_without_taking_it() -> Fallible {
    with_rules(OWN, |home| {
        let dir = home.workspace().display().to_string();
        let says = |body: Value| home.api().post("/v1/rules/test", &body);
        for (step, effect, rule) in [
            (json!({"tool": "Bash", "text": "git status"}), "allow", "user:git"),
            (json!({"tool": "Bash", "input": {"command": "git log | git x"}}), "allow", "user:git"),
            (json!({"tool": "Bash", "text": "git status && rm x"}), "", ""),
            (json!({"tool": "Read", "text": "/etc/hosts"}), "", ""),
            (json!({"tool": "mcp__x__y", "input": {}}), "", ""),
        ] {
            let mut body = step.clone();
            body["dir"] = dir.clone().into();
            let ruling = says(body)?;
            assert_eq!(ruling["effect"].as_str().unwrap_or_default(), effect, "{step}: {ruling}");
            assert_eq!(ruling["rule"].as_str().unwrap_or_default(), rule, "{step}: {ruling}");
        }
        let ruling = says(json!({"tool": "Bash", "text": "git status && rm x", "dir": dir}))?;
        let parts: Vec<&Value> =
            ruling["parts"].as_array().into_iter().flatten().map(|part| &part["what"]).collect();
        assert_eq!(parts, ["git status", "rm x"]);
        let session = home.session(&Spec::kept().with("name", "here"))?;
        let ruling = says(json!({"tool": "Bash", "text": "git status", "session": "here"}))?;
        assert_eq!(ruling["rule"], "user:git");
        assert_eq!(session.gates("all")?, Vec::<Value>::new(), "nothing is recorded");
        Ok(())
    })
}

#[test]
fn o46_a_step_that_cannot_be_tried_out_is_refused() -> Fallible {
    with_rules(OWN, |home| {
        home.session(&Spec::kept().with("name", "here"))?;
        for (body, status, code) in [
            (json!({"text": "ls"}), 422, "body_invalid"),
            (json!({"tool": "Bash", "text": "ls", "tooool": 1}), 422, "body_invalid"),
            (json!({"tool": "Bash", "text": "ls", "input": {"command": "ls"}}), 422, "body_invalid"),
            (json!({"tool": "Bash"}), 422, "body_invalid"),
            (json!({"tool": "AskUserQuestion", "text": "ls"}), 422, "body_invalid"),
            (json!({"tool": "Bash", "text": "ls", "dir": "here"}), 422, "body_invalid"),
            (json!({"tool": "Bash", "text": "ls", "session": "here", "dir": "/"}), 422, "body_invalid"),
            (
                json!({"tool": "Bash", "text": "ls", "session": "here", "agent": "claude"}),
                422,
                "body_invalid",
            ),
            (json!({"tool": "Bash", "text": "ls", "session": "nobody"}), 404, "session_not_found"),
            (json!({"tool": "Bash", "text": "ls", "agent": "nobody"}), 422, "agent_unknown"),
        ] {
            let answer = home.api().json("POST", "/v1/rules/test", &body)?;
            answer.is_problem(status, code).map_err(|failure| failure.within(&body.to_string()))?;
        }
        Ok(())
    })
}
