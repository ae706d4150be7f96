//! `lk completion`: completions for a shell.

use std::io::Write as _;

use clap_complete::Shell;

use crate::cli;
use crate::exit;
use crate::failure::Outcome;

/// Write completions for a shell
///
/// bash: lk completion bash > ~/.local/share/bash-completion/completions/lk
/// zsh:  lk completion zsh > ~/.zfunc/_lk
/// fish: lk completion fish > ~/.config/fish/completions/lk.fish
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut cli::grammar(), "lk", &mut script);
    std::io::stdout().lock().write_all(&script)?;
    Ok(exit::OK)
}
