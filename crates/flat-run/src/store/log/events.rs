//! Event files of TensorBoard: the scalars of a run's journal, and its settings for the HPARAMS tab.
//!
//! An event is a protocol buffer in a record. Field numbers are those of TensorFlow's `event.proto`, `summary.proto` and
//! `tensor.proto`, and of TensorBoard's `plugins/hparams/plugin_data.proto`.

use super::Format;
use super::protobuf::Message;
use super::record::record;
use super::scalars::{group, scalars, step};
use crate::store::line::Line;
use anyhow::Result;

/// The events of a run.
#[derive(Debug)]
pub(super) struct Events {
    /// When the run began, in seconds since 1970.
    pub(super) begun: u64,
    /// Its settings.
    pub(super) settings: toml::Table,
    /// Seconds since the run began, of the last line.
    pub(super) clock: f64,
}

/// The plugin that shows settings beside results.
const HPARAMS: &str = "hparams";
/// `DATA_CLASS_TENSOR` of `SummaryMetadata`.
const TENSOR: u64 = 2;
/// `DT_FLOAT` of `TensorProto`.
const FLOAT: u64 = 1;
/// `STATUS_SUCCESS` and `STATUS_FAILURE` of `SessionEndInfo`.
const SUCCESS: u64 = 1;
const FAILURE: u64 = 2;

impl Events {
    /// Seconds since 1970 at so many seconds of the run.
    fn time(&self, seconds: f64) -> f64 {
        self.begun as f64 + seconds
    }

    /// What the HPARAMS tab reads of a session: its data in the metadata of an empty tensor.
    fn session(&self, tag: &str, seconds: f64, field: u64, info: &Message) -> Vec<u8> {
        let data = Message::default().integer(1, 0).message(field, info);
        let plugin = Message::default().text(1, HPARAMS).message(2, &data);
        let metadata = Message::default().message(1, &plugin).integer(4, TENSOR);
        let shape = Message::default().message(2, &Message::default().integer(1, 0));
        let tensor = Message::default().integer(1, FLOAT).message(2, &shape);
        let value = Message::default().text(1, tag).message(9, &metadata).message(8, &tensor);
        let summary = Message::default().message(1, &value);
        record(Message::default().double(1, self.time(seconds)).message(5, &summary).bytes())
    }
}

/// A `google.protobuf.Value`.
fn value(setting: &toml::Value) -> Message {
    match setting {
        toml::Value::Integer(n) => Message::default().double(2, *n as f64),
        toml::Value::Float(x) => Message::default().double(2, *x),
        toml::Value::Boolean(on) => Message::default().integer(4, u64::from(*on)),
        toml::Value::String(text) => Message::default().text(3, text),
        other => Message::default().text(3, &other.to_string()),
    }
}

impl Format for Events {
    fn head(&self) -> Vec<u8> {
        let version = Message::default().double(1, self.time(0.0)).text(3, "brain.Event:2");
        let entry =
            |(key, setting): (&String, &toml::Value)| Message::default().text(1, key).message(2, &value(setting));
        let settings = self.settings.iter().map(entry).fold(Message::default(), |info, entry| info.message(1, &entry));
        let start = settings.double(5, self.time(0.0));
        [record(version.bytes()), self.session("_hparams_/session_start_info", 0.0, 3, &start)].concat()
    }

    fn line(&mut self, line: &Line) -> Result<Vec<u8>> {
        let Some(group) = group(line) else { return Ok(Vec::new()) };
        self.clock = match line {
            Line::Step(progress) => self.clock + progress.wall_s.unwrap_or_default(),
            Line::Epoch(progress) => progress.wall_s.unwrap_or(self.clock),
            Line::Flatness(flatness) => flatness.wall_s.unwrap_or(self.clock),
            Line::Other => self.clock,
        };
        let mut summary = Message::default();
        for (name, number) in scalars(line)?.iter().filter(|(name, _)| *name != "step") {
            let Some(x) = number.as_f64() else { continue };
            summary = summary.message(1, &Message::default().text(1, &format!("{group}/{name}")).float(2, x as f32));
        }
        let event = Message::default().double(1, self.time(self.clock)).integer(2, step(line)).message(5, &summary);
        Ok(record(event.bytes()))
    }

    fn end(&self, good: bool, seconds: f64) -> Vec<u8> {
        let status = if good { SUCCESS } else { FAILURE };
        let info = Message::default().integer(1, status).double(2, self.time(seconds));
        self.session("_hparams_/session_end_info", seconds, 4, &info)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::line::{Part, Progress};

    #[test]
    fn an_event_is_byte_for_byte_what_tensorboard_writes() -> Result<()> {
        let mut events = Events { begun: 1_700_000_000, settings: toml::Table::new(), clock: 0.0 };
        let progress = Progress { step: 300, split: Some(Part::Train), loss: Some(0.5), ..Progress::default() };
        let line = Line::Epoch(Progress { wall_s: Some(2.5), epoch: 3, ..progress });
        let bytes = events.line(&line)?;
        assert_eq!(hex(&bytes), EVENT);
        // and the file's first record
        assert_eq!(hex(&events.head()[..FIRST.len() / 2]), FIRST);
        Ok(())
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Printed by `tests/reference/tensorboard_events.py --fixture`.
    const EVENT: &str = "4a00000000000000af77dbb0090000a040fc54d94110ac022a3c0a120a0b747261696e2f65706f6368150000404\
         00a110a0a747261696e2f6c6f7373150000003f0a130a0c747261696e2f77616c6c5f731500002040f0b196f2";
    const FIRST: &str = "1800000000000000a37f4b220900000040fc54d9411a0d627261696e2e4576656e743a32eced8f9d";
}
