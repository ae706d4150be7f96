//! `lk wait`: waits until sessions are idle, ask something, or end.

use clap::ValueEnum;
use lockkeeper_api::{ErrorCode, OutcomeWord, Problem, Reference, Session, Status, WaitFor, WaitQuery};
use tokio::task::JoinSet;

use crate::clock;
use crate::context::Context;
use crate::exit;
use crate::failure::{Failure, Outcome};
use crate::refs;

/// Wait until sessions are idle, ask something, or end
///
/// The exit code is that of the first session whose last turn did not complete: 1 if it failed, 130 if it was
/// interrupted.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The sessions
    #[arg(required = true, value_name = "REF")]
    sessions: Vec<Reference>,
    /// What to wait for
    #[arg(long = "for", value_enum, default_value = "settled", value_name = "WHAT")]
    what: What,
    /// Give up after this span, with exit code 124
    #[arg(long, value_name = "SPAN", value_parser = clock::parse_span)]
    timeout: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// No turn runs and none waits, and what the turn delegated has ended too
    Settled,
    /// No turn runs and none waits
    Idle,
    /// A gate is open
    Input,
    /// The session has ended
    End,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let what = match args.what {
        What::Settled => WaitFor::Settled,
        What::Idle => WaitFor::Idle,
        What::Input => WaitFor::Input,
        What::End => WaitFor::End,
    };
    let query = WaitQuery { wait: Some(what), timeout: args.timeout };
    let mut waits = JoinSet::new();
    for (no, reference) in args.sessions.iter().cloned().enumerate() {
        let client = context.client.clone();
        waits.spawn(async move { (no, client.wait(&reference, query).await) });
    }
    let mut ended: Vec<Option<Session>> = vec![None; args.sessions.len()];
    while let Some(done) = waits.join_next().await {
        let (no, answer) = done.map_err(|error| Failure::new(exit::FAILED, error.to_string()))?;
        match answer {
            Ok(session) => {
                context.out.line(format_args!("{} {}", refs::title(&session), session.status))?;
                ended[no] = Some(session);
            }
            Err(error) if error.problem().and_then(Problem::known_code) == Some(ErrorCode::WaitTimeout) => {
                return Err(Failure::new(exit::TIMEOUT, format!("{} is not {what} yet", args.sessions[no]))
                    .next(format!("`lk why {}` says why", args.sessions[no])));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(ended
        .iter()
        .flatten()
        .map(|session| code(session, what))
        .find(|code| *code != exit::OK)
        .unwrap_or(exit::OK))
}

fn code(session: &Session, what: WaitFor) -> u8 {
    if what == WaitFor::Input {
        return if session.open_gates > 0 { exit::OK } else { exit::REJECTED };
    }
    match session.last_turn.as_ref().map(|turn| turn.outcome) {
        Some(OutcomeWord::Interrupted) => exit::INTERRUPTED,
        Some(OutcomeWord::Refused | OutcomeWord::Limit | OutcomeWord::Failed | OutcomeWord::Unknown) => {
            exit::FAILED
        }
        Some(OutcomeWord::Completed) | None => {
            if session.status == Status::Failed {
                exit::FAILED
            } else {
                exit::OK
            }
        }
    }
}
