//! `lk gates`: lists gates.

use lockkeeper_api::client::ClientError;
use lockkeeper_api::{Gate, GateFilter, GateQuery};

use crate::clock::Times;
use crate::context::Context;
use crate::exit;
use crate::failure::Outcome;
use crate::format::{Format, Shown};
use crate::refs;
use crate::start;
use crate::style::{Ink, Style};
use crate::table::{Cell, Table};
use crate::view;

/// List gates
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// List closed gates too
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    shown: Shown,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let query = GateQuery { state: args.all.then_some(GateFilter::All), session: None };
    let gates = match context.client.gates(&query).await {
        Ok(list) => list.items,
        Err(ClientError::NoDaemon { .. }) => {
            context.out.note(format!("no daemon runs; {}", start::advice("`lk run` starts one")));
            args.shown.nothing(context)?;
            return Ok(exit::OK);
        }
        Err(error) => return Err(error.into()),
    };
    args.shown.list(context, &gates, || table(&gates, args.shown.times(), context.out.style))?;
    if gates.is_empty() && context.out.terminal && args.shown.output == Format::Table {
        context.out.note(if args.all { "there are no gates" } else { "no gate is open" });
    }
    Ok(exit::OK)
}

/// The table of gates.
pub(crate) fn table(gates: &[Gate], times: Times, style: Style) -> Table {
    const INPUT: usize = 200;
    let headings = ["GATE", "SESSION", "TOOL", "INPUT", "RISK", "RULE", "STATE", "AGE", "EXPIRES"];
    let expires = gates.iter().any(|gate| gate.expires.is_some());
    let headings = if expires { &headings[..] } else { &headings[..headings.len() - 1] };
    let mut table =
        Table::new(headings, &["INPUT", "SESSION"], &["RULE", "RISK", "SESSION", "AGE", "STATE", "EXPIRES"]);
    let ids: Vec<&str> = gates.iter().map(|gate| gate.session.as_str()).collect();
    for gate in gates {
        let short = refs::short_id(gate.session.as_str(), ids.iter().copied());
        let state = gate.decision.as_ref().map_or(gate.state.word(), |decision| decision.decision.past());
        let left = gate.expires.filter(|_| gate.is_open()).map(|at| times.ahead(at)).unwrap_or_default();
        let cells = [
            Cell::inked(format!("{short}.{}", gate.no), Ink::Bold),
            gate.session_name.as_ref().map(ToString::to_string).unwrap_or_default().into(),
            gate.tool.as_str().into(),
            view::tool_summary(&gate.tool, &gate.input, &gate.dir, INPUT, style).into(),
            gate.risk.as_str().into(),
            gate.rule.as_str().into(),
            Cell::inked(state, if gate.is_open() { Ink::Yellow } else { Ink::Dim }),
            times.show(gate.opened).into(),
        ];
        table.row(cells.into_iter().chain(expires.then(|| left.into())));
    }
    table
}
