//! The directory of a run: its lock and the paths of its files.

use crate::store::file::lock;
use crate::usage::usage;
use anyhow::{Context, Result, bail};
use flat_core::file;
use std::fs::File;
use std::path::{Path, PathBuf};

/// How the names of event files begin.
pub(crate) const EVENTS: &str = "events.out.tfevents.";

/// A run directory, locked for this process as long as the value lives, or another rank's.
#[derive(Debug)]
pub struct RunDir {
    root: PathBuf,
    /// `None` where another rank has it.
    lock: Option<File>,
}

impl RunDir {
    /// Creates the directory of a new run.
    ///
    /// # Errors
    /// The directory holds a run already, or cannot be written.
    pub fn create(root: &Path) -> Result<Self> {
        refuse_run(root)?;
        std::fs::create_dir_all(root.join("checkpoints"))
            .with_context(|| format!("cannot create the run directory {}", root.display()))?;
        let dir = Self::lock(root)?;
        // another process may have come and gone in between
        refuse_run(root)?;
        Ok(dir)
    }

    /// Creates `base`, or `base-2`, `base-3`, ... where that holds a run already.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn create_numbered(base: &Path) -> Result<Self> {
        for n in 1..10_000 {
            let mut name = base.as_os_str().to_owned();
            if n > 1 {
                name.push(format!("-{n}"));
            }
            let root = Path::new(&name);
            let made = match root.parent() {
                Some(parent) => std::fs::create_dir_all(parent).and_then(|()| std::fs::create_dir(root)),
                None => std::fs::create_dir(root),
            };
            match made {
                Ok(()) => return Self::create(root),
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e).with_context(|| format!("cannot create {}", root.display())),
            }
        }
        bail!("{}: 10,000 runs of this name exist; give --out", base.display())
    }

    /// Opens the directory of an earlier run.
    ///
    /// # Errors
    /// No run there, or another process is at it.
    pub fn open(root: &Path) -> Result<Self> {
        if !root.join("config.toml").is_file() {
            let remedy = match root.is_dir() {
                true => format!("start one there with `train --out {}`", root.display()),
                false => "name the folder of a run".into(),
            };
            return Err(usage(format!("--resume {}: no run there (config.toml is missing); {remedy}", root.display())));
        }
        let checkpoints = root.join("checkpoints");
        file::no_link(&checkpoints)
            .and_then(|()| std::fs::create_dir_all(&checkpoints))
            .with_context(|| format!("cannot write to {}", checkpoints.display()))?;
        Self::lock(root)
    }

    fn lock(root: &Path) -> Result<Self> {
        let lock = lock(root, "checkpoints")?;
        Ok(Self { root: root.to_path_buf(), lock: Some(lock) })
    }

    /// The directory of a run that another rank has: to read from.
    pub fn of_another(root: &Path) -> Self {
        Self { root: root.to_path_buf(), lock: None }
    }

    /// Whether this process writes in it.
    pub fn is_own(&self) -> bool {
        self.lock.is_some()
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The resolved configuration.
    pub fn config(&self) -> PathBuf {
        self.root.join("config.toml")
    }

    /// The final weights.
    pub fn model(&self) -> PathBuf {
        self.root.join("model.safetensors")
    }

    /// The weights before the first step, where asked for.
    pub fn init(&self) -> PathBuf {
        self.root.join("init.safetensors")
    }

    /// One JSON object a line along the run.
    pub fn metrics(&self) -> PathBuf {
        self.root.join("metrics.jsonl")
    }

    /// The same as a table, with `--log csv`.
    pub fn metrics_csv(&self) -> PathBuf {
        self.root.join("metrics.csv")
    }

    /// The result as a table of one row, with `--log csv`.
    pub fn summary_csv(&self) -> PathBuf {
        self.root.join("summary.csv")
    }

    /// The result.
    pub fn summary(&self) -> PathBuf {
        self.root.join("summary.json")
    }

    /// The result of the run as it was before it was made longer than `steps`.
    pub fn shorter_summary(&self, steps: u64) -> PathBuf {
        self.root.join(format!("summary-{steps}-steps.json"))
    }

    /// The checkpoints' folder.
    pub fn checkpoints(&self) -> PathBuf {
        self.root.join("checkpoints")
    }
}

/// Refuses a folder that holds a run. What a process leaves that was killed before it wrote `config.toml` is none: an empty folder
/// for checkpoints, a lock and a half-written file. A file of `--log` without its run is refused too: nobody wants it emptied.
fn refuse_run(root: &Path) -> Result<()> {
    let files = ["config.toml", "metrics.jsonl", "model.safetensors", "summary.json", "metrics.csv", "summary.csv"]
        .map(|file| root.join(file));
    let inside = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().filter_map(|f| Some(f.ok()?.path()));
    let checkpoints = inside(root.join("checkpoints")).filter(|f| f.extension().is_some_and(|k| k == "safetensors"));
    let events = inside(root.to_path_buf())
        .filter(|f| f.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(EVENTS)));
    match files.into_iter().filter(|file| file.exists()).chain(checkpoints).chain(events).next() {
        None => Ok(()),
        Some(file) => Err(usage(format!(
            "--out {dir} holds a run already ({} is there): continue it with `--resume {dir}`, or choose another folder",
            file.strip_prefix(root).unwrap_or(&file).display(),
            dir = root.display()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::file::write_whole;

    #[test]
    fn two_runs_in_one_directory_are_refused() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let run = RunDir::create(&dir.path().join("a"))?;
        assert!(RunDir::lock(run.root()).expect_err("locked").to_string().contains("another process"));
        write_whole(&run.config(), b"")?;
        drop(run);
        let e = RunDir::create(&dir.path().join("a")).expect_err("holds a run").to_string();
        assert!(e.contains("--resume"), "{e}");
        assert!(RunDir::open(&dir.path().join("a")).is_ok());
        assert!(RunDir::open(&dir.path().join("b")).is_err());
        Ok(())
    }

    #[test]
    fn leftovers_of_a_killed_process_are_swept_and_foreign_checkpoints_refused() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let root = dir.path().join("a");
        let run = RunDir::create(&root)?;
        std::fs::write(run.checkpoints().join(".partial-x"), b"half")?;
        write_whole(&run.config(), b"")?;
        drop(run);
        let run = RunDir::open(&root)?;
        assert_eq!(std::fs::read_dir(run.checkpoints())?.count(), 0);
        drop(run);
        std::fs::remove_file(root.join("config.toml"))?;
        std::fs::write(root.join("checkpoints/step-0000000001.safetensors"), b"")?;
        assert!(RunDir::create(&root).is_err(), "its checkpoints folder is another run's");
        assert!(RunDir::open(&root).is_err(), "its configuration is gone");
        // what a process leaves that is killed before it writes config.toml
        std::fs::remove_file(root.join("checkpoints/step-0000000001.safetensors"))?;
        std::fs::write(root.join(".partial-config"), b"half")?;
        assert!(RunDir::open(&root).expect_err("no configuration").to_string().contains("--out"));
        assert!(RunDir::create(&root).is_ok() && !root.join(".partial-config").exists());
        Ok(())
    }

    #[test]
    fn numbered_directories_do_not_collide() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let a = RunDir::create_numbered(&dir.path().join("r"))?;
        let b = RunDir::create_numbered(&dir.path().join("r"))?;
        assert_ne!(a.root(), b.root());
        Ok(())
    }
}
