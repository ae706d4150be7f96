//! `lk logs`: what was said and done in a session.

use std::collections::VecDeque;
use std::io::Write as _;

use clap::ValueEnum;
use lockkeeper_api::client::ClientError;
use lockkeeper_api::{Cursor, Event, EventQuery, Frame, JournalQuery, JournalStream, Reference, Time};

use crate::clock;
use crate::context::Context;
use crate::exit;
use crate::failure::{Failure, Outcome};
use crate::view::{Messages, Prompts, View};

/// Show what was said and done in a session
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The session
    #[arg(value_name = "REF")]
    session: Reference,
    /// Go on with what comes
    #[arg(short, long, conflicts_with = "raw")]
    follow: bool,
    /// Only what happened since then: a span such as 15m, or an RFC 3339 time
    #[arg(long, value_name = "WHEN", conflicts_with = "raw")]
    since: Option<String>,
    /// Only the last lines
    #[arg(long, value_name = "LINES", conflicts_with = "raw")]
    tail: Option<usize>,
    /// The bytes of the agent's process as they are, control characters too
    #[arg(long)]
    raw: bool,
    /// With --raw: which stream
    #[arg(long, value_enum, requires = "raw")]
    stream: Option<Stream>,
    /// With --raw: which attempt, from 1 [default: the last]
    #[arg(long, value_name = "NUMBER", requires = "raw")]
    attempt: Option<u32>,
}

/// A stream of the agent's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Stream {
    /// What the agent wrote
    Stdout,
    /// What the agent wrote on standard error
    Stderr,
    /// What was written to the agent
    Stdin,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    if args.raw {
        return raw(&args, context).await;
    }
    let since = args.since.as_deref().map(|text| moment(text, clock::now())).transpose()?;
    let session = context.client.session(&args.session).await?;
    let id: Reference = session.id.clone().into();
    let mut view = View::new(&session, context.out.style, context.out.width, Messages::Whole, Prompts::Shown);
    let mut tail = args.tail.map(Tail::new);
    let mut after = Cursor::start();
    loop {
        let query = EventQuery { after: Some(after.to_string()), ..EventQuery::default() };
        let page = context.client.events(Some(&id), &query).await?;
        for event in page.items.iter().filter(|event| is_since(event, since)) {
            let text = view.event(event);
            match &mut tail {
                Some(tail) => tail.push(&text),
                None => context.out.raw(text.as_bytes())?,
            }
        }
        after = page.cursor;
        if !page.more {
            break;
        }
    }
    if let Some(tail) = tail {
        context.out.raw(tail.text().as_bytes())?;
    }
    if args.follow { go_on(context, &id, &mut view, after).await } else { Ok(exit::OK) }
}

async fn go_on(context: &Context, id: &Reference, view: &mut View, after: Cursor) -> Outcome {
    let query = EventQuery { after: Some(after.to_string()), ..EventQuery::default() };
    let mut stream = context.client.subscribe(Some(id), &query).await?;
    loop {
        let frame = tokio::select! {
            frame = stream.next() => frame,
            () = context.out.reader_gone() => return Ok(exit::OK),
        };
        match frame {
            Ok(frame) => {
                context.out.raw(view.frame(&frame).as_bytes())?;
                if let Frame::Event(event) = &frame
                    && event.kind == "session.ended"
                {
                    return Ok(exit::OK);
                }
            }
            Err(error @ (ClientError::Broken { .. } | ClientError::Timeout { .. })) => {
                // A daemon that restarts is back at once; one that does not is an error.
                stream.reconnect().await.map_err(|_| error)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

async fn raw(args: &Args, context: &Context) -> Outcome {
    let stream = args.stream.map(|stream| match stream {
        Stream::Stdout => JournalStream::Stdout,
        Stream::Stderr => JournalStream::Stderr,
        Stream::Stdin => JournalStream::Stdin,
    });
    let mut body =
        context.client.journal(&args.session, JournalQuery { attempt: args.attempt, stream }).await?;
    while let Some(bytes) = body.next().await? {
        std::io::stdout().lock().write_all(&bytes)?;
    }
    std::io::stdout().lock().flush()?;
    Ok(exit::OK)
}

fn is_since(event: &Event, since: Option<Time>) -> bool {
    since.is_none_or(|since| event.at >= since)
}

/// Reads a moment: a span before now, or an RFC 3339 time.
pub(super) fn moment(text: &str, now: Time) -> Outcome<Time> {
    if let Ok(ms) = clock::parse_span(text) {
        return Ok(Time::from_wall_ms(now.wall_ms().saturating_sub(i64::try_from(ms).unwrap_or(i64::MAX))));
    }
    text.parse()
        .map_err(|_| Failure::usage(format!("{text} is neither a span such as 15m nor an RFC 3339 time")))
}

/// The last lines of a long text.
struct Tail {
    lines: VecDeque<String>,
    most: usize,
}

impl Tail {
    fn new(most: usize) -> Self {
        Self { lines: VecDeque::new(), most }
    }

    fn push(&mut self, text: &str) {
        for line in text.lines() {
            self.lines.push_back(line.to_owned());
            if self.lines.len() > self.most {
                self.lines.pop_front();
            }
        }
    }

    fn text(self) -> String {
        self.lines.into_iter().map(|line| line + "\n").collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_span_before_now_or_a_time() {
        let now = Time::from_wall_ms(3_600_000);
        assert_eq!(moment("15m", now).ok(), Some(Time::from_wall_ms(2_700_000)));
        assert_eq!(moment("1970-01-01T00:00:01Z", now).ok(), Some(Time::from_wall_ms(1000)));
        assert!(moment("yesterday", now).is_err());
    }

    #[test]
    fn the_tail_is_the_last_lines() {
        let mut tail = Tail::new(2);
        tail.push("a\nb\n");
        tail.push("c\n");
        assert_eq!(tail.text(), "b\nc\n");
    }
}
