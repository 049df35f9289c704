//! Payloads: serde values as tagged bytes, with their size and depth checked before anything else looks at them.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::json::{self, Refusal};

/// The largest payload by default, in bytes: 2 MiB.
pub const DEFAULT_MAX_PAYLOAD_BYTES: usize = 2 * 1024 * 1024;

/// The most levels of arrays and objects in JSON: what `serde_json` reads back without risking the stack.
pub const MAX_DEPTH: usize = 127;

/// How a payload's bytes are encoded. The tag is stored with every row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Codec {
    /// JSON text in UTF-8: readable, and tolerant of added, removed and reordered fields. Tag 0.
    #[default]
    Json,
    /// `bincode` 2 with its standard configuration (feature `bincode`): compact, for types that never change. Tag 1.
    /// Not for types that contain themselves: how deep a value nests isn't limited, as it is with JSON.
    Bincode,
}

impl Codec {
    /// The tag stored with a row.
    pub const fn tag(self) -> i16 {
        match self {
            Codec::Json => 0,
            Codec::Bincode => 1,
        }
    }

    /// The codec of a stored tag, if this version knows it.
    pub const fn from_tag(tag: i16) -> Option<Self> {
        match tag {
            0 => Some(Codec::Json),
            1 => Some(Codec::Bincode),
            _ => None,
        }
    }
}

/// An encoded value.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Payload {
    /// How `bytes` are encoded: [`Codec::tag`]. A tag this version doesn't know is kept as it is.
    pub codec: i16,
    /// The encoded value.
    pub bytes: Vec<u8>,
}

/// Why a value can't be encoded or decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// The value can't be serialised.
    #[error("the value of type {type_name} can't be encoded: {reason}")]
    Encode {
        /// The Rust type.
        type_name: &'static str,
        /// What the codec said.
        reason: String,
    },
    /// The bytes are no value of the wanted type.
    #[error("the payload can't be read as {type_name}: {reason} (at {path})")]
    Decode {
        /// The Rust type.
        type_name: &'static str,
        /// Where in the JSON: `.items[2].price`, or `.` for the whole.
        path: String,
        /// What the codec said.
        reason: String,
    },
    /// The payload is larger than the limit.
    #[error(
        "the payload has {size_bytes} bytes, more than the limit of {limit_bytes}: store large data elsewhere and pass a reference, or raise `max_payload_bytes`"
    )]
    TooLarge {
        /// Its size in bytes.
        size_bytes: usize,
        /// The limit in bytes.
        limit_bytes: usize,
    },
    /// The value's JSON nests deeper than it could be read back.
    #[error(
        "the value of type {type_name} nests deeper than {MAX_DEPTH} levels of arrays and objects: flatten it, or store it elsewhere and pass a reference"
    )]
    TooDeep {
        /// The Rust type.
        type_name: &'static str,
    },
    /// The codec tag isn't known to this version or isn't compiled in.
    #[error("the payload has codec tag {0}, which this build can't read: enable its feature or deploy a newer version")]
    UnknownCodec(i16),
}

impl Payload {
    /// Encodes `value`.
    ///
    /// # Errors
    ///
    /// [`PayloadError::Encode`] when serde refuses the value, [`PayloadError::TooLarge`] above `limit_bytes`,
    /// [`PayloadError::TooDeep`] above [`MAX_DEPTH`].
    pub fn encode<T: Serialize + ?Sized>(codec: Codec, value: &T, limit_bytes: usize) -> Result<Self, PayloadError> {
        let type_name = std::any::type_name::<T>();
        let bytes = match codec {
            Codec::Json => json::encode(value, MAX_DEPTH, limit_bytes).map_err(|refusal| match refusal {
                Refusal::TooDeep => PayloadError::TooDeep { type_name },
                Refusal::TooLarge(size_bytes) => PayloadError::TooLarge { size_bytes, limit_bytes },
                Refusal::Serde(reason) => PayloadError::Encode { type_name, reason },
            })?,
            #[cfg(feature = "bincode")]
            Codec::Bincode => bincode::serde::encode_to_vec(value, bincode::config::standard())
                .map_err(|e| PayloadError::Encode { type_name, reason: e.to_string() })?,
            #[cfg(not(feature = "bincode"))]
            Codec::Bincode => return Err(PayloadError::UnknownCodec(codec.tag())),
        };
        if bytes.len() > limit_bytes {
            return Err(PayloadError::TooLarge { size_bytes: bytes.len(), limit_bytes });
        }
        Ok(Self { codec: codec.tag(), bytes })
    }

