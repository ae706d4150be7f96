//! `lk why`: explains a status.

use lockkeeper_api::{Reference, Why};

use crate::clock::Times;
use crate::context::Context;
use crate::escape;
use crate::exit;
use crate::failure::Outcome;
use crate::format::Shown;
use crate::style::Style;

/// Explain the status of a session
///
/// With the events that prove it; `lk events REF` lists them all.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The session
    #[arg(value_name = "REF")]
    session: Reference,
    #[command(flatten)]
    shown: Shown,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let why = context.client.why(&args.session).await?;
    args.shown.one(context, &why, || explain(&why, args.shown.times(), context.out.style))?;
    Ok(exit::OK)
}

fn explain(why: &Why, times: Times, style: Style) -> String {
    let name = why.name.as_ref().map_or_else(|| why.session.to_string(), ToString::to_string);
    let mut text = super::sentence(&name, why.status, why.since, times, style) + "\n";
    for line in &why.lines {
        text.push_str("  ");
        text.push_str(&escape::line(&line.text));
        let mut facts = Vec::new();
        facts.extend(line.since.map(|since| times.lasting(since)));
        facts.extend(line.until.map(|until| times.ahead(until)));
        facts.extend(
            line.evidence
                .as_ref()
                .map(|proof| format!("#{} {} {}", proof.seq, proof.kind, times.ago(proof.at))),
        );
        if !facts.is_empty() {
            text.push_str("  ");
            text.push_str(&style.dim(&escape::line(&facts.join(", "))));
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use lockkeeper_api::id::SessionId;
    use lockkeeper_api::{Cursor, Evidence, Status, Time, WhyLine};

    use super::*;

    #[test]
    fn an_explanation_comes_with_its_evidence() -> Result<(), Box<dyn std::error::Error>> {
        let at = Time::from_wall_ms;
        let why = Why {
            session: SessionId::from_random(7),
            name: Some("fix-tests".parse()?),
            status: Status::AwaitingInput,
            since: at(0),
            lines: vec![
                WhyLine {
                    text: "gate g1 is open: Bash \u{1b}[2J".to_owned(),
                    evidence: Some(Evidence { seq: 42, kind: "gate.opened".to_owned(), at: at(0) }),
                    ..WhyLine::default()
                },
                WhyLine {
                    text: "the tool Bash is at work".to_owned(),
                    since: Some(at(65_000)),
                    ..WhyLine::default()
                },
                WhyLine {
                    text: "the agent must speak".to_owned(),
                    until: Some(at(300_000)),
                    ..WhyLine::default()
                },
            ],
            cursor: Cursor::at(9),
        };
        insta::assert_snapshot!(explain(&why, Times::Relative(at(125_000)), Style::PLAIN));
        Ok(())
    }
}
