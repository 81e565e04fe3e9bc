//! Files of a run, damaged: what is damaged may be refused or made up for, but not believed.

use crate::args::Given;
use crate::case::{CASES, Case, Kind};
use crate::kills::undisturbed;
use crate::outcome::Outcome;
use crate::random::Random;
use crate::report::Report;
use crate::room::{Room, copy_folder};
use crate::sitting::{Ended, Sitting};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// The cases that are tried: state of a base, an average, a subspace, BatchNorm, f64.
const TRIED: [&str; 5] = ["sgd", "sam-ema", "dom-sgd", "batch-norm", "f64-flatness"];

/// Where a file's bytes change.
const DAMAGES: [(&str, Damage); 7] = [
    ("one bit", one_bit),
    ("one bit of the header", |bytes, random| {
        let end = bytes.len().min(4096);
        one_bit(&mut bytes[..end].to_vec(), random).map(|changed| [&changed[..], &bytes[end..]].concat())
    }),
    ("4 KiB of zeros", |bytes, random| {
        let at = random.below(bytes.len().saturating_sub(4096));
        let mut changed = bytes.to_vec();
        let end = (at + 4096).min(bytes.len());
        changed[at..end].fill(0);
        Some(changed)
    }),
    ("16 other bytes", |bytes, random| {
        let at = random.below(bytes.len().saturating_sub(16));
        let mut changed = bytes.to_vec();
        changed.iter_mut().skip(at).take(16).for_each(|byte| *byte = random.bits() as u8);
        Some(changed)
    }),
    ("cut", |bytes, random| Some(bytes[..random.below(bytes.len())].to_vec())),
    ("emptied", |_, _| Some(Vec::new())),
    ("longer", |bytes, random| Some([&bytes[..], &[random.bits() as u8; 64]].concat())),
];

/// A change of a file's bytes; `None` where there is nothing to change.
type Damage = fn(&mut [u8], &mut Random) -> Option<Vec<u8>>;

fn one_bit(bytes: &mut [u8], random: &mut Random) -> Option<Vec<u8>> {
    let at = random.below(bytes.len());
    *bytes.get_mut(at)? ^= 1 << random.below(8);
    Some(bytes.to_vec())
}

/// A run half done and the same run at its end, each in a folder that is copied for every damage.
struct Specimen {
    case: Case,
    outcome: Outcome,
    /// Paused after half its steps.
    half: PathBuf,
    /// Ended.
    whole: PathBuf,
    /// What `eval` prints of its files.
    scores: Vec<(&'static str, String)>,
}

/// Files of a run half done, as a path from its folder, or as the newest checkpoint.
const HALF: [&str; 5] = ["newest", "checkpoints/best.safetensors", "metrics.jsonl", "config.toml", ".lock"];

/// Files of an ended run that `eval` reads.
const WHOLE: [&str; 2] = ["model.safetensors", "checkpoints/best.safetensors"];

/// Damages files until the time is over.
///
/// # Errors
/// A tool that does not run.
pub(crate) fn run(room: &Room, given: &Given, report: &mut Report) -> Result<()> {
    let cases = CASES.iter().filter(|case| TRIED.contains(&case.name) && given.wants(case.name));
    let specimens: Vec<Specimen> = cases.map(|case| specimen(room, *case)).collect::<Result<_>>()?;
    if specimens.is_empty() {
        bail!("--only {}: no case has that in its name", given.only);
    }
    let mut random = Random::new(given.seed);
    let files = HALF.len() + WHOLE.len();
    for i in 0.. {
        if !report.goes_on() {
            return Ok(());
        }
        // the checkpoint, in which everything is, is every second one's turn
        let specimen = &specimens[i % specimens.len()];
        let (name, damage) = *random.of(&DAMAGES);
        let turn = if i % 2 == 0 { 0 } else { random.below(files) };
        let (from, file) = match turn.checked_sub(HALF.len()) {
            None => (&specimen.half, HALF[turn]),
            Some(turn) => (&specimen.whole, WHOLE[turn]),
        };
        let out = room.fresh("damaged")?;
        copy_folder(from, &out)?;
        let path = if file == "newest" { newest(&out)? } else { out.join(file) };
        let mut bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
        let before = bytes.clone();
        let Some(changed) = damage(&mut bytes, &mut random).filter(|changed| *changed != before) else { continue };
        std::fs::write(&path, changed)?;
        report.tried += 1;
        let case = format!("{file} of {}", specimen.case.name);
        let came = if from == &specimen.half {
            specimen.resumed(room, file, &out)?
        } else {
            specimen.scored(room, file, &path)?
        };
        match came {
            Ok(what) => report.count(file, what),
            Err((kind, what)) => report.fail(&case, kind, format!("{name}: {what}")),
        }
    }
    Ok(())
}

fn specimen(room: &Room, case: Case) -> Result<Specimen> {
    assert_eq!(case.kind, Kind::Run, "only a run has these files");
    let outcome = undisturbed(room, case)?.outcome;
    let (half, whole) = (room.fresh(&format!("{}-half", case.name))?, room.fresh(&format!("{}-whole", case.name))?);
    for (out, pause) in [(&half, true), (&whole, false)] {
        let mut words = case.words(room, out)?;
        if pause {
            words.extend(["--pause-after".into(), "4".into()]);
        }
        let sitting = Sitting::of(&mut room.command(&words))?;
        if !sitting.is_well() {
            bail!("{}: {}", case.name, sitting.why());
        }
    }
    let mut specimen = Specimen { case, outcome, half, whole, scores: Vec::new() };
    for file in WHOLE {
        let score = specimen.eval(room, &specimen.whole.join(file))?;
        if !score.is_well() {
            bail!("eval of {file}: {}", score.why());
        }
        specimen.scores.push((file, score.printed));
    }
    Ok(specimen)
}

/// What came of it, or what failed.
type Came = Result<&'static str, (&'static str, String)>;

