//! `flat-train completions` and `man`: what a shell and a manual need, made from the definition of the command line.

use super::print_bytes;
use crate::args::{Cli, ManArgs};
use crate::exit::Outcome;
use anyhow::{Context, Result};
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use flat_run::Ui;
use flat_run::store::write_whole;

/// Prints the script that completes commands, flags and their values.
pub(super) fn completions(shell: Shell) -> Result<Outcome> {
    let mut command = Cli::command();
    let (name, mut script) = (command.get_name().to_string(), Vec::new());
    clap_complete::generate(shell, &mut command, name, &mut script);
    print_bytes(&script)
}

/// Prints the manual, or writes a page for every command into a folder.
pub(super) fn manual(args: &ManArgs, ui: Ui) -> Result<Outcome> {
    let mut root = Cli::command();
    root.build();
    let Some(folder) = &args.out else {
        return print_bytes(&rendered(&Man::new(root))?);
    };
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create --out {}", folder.display()))?;
    let mut pages = Vec::new();
    pages_of(root, &mut pages)?;
    for (name, text) in &pages {
        write_whole(&folder.join(name), text)?;
    }
    ui.say(format!(
        "{} pages in {}; `man -l {}` shows the first",
        pages.len(),
        folder.display(),
        folder.join(&pages[0].0).display()
    ));
    Ok(Outcome::Done)
}

/// The pages of a command and of those below it, with the names of their files.
fn pages_of(command: Command, pages: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
    let below: Vec<Command> =
        command.get_subcommands().filter(|c| c.get_name() != "help" && !c.is_hide_set()).cloned().collect();
    let man = Man::new(command.disable_help_subcommand(true));
    pages.push((man.get_filename(), rendered(&man)?));
    below.into_iter().try_for_each(|command| pages_of(command, pages))
}

fn rendered(man: &Man) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    man.render(&mut text)?;
    Ok(text)
}
