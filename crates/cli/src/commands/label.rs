//! `lk label`: sets and removes labels.

use std::collections::BTreeMap;

use lockkeeper_api::{Reference, Session, SessionPatch};

use crate::context::Context;
use crate::escape;
use crate::exit;
use crate::failure::{Failure, Outcome};
use crate::format::Shown;
use crate::refs;

/// Set and remove labels
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The session
    #[arg(value_name = "REF")]
    session: Reference,
    /// KEY=VALUE sets a label, KEY- removes one
    #[arg(required = true, value_name = "LABEL")]
    labels: Vec<String>,
    #[command(flatten)]
    shown: Shown,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let labels = changes(&args.labels)?;
    let session =
        context.client.patch(&args.session, &SessionPatch { labels, ..SessionPatch::default() }).await?;
    args.shown.one(context, &session, || sentence(&session))?;
    Ok(exit::OK)
}

fn sentence(session: &Session) -> String {
    let title = refs::title(session);
    if session.labels.is_empty() {
        return format!("{title} has no labels\n");
    }
    let labels: Vec<String> = session.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    format!("{title} has {}\n", escape::line(&labels.join(" ")))
}

fn changes(labels: &[String]) -> Outcome<BTreeMap<String, Option<String>>> {
    let mut changes = BTreeMap::new();
    for label in labels {
        let (key, value) = match (label.split_once('='), label.strip_suffix('-')) {
            (Some((key, value)), _) => (key, Some(value.to_owned())),
            (None, Some(key)) => (key, None),
            (None, None) => return Err(Failure::usage(format!("{label} is neither KEY=VALUE nor KEY-"))),
        };
        if key.is_empty() {
            return Err(Failure::usage(format!("{label} has no key")));
        }
        if changes.insert(key.to_owned(), value).is_some() {
            return Err(Failure::usage(format!("the label {key} is given twice")));
        }
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_set_or_removed_once() {
        let read = |labels: &[&str]| {
            changes(&labels.iter().map(|label| (*label).to_owned()).collect::<Vec<_>>()).ok()
        };
        let expected = BTreeMap::from([("a".to_owned(), Some("1-".to_owned())), ("b".to_owned(), None)]);
        assert_eq!(read(&["a=1-", "b-"]), Some(expected));
        for bad in [["a", "b=1"], ["a=1", "a-"], ["=1", "b=1"], ["-", "b=1"]] {
            assert_eq!(read(&bad), None, "{bad:?}");
        }
    }
}
