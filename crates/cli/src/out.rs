//! The one door for output: data on standard output, everything else on standard error.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;
use std::{env, fmt};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::style::Style;

/// Where output goes, and what it may look like there.
#[derive(Debug, Clone)]
pub(crate) struct Out {
    /// Standard output is a terminal.
    pub(crate) terminal: bool,
    /// What data may look like.
    pub(crate) style: Style,
    /// What everything else may look like.
    pub(crate) note_style: Style,
    /// Columns of the terminal when this began; `None` if standard output is none.
    pub(crate) width: Option<usize>,
}

#[expect(clippy::unused_self, reason = "whoever writes has been given the door")]
impl Out {
    /// Looks at the streams and the environment.
    pub(crate) fn detect() -> Self {
        let unicode = locale_is_unicode(|name| env::var(name).ok());
        let may_colour = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && env::var_os("TERM").is_none_or(|term| term != "dumb");
        let terminal = io::stdout().is_terminal();
        let width =
            terminal.then(|| terminal_size::terminal_size().map_or(80, |(width, _)| usize::from(width.0)));
        Self {
            terminal,
            style: Style { colour: terminal && may_colour, unicode },
            note_style: Style { colour: io::stderr().is_terminal() && may_colour, unicode },
            width,
        }
    }

    /// Columns of the terminal at this moment, for whoever writes for long: people change its size.
    pub(crate) fn width_now(&self) -> Option<usize> {
        self.width
            .map(|known| terminal_size::terminal_size().map_or(known, |(width, _)| usize::from(width.0)))
    }

    /// Writes data, with a line end.
    pub(crate) fn line(&self, text: impl fmt::Display) -> io::Result<()> {
        writeln!(io::stdout().lock(), "{text}")
    }

    /// Writes data as it is, and makes it visible.
    pub(crate) fn raw(&self, bytes: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()
    }

    /// Whether whoever read standard output has left. Writing would tell too, but only when there is something to write.
    pub(crate) fn reader_is_gone(&self) -> bool {
        let stdout = io::stdout();
        let mut look = [PollFd::new(&stdout, PollFlags::empty())];
        // A look that fails tells nothing; the next write will.
        poll(&mut look, Some(&Timespec::default())).is_ok()
            && look[0].revents().intersects(PollFlags::ERR | PollFlags::HUP)
    }

    /// Waits until whoever read standard output has left.
    pub(crate) async fn reader_gone(&self) {
        const LOOK_AGAIN: Duration = Duration::from_millis(500);
        while !self.reader_is_gone() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Asks people something on standard error, without a line end.
    pub(crate) fn ask(&self, text: impl fmt::Display) {
        let mut err = io::stderr().lock();
        // There is nowhere to report this.
        let _ = write!(err, "{text}").and_then(|()| err.flush());
    }

    /// Tells people something on standard error. That nobody listens there is no failure.
    pub(crate) fn note(&self, text: impl fmt::Display) {
        // There is nowhere to report this.
        let _ = writeln!(io::stderr().lock(), "{text}");
    }
}

/// Whether the locale says that the terminal shows Unicode; without any the answer is no.
fn locale_is_unicode(get: impl Fn(&str) -> Option<String>) -> bool {
    ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .find_map(|name| get(name).filter(|value| !value.is_empty()))
        .is_some_and(|value| {
            let value = value.to_ascii_lowercase();
            value.contains("utf-8") || value.contains("utf8")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_variable_of_the_locale_that_is_set_decides() {
        let with = |pairs: &'static [(&str, &str)]| {
            locale_is_unicode(|name| {
                pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            })
        };
        assert!(with(&[("LANG", "en_US.UTF-8")]));
        assert!(!with(&[("LC_ALL", "C"), ("LANG", "en_US.UTF-8")]));
        assert!(with(&[("LC_ALL", ""), ("LC_CTYPE", "C.utf8")]));
        assert!(!with(&[]));
    }
}
