//! `lk claim`: runs a command that has a session's next turns to itself.

use std::convert::Infallible;
use std::ffi::OsString;
use std::num::NonZeroU64;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use lockkeeper_api::client::{ClientError, EventStream};
use lockkeeper_api::id::ClaimNo;
use lockkeeper_api::{
    Claim, ClaimQuery, ClaimRenewal, ClaimRequest, ClaimState, ClaimWait, ErrorCode, InnerReference,
    Reference,
};
use tokio::process::Command;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Preempted, Urgency};
use crate::clock;
use crate::context::{CALLER_VARIABLE, Context};
use crate::exit;
use crate::failure::{Failure, Outcome};
use crate::follow::listen;

/// Where the command finds its claim; `lk send` looks there.
pub(crate) const VARIABLE: &str = "LK_CLAIM";

/// A claim is renewed after this part of its life, so that two renewals may fail.
const RENEW_PARTS: u32 = 3;

/// Run a command that has a session's next turns to itself
///
/// Waits until it is the claim's turn, as a prompt of its class would, then runs the command; what that sends with `lk
/// send` uses the claim, which ends with the command. Prompts of others wait meanwhile, unless their class is higher. The
/// exit code is the command's.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The session
    #[arg(value_name = "REF")]
    session: Reference,
    /// How urgent its prompts are
    #[arg(long, value_enum, default_value = "normal")]
    class: Urgency,
    /// How long the claim outlives a caller that has gone without a word
    #[arg(long, value_name = "SPAN", value_parser = clock::parse_some_span, default_value = "30s")]
    ttl: NonZeroU64,
    #[command(flatten)]
    preempted: Preempted,
    /// The command, with its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let request = ClaimRequest {
        class: args.class.into(),
        ttl_ms: args.ttl.get(),
        preempt: args.preempted.preempt,
        on_preempt: args.preempted.on_preempt.into(),
    };
    // Caught before there is a claim: whatever comes, it is given back.
    let signals = Signals::catch()?;
    // Whoever may not wait is told so before there is a claim.
    let waiting = listen(context, &args.session, None).await?;
    let made = context.client.claim(&args.session, &request).await?;
    let claim: InnerReference<ClaimNo> = made.id.parse()?;
    let every = Duration::from_millis(args.ttl.get()) / RENEW_PARTS;
    let result = tokio::select! {
        result = work(&args, context, &made, &claim, signals, waiting) => result,
        never = renew(context, &claim, every) => match never {},
    };
    match context.client.end_claim(&claim).await {
        Err(error) if !is_over(&error) => {
            context.out.note(format!("could not give {} back: {error}", claim.no));
        }
        Ok(()) | Err(_) => {}
    }
    result
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn catch() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }
}

async fn work(
    args: &Args,
    context: &Context,
    made: &Claim,
    claim: &InnerReference<ClaimNo>,
    mut signals: Signals,
    waiting: EventStream,
) -> Outcome {
    tokio::select! {
        granted = wait(args, context, made, claim) => granted?,
        _ = signals.interrupt.recv() => return Ok(exit::INTERRUPTED),
        _ = signals.terminate.recv() => return Ok(exit::INTERRUPTED),
    }
    drop(waiting);
    let (program, arguments) =
        args.command.split_first().ok_or_else(|| Failure::usage("there is no command"))?;
    let mut child = Command::new(program)
        .args(arguments)
        .env(VARIABLE, &made.id)
        // What it sends is sent by the claim's owner.
        .envs(context.client.caller().map(|caller| (CALLER_VARIABLE, caller.as_str())))
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| Failure::usage(format!("{}: {error}", program.to_string_lossy())))?;
    loop {
        tokio::select! {
            ended = child.wait() => return Ok(code(ended?)),
            // The terminal has sent it to the command too, which does with it what it likes.
            _ = signals.interrupt.recv() => {}
            _ = signals.terminate.recv() => return Ok(exit::INTERRUPTED),
        }
    }
}

/// Waits until the next turns are the claim's.
async fn wait(args: &Args, context: &Context, made: &Claim, claim: &InnerReference<ClaimNo>) -> Outcome<()> {
    if made.state == ClaimState::Held {
        return Ok(());
    }
    let behind = match made.queued_behind {
        1 => "1 goes before it".to_owned(),
        many => format!("{many} go before it"),
    };
    context.out.note(format!("{} waits for {}: {behind}", claim.no, args.session));
    let query = ClaimQuery { wait: Some(ClaimWait::Held), timeout: None };
    context.client.claim_state(claim, query).await?;
    Ok(())
}

/// Renews the claim as long as somebody waits for this.
async fn renew(context: &Context, claim: &InnerReference<ClaimNo>, every: Duration) -> Infallible {
    loop {
        tokio::time::sleep(every).await;
        match context.client.renew_claim(claim, ClaimRenewal::default()).await {
            Ok(_) => {}
            Err(error) if is_over(&error) => {
                context.out.note(format!("{} is over: prompts that use it are refused", claim.no));
                return std::future::pending().await;
            }
            // The next one may come through before it expires.
            Err(error) => context.out.note(format!("could not renew {}: {error}", claim.no)),
        }
    }
}

fn is_over(error: &ClientError) -> bool {
    error.problem().and_then(lockkeeper_api::Problem::known_code) == Some(ErrorCode::ClaimOver)
}

/// The exit code of the command, as shells tell it.
fn code(ended: ExitStatus) -> u8 {
    const SIGNAL_BASE: i32 = 128;
    let code = ended.code().or(ended.signal().map(|signal| SIGNAL_BASE + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(exit::FAILED)
}
