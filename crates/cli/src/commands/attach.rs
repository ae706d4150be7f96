//! `lk attach`: follows a session.

use lockkeeper_api::id::TurnNo;
use lockkeeper_api::{Item, ItemQuery, List, Reference, Session};

use crate::clock::{self, Times};
use crate::context::Context;
use crate::exit;
use crate::failure::Outcome;
use crate::follow::{AtGate, Face, Goal, Plan, follow};
use crate::refs;
use crate::view::Prompts;

/// Follow a session
///
/// Shows the turn that runs from its beginning, then what comes. On a terminal lk asks for decisions at gates; Ctrl-C
/// interrupts the turn, and Ctrl-\ leaves while the agent goes on. `lk logs` shows earlier turns.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The session
    #[arg(value_name = "REF")]
    session: Reference,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let (session, begin) = present(context, &args.session).await?;
    let style = context.out.note_style;
    let times = Times::Relative(clock::now());
    let title = refs::title(&session);
    context.out.note(super::sentence(&title, session.status, session.since, times, style));
    if session.status.is_end() {
        context.out.note(
            style.dim(&format!("it has ended; `lk logs {title}` shows it, `lk send {title} PROMPT` goes on")),
        );
        return Ok(exit::OK);
    }
    let plan = Plan {
        goal: Goal::End,
        at_gate: if context.out.terminal { AtGate::Ask } else { AtGate::Wait },
        allow: Vec::new(),
        face: Face::Output,
        prompts: Prompts::Shown,
        after: begin.cursor,
    };
    follow(context, session, plan, &begin.items).await
}

/// A session with the content of the turn that runs so far, and the cursor behind it.
async fn present(context: &Context, reference: &Reference) -> Outcome<(Session, List<Item>)> {
    let mut session = context.client.session(reference).await?;
    let id: Reference = session.id.clone().into();
    loop {
        // A turn that nobody can have means no content, and the cursor all the same.
        let turn = session.turn.as_ref().map_or(TurnNo(u32::MAX), |turn| turn.no);
        let begin = context.client.items(&id, &ItemQuery { turn: Some(turn.to_string()) }).await?;
        let now = context.client.session(&id).await?;
        // Otherwise a turn began or ended before the cursor, and nobody would tell of it.
        if now.turn.as_ref().map(|turn| turn.no) == session.turn.as_ref().map(|turn| turn.no) {
            return Ok((now, begin));
        }
        session = now;
    }
}
