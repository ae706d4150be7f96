//! `lk claim`: runs a command that has a session's next turns to itself.

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::ExitStatusExt as _;
use std::pin::pin;
use std::process::ExitStatus;
use std::time::Duration;

use lockkeeper_api::id::ClaimNo;
use lockkeeper_api::{
    Claim, ClaimQuery, ClaimRenewal, ClaimRequest, ClaimState, ClaimWait, ErrorCode, InnerReference,
    Reference,
};
use rustix::process::{Pid, kill_process};
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;

use super::own_claim::{self, OwnClaim};
use super::{Preempted, Urgency};
use crate::away::Absence;
use crate::clock;
use crate::context::{CALLER_VARIABLE, Context};
use crate::exit;
use crate::failure::{Failure, Outcome};
use crate::follow::listen;
use crate::program::{self, Unusable};

/// A claim is renewed after this part of its life, so that two renewals may fail.
const RENEW_PARTS: u32 = 3;

/// How long a command that is asked to terminate may tidy up: as long as `docker stop` gives, and less than init systems
/// give us.
const TERMINATES_WITHIN: Duration = Duration::from_secs(10);

/// Run a command that has a session's next turns to itself
///
/// Waits until it is the claim's turn, as a prompt of its class would, then runs the command; what that sends with `lk
/// send` uses the claim, which ends with the command. Prompts of others wait meanwhile, unless their class is higher. The
/// exit code is the command's. A SIGTERM is handed on to the command, which has ten seconds to end.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The session
    #[arg(value_name = "REF")]
    session: Reference,
    /// How urgent its prompts are
    #[arg(long, value_enum, default_value = "normal")]
    class: Urgency,
    /// How long the claim outlives a caller that has gone without a word: 1s to 24h
    #[arg(long, value_name = "SPAN", value_parser = clock::parse_ttl, default_value = "30s")]
    ttl: u64,
    #[command(flatten)]
    preempted: Preempted,
    /// The command, with its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let (program, arguments) =
        args.command.split_first().ok_or_else(|| Failure::usage("there is no command"))?;
    // Nobody is held up for what cannot be run.
    program::find(program).map_err(|unusable| cannot_run(program, unusable))?;
    if let OwnClaim::Lasts(claim) = own_claim::look(context, &args.session).await? {
        return Err(own_claim::refuse_claim(&claim));
    }
    let request = ClaimRequest {
        class: args.class.into(),
        ttl_ms: args.ttl,
        preempt: args.preempted.preempt,
        on_preempt: args.preempted.on_preempt.into(),
    };
    // Caught before there is a claim: whatever comes, it is given back.
    let mut signals = Signals::catch()?;
    // Whoever may not wait is told so before there is a claim.
    let waiting = listen(context, &args.session, None).await?;
    let made = context.client.claim(&args.session, &request).await?;
    let held = Held { context, absence: Absence::new(context), claim: made.id.parse()? };
    let work = async {
        tokio::select! {
            granted = held.wait(&args.session, &made) => granted?,
            () = signals.either() => return Ok(exit::INTERRUPTED),
        }
        drop(waiting);
        let mut command = Command::new(program);
        command.args(arguments).env(own_claim::VARIABLE, &made.id);
        // What it sends is sent by the claim's owner.
        command.envs(context.client.caller().map(|caller| (CALLER_VARIABLE, caller.as_str())));
        let child = command.kill_on_drop(true).spawn();
        let child = child.map_err(|error| match program::find(program) {
            Ok(_) => Failure::new(exit::NO_PROGRAM, format!("{}: {error}", program.to_string_lossy())),
            Err(unusable) => cannot_run(program, unusable),
        })?;
        to_its_end(child, context, &mut signals).await
    };
    let every = Duration::from_millis(args.ttl) / RENEW_PARTS;
    let result = tokio::select! {
        result = work => result,
        never = held.renew(every) => match never {},
    };
    let left = async {
        held.absence.outlasts(Duration::ZERO).await;
        // What ended the command is not meant for what comes after it.
        signals.forget().await;
        signals.either().await;
    };
    tokio::select! {
        () = held.give_back() => {}
        () = left => {
            context.out.note(format!("{} is not given back: others wait until it expires", held.claim.no));
        }
    }
    result
}

