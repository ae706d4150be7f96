//! Bare `lk`: what is going on, and what to type next. Starts nothing and asks no network.

use std::fmt::Write as _;

use lockkeeper_api::client::ClientError;
use lockkeeper_api::{Gate, GateQuery, Session, SessionQuery};

use super::daemon::pause;
use super::{gates, ls};
use crate::clock::{self, Times};
use crate::context::{Context, VERSION};
use crate::exit;
use crate::failure::Outcome;
use crate::format::print_table;
use crate::probe::{self, Found};
use crate::refs;
use crate::start;
use crate::style::Style;

/// Runs the command.
pub(crate) async fn run(context: &Context) -> Outcome {
    let (running, sessions, gates) = match present(context).await {
        Ok((sessions, gates)) => (true, sessions, gates),
        Err(ClientError::NoDaemon { .. }) => {
            start::fail_if_sessions_are_open(context)?;
            (false, Vec::new(), Vec::new())
        }
        Err(error) => return Err(error.into()),
    };
    if sessions.is_empty() && gates.is_empty() {
        let agents = probe::agents().await;
        let daemon = if running { "runs, and has nothing to do" } else { "does not run; `lk run` starts it" };
        context.out.raw(welcome(daemon, &agents, context.out.style).as_bytes())?;
        pause::note(context).await?;
        return Ok(exit::OK);
    }
    let times = Times::Relative(clock::now());
    if !gates.is_empty() {
        print_table(context, &gates::table(&gates, times, context.out.style))?;
        context.out.line(context.out.style.dim(&format!("{}\n", refs::ways(&gates[0]))))?;
    }
    print_table(context, &ls::table(&sessions, times))?;
    if let (true, Some(first)) = (gates.is_empty(), sessions.first()) {
        let title = refs::title(first);
        context.out.line(
            context.out.style.dim(&format!("\nlk attach {title}, lk send {title} PROMPT, lk stop {title}")),
        )?;
    }
    pause::note(context).await?;
    Ok(exit::OK)
}

async fn present(context: &Context) -> Result<(Vec<Session>, Vec<Gate>), ClientError> {
    let sessions = context.client.sessions(&SessionQuery::default()).await?.items;
    let gates = context.client.gates(&GateQuery::default()).await?.items;
    Ok((sessions, gates))
}

fn welcome(daemon: &str, agents: &[Found], style: Style) -> String {
    let mut text = format!("lk {VERSION} supervises coding-agent sessions\n\n");
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{}  {daemon}", style.dim("daemon"));
    let mut lead = style.dim("agents");
    let here = |agent: &&Found| agent.path.is_some();
    for agent in agents.iter().filter(here) {
        let (state, ink) = super::agents::state(agent);
        let version = agent.version.as_deref().unwrap_or_default();
        let version = crate::escape::line(version);
        let _ = writeln!(text, "{lead}  {:<9} {version:<12} {}", agent.name, style.ink(ink, &state));
        "      ".clone_into(&mut lead);
    }
    let real = agents.iter().any(|agent| agent.name != "demo" && agent.supported && agent.path.is_some());
    let next = if real { "lk run \"add a test\"" } else { "lk run -a demo \"add a test\"" };
    let _ = writeln!(text, "{}    {next}", style.dim("next"));
    if !real {
        let _ = writeln!(
            text,
            "        {}",
            style.dim("a scripted agent that needs no key; `lk doctor` says how to get a real one")
        );
    }
    let _ = writeln!(text, "        lk help");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &'static str, supported: bool, version: Option<&str>) -> Found {
        Found {
            name,
            supported,
            path: version.map(|_| "/usr/bin/x".into()),
            version: version.map(str::to_owned),
            problem: None,
        }
    }

    #[test]
    fn the_welcome_names_the_next_command() {
        let none = [
            found("claude", true, None),
            found("codex", false, Some("0.169.0")),
            found("demo", true, Some("0.1.0")),
        ];
        insta::assert_snapshot!(
            "welcome_without_an_agent",
            welcome("does not run; `lk run` starts it", &none, Style::PLAIN)
        );
        let one = [found("claude", true, Some("2.1.197")), found("demo", true, Some("0.1.0"))];
        insta::assert_snapshot!(
            "welcome_with_an_agent",
            welcome("runs, and has nothing to do", &one, Style::PLAIN)
        );
    }
}
