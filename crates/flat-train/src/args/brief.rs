//! What `-h` shows of a long list of flags: those that most people type, a sentence each. `--help` shows all.

use clap::Arg;

/// Of `train` and `sweep`.
const OF_BOTH: [&str; 11] =
    ["optimizer", "rho", "sigma", "lr", "model", "dataset", "epochs", "batch-size", "seed", "out", "config"];

/// Of `train` alone.
const OF_TRAIN: [&str; 2] = ["recipe", "resume"];

/// Of `sweep` alone.
const OF_SWEEP: [&str; 6] = ["grid", "sample", "random", "seeds", "budget", "jobs"];

/// What stands below `-h` of both.
pub(super) const MORE: &str =
    "--help lists all flags, `flat-train optimizers` those of every rule with their defaults.";

/// A flag of `train` as `-h` shows it, or not.
pub(super) fn of_train(arg: Arg) -> Arg {
    shown(arg, &OF_TRAIN)
}

/// As [`of_train`], of `sweep`.
pub(super) fn of_sweep(arg: Arg) -> Arg {
    shown(arg, &OF_SWEEP)
}

fn shown(arg: Arg, own: &[&str]) -> Arg {
    let name = arg.get_id().as_str();
    if OF_BOTH.contains(&name) || own.contains(&name) { shortened(arg) } else { arg.hide_short_help(true) }
}

/// With a few words for `-h`, and all of it for `--help`.
fn shortened(arg: Arg) -> Arg {
    let whole = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let values: Vec<String> = arg.get_possible_values().iter().map(|value| value.get_name().to_string()).collect();
    let long = match values.is_empty() {
        true => whole.clone(),
        false => format!("{whole} [possible values: {}]", values.join(", ")),
    };
    arg.help(in_short(&whole)).long_help(long).hide_possible_values(true)
}

/// The first clause, without the names of those that have the flag, and the default where it is one for all.
fn in_short(whole: &str) -> String {
    let (text, default) = match whole.split_once(" [default: ") {
        Some((text, default)) => (text, default.split(']').next().filter(|d| !d.contains(", "))),
        None => (whole, None),
    };
    let text = match text.split_once(": ") {
        Some((owners, text)) if owners.split(", ").all(|name| !name.contains(' ')) => text,
        _ => text,
    };
    let end = [". ", "; ", ": ", " ("].iter().filter_map(|mark| text.find(mark)).min().unwrap_or(text.len());
    let default = default.map_or(String::new(), |default| format!(" [default: {default}]"));
    format!("{}{default}", text[..end].trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Cli;
    use clap::{Command, CommandFactory};

    /// A command line, which all subcommands are of, in a terminal of 80 columns.
    fn root() -> Command {
        let mut root = Cli::command().term_width(80);
        root.build();
        root
    }

    fn help_of(name: &str, long: bool) -> Option<String> {
        let mut command = root().find_subcommand(name)?.clone().term_width(80);
        Some(if long { command.render_long_help() } else { command.render_help() }.to_string())
    }

    #[test]
    fn short_help_fits_a_screen_and_long_help_has_every_flag() -> Result<(), String> {
        for (name, own, lines) in [("train", &OF_TRAIN[..], 40), ("sweep", &OF_SWEEP, 55)] {
            let (short, long) = (help_of(name, false).ok_or(name)?, help_of(name, true).ok_or(name)?);
            assert!(short.lines().count() <= lines, "{} lines:\n{short}", short.lines().count());
            let root = root();
            let flags = root.find_subcommand(name).ok_or(name)?.get_arguments().filter(|arg| !arg.is_hide_set());
            for flag in flags.filter_map(Arg::get_long) {
                assert!(long.contains(&format!("--{flag}")), "--help of {name} lacks --{flag}");
            }
            for flag in OF_BOTH.iter().chain(own) {
                assert!(short.contains(&format!("--{flag}")), "-h of {name} lacks --{flag}");
            }
        }
        Ok(())
    }

    #[test]
    fn a_flag_in_short_is_its_first_clause_with_a_default_that_is_one_for_all() {
        for (whole, short) in [
            ("sam, rsp: Radius: a length; usam: a factor [default: sam 0.05, rsp 1].", "Radius"),
            ("Network. It has layers [default: lenet].", "Network [default: lenet]"),
            ("Stop after N steps (of all)", "Stop after N steps"),
            ("One thing, in short: no owner", "One thing, in short"),
        ] {
            assert_eq!(in_short(whole), short);
        }
    }

    #[test]
    fn no_help_is_wider_than_80_columns() {
        fn all(command: &Command, found: &mut Vec<Command>) {
            found.push(command.clone().term_width(80));
            command.get_subcommands().for_each(|command| all(command, found));
        }
        let mut found = Vec::new();
        all(&root(), &mut found);
        assert!(found.len() > 20, "{} commands", found.len());
        for mut command in found {
            for help in [command.render_help(), command.render_long_help()] {
                let help = help.to_string();
                let wide: Vec<&str> = help.lines().filter(|line| line.chars().count() > 80).collect();
                assert!(wide.is_empty(), "{}: {wide:#?}", command.get_name());
            }
        }
    }
}
