//! Floating-point numbers in JSON bit for bit, NaN and infinity included.

use serde::{Deserialize, Deserializer, Serializer, de::Error};

/// Writes the bits in hexadecimal.
pub fn serialize<S: Serializer>(x: &f64, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(&format!("{:016x}", x.to_bits()))
}

/// Reads them back.
pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<f64, D::Error> {
    u64::from_str_radix(&String::deserialize(d)?, 16).map(f64::from_bits).map_err(D::Error::custom)
}
