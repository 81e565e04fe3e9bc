//! `--ui`.

/// What shows progress, as `--ui` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum UiName {
    /// tui on a terminal, otherwise plain; plain too under NO_COLOR and where TERM is dumb.
    Auto,
    /// A live view of the whole terminal.
    Tui,
    /// A bar.
    Bars,
    /// A line every ten seconds.
    Plain,
}
