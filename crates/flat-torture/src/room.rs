//! The place of a campaign: the tool, a small data set, folders for runs.

use crate::toy;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The tool under test and a temporary folder that goes with the value.
#[derive(Debug)]
pub(crate) struct Room {
    tool: PathBuf,
    dir: tempfile::TempDir,
}

impl Room {
    /// With this `flat-train`, or the one beside this program.
    ///
    /// # Errors
    /// No tool there, or a full disk.
    pub fn new(tool: Option<&Path>) -> Result<Self> {
        let tool = match tool {
            Some(tool) => tool.to_path_buf(),
            None => std::env::current_exe()?.with_file_name("flat-train"),
        };
        if !tool.is_file() {
            bail!("{}: no flat-train there; build it (scripts/torture does) or give --tool", tool.display());
        }
        let tool = tool.canonicalize().with_context(|| format!("cannot find {}", tool.display()))?;
        let dir = tempfile::Builder::new().prefix("torture-").tempdir()?;
        let room = Self { tool, dir };
        toy::write(&room.path("data"))?;
        let words = ["data", "color", "--seed", "3", "--quiet", "--data-dir"];
        let mut color = Command::new(&room.tool);
        color.args(words).arg(room.path("data")).arg("--out").arg(room.path("colors"));
        let made = color.output().context("flat-train does not start")?;
        if !made.status.success() {
            bail!("flat-train data color: {}", String::from_utf8_lossy(&made.stderr));
        }
        Ok(room)
    }

    /// A path in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap_or_else(|_| self.dir.path().into()).join(name)
    }

    /// A new folder's name; what was there goes.
    ///
    /// # Errors
    /// What is there cannot be deleted.
    pub fn fresh(&self, name: &str) -> Result<PathBuf> {
        let path = self.path(name);
        if path.exists() {
            std::fs::remove_dir_all(&path).with_context(|| format!("cannot clear {}", path.display()))?;
        }
        Ok(path)
    }

    /// The tool with these words, on one thread and the data of this folder alone.
    pub fn command(&self, words: &[String]) -> Command {
        let mut command = Command::new(&self.tool);
        command.args(words);
        self.settle(&mut command);
        command
    }

    /// The tool with these words, started by another program.
    pub fn command_under(&self, program: &[String], words: &[String]) -> Command {
        let mut command = Command::new(&program[0]);
        command.args(&program[1..]).arg(&self.tool).args(words);
        self.settle(&mut command);
        command
    }

    fn settle(&self, command: &mut Command) {
        command.args(["--threads", "1"]).current_dir(self.dir.path());
        command.env("FLAT_DATA_DIR", self.path("data")).env_remove("HF_ENDPOINT");
    }
}

/// Copies a folder with all that it holds.
///
/// # Errors
/// A full disk.
pub(crate) fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &to)?;
        } else {
            std::fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}
