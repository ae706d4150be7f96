//! `lk allow --always`: lets a step go on, and such steps from now on.

use std::fmt::Write as _;
use std::io::IsTerminal as _;

use lockkeeper_api::{AlwaysRequest, Decision, DecisionRequest, RuleOffer, RuleScope};

use super::allow::sentence;
use super::rules;
use crate::context::Context;
use crate::escape;
use crate::exit;
use crate::failure::{Failure, Outcome};
use crate::format::{Series, Shown};
use crate::refs;
use crate::style::Style;
use crate::terminal::Terminal;

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// With --always, how far: this session, the agent's sessions in this workspace, or all of the agent's sessions
    #[arg(long, value_name = "SCOPE", default_value = "workspace", requires = "always")]
    scope: RuleScope,
    /// With --always, write the rules without asking
    #[arg(short, long, requires = "always")]
    yes: bool,
    /// With --always, show the rules and do nothing
    #[arg(long, requires = "always", conflicts_with = "yes")]
    dry_run: bool,
}

/// Shows the rules, and decides by them.
pub(crate) async fn run(gates: &[String], args: &Args, shown: Shown, context: &Context) -> Outcome {
    if args.dry_run {
        return show(gates, args.scope, shown, context).await;
    }
    let mut terminal = None;
    if !args.yes {
        terminal = std::io::stderr().is_terminal().then(Terminal::open).flatten();
        if terminal.is_none() {
            return Err(Failure::usage(
                "--always shows the rules before they are written, and there is no terminal",
            )
            .next("--dry-run shows them, -y writes them"));
        }
    }
    let mut done = Series::new(context, shown);
    let all = async {
        for name in gates {
            let gate = refs::gate(context, name).await?;
            let reference = refs::gate_reference(&gate);
            let offer = context.client.rules_for(&reference, args.scope).await?;
            context.out.note(told(&offer, &refs::gate_title(&gate), context.out.note_style).trim_end());
            if let Some(terminal) = &mut terminal
                && !offer.rules.is_empty()
                && !confirmed(terminal, context).await
            {
                context.out.note("nothing is decided and nothing is written");
                return Ok(exit::REJECTED);
            }
            let always = AlwaysRequest { scope: offer.scope, rules: offer.rules };
            let request = DecisionRequest {
                input_hash: Some(gate.input_hash.clone()),
                always: Some(always),
                ..DecisionRequest::from(Decision::Allow)
            };
            let decided = context.client.decide(&reference, &request).await?;
            done.push(decided, |gate| sentence(gate, context.out.style))?;
        }
        Ok(exit::OK)
    };
    let code = all.await;
    done.finish()?;
    code
}

async fn show(gates: &[String], scope: RuleScope, shown: Shown, context: &Context) -> Outcome {
    let mut done = Series::new(context, shown);
    let all = async {
        for name in gates {
            let gate = refs::gate(context, name).await?;
            let offer = context.client.rules_for(&refs::gate_reference(&gate), scope).await?;
            let title = refs::gate_title(&gate);
            done.push(offer, |offer| told(offer, &title, context.out.style))?;
        }
        Ok(exit::OK)
    };
    let code = all.await;
    done.finish()?;
    code
}

/// The rules, and where they would be.
pub(crate) fn told(offer: &RuleOffer, gate: &str, style: Style) -> String {
    if offer.rules.is_empty() {
        return format!("{gate}: rules let such steps go on already\n");
    }
    let whose = match offer.scope {
        RuleScope::Session => "for this session",
        RuleScope::Workspace => "for this agent in this workspace",
        RuleScope::User => "for this agent everywhere",
    };
    let place = offer.file.as_deref().map(|file| format!(", in {}", escape::line(file))).unwrap_or_default();
    let mut text = format!("{gate}: always {whose}{place}\n");
    for rule in &offer.rules {
        let about = rules::about(rule);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {} {}", rule.effect, style.bold(&escape::line(&about)));
        if rule.command.is_none() && rule.path.is_none() && rule.host.is_none() {
            text.push_str("    whatever this tool is given\n");
        }
    }
    text
}

/// Whether somebody says yes to what stands on the screen.
async fn confirmed(terminal: &mut Terminal, context: &Context) -> bool {
    context.out.ask("write that, and allow? [y/N] ");
    terminal.forget_typed();
    terminal.line().await.is_some_and(|line| matches!(line.trim(), "y" | "yes"))
}