    /// Encodes `value` and reads it back, so that nothing is stored that nobody can read: a NaN, which JSON doesn't
    /// have, or a type that serialises as something else than it deserialises from.
    ///
    /// # Errors
    ///
    /// As [`Payload::encode`]; [`PayloadError::Encode`] for what can't be read back.
    pub fn round_trip<T: Serialize + DeserializeOwned>(
        codec: Codec,
        value: &T,
        limit_bytes: usize,
    ) -> Result<(Self, T), PayloadError> {
        let payload = Self::encode(codec, value, limit_bytes)?;
        match payload.decode() {
            Ok(back) => Ok((payload, back)),
            Err(error) => {
                let null = error.to_string().contains("invalid type: null");
                let hint = if null { "; JSON has neither NaN nor infinity, they become null" } else { "" };
                let reason = format!("it couldn't be read back ({error}{hint})");
                Err(PayloadError::Encode { type_name: std::any::type_name::<T>(), reason })
            }
        }
    }

    /// Encodes `value` as JSON with the default limit.
    ///
    /// # Errors
    ///
    /// As [`Payload::encode`].
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, PayloadError> {
        Self::encode(Codec::Json, value, DEFAULT_MAX_PAYLOAD_BYTES)
    }

    /// Decodes the value.
    ///
    /// # Errors
    ///
    /// [`PayloadError::Decode`] with the path into the JSON, [`PayloadError::UnknownCodec`].
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, PayloadError> {
        match Codec::from_tag(self.codec) {
            Some(Codec::Json) => {
                let mut json = serde_json::Deserializer::from_slice(&self.bytes);
                let value = serde_path_to_error::deserialize(&mut json).map_err(|e| PayloadError::Decode {
                    type_name: std::any::type_name::<T>(),
                    path: e.path().to_string(),
                    reason: e.inner().to_string(),
                })?;
                json.end().map_err(|e| PayloadError::Decode {
                    type_name: std::any::type_name::<T>(),
                    path: ".".to_owned(),
                    reason: e.to_string(),
                })?;
                Ok(value)
            }
            #[cfg(feature = "bincode")]
            Some(Codec::Bincode) => {
                let config = bincode::config::standard().with_limit::<{ 256 * 1024 * 1024 }>();
                let refuse = |reason: String| PayloadError::Decode {
                    type_name: std::any::type_name::<T>(),
                    path: ".".to_owned(),
                    reason,
                };
                let (value, read) =
                    bincode::serde::decode_from_slice(&self.bytes, config).map_err(|e| refuse(e.to_string()))?;
                if read != self.bytes.len() {
                    return Err(refuse(format!("{} bytes are left over", self.bytes.len() - read)));
                }
                Ok(value)
            }
            _ => Err(PayloadError::UnknownCodec(self.codec)),
        }
    }

    /// The payload as text for people: JSON as it is, anything else as its size.
    pub fn display(&self) -> String {
        match (Codec::from_tag(self.codec), std::str::from_utf8(&self.bytes)) {
            (Some(Codec::Json), Ok(text)) => text.to_owned(),
            _ => format!("<{} bytes, codec {}>", self.bytes.len(), self.codec),
        }
    }

