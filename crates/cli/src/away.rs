//! Waits for a daemon that went away: it may be restarted, or crash and be started again, and the agents go on.
//!
//! Does not start one, and does not wait for one that was never there: whoever uses this has talked to it before.

use std::sync::Arc;
use std::time::Duration;

use lockkeeper_api::client::{Answer, ClientError};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::context::Context;
use crate::escape;
use crate::exit;
use crate::failure::{Failure, Outcome};
use crate::out::Out;

/// How long a daemon that went away may take to come back: a restart takes a moment, but a machine may be busy.
const BACK_WITHIN: Duration = Duration::from_secs(30);
/// Between two looks for it.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// A request that was not refused for so long is taken to wait for what it asks for, with a daemon that is back.
const TAKEN_WITHIN: Duration = Duration::from_secs(1);

/// Tries until the daemon is back. Nothing if it is not within half a minute.
pub(crate) async fn until_back<T>(mut attempt: impl AsyncFnMut() -> Answer<T>) -> Option<Answer<T>> {
    let back = async {
        loop {
            sleep(LOOK_AGAIN).await;
            match attempt().await {
                Err(error) if error.is_gone() => {}
                answer => return answer,
            }
        }
    };
    timeout(BACK_WITHIN, back).await.ok()
}

/// That the daemon did not come back.
pub(crate) fn lost() -> Failure {
    Failure::new(exit::NO_DAEMON, "the daemon did not come back").next("`lk daemon start`")
}

/// What several requests of one command know of the daemon, so that one of them tells that it went away and is back.
#[derive(Debug, Clone)]
pub(crate) struct Absence {
    out: Out,
    seen: Arc<watch::Sender<Seen>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// It was there all the time.
    There,
    /// It went away, and is waited for.
    Away,
    /// It did not come back while it was waited for.
    Lost,
    /// It went away, and is back.
    Back,
}

impl Absence {
    /// For a daemon that has answered.
    pub(crate) fn new(context: &Context) -> Self {
        Self { out: context.out.clone(), seen: Arc::new(watch::Sender::new(Seen::There)) }
    }

    /// Makes a request, and makes it again while the daemon is away or takes no work. It must do no harm twice.
    ///
    /// Fails if the daemon does not come back; then it is not waited for again.
    pub(crate) async fn bridge<T>(&self, mut request: impl AsyncFnMut() -> Answer<T>) -> Outcome<Answer<T>> {
        loop {
            match request().await {
                Err(error) if error.is_gone() => self.went(&error)?,
                answer => {
                    self.came();
                    return Ok(answer);
                }
            }
            let taken = until_back(async || match timeout(TAKEN_WITHIN, request()).await {
                Ok(answer) => answer.map(Some),
                Err(_) => Ok(None),
            });
            let Some(answer) = taken.await else {
                self.seen.send_replace(Seen::Lost);
                return Err(lost());
            };
            self.came();
            match answer {
                Ok(Some(answer)) => return Ok(Ok(answer)),
                Ok(None) => {}
                Err(error) => return Ok(Err(error)),
            }
        }
    }

    /// Ends when this span has gone by and the daemon went away meanwhile. One that stays tells of a timeout itself.
    pub(crate) async fn outlasts(&self, span: Duration) {
        let mut seen = self.seen.subscribe();
        sleep(span).await;
        if seen.wait_for(|seen| *seen != Seen::There).await.is_err() {
            // Nobody asks the daemon any more, and what it would have told is not missed.
            std::future::pending::<()>().await;
        }
    }

    fn went(&self, error: &ClientError) -> Outcome<()> {
        let mut was = Seen::Away;
        self.seen.send_if_modified(|seen| {
            was = *seen;
            match was {
                Seen::There | Seen::Back => {
                    self.out.note(escape::line(&format!("{error}; waiting for the daemon")));
                    *seen = Seen::Away;
                    true
                }
                Seen::Away | Seen::Lost => false,
            }
        });
        if was == Seen::Lost { Err(lost()) } else { Ok(()) }
    }

    fn came(&self) {
        self.seen.send_if_modified(|seen| match seen {
            Seen::There | Seen::Back => false,
            Seen::Away | Seen::Lost => {
                self.out.note("the daemon is back");
                *seen = Seen::Back;
                true
            }
        });
    }
}
