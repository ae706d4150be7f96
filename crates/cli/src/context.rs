//! What every command needs.

use std::env;

use lockkeeper_api::BadName;
use lockkeeper_api::client::Client;
use lockkeeper_api::id::CallerName;

use crate::entry::{self, Places};
use crate::failure::{Failure, Outcome};
use crate::out::Out;

/// Where to talk to, and where output goes.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    /// The one door for output.
    pub(crate) out: Out,
    /// Where everything lives.
    pub(crate) places: Places,
    /// The daemon.
    pub(crate) client: Client,
}

/// The version of this program.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What the caller calls itself, for this command and those that it starts.
pub(crate) const CALLER_VARIABLE: &str = "LK_CALLER";

impl Context {
    /// Looks at the environment, also for what the caller calls itself unless the command line has said so. Touches
    /// nothing.
    pub(crate) fn new(out: Out, caller: Option<CallerName>) -> Outcome<Self> {
        let places = entry::places()?;
        let caller = caller.map_or_else(caller_of_environment, |caller| Ok(Some(caller)))?;
        let client = Client::with_caller(places.socket.clone(), caller);
        Ok(Self { out, places, client })
    }

    /// Says so if the daemon that answered is of another version.
    pub(crate) fn note_versions(&self) {
        if let Some(daemon) = self.client.daemon_version()
            && daemon != VERSION
        {
            let style = self.out.note_style;
            self.out.note(style.dim(&format!(
                "the daemon is {daemon} and lk is {VERSION}: `lk daemon restart` takes {VERSION}, and agents survive it"
            )));
        }
    }
}

fn caller_of_environment() -> Outcome<Option<CallerName>> {
    let value = env::var_os(CALLER_VARIABLE).filter(|value| !value.is_empty());
    let name = value.map(|value| value.to_string_lossy().parse());
    name.transpose().map_err(|error: BadName| Failure::usage(format!("{CALLER_VARIABLE}: {error}")))
}