impl Specimen {
    fn eval(&self, room: &Room, file: &Path) -> Result<Sitting> {
        let words = ["eval", "--json", "--split", "test", "--limit", "64", "--dataset", "mnist", "--checkpoint"];
        let mut words: Vec<String> = words.map(String::from).to_vec();
        words.push(file.display().to_string());
        Sitting::of(&mut room.command(&words))
    }

    /// The damaged run half done, resumed.
    fn resumed(&self, room: &Room, file: &str, out: &Path) -> Result<Came> {
        let sitting = Sitting::of(&mut room.command(&self.case.words(room, out)?))?;
        if let Some(fault) = fault(&sitting) {
            return Ok(Err(fault));
        }
        if !sitting.is_well() {
            // what settings a run has, and what it wrote, cannot be found anew; everything else can
            let may = file == "config.toml";
            return Ok(if may { Ok("refused") } else { Err(("refused", sitting.why())) });
        }
        let outcome = Outcome::weights(out)?;
        Ok(if outcome.has_weights_of(&self.outcome) {
            match Outcome::of(&self.case, out).map(|whole| whole.differs_from(&self.outcome)) {
                // a journal that was damaged is not the journal of before
                Ok(Some(difference)) if file == "newest" => Err(("believed", difference)),
                _ => Ok("same weights"),
            }
        } else if file == "config.toml" && sitting.said.contains("steps become") {
            Ok("another length, which is said")
        } else {
            Err(("believed", "other weights, and nothing said".into()))
        })
    }

    /// A damaged file of weights, evaluated.
    fn scored(&self, room: &Room, file: &str, path: &Path) -> Result<Came> {
        let sitting = self.eval(room, path)?;
        if let Some(fault) = fault(&sitting) {
            return Ok(Err(fault));
        }
        let right = self.scores.iter().find(|(of, _)| *of == file).map(|(_, score)| score);
        Ok(match sitting.is_well() {
            false => Ok("refused"),
            true if Some(&sitting.printed) == right => Ok("same score"),
            true => Err(("believed", sitting.printed)),
        })
    }
}

/// What no damage excuses.
fn fault(sitting: &Sitting) -> Option<(&'static str, String)> {
    match sitting.ended {
        Ended::Hung => Some(("hangs", sitting.why())),
        Ended::Signal(_) => Some(("crashes", sitting.why())),
        Ended::Code(_) if sitting.said.contains("panicked") => Some(("crashes", sitting.why())),
        Ended::Code(code) if code != 0 && sitting.said.trim().is_empty() => Some(("says nothing", sitting.why())),
        Ended::Code(_) => None,
    }
}

fn newest(run: &Path) -> Result<PathBuf> {
    let folder = run.join("checkpoints");
    let files = std::fs::read_dir(&folder)?.filter_map(|entry| Some(entry.ok()?.path()));
    let steps = files.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("step-")));
    steps.max().with_context(|| format!("{} holds no checkpoint", folder.display()))
}
