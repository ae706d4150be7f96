//! The raw bytes of a launch.

use std::fs::File;
use std::io;
use std::path::Path as FilePath;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use lockkeeper_api::{ErrorCode, JournalQuery, JournalStream};
use lockkeeper_core::id::AttemptNo;
use lockkeeper_holder::journal::{FILE_NAME, HeaderError, Reader, Record, Step, Stream};

use super::answer::{Failure, Path, Query};
use super::pieces::{self, Pieces};
use super::resolve;
use crate::host::Host;
use crate::limits;
use crate::session::attach::attempt_dir;

pub(super) async fn journal(
    State(host): State<Arc<Host>>,
    Path(session): Path<String>,
    Query(query): Query<JournalQuery>,
) -> Result<Response, Failure> {
    let id = resolve::session(&host, &session).await?;
    let row = resolve::row(&host, &id).await?;
    let attempt = query.attempt.map_or(AttemptNo(row.attempts), AttemptNo);
    if attempt.0 == 0 || attempt.0 > row.attempts {
        return Err(Failure::new(ErrorCode::AttemptNotFound, format!("session {id} has no such launch")));
    }
    let path = attempt_dir(&host.paths.session_dir(&id), attempt).join(FILE_NAME);
    let stream = query.stream.unwrap_or_default();
    let tail = blocking(move || Tail::open(&path, stream)).await?;
    Ok(pieces::answer(&host, "application/octet-stream", move |out| tail.write(out)))
}

/// What of a journal is still to be told.
struct Tail {
    /// None if there is no header yet, and so nothing else.
    reader: Option<Reader<File>>,
    /// What is written behind it after the question is not told.
    end: u64,
    stream: JournalStream,
}

impl Tail {
    fn open(path: &FilePath, stream: JournalStream) -> io::Result<Self> {
        let file = File::open(path)?;
        let end = file.metadata()?.len();
        let reader = match Reader::open(file)? {
            Ok((_, reader)) => Some(reader),
            Err(HeaderError::Incomplete) => None,
            Err(error) => return Err(io::Error::other(error.to_string())),
        };
        Ok(Self { reader, end, stream })
    }

    async fn write(mut self, mut out: Pieces) -> Result<(), pieces::Cut> {
        while self.reader.is_some() {
            let bytes;
            (self, bytes) = match blocking(move || self.read()).await {
                Ok(read) => read,
                Err(failure) => {
                    out.finish().await?;
                    return Err(failure.into());
                }
            };
            out.bytes(&bytes);
            out.flow().await?;
        }
        out.finish().await
    }

    /// Reads on until there is enough for a piece.
    fn read(mut self) -> io::Result<(Self, Vec<u8>)> {
        let mut out = Vec::new();
        while let Some(reader) = &mut self.reader
            && out.len() < limits::PIECE_BYTES
        {
            if reader.offset() >= self.end {
                self.reader = None;
                break;
            }
            match reader.step()? {
                Step::Entry(entry) => match (entry.record, self.stream) {
                    (Record::Output { stream: Stream::Stdout, bytes, .. }, JournalStream::Stdout)
                    | (Record::Output { stream: Stream::Stderr, bytes, .. }, JournalStream::Stderr)
                    | (Record::Accepted { bytes, .. }, JournalStream::Stdin) => out.extend_from_slice(bytes),
                    _ => {}
                },
                Step::Incomplete => self.reader = None,
                // What came before it is told first; the reader stays here.
                Step::Damaged { .. } if !out.is_empty() => break,
                Step::Damaged { offset } => {
                    return Err(io::Error::other(format!("it is damaged at byte {offset}")));
                }
            }
        }
        Ok((self, out))
    }
}

/// Reads a file where it may block.
async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Failure> {
    let read = tokio::task::spawn_blocking(read).await.unwrap_or_else(|error| Err(io::Error::other(error)));
    read.map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            return Failure::new(ErrorCode::JournalGone, "the journal is not kept any more");
        }
        Failure::new(ErrorCode::Internal, format!("the journal cannot be read: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use lockkeeper_holder::journal::{BootId, Header, Part};

    use super::*;
    use crate::making::tests::host;

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    #[tokio::test]
    async fn a_journal_that_is_damaged_is_told_up_to_there_and_does_not_look_whole() -> Outcome {
        let (home, host) = host()?;
        let path = home.path().join(FILE_NAME);
        let mut bytes =
            Header { version: 1, boot_id: BootId([7; 16]), wall_us: 1, mono_us: 1 }.encode().to_vec();
        let line = b"line\n";
        Record::Output { stream: Stream::Stdout, part: Part::Lines, bytes: line }.encode(1, &mut bytes);
        let told = async |bytes: &[u8]| -> Result<_, Box<dyn std::error::Error>> {
            std::fs::write(&path, bytes)?;
            let tail = Tail::open(&path, JournalStream::Stdout)?;
            let answer = pieces::answer(&host, "application/octet-stream", move |out| tail.write(out));
            let mut body = answer.into_body().into_data_stream();
            let first = body.next().await.ok_or("nothing was told")??;
            Ok((first, body.next().await.transpose().is_ok()))
        };
        assert_eq!(told(&bytes).await?, (bytes::Bytes::from_static(line), true));
        bytes.extend_from_slice(&[0xff; 64]);
        assert_eq!(told(&bytes).await?, (bytes::Bytes::from_static(line), false));
        Ok(())
    }
}
