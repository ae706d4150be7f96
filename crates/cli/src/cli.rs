//! The command line: its grammar, and the way from it to a command and an exit code.

use clap::{CommandFactory as _, Parser, Subcommand};
use lockkeeper_api::id::CallerName;

use crate::commands as c;
use crate::context::Context;
use crate::escape;
use crate::exit;
use crate::failure::Outcome;
use crate::out::Out;
use crate::style::Ink;

/// Supervises coding-agent sessions
#[derive(Debug, Parser)]
#[command(name = "lk", version, disable_help_subcommand = true, help_template = TEMPLATE, max_term_width = 100)]
pub(crate) struct Cli {
    /// What you call yourself, to be told apart from your other programs (also: `LK_CALLER`)
    #[arg(long = "as", value_name = "NAME")]
    caller: Option<CallerName>,
    #[command(subcommand)]
    command: Option<Verb>,
}

/// The overview by what one wants to do. A test keeps it complete.
const TEMPLATE: &str = "\
{about}

Usage: lk [OPTIONS] [COMMAND]

Work:
  run         Start a session and follow it
  send        Send a prompt to a session
  claim       Run a command that has a session's next turns to itself
  attach      Follow a session
  interrupt   Cancel the turn that runs
  resume      Start the agent of a session again
  stop        End sessions in order
  kill        End the processes of sessions by force

Look:
  ls          List sessions (also: ps)
  status      Tell who holds a session, since when, and who waits
  show        Tell everything about a session
  why         Explain the status of a session
  logs        Show what was said and done in a session
  events      List events
  queue       List and change the prompts that wait
  claims      List the claims of a session, or end one
  wait        Wait until sessions are idle, ask something, or end

Gates:
  gates       List gates, or show some of them whole
  allow       Let a step go on
  deny        Refuse a step
  answer      Answer an agent's questions, or a form of one of its servers
  bypass      Let steps go on for a while that would wait at a gate
  rules       List, try and change the rules about what agents may do
  audit       Tell who let what happen, and what became of it

Sessions:
  rename      Give a session another name
  label       Set and remove labels
  set         Change the model or the permission mode
  rm          Remove ended sessions

House:
  agents      List agents
  doctor      Check the installation, and say what to do
  daemon      Run, start, stop and look at the daemon
  webhook     List and try webhooks, and see what came by them
  completion  Write completions for a shell
  version     Tell the versions of lk and the daemon
  help        Explain a command or a topic

Options:
{options}

A session is named by its name, its id, or the beginning of its id; a gate by SESSION.g1.
`lk help exit-codes` lists the exit codes.
";

#[derive(Debug, Subcommand)]
enum Verb {
    Run(Box<c::run::Args>),
    Send(c::send::Args),
    Attach(c::attach::Args),
    Interrupt(c::interrupt::Args),
    Resume(c::resume::Args),
    Stop(c::stop::Args),
    Kill(c::kill::Args),
    #[command(visible_alias = "ps")]
    Ls(c::ls::Args),
    Status(c::status::Args),
    Show(c::show::Args),
    Why(c::why::Args),
    Logs(c::logs::Args),
    Events(c::events::Args),
    Queue(c::queue::Args),
    Claim(c::claim::Args),
    Claims(c::claims::Args),
    Wait(c::wait::Args),
    Gates(c::gates::Args),
    Allow(c::allow::Args),
    Deny(c::deny::Args),
    Answer(c::answer::Args),
    Bypass(c::bypass::Args),
    Rename(c::rename::Args),
    Label(c::label::Args),
    Set(c::set::Args),
    Rm(c::rm::Args),
    Agents(c::agents::Args),
    Doctor(c::doctor::Args),
    Daemon(c::daemon::Args),
    Rules(c::rules::Args),
    Audit(c::audit::Args),
    Webhook(c::webhook::Args),
    Completion(c::completion::Args),
    Version(c::version::Args),
    Help(c::help::Args),
}

/// Runs what was asked for and tells the exit code.
pub(crate) fn run(parsed: Result<Cli, clap::Error>) -> u8 {
    let out = Out::detect();
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => return refuse(&error, &out),
    };
    match dispatch(cli, &out) {
        Ok(code) => code,
        Err(failure) => {
            if !failure.what.is_empty() {
                // Some causes draw their place over several lines.
                complain(&out, &escape::block(failure.what.trim_end()).replace('\n', "\n    "));
            }
            if let Some(next) = failure.next {
                out.note(format_args!("    {}", escape::line(&next)));
            }
            failure.exit
        }
    }
}

