//! What people call sessions, and which ones they mean.

use std::str::FromStr;
use std::sync::Arc;

use lockkeeper_api::{ErrorCode, InnerReference, Problem, Reference};
use lockkeeper_core::id::{BadName, SessionId, SessionName};
use lockkeeper_store::limits::ID_CHARS;
use lockkeeper_store::{Found, SessionRow, StoreError};

use super::answer::Failure;
use crate::host::Host;

/// Runs a read of the store where it may block.
pub(super) async fn read<T: Send + 'static>(
    host: &Arc<Host>,
    query: impl FnOnce(&dyn lockkeeper_store::Store) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Failure> {
    let store = host.store.clone();
    tokio::task::spawn_blocking(move || query(&*store))
        .await
        .map_err(|error| Failure::new(ErrorCode::Internal, error.to_string()))?
        .map_err(Failure::from)
}

/// The session that a path means.
pub(super) async fn session(host: &Arc<Host>, text: &str) -> Result<SessionId, Failure> {
    let reference: Reference = text.parse()?;
    find(host, &reference).await
}

pub(super) async fn find(host: &Arc<Host>, reference: &Reference) -> Result<SessionId, Failure> {
    // A whole id comes before all names.
    if let Some(id) = reference.id().filter(|id| host.is_awake(id)) {
        return Ok(id);
    }
    let text = reference.as_str().to_owned();
    match read(host, move |store| store.find(&text)).await? {
        Found::One(id) => Ok(id),
        Found::None => {
            let is_short = reference.as_str().len() < ID_CHARS;
            let hint = if is_short {
                format!(" (an id can be shortened to {ID_CHARS} characters)")
            } else {
                String::new()
            };
            Err(Failure::new(ErrorCode::SessionNotFound, format!("no session is called {reference}{hint}")))
        }
        Found::Several(ids) => {
            let names: Vec<String> = ids.iter().map(ToString::to_string).collect();
            let detail = format!("{reference} is the beginning of {}", names.join(", "));
            Err(Failure(Problem::new(ErrorCode::ReferenceAmbiguous, detail)))
        }
    }
}

/// Refuses a name that means another session already, as the beginning of its id: a command that names that one would be done to the
/// one with the name.
pub(super) async fn is_no_id(
    host: &Arc<Host>,
    name: &SessionName,
    own: Option<&SessionId>,
) -> Result<(), Failure> {
    let text = name.to_string();
    let ids = match read(host, move |store| store.with_id(&text)).await? {
        Found::None => return Ok(()),
        Found::One(id) if Some(&id) == own => return Ok(()),
        Found::One(id) => vec![id],
        Found::Several(ids) => ids,
    };
    let names: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let detail = format!("{name} is the beginning of the id {}", names.join(", "));
    Err(Failure(Problem::new(ErrorCode::NameTaken, detail).with_next("choose another name")))
}

/// Something inside a session that a path means.
pub(super) async fn inner<N>(host: &Arc<Host>, text: &str) -> Result<(SessionId, N), Failure>
where
    N: FromStr<Err = BadName> + Copy,
{
    let reference: InnerReference<N> = text.parse()?;
    Ok((find(host, &reference.session).await?, reference.no))
}

/// Something inside a session that is known: `k1`, or `SESSION.k1` with its id.
pub(super) fn within<N: FromStr<Err = BadName>>(text: &str, session: &SessionId) -> Result<N, Failure> {
    let bare = text.strip_prefix(session.as_str()).and_then(|rest| rest.strip_prefix('.')).unwrap_or(text);
    Ok(bare.parse()?)
}

/// The row of a session.
pub(super) async fn row(host: &Arc<Host>, id: &SessionId) -> Result<SessionRow, Failure> {
    let id = id.clone();
    let gone = Failure::new(ErrorCode::SessionNotFound, format!("session {id} is gone"));
    read(host, move |store| store.session_row(&id)).await?.ok_or(gone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::making::tests::{host, made};

    #[tokio::test]
    async fn o46_an_ambiguous_prefix_is_told_and_a_unique_one_is_enough()
    -> Result<(), Box<dyn std::error::Error>> {
        let (_home, host) = host()?;
        // The first four characters are the lowest twenty bits.
        let ids = [1, 1 + (1 << 20)].map(SessionId::from_random);
        for id in [1, 1 + (1 << 20)] {
            made(&host, id).await?;
        }
        let found = async |text: &str| session(&host, text).await.map_err(|Failure(problem)| problem);
        let told = found("1000").await.err().ok_or("it is one of two")?;
        assert_eq!(told.code, "reference_ambiguous");
        assert_eq!(told.detail, format!("1000 is the beginning of {}, {}", ids[0], ids[1]));
        assert_eq!(found("10000").await.ok(), Some(ids[0].clone()));
        let slip = found("100").await.err().ok_or("a slip is no session")?;
        assert_eq!(slip.detail, "no session is called 100 (an id can be shortened to 4 characters)");
        host.ending.cancel();
        Ok(())
    }
}
