//! `lk wait`: waits until sessions are settled or idle, ask something, or end.

use std::time::Duration;

use clap::ValueEnum;
use lockkeeper_api::client::Client;
use lockkeeper_api::{ErrorCode, OutcomeWord, Reference, Session, Status, WaitFor, WaitQuery};
use tokio::task::{JoinSet, LocalSet};

use super::how_it_is;
use crate::away::Absence;
use crate::clock;
use crate::context::Context;
use crate::exit;
use crate::failure::{Failure, Outcome};
use crate::format::{Series, Shown};

/// Wait until sessions are settled or idle, ask something, or end
///
/// A session that waits for a decision is neither settled nor idle: it goes on once somebody decides.
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
    #[command(flatten)]
    shown: Shown,
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
    // A daemon that went away is waited for, but not one that was never there.
    context.client.health().await?;
    let query = WaitQuery { wait: Some(what), timeout: args.timeout };
    let absence = Absence::new(context);
    let (here, mut waits) = (LocalSet::new(), JoinSet::new());
    for (no, reference) in args.sessions.iter().cloned().enumerate() {
        let (client, absence) = (context.client.clone(), absence.clone());
        let wait = async move { (no, settled(&client, &absence, &reference, query).await) };
        waits.spawn_local_on(wait, &here);
    }
    let mut done = Series::new(context, args.shown);
    let code = here.run_until(first_failure(&args, what, context, waits, &mut done)).await;
    done.finish()?;
    code
}

/// Waits for one, across restarts of the daemon; nothing if that takes too long.
async fn settled(
    client: &Client,
    absence: &Absence,
    session: &Reference,
    query: WaitQuery,
) -> Outcome<Option<Session>> {
    let overdue = async {
        match query.timeout {
            Some(ms) => absence.outlasts(Duration::from_millis(ms)).await,
            None => std::future::pending().await,
        }
    };
    let answer = tokio::select! {
        answer = absence.bridge(async || client.wait(session, query).await) => answer?,
        // The next daemon would begin to count anew.
        () = overdue => return Ok(None),
    };
    match answer {
        Err(error) if error.is(ErrorCode::WaitTimeout) => Ok(None),
        answer => Ok(Some(answer?)),
    }
}

/// Waits for all; tells the code of the first session, in the order of the command line, that has another than 0.
async fn first_failure(
    args: &Args,
    what: WaitFor,
    context: &Context,
    mut waits: JoinSet<(usize, Outcome<Option<Session>>)>,
    done: &mut Series<'_, Session>,
) -> Outcome {
    let mut codes = vec![exit::OK; args.sessions.len()];
    for session in args.sessions.iter().filter(|_| what != WaitFor::Input) {
        if let Some(gates) = asks(context, session).await {
            context.out.note(format!("{session} {gates}"));
        }
    }
    while let Some(ended) = waits.join_next().await {
        let (no, answer) = ended.map_err(|error| Failure::new(exit::FAILED, error.to_string()))?;
        let Some(session) = answer? else {
            let session = &args.sessions[no];
            let late = Failure::new(exit::TIMEOUT, format!("{session} {}", not_yet(what)));
            return Err(match asks(context, session).await {
                Some(gates) if what != WaitFor::Input => late.next(format!("it {gates}")),
                Some(_) | None => late.next(format!("`lk why {session}` says why")),
            });
        };
        codes[no] = code(&session, what);
        done.push(session, how_it_is)?;
    }
    Ok(codes.into_iter().find(|code| *code != exit::OK).unwrap_or(exit::OK))
}

/// What a session waits for that somebody has to decide, if it does. Where that cannot be found out, nothing is said of it.
async fn asks(context: &Context, session: &Reference) -> Option<String> {
    match context.client.session(session).await.ok()?.open_gates {
        0 => None,
        1 => Some(format!("waits for a decision at a gate: lk gates {session}")),
        count => Some(format!("waits for decisions at {count} gates: `lk gates` lists them")),
    }
}

fn not_yet(what: WaitFor) -> &'static str {
    match what {
        WaitFor::Settled => "is not settled yet",
        WaitFor::Idle => "is not idle yet",
        WaitFor::Input => "has asked nothing yet",
        WaitFor::End => "has not ended yet",
    }
}

fn code(session: &Session, what: WaitFor) -> u8 {
    if what == WaitFor::Input {
        return if session.open_gates > 0 { exit::OK } else { exit::REJECTED };
    }
    match session.last_turn.as_ref().map(|turn| turn.outcome) {
        Some(OutcomeWord::Interrupted | OutcomeWord::Preempted) => exit::INTERRUPTED,
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
