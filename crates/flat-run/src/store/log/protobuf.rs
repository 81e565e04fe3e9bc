//! The wire format of protocol buffers, as much as event files need.

/// A message under construction: fields in the order in which they were added.
#[derive(Debug, Clone, Default)]
pub(super) struct Message(Vec<u8>);

/// Wire types.
const VARINT: u64 = 0;
const EIGHT_BYTES: u64 = 1;
const LENGTH_DELIMITED: u64 = 2;
const FOUR_BYTES: u64 = 5;

impl Message {
    /// With an integer or an item of an enumeration.
    pub(super) fn integer(self, field: u64, value: u64) -> Self {
        self.key(field, VARINT).varint(value)
    }

    /// With a number in double precision.
    pub(super) fn double(self, field: u64, value: f64) -> Self {
        self.key(field, EIGHT_BYTES).raw(&value.to_le_bytes())
    }

    /// With a number in single precision.
    pub(super) fn float(self, field: u64, value: f32) -> Self {
        self.key(field, FOUR_BYTES).raw(&value.to_le_bytes())
    }

    /// With a text.
    pub(super) fn text(self, field: u64, value: &str) -> Self {
        self.key(field, LENGTH_DELIMITED).varint(value.len() as u64).raw(value.as_bytes())
    }

    /// With a message.
    pub(super) fn message(self, field: u64, value: &Self) -> Self {
        self.key(field, LENGTH_DELIMITED).varint(value.0.len() as u64).raw(&value.0)
    }

    /// Its bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn key(self, field: u64, wire_type: u64) -> Self {
        self.varint(field << 3 | wire_type)
    }

    fn varint(mut self, mut value: u64) -> Self {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
        self
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_those_of_the_encoding_guide() {
        // the three messages of https://protobuf.dev/programming-guides/encoding
        assert_eq!(Message::default().integer(1, 150).bytes(), [0x08, 0x96, 0x01]);
        assert_eq!(Message::default().text(2, "testing").bytes(), b"\x12\x07testing");
        let inner = Message::default().integer(1, 150);
        assert_eq!(Message::default().message(3, &inner).bytes(), [0x1a, 0x03, 0x08, 0x96, 0x01]);
    }
}
