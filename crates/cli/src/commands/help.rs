//! `lk help`: explains a command or a topic.

use crate::cli;
use crate::exit;
use crate::failure::{Failure, Outcome};
use crate::out::Out;

/// Explain a command or a topic
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A command, such as `run` or `queue edit`, or the topic exit-codes
    #[arg(value_name = "TOPIC")]
    topic: Vec<String>,
}

/// Runs the command.
pub(crate) fn run(args: &Args, out: &Out) -> Outcome {
    if args.topic == ["exit-codes"] {
        out.raw(exit_codes().as_bytes())?;
        return Ok(exit::OK);
    }
    let mut grammar = cli::grammar();
    grammar.build();
    let mut command = &mut grammar;
    for word in &args.topic {
        command = command.find_subcommand_mut(word).ok_or_else(|| {
            Failure::usage(format!("there is no command {word}")).next("`lk help` lists them")
        })?;
    }
    out.raw(command.render_long_help().to_string().as_bytes())?;
    Ok(exit::OK)
}

fn exit_codes() -> String {
    exit::MEANINGS
        .iter()
        .fold(String::new(), |text, (code, meaning)| text + &format!("{code:>3}  {meaning}\n"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_exit_codes() {
        insta::assert_snapshot!(super::exit_codes());
    }
}
