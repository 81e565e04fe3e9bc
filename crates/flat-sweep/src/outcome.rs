//! The outcome of a run's process.

use crate::jobs::Exit;
use crate::record::{Record, State};
use crate::store::Place;
use anyhow::Result;
use flat_run::value::{percent, short};

/// Exit status of a run that diverged.
const DIVERGED: i32 = 3;
/// Exit status of a run that was asked to stop.
const STOPPED: i32 = 130;

/// What a run came to; `None` where it was stopped to go on later.
pub(crate) fn result(place: &Place, Exit { code, said }: Exit) -> Result<Option<Record>> {
    let said = Some(said).filter(|said| !said.is_empty());
    let ended = place.dir.join("summary.json").exists();
    Ok(Some(match code {
        Some(STOPPED) => return Ok(None),
        Some(0 | DIVERGED) if ended => Record { why: said, ..Record::of_summary(&place.dir)? },
        Some(0) => Record::of_journal(&place.dir, State::Paused, None, u64::MAX)?,
        Some(DIVERGED) => Record::of_journal(&place.dir, State::Diverged, said, u64::MAX)?,
        Some(code) => {
            let why = said.unwrap_or_else(|| format!("exit status {code}; see {}", place.log.display()));
            Record::bare(State::Failed, Some(why))
        }
        None => Record::bare(State::Failed, Some("a signal ended its process; out of memory?".into())),
    }))
}

/// A run's result in a few words.
pub(crate) fn describe(record: &Record) -> String {
    let numbers = match (record.val_accuracy, record.val_loss) {
        (Some(accuracy), Some(loss)) => format!("validation accuracy {}, loss {}", percent(accuracy), short(loss)),
        _ => String::new(),
    };
    match record.state {
        State::Finished => numbers,
        State::Paused => format!("paused, {numbers}"),
        State::Diverged => "diverged".into(),
        State::Failed => format!("failed: {}", record.why.as_deref().unwrap_or_default()),
    }
}
