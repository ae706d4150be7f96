//! `lk gates`: lists gates, or shows some of them whole.

use lockkeeper_api::client::ClientError;
use lockkeeper_api::{Gate, GateDecision, GateFilter, GateQuery, Reference, Through};

use super::watch::{self, Watched};
use crate::clock::Times;
use crate::context::Context;
use crate::cut;
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
    /// Only of this session
    #[arg(short, long, value_name = "REF", conflicts_with = "gates")]
    session: Option<Reference>,
    /// Draw the list again whenever something happens, until Ctrl-C, and ring the bell when a gate opens
    #[arg(long, conflicts_with_all = ["gates", "output"])]
    watch: bool,
    #[command(flatten)]
    shown: Shown,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    if !args.gates.is_empty() {
        return show(&args.gates, args.shown, context).await;
    }
    let session = args.session.as_ref().map(ToString::to_string);
    let query = GateQuery { state: args.all.then_some(GateFilter::All), session };
    if args.watch {
        let gates = Gates { query: &query, shown: args.shown, style: context.out.style };
        return watch::run(&gates, context).await;
    }
    let gates = match context.client.gates(&query).await {
        Ok(list) => list.items,
        Err(ClientError::NoDaemon { .. }) => {
            start::note_no_daemon(context)?;
            args.shown.nothing(context)?;
            return Ok(exit::OK);
        }
        Err(error) => return Err(error.into()),
    };
    args.shown.list(context, &gates, || table(&gates, args.shown.times(), context.out.style))?;
    if gates.is_empty() && context.out.terminal && args.shown.output == Format::Table {
        context.out.note(none_listed(&query));
    }
    Ok(exit::OK)
}

/// What an empty list means.
fn none_listed(query: &GateQuery) -> &'static str {
    if query.state.is_some() { "there are no gates" } else { "no gate is open" }
}

/// The list that is drawn again.
struct Gates<'a> {
    query: &'a GateQuery,
    shown: Shown,
    style: Style,
}

impl Watched for Gates<'_> {
    type Item = Gate;

    /// Sessions tell their names, and take their gates with them; a gate may close with the process that asked.
    const KINDS: Option<&'static str> = Some("gate.*,session.*,attempt.*");

    async fn list(&self, context: &Context) -> Result<Vec<Gate>, ClientError> {
        Ok(context.client.gates(self.query).await?.items)
    }

    fn table(&self, items: &[Gate]) -> Table {
        table(items, self.shown.times(), self.style)
    }

    fn nothing(&self) -> &'static str {
        none_listed(self.query)
    }

    fn may_change(_: &Gate) -> bool {
        false
    }

    /// A gate that opened waits for somebody.
    fn calls(before: &[Gate], now: &[Gate]) -> bool {
        now.iter().any(|gate| gate.is_open() && before.iter().all(|known| known.id != gate.id))
    }
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

/// The box of a gate, and below it what can be done about it, or what was and with which input or answers.
fn whole(gate: &Gate, times: Times, context: &Context) -> String {
    let style = context.out.style;
    let drawn = view::draw_gate(gate, &held::by_file_of(gate), Size::Whole, context.out.width, style);
    let stands = style.dim(&format!("{} {}", style.signs().dot, standing(gate, times)));
    let given = view::draw_given(gate, context.out.width, style).unwrap_or_default();
    format!("{}{stands}\n{given}", drawn.text)
}

fn standing(gate: &Gate, times: Times) -> String {
    if let Some(decision) = &gate.decision {
        let told = decision.message.as_ref().map(|message| format!(": {}", escape::line(message)));
        let (past, by) = (decided(decision), escape::line(&decision.by));
        return format!("{past} by {by} {}{}", times.ago(decision.at), told.unwrap_or_default());
    }
    if let Some(withdrawn) = &gate.withdrawn {
        return format!("closed {}: {}", times.ago(withdrawn.at), view::withdrawal(withdrawn.why));
    }
    let expires = gate.expires.map(|at| format!(", expires {}", times.ahead(at))).unwrap_or_default();
    let mut text = format!("open {}{expires}: {}", times.lasting(gate.opened), refs::ways(gate));
    // An older daemon does not tell.
    if !gate.deciders.is_empty() {
        let who = gate.deciders.join(" or ");
        text = format!("{text}; {} may decide, and no program that an agent runs", escape::line(&who));
    }
    text
}

/// What was decided, and whether nobody looked at it.
fn decided(decision: &GateDecision) -> String {
    let past = decision.decision.past();
    match decision.through {
        Through::Bypass => format!("{past} (bypass)"),
        Through::Person | Through::Rule | Through::Expiry | Through::Agent => past.to_owned(),
    }
}

