//! Another model.

use serde_json::{Value, json};

use super::for_both_versions;
use super::lab::{Lab, outcomes};
use crate::support::{Fallible, Session, ensure};

for_both_versions!(
    a_listed_model_is_used_from_the_next_turn_on,
    a_model_that_does_not_exist_is_refused_by_the_version_that_checks,
);

fn set(lab: &Lab<'_>, session: &Session<'_>, model: &str) -> Fallible<Value> {
    lab.home.api().json("PATCH", &session.path("/settings"), &json!({"model": model}))?.good()
}

/// The model that was asked with this script.
fn asked(lab: &Lab<'_>, script: &str) -> String {
    lab.requests(script).pop().map(|request| request.model).unwrap_or_default()
}

fn a_listed_model_is_used_from_the_next_turn_on(lab: &Lab<'_>) -> Fallible {
    let session = lab.after(lab.kept(), "SAY one")?;
    let mut watch = session.watch()?;
    set(lab, &session, "sonnet")?;
    assert_eq!(watch.event("settings.resolved")?["result"], "applied");
    assert_eq!(session.ask("SAY two")?["outcome"], "completed");
    let model = asked(lab, "SAY two");
    ensure!(model.contains("sonnet") && !asked(lab, "SAY one").contains("sonnet"), "{model}");
    assert_eq!(session.row()?["model"], model, "it is told as the agent tells it");
    // The next process is started with it.
    session.act("stop")?;
    session.wait("end")?;
    assert_eq!(session.ask("SAY three")?["outcome"], "completed");
    assert_eq!(asked(lab, "SAY three"), model);
    assert_eq!(session.list("attempts")?.len(), 2);
    Ok(())
}

fn a_model_that_does_not_exist_is_refused_by_the_version_that_checks(lab: &Lab<'_>) -> Fallible {
    let session = lab.after(lab.kept(), "SAY one")?;
    let mut watch = session.watch()?;
    let before = session.row()?["model"].clone();
    set(lab, &session, "lab-404")?;
    let resolved = watch.event("settings.resolved")?;
    if lab.is_newer() {
        assert_eq!(resolved["result"]["refused"]["code"], "not_found", "{resolved}");
        assert!(resolved["result"]["refused"]["message"].is_string(), "{resolved}");
        assert_eq!(session.row()?["model"], before);
        assert_eq!(session.ask("SAY two")?["outcome"], "completed");
        assert_eq!(asked(lab, "SAY two"), asked(lab, "SAY one"));
        // One that exists and is on no list is checked, and taken.
        set(lab, &session, "some-model-1")?;
    } else {
        assert_eq!(resolved["result"], "applied", "any text is taken");
        let ended = session.ask("SAY two")?;
        assert_eq!(ended["outcome"]["failed"]["kind"], "api", "{ended}");
        set(lab, &session, "some-model-1")?;
    }
    assert_eq!(watch.event("settings.resolved")?["result"], "applied");
    assert_eq!(session.ask("SAY three")?["outcome"], "completed");
    assert_eq!(asked(lab, "SAY three"), "some-model-1");
    assert_eq!(outcomes(&session)?.len(), 3);
    assert_eq!(session.list("attempts")?.len(), 1);
    Ok(())
}