/// Says what is wrong with a command line, which may hold words of an agent; or the help that it asks for.
fn refuse(error: &clap::Error, out: &Out) -> u8 {
    let text = error.render().to_string();
    match text.strip_prefix("error: ") {
        Some(what) => complain(out, escape::block(what).trim_end()),
        None => {
            // A reader who has gone needs no help.
            let _ = error.print();
        }
    }
    if error.use_stderr() { exit::USAGE } else { exit::OK }
}

fn complain(out: &Out, what: &str) {
    out.note(format_args!("{} {what}", out.note_style.ink(Ink::Red, "lk:")));
}

fn dispatch(Cli { caller, command }: Cli, out: &Out) -> Outcome {
    // What needs neither places nor a runtime.
    match command {
        Some(Verb::Completion(args)) => c::completion::run(&args),
        Some(Verb::Help(args)) => c::help::run(&args, out),
        Some(Verb::Daemon(args)) if args.is_run() => c::daemon::become_daemon(&args),
        other => with_runtime(other, &Context::new(out.clone(), caller)?),
    }
}

fn with_runtime(verb: Option<Verb>, context: &Context) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(command(verb, context));
    context.note_versions();
    result
}

async fn command(verb: Option<Verb>, context: &Context) -> Outcome {
    let Some(verb) = verb else { return c::welcome::run(context).await };
    match verb {
        Verb::Run(args) => Box::pin(c::run::run(*args, context)).await,
        Verb::Send(args) => c::send::run(args, context).await,
        Verb::Attach(args) => c::attach::run(args, context).await,
        Verb::Interrupt(args) => c::interrupt::run(args, context).await,
        Verb::Resume(args) => c::resume::run(args, context).await,
        Verb::Stop(args) => c::stop::run(args, context).await,
        Verb::Kill(args) => c::kill::run(args, context).await,
        Verb::Ls(args) => c::ls::run(args, context).await,
        Verb::Status(args) => c::status::run(args, context).await,
        Verb::Show(args) => c::show::run(args, context).await,
        Verb::Why(args) => c::why::run(args, context).await,
        Verb::Logs(args) => c::logs::run(args, context).await,
        Verb::Events(args) => c::events::run(args, context).await,
        Verb::Queue(args) => c::queue::run(args, context).await,
        Verb::Claim(args) => c::claim::run(args, context).await,
        Verb::Claims(args) => c::claims::run(args, context).await,
        Verb::Wait(args) => c::wait::run(args, context).await,
        Verb::Gates(args) => c::gates::run(args, context).await,
        Verb::Allow(args) => c::allow::run(args, context).await,
        Verb::Deny(args) => c::deny::run(args, context).await,
        Verb::Answer(args) => c::answer::run(args, context).await,
        Verb::Bypass(args) => c::bypass::run(args, context).await,
        Verb::Rename(args) => c::rename::run(args, context).await,
        Verb::Label(args) => c::label::run(args, context).await,
        Verb::Set(args) => c::set::run(args, context).await,
        Verb::Rm(args) => c::rm::run(args, context).await,
        Verb::Agents(args) => c::agents::run(args, context).await,
        Verb::Doctor(args) => c::doctor::run(args, context).await,
        Verb::Daemon(args) => c::daemon::run(args, context).await,
        Verb::Rules(args) => c::rules::run(args, context).await,
        Verb::Audit(args) => c::audit::run(args, context).await,
        Verb::Webhook(args) => c::webhook::run(args, context).await,
        Verb::Version(args) => c::version::run(args, context).await,
        Verb::Completion(args) => c::completion::run(&args),
        Verb::Help(args) => c::help::run(&args, &context.out),
    }
}

/// The grammar, for completions and help.
pub(crate) fn grammar() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_consistent() {
        grammar().debug_assert();
    }

    #[test]
    fn the_overview_names_every_command_once() {
        for command in grammar().get_subcommands() {
            let line = format!("\n  {:<11} ", command.get_name());
            let hits = TEMPLATE.matches(&line).count();
            assert_eq!(hits, usize::from(!command.is_hide_set()), "{}", command.get_name());
        }
    }

    #[test]
    fn the_help_of_every_command() {
        let mut root = grammar().term_width(100);
        insta::assert_snapshot!("help_lk", root.render_long_help().to_string());
        root.build();
        for command in root.get_subcommands_mut() {
            let name = command.get_name().to_owned();
            insta::assert_snapshot!(format!("help_{name}"), command.render_long_help().to_string());
            for inner in command.get_subcommands_mut().filter(|inner| inner.get_name() != "help") {
                let inner_name = format!("help_{name}_{}", inner.get_name());
                insta::assert_snapshot!(inner_name, inner.render_long_help().to_string());
            }
        }
    }
}
