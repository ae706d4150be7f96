//! `lk daemon pause` and `unpause`, and how the others tell of a pause.

use lockkeeper_api::client::ClientError;
use lockkeeper_api::{DaemonStatus, Pause, PauseRequest};

use crate::clock::{self, Times};
use crate::context::Context;
use crate::escape;
use crate::exit;
use crate::failure::Outcome;
use crate::format::Shown;

/// Pauses the host.
pub(super) async fn pause(reason: Option<String>, shown: Shown, context: &Context) -> Outcome {
    let status = context.client.pause_daemon(&PauseRequest { reason }).await?;
    shown.one(context, &status, || {
        // Somebody may have ended it at once.
        let paused = status.paused.as_ref().map(|pause| sentence(pause, shown.times()));
        paused.unwrap_or_else(|| "the host goes on".to_owned()) + "\n"
    })?;
    Ok(exit::OK)
}

/// Lets the host go on.
pub(super) async fn unpause(shown: Shown, context: &Context) -> Outcome {
    let receipt = context.client.unpause_daemon().await?;
    shown.one(context, &receipt, || goes_on(receipt.ended.as_ref(), shown.times()))?;
    Ok(exit::OK)
}

/// What became of a pause, with a line end.
fn goes_on(ended: Option<&Pause>, times: Times) -> String {
    match ended {
        Some(pause) => format!("the host goes on; it was paused {}\n", who(pause, times)),
        None => "the host was not paused\n".to_owned(),
    }
}

/// Tells people that the host is paused, if it is. Where no daemon runs nothing is.
pub(crate) async fn note(context: &Context) -> Outcome<()> {
    match context.client.status().await {
        Ok(DaemonStatus { paused: Some(pause), .. }) => {
            context.out.note(sentence(&pause, Times::Relative(clock::now())));
            Ok(())
        }
        Ok(_) | Err(ClientError::NoDaemon { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn sentence(pause: &Pause, times: Times) -> String {
    format!(
        "the host is paused {}: what runs goes on, and nothing else begins; `lk daemon unpause` ends that",
        who(pause, times)
    )
}

/// Who has paused the host, since when and why: `by ada for 3m (upgrade)`.
pub(crate) fn who(pause: &Pause, times: Times) -> String {
    let reason =
        pause.reason.as_ref().map(|reason| format!(" ({})", escape::line(reason))).unwrap_or_default();
    format!("by {} {}{reason}", escape::line(&pause.by), times.lasting(pause.since))
}

#[cfg(test)]
mod tests {
    use lockkeeper_api::Time;

    use super::*;

    #[test]
    fn a_pause_is_told_with_who_since_when_and_why() {
        let at = Time::from_wall_ms;
        let pause = |reason: Option<&str>| Pause {
            by: "ada".to_owned(),
            since: at(0),
            reason: reason.map(str::to_owned),
        };
        let times = Times::Relative(at(180_000));
        assert_eq!(who(&pause(None), times), "by ada for 3m");
        assert_eq!(goes_on(Some(&pause(None)), times), "the host goes on; it was paused by ada for 3m\n");
        assert_eq!(goes_on(None, times), "the host was not paused\n");
        assert_eq!(who(&pause(Some("a\u{1b}[2J")), times), "by ada for 3m (a\\e[2J)");
        assert_eq!(
            sentence(&pause(Some("upgrade")), times),
            "the host is paused by ada for 3m (upgrade): what runs goes on, and nothing else begins; `lk daemon unpause` ends that"
        );
    }
}
