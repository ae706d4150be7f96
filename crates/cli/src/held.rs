//! What a file holds that a gate would write, for whoever decides. Looks at ordinary files alone: opening anything else
//! may do something, or wait for ever.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use lockkeeper_api::Gate;
use rustix::fs::OFlags;

use crate::view::{Held, written_file};

/// The longest file that is compared, in bytes: beyond it nobody reads a change.
const FILE_BYTES: u64 = 16 * 1024 * 1024;

/// What the file holds that this gate would write; unknown if it would write none, or if it is closed: by then the file
/// may hold what was decided about.
pub(crate) fn by_file_of(gate: &Gate) -> Held {
    match written_file(gate) {
        Some(path) if gate.is_open() => by_file(&path),
        Some(_) | None => Held::Unknown,
    }
}

fn by_file(path: &Path) -> Held {
    match read(path) {
        Ok(held) => held,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Held::Nothing,
        Err(error) => Held::Hidden(error.to_string()),
    }
}

fn read(path: &Path) -> io::Result<Held> {
    let hidden = |why: &str| Ok(Held::Hidden(why.to_owned()));
    if !fs::metadata(path)?.is_file() {
        return hidden("it is no ordinary file");
    }
    // It may be another one by now; this does not wait for whoever writes to a pipe.
    let flags = i32::try_from((OFlags::NONBLOCK | OFlags::NOCTTY).bits()).map_err(io::Error::other)?;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return hidden("it is no ordinary file");
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES {
        return hidden("it is too large");
    }
    Ok(String::from_utf8(bytes).map_or_else(|_| Held::Hidden("it is no text".to_owned()), Held::Text))
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn only_an_ordinary_file_with_a_text_is_read() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let at = |name: &str| dir.path().join(name);
        fs::write(at("text"), "a\r\nb")?;
        fs::write(at("bytes"), [0xff, 0xfe])?;
        fs::File::create(at("long"))?.set_len(FILE_BYTES + 1)?;
        std::os::unix::fs::symlink(at("text"), at("link"))?;
        mknodat(CWD, at("pipe"), FileType::Fifo, Mode::from_bits_truncate(0o600), 0)?;
        let hidden = |why: &str| Held::Hidden(why.to_owned());
        for (name, expected) in [
            ("text", Held::Text("a\r\nb".to_owned())),
            ("link", Held::Text("a\r\nb".to_owned())),
            ("none", Held::Nothing),
            ("none/none", Held::Nothing),
            ("bytes", hidden("it is no text")),
            ("long", hidden("it is too large")),
            ("pipe", hidden("it is no ordinary file")),
            (".", hidden("it is no ordinary file")),
        ] {
            assert_eq!(by_file(&at(name)), expected, "{name}");
        }
        assert!(matches!(by_file(&at("text/below")), Held::Hidden(_)));
        Ok(())
    }
}
