//! Which session a delivery is for.

use std::sync::Arc;

use lockkeeper_api::{ErrorCode, Problem};
use lockkeeper_core::id::{SessionId, SessionName};
use lockkeeper_store::{Found as Known, SessionRow, ViewFilter};

use super::super::answer::Failure;
use super::super::resolve;
use crate::host::Host;
use crate::webhook::{Hook, Target};

/// The session that a delivery is for.
pub(super) enum Found {
    /// One that is there.
    Session(SessionId),
    /// One that is to be made.
    New {
        /// Under this name.
        name: Option<SessionName>,
    },
}

/// Finds it, or says why there is none.
pub(super) async fn find(host: &Arc<Host>, hook: &Hook, target: &Target) -> Result<Found, Failure> {
    match target {
        Target::New => Ok(Found::New { name: None }),
        Target::Label { key, value } => labelled(host, key, value).await.map(Found::Session),
        Target::Session(text) => match named(host, text).await? {
            Some(id) => Ok(Found::Session(id)),
            None if hook.config.new.is_some() => {
                let name = text.parse()?;
                resolve::is_no_id(host, &name, None).await?;
                Ok(Found::New { name: Some(name) })
            }
            None => Err(Failure::new(ErrorCode::TargetMissing, format!("no session is called {text}"))),
        },
    }
}

/// The session with exactly this name or id: what a stranger's text is the beginning of is not meant.
async fn named(host: &Arc<Host>, text: &str) -> Result<Option<SessionId>, Failure> {
    let asked = text.to_owned();
    let row = resolve::read(host, move |store| match store.find(&asked)? {
        Known::One(id) => store.session_row(&id),
        Known::None | Known::Several(_) => Ok(None),
    });
    let is_called = |row: &SessionRow| {
        row.id.as_str() == text || row.name.as_ref().is_some_and(|name| name.as_str() == text)
    };
    Ok(row.await?.filter(is_called).map(|row| row.id))
}

async fn labelled(host: &Arc<Host>, key: &str, value: &str) -> Result<SessionId, Failure> {
    let labels = vec![(key.to_owned(), value.to_owned())];
    let living = ViewFilter { ended: Some(false), labels, ..ViewFilter::default() };
    let those = resolve::read(host, move |store| store.view(&living)).await?.sessions;
    match those.as_slice() {
        [one] => Ok(one.id.clone()),
        [] => Err(Failure::new(
            ErrorCode::TargetMissing,
            format!("no living session has the label {key}={value}"),
        )),
        several => {
            let names: Vec<&str> = several
                .iter()
                .map(|row| row.name.as_ref().map_or(row.id.as_str(), SessionName::as_str))
                .collect();
            let detail = format!(
                "{} living sessions have the label {key}={value}: {}",
                several.len(),
                names.join(", ")
            );
            Err(Failure(
                Problem::new(ErrorCode::TargetMissing, detail)
                    .with_next("give one of them a label of its own"),
            ))
        }
    }
}