fn cannot_run(program: &OsStr, unusable: Unusable) -> Failure {
    let program = program.to_string_lossy();
    match unusable {
        Unusable::Missing => Failure::new(exit::NOT_FOUND, format!("{program}: there is no such program")),
        Unusable::NoProgram => {
            Failure::new(exit::NO_PROGRAM, format!("{program}: this is no program that you may run"))
        }
    }
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn catch() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for either of them.
    async fn either(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Waits for something that they do not end.
    async fn ignored_during<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = self.either() => {}
            }
        }
    }

    /// Forgets those that have come.
    async fn forget(&mut self) {
        while timeout(Duration::ZERO, self.either()).await.is_ok() {}
    }
}

/// A claim that is there until it is given back, also while the daemon is not.
struct Held<'a> {
    context: &'a Context,
    absence: Absence,
    claim: InnerReference<ClaimNo>,
}

impl Held<'_> {
    /// Waits until the next turns are the claim's.
    async fn wait(&self, session: &Reference, made: &Claim) -> Outcome<()> {
        if made.state == ClaimState::Held {
            return Ok(());
        }
        let behind = match made.queued_behind {
            1 => "1 goes before it".to_owned(),
            many => format!("{many} go before it"),
        };
        self.context.out.note(format!("{} waits for {session}: {behind}", self.claim.no));
        let query = ClaimQuery { wait: Some(ClaimWait::Held), timeout: None };
        self.absence.bridge(async || self.context.client.claim_state(&self.claim, query).await).await??;
        Ok(())
    }

    /// Renews it as long as somebody waits for this.
    async fn renew(&self, every: Duration) -> Infallible {
        let (client, out, no) = (&self.context.client, &self.context.out, self.claim.no);
        loop {
            tokio::time::sleep(every).await;
            let renewal = async || client.renew_claim(&self.claim, ClaimRenewal::default()).await;
            match self.absence.bridge(renewal).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) if error.is(ErrorCode::ClaimOver) => {
                    out.note(format!("{no} is over: prompts that use it are refused"));
                    return std::future::pending().await;
                }
                // The next one may come through before it expires.
                Ok(Err(error)) => out.note(format!("could not renew {no}: {error}")),
                Err(lost) => out.note(format!("could not renew {no}: {}", lost.what)),
            }
        }
    }

    /// Gives it back. One that is over already is as good.
    async fn give_back(&self) {
        let (client, out, no) = (&self.context.client, &self.context.out, self.claim.no);
        match self.absence.bridge(async || client.end_claim(&self.claim).await).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) if error.is(ErrorCode::ClaimOver) => {}
            Ok(Err(error)) => out.note(format!("could not give {no} back: {error}")),
            Err(lost) => out.note(format!("could not give {no} back: {}", lost.what)),
        }
    }
}

/// Waits for the end of the command, and hands on that it is to terminate. It keeps its claim until it has.
async fn to_its_end(mut child: Child, context: &Context, signals: &mut Signals) -> Outcome {
    loop {
        tokio::select! {
            ended = child.wait() => return Ok(code(ended?)),
            // The terminal has sent it to the command too, which does with it what it likes.
            _ = signals.interrupt.recv() => {}
            _ = signals.terminate.recv() => break,
        }
    }
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid {
        kill_process(pid, rustix::process::Signal::TERM).map_err(std::io::Error::from)?;
    }
    let ended = signals.ignored_during(timeout(TERMINATES_WITHIN, child.wait())).await;
    if let Ok(ended) = ended {
        return Ok(code(ended?));
    }
    context.out.note(format!("the command did not end within {} s: killed", TERMINATES_WITHIN.as_secs()));
    child.kill().await?;
    Ok(code(child.wait().await?))
}

/// The exit code of the command, as shells tell it.
fn code(ended: ExitStatus) -> u8 {
    const SIGNAL_BASE: i32 = 128;
    let code = ended.code().or(ended.signal().map(|signal| SIGNAL_BASE + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(exit::FAILED)
}