/// The table of gates.
pub(crate) fn table(gates: &[Gate], times: Times, style: Style) -> Table {
    const INPUT: usize = 200;
    /// Names of tools come from programs that somebody else wrote; a longer one would leave no room for the rest.
    const TOOL: usize = 64;
    let headings = ["GATE", "SESSION", "TOOL", "INPUT", "RISK", "RULE", "STATE", "AGE", "EXPIRES"];
    let expires = gates.iter().any(|gate| gate.is_open() && gate.expires.is_some());
    let headings = if expires { &headings[..] } else { &headings[..headings.len() - 1] };
    let mut table =
        Table::new(headings, &["INPUT", "SESSION", "TOOL"], &["RULE", "SESSION", "RISK", "AGE", "EXPIRES"]);
    let ids: Vec<&str> = gates.iter().map(|gate| gate.session.as_str()).collect();
    for gate in gates {
        let short = refs::short_id(gate.session.as_str(), ids.iter().copied());
        let state = gate.decision.as_ref().map_or_else(|| gate.state.word().to_owned(), decided);
        let left = gate.expires.filter(|_| gate.is_open()).map(|at| times.ahead(at)).unwrap_or_default();
        let cells = [
            Cell::inked(format!("{short}.{}", gate.no), Ink::Bold),
            gate.session_name.as_ref().map(ToString::to_string).unwrap_or_default().into(),
            cut::summary(&gate.tool, TOOL, style).into(),
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::allow::sentence;
    use crate::escape::HOSTILE;
    use crate::view::tests::api_gate;

    type Result = std::result::Result<(), Box<dyn std::error::Error>>;

    const STYLE: Style = Style { colour: false, unicode: true };

    fn hostile() -> std::result::Result<Gate, Box<dyn std::error::Error>> {
        let all = HOSTILE.map(|(raw, _)| format!("a{raw}b")).concat();
        let mut gate = api_gate("Bash", &json!({"command": all}).to_string())?;
        gate.rule.clone_from(&all);
        gate.risk = all;
        gate.tool = HOSTILE[0].0.to_owned();
        Ok(gate)
    }

    #[test]
    fn nothing_that_a_terminal_obeys_gets_into_a_list_or_a_sentence() -> Result {
        let gate = hostile()?;
        let query = GateQuery::default();
        let shown = Shown { output: Format::Table, exact: true };
        let watched = Gates { query: &query, shown, style: STYLE };
        let list = watched.table(std::slice::from_ref(&gate)).render(STYLE, None);
        let screen = watch::screen(&list, "", 24, STYLE);
        // The screen has its own way with the terminal.
        let screen =
            screen.replace("\u{1b}[H", "").replace("\u{1b}[K\r\n", "").replace("\u{1b}[K\u{1b}[J", "");
        for text in [list, screen, sentence(&gate, STYLE)] {
            for (raw, escaped) in HOSTILE {
                // White space runs together where there is one line for something.
                let told = raw == "\r" || text.contains(escaped);
                assert!(!text.contains(raw) && told, "{raw:?}: {text:?}");
            }
        }
        Ok(())
    }

    #[test]
    fn hostile_texts_in_a_list() -> Result {
        let list = table(&[hostile()?], Times::Exact, STYLE);
        insta::assert_snapshot!(list.render(STYLE, Some(80)) + "\n" + &list.render(STYLE, None));
        Ok(())
    }

    #[test]
    fn a_row_is_short_whatever_the_gate_is_about() -> Result {
        let long = "x".repeat(1_000_000);
        let mut gate = api_gate("Bash", &json!({"command": long}).to_string())?;
        gate.tool = long;
        let list = table(std::slice::from_ref(&gate), Times::Exact, STYLE).render(STYLE, None);
        assert!(list.lines().all(|line| line.len() < 500), "{}", list.len());
        let narrow = table(std::slice::from_ref(&gate), Times::Exact, STYLE).render(STYLE, Some(40));
        assert!(narrow.contains("INPUT"), "{narrow}");
        assert!(sentence(&gate, STYLE).len() < 500);
        Ok(())
    }

    #[test]
    fn a_gate_that_opened_calls_somebody() -> Result {
        let first = api_gate("Bash", "{}")?;
        let second = Gate { id: "other.g1".to_owned(), ..first.clone() };
        let closed = Gate { state: lockkeeper_api::GateStateWord::Decided, ..second.clone() };
        let cases = [
            (vec![], vec![first.clone()], true),
            (vec![first.clone()], vec![first.clone(), second.clone()], true),
            (vec![first.clone()], vec![first.clone()], false),
            (vec![first.clone(), second.clone()], vec![first.clone()], false),
            // With --all.
            (vec![first.clone(), second], vec![first.clone(), closed.clone()], false),
            (vec![first.clone()], vec![first, closed], false),
        ];
        for (before, now, expected) in cases {
            assert_eq!(Gates::calls(&before, &now), expected, "{now:?}");
        }
        Ok(())
    }
}
