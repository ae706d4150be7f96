//! What every command needs.

use lockkeeper_api::client::Client;

use crate::entry::{self, Places};
use crate::failure::Outcome;
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

impl Context {
    /// Looks at the environment. Touches nothing.
    pub(crate) fn new(out: Out) -> Outcome<Self> {
        let places = entry::places()?;
        let client = Client::new(places.socket.clone());
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
