//! The tracer that gives a system call a fault, compiled by the C compiler that Rust links with.

use crate::case::Case;
use crate::room::Room;
use crate::sitting::Sitting;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = include_str!("tracer.c");

/// A call that was made.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub name: String,
    pub file: PathBuf,
    /// Whether it may need room on the disk.
    pub needs_room: bool,
}

/// The tracer's program.
#[derive(Debug)]
pub(super) struct Tracer {
    program: PathBuf,
    log: PathBuf,
}

impl Tracer {
    /// Compiles it; the inner error says why it cannot be had here.
    ///
    /// # Errors
    /// A full disk.
    pub fn build(room: &Room) -> Result<Result<Self, String>> {
        let (source, program) = (room.path("tracer.c"), room.path("tracer"));
        std::fs::write(&source, SOURCE)?;
        let compiled = Command::new("cc").arg("-O2").arg("-o").args([&program, &source]).output();
        match compiled {
            Err(e) => return Ok(Err(format!("there is no C compiler `cc` ({e})"))),
            Ok(out) if !out.status.success() => {
                let said = String::from_utf8_lossy(&out.stderr);
                return Ok(Err(format!(
                    "the tracer is not for this system: {}",
                    said.lines().next().unwrap_or_default()
                )));
            }
            Ok(_) => {}
        }
        let tracer = Self { program, log: room.path("calls") };
        let mut quiet = Command::new(&tracer.program);
        quiet.arg(&tracer.log).args(["0", "none", "/", "true"]);
        Ok(match quiet.status() {
            Ok(status) if status.success() => Ok(tracer),
            other => Err(format!("this system lets nobody trace a program ({other:?})")),
        })
    }

    /// Starts a case with a fault at a call (0 for none): how it ended, and the calls that it made.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn sitting(
        &self,
        room: &Room,
        case: &Case,
        out: &Path,
        at: usize,
        fault: &str,
    ) -> Result<(Sitting, Vec<Call>)> {
        let path = |path: &Path| path.display().to_string();
        let under = [path(&self.program), path(&self.log), at.to_string(), fault.into(), path(out)];
        let mut words = case.words(room, out)?;
        words.push("--quiet".into());
        let sitting = Sitting::of(&mut room.command_under(&under, &words))?;
        let text = std::fs::read_to_string(&self.log).context("the tracer's log")?;
        let call = |line: &str| {
            let mut fields = line.splitn(4, '\t').skip(1);
            let (name, room, file) = (fields.next()?, fields.next()?, fields.next()?);
            Some(Call { name: name.into(), file: file.into(), needs_room: room == "room" })
        };
        Ok((sitting, text.lines().filter_map(call).collect()))
    }
}
