//! What a session that an agent's program makes has from that agent's: what rules go by, or the program would choose which
//! rules hold. It does not look at the agent and the workspace, which it may choose.

use std::sync::Arc;

use lockkeeper_api::NewSession;
use lockkeeper_core::session::Profile;

use super::Peer;
use super::answer::Failure;
use crate::host::Host;

/// What is to be made, if the caller may make it so.
pub(super) async fn by(host: &Arc<Host>, peer: &Peer, mut new: NewSession) -> Result<NewSession, Failure> {
    let Some(own) = peer.session() else {
        // Were an agent's program not known it would do so by hiding.
        peer.may_set("a session that a program of an agent makes takes over what rules go by")?;
        return Ok(new);
    };
    let own = host.look(own).await?;
    if let Some(is) = difference(&own.profile, &new) {
        peer.may_set(&format!("what it makes takes over what rules go by from that session, of which {is}"))?;
    }
    let Profile { labels, environment, submitter, .. } = Profile::clone(&own.profile);
    (new.labels, new.environment, new.submitter) = (labels, environment, submitter);
    Ok(new)
}

/// What is otherwise in the agent's session than in the one that is asked for. What that leaves out is as it is there.
fn difference(own: &Profile, new: &NewSession) -> Option<String> {
    let labels =
        new.labels.iter().map(|(key, value)| (format!("label {key}"), own.labels.get(key), Some(value)));
    let named =
        [("environment", &own.environment, &new.environment), ("submitter", &own.submitter, &new.submitter)];
    let named = named.into_iter().map(|(what, has, wanted)| (what.to_owned(), has.as_ref(), wanted.as_ref()));
    let (what, has, _) = labels.chain(named).find(|(_, has, wanted)| wanted.is_some() && has != wanted)?;
    Some(match has {
        Some(has) => format!("the {what} is {has:?}"),
        None => format!("there is no {what}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    #[test]
    fn what_is_left_out_or_the_same_differs_in_nothing() -> Outcome {
        let own: Profile = serde_json::from_value(serde_json::json!({
            "name": null, "agent": "demo", "dir": "/", "model": null, "mode": null, "lifetime": "kept",
            "labels": {"team": "web", "trusted": "no"}, "environment": "prod", "submitter": null, "turn_ms": null,
        }))?;
        for (asked, differs) in [
            (r#""keep":true"#, None),
            (r#""labels":{"team":"web"}"#, None),
            (r#""labels":{"team":"web","trusted":"no"},"environment":"prod""#, None),
            (r#""labels":{"team":"web","trusted":"yes"}"#, Some(r#"the label trusted is "no""#)),
            (r#""labels":{"new":"x"}"#, Some("there is no label new")),
            (r#""environment":"dev""#, Some(r#"the environment is "prod""#)),
            (r#""submitter":"ada""#, Some("there is no submitter")),
        ] {
            let new: NewSession = serde_json::from_str(&format!(r#"{{"agent":"demo","dir":"/",{asked}}}"#))?;
            assert_eq!(difference(&own, &new).as_deref(), differs, "{asked}");
        }
        Ok(())
    }
}
