//! `lk gates`: lists gates, or shows some of them whole.

use lockkeeper_api::client::ClientError;
use lockkeeper_api::{Gate, GateFilter, GateQuery};

use crate::clock::Times;
use crate::context::Context;
use crate::escape;
use crate::exit;
use crate::failure::Outcome;
use crate::format::{Format, Series, Shown};
use crate::held;
use crate::refs;
use crate::start;
use crate::style::{Ink, Style};
use crate::table::{Cell, Table};
use crate::view::{self, Size};

/// List gates, or show some of them whole
///
/// Without a name this lists the open gates. A gate that is named is shown with all of its input, however long that is,
/// as `lk run` and `lk attach` show it before somebody decides.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Gates to show whole: SESSION.g1, or a session with one open gate
    #[arg(value_name = "GATE")]
    gates: Vec<String>,
    /// List closed gates too
    #[arg(short, long, conflicts_with = "gates")]
    all: bool,
    #[command(flatten)]
    shown: Shown,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    if !args.gates.is_empty() {
        return show(&args.gates, args.shown, context).await;
    }
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

/// Shows gates whole.
async fn show(names: &[String], shown: Shown, context: &Context) -> Outcome {
    let mut done = Series::new(context, shown);
    let all = async {
        for name in names {
            let gate = refs::gate(context, name).await?;
            done.push(gate, |gate| whole(gate, shown.times(), context))?;
        }
        Ok(exit::OK)
    };
    let code = all.await;
    done.finish()?;
    code
}

/// The box of a gate, and below it what can be done about it or what was.
fn whole(gate: &Gate, times: Times, context: &Context) -> String {
    let style = context.out.style;
    let drawn = view::draw_gate(gate, &held::by_file_of(gate), Size::Whole, context.out.width, style);
    format!("{}{}\n", drawn.text, style.dim(&format!("{} {}", style.signs().dot, standing(gate, times))))
}

fn standing(gate: &Gate, times: Times) -> String {
    if let Some(decision) = &gate.decision {
        let told = decision.message.as_ref().map(|message| format!(": {}", escape::line(message)));
        let (past, by) = (decision.decision.past(), escape::line(&decision.by));
        return format!("{past} by {by} {}{}", times.ago(decision.at), told.unwrap_or_default());
    }
    if let Some(withdrawn) = &gate.withdrawn {
        return format!("closed {}: {}", times.ago(withdrawn.at), view::withdrawal(withdrawn.why));
    }
    let expires = gate.expires.map(|at| format!(", expires {}", times.ahead(at))).unwrap_or_default();
    format!("open {}{expires}: {}", times.lasting(gate.opened), refs::ways(gate))
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