    /// A fingerprint that doesn't depend on the order of JSON object keys: SHA-256 of the canonical form.
    pub fn digest(&self) -> [u8; 32] {
        if self.codec == Codec::Json.tag() {
            // serde_json's map is ordered by key, so parsing and printing again is a canonical form.
            if let Ok(value) = serde_json::from_slice::<serde_json::Value>(&self.bytes) {
                return Sha256::digest(value.to_string().as_bytes()).into();
            }
        }
        Sha256::digest(&self.bytes).into()
    }
}

impl std::fmt::Debug for Payload {
    // Payloads may hold secrets and end up in logs through `Debug`: only the size is shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Payload(codec {}, {} bytes)", self.codec, self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn decode_names_the_path() {
        let payload = Payload { codec: 0, bytes: br#"{"items":[{"price":1},{"price":"x"}]}"#.to_vec() };
        #[derive(serde::Deserialize, Debug)]
        #[expect(dead_code, reason = "only its decoding is tested")]
        struct Item {
            price: i64,
        }
        let error = payload.decode::<HashMap<String, Vec<Item>>>().expect_err("a string is no i64");
        assert!(error.to_string().contains("items[1].price"), "{error}");
    }

    #[test]
    fn limits_are_kept() {
        let error = Payload::encode(Codec::Json, &"x".repeat(100), 50).expect_err("too large");
        assert_eq!(error, PayloadError::TooLarge { size_bytes: 102, limit_bytes: 50 });
        let deep = Payload { codec: 0, bytes: [vec![b'['; 100_000], vec![b']'; 100_000]].concat() };
        assert!(deep.decode::<serde_json::Value>().expect_err("too deep").to_string().contains("recursion"));
        let trailing = Payload { codec: 0, bytes: b"1 2".to_vec() };
        assert!(trailing.decode::<i64>().is_err());
        assert_eq!(Payload { codec: 9, bytes: vec![] }.decode::<i64>(), Err(PayloadError::UnknownCodec(9)));
        assert!(Payload::json(&HashMap::from([(vec![1u8], 1)])).is_err());
    }

    #[cfg(feature = "bincode")]
    #[test]
    fn bincode_values_are_tagged_and_leave_nothing_over() {
        let value = (7u32, "x".to_owned(), Some(1.5f64));
        let payload = Payload::encode(Codec::Bincode, &value, 100).expect("encodes");
        assert_eq!(payload.codec, Codec::Bincode.tag());
        assert_eq!(payload.decode::<(u32, String, Option<f64>)>(), Ok(value));
        let longer = Payload { bytes: [payload.bytes, vec![0]].concat(), ..payload };
        assert!(longer.decode::<(u32, String, Option<f64>)>().is_err());
    }

    #[test]
    fn what_could_not_be_read_back_is_refused() {
        let nested = |levels| (0..levels).fold(serde_json::Value::Null, |inner, _| serde_json::json!([inner, "[{\"["]));
        let encode = |levels| Payload::encode(Codec::Json, &nested(levels), 1 << 20);
        let deepest = encode(MAX_DEPTH).expect("is just readable");
        assert!(deepest.decode::<serde_json::Value>().is_ok());
        let error = encode(MAX_DEPTH + 1).expect_err("isn't readable");
        assert!(matches!(error, PayloadError::TooDeep { .. }), "{error}");
        assert!(error.to_string().contains("deeper than 127 levels"), "{error}");
        assert!(Payload::round_trip(Codec::Json, &1.5, 100).is_ok());
        assert!(Payload::round_trip(Codec::Json, &f64::NAN, 100).is_err());
    }

    #[test]
    fn digest_ignores_the_order_of_keys() {
        let a = Payload { codec: 0, bytes: br#"{"a":1,"b":2}"#.to_vec() };
        let b = Payload { codec: 0, bytes: br#"{ "b":2, "a":1 }"#.to_vec() };
        assert_eq!(a.digest(), b.digest());
    }
}
