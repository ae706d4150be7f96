//! `lk agents`: lists agents.

use crate::context::Context;
use crate::exit;
use crate::failure::Outcome;
use crate::format::{Format, Shown};
use crate::probe::{self, Found};
use crate::style::Ink;
use crate::table::{Cell, Table};

/// List agents
///
/// Looks on the PATH of this environment, which is that of the sessions that you start from here.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The form of the output
    #[arg(short, long, value_enum, default_value = "table", value_name = "FORMAT", help_heading = "Output")]
    output: Format,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let agents = probe::agents().await;
    let shown = Shown { output: args.output, exact: false };
    shown.list(context, &agents, || table(&agents))?;
    Ok(exit::OK)
}

/// The table of agents.
pub(crate) fn table(agents: &[Found]) -> Table {
    let mut table = Table::new(&["AGENT", "VERSION", "STATE", "PATH"], &["PATH", "STATE"], &["PATH"]);
    for agent in agents {
        let (state, ink) = state(agent);
        table.row([
            Cell::inked(agent.name, if agent.supported { Ink::Bold } else { Ink::Plain }),
            agent.version.as_deref().unwrap_or_default().into(),
            Cell::inked(state, ink),
            agent.path.as_ref().map(|path| path.display().to_string()).unwrap_or_default().into(),
        ]);
    }
    table
}

/// What can be done with an agent.
pub(crate) fn state(agent: &Found) -> (String, Ink) {
    match (&agent.path, &agent.problem, agent.supported) {
        (None, _, true) => ("not found".to_owned(), Ink::Dim),
        (None, _, false) => ("not found, not supported yet".to_owned(), Ink::Dim),
        (Some(_), Some(problem), _) => (problem.clone(), Ink::Yellow),
        (Some(_), None, true) if agent.name == "demo" => ("built in, needs no key".to_owned(), Ink::Green),
        (Some(_), None, true) => ("ready".to_owned(), Ink::Green),
        (Some(_), None, false) => ("found, not supported yet".to_owned(), Ink::Dim),
    }
}
