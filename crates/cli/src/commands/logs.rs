//! `lk logs`: what was said and done in a session.

use std::collections::VecDeque;
use std::io::Write as _;

use clap::ValueEnum;
use lockkeeper_api::client::ClientError;
use lockkeeper_api::{Cursor, Event, EventQuery, Frame, JournalQuery, JournalStream, Reference, Time};

use crate::clock;
use crate::context::Context;
use crate::exit;
use crate::failure::Outcome;
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
    /// Only what happened since then: a span such as 15m, a day or an RFC 3339 time
    #[arg(long, value_name = "WHEN", conflicts_with = "raw", value_parser = clock::parse_moment)]
    since: Option<Time>,
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
    let session = context.client.session(&args.session).await?;
    let id: Reference = session.id.clone().into();
    let mut view = View::new(&session, context.out.style, context.out.width, Messages::Whole, Prompts::Shown);
    let mut tail = args.tail.map(Tail::new);
    let mut after = Cursor::start();
    loop {
        let query = EventQuery { after: Some(after.to_string()), ..EventQuery::default() };
        let page = context.client.events(Some(&id), &query).await?;
        for event in page.items.iter().filter(|event| is_since(event, args.since)) {
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
    fn the_tail_is_the_last_lines() {
        let mut tail = Tail::new(2);
        tail.push("a\nb\n");
        tail.push("c\n");
        assert_eq!(tail.text(), "b\nc\n");
    }
}
