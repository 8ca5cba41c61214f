//! Items as bytes: pickles on a manager, JSON on an engine.

use std::any;

use serde::Serialize;
use serde::de::DeserializeOwned;

#[cfg(feature = "nats")]
use super::json::{self, Cause};
use crate::wire::pickle::Error::Mismatch;
use crate::wire::pickle::{self, Pickle, Span};
use crate::{Error, Result, panics};

/// How the items of a queue are written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Codec {
    Pickle,
    #[cfg(feature = "nats")]
    Json,
}

/// An item where it was received.
pub(crate) enum Encoded<'a> {
    /// A part of a reply.
    Pickle(&'a Pickle<'a>, Span),
    #[cfg(feature = "nats")]
    Json(&'a [u8]),
}

impl Codec {
    pub(crate) fn encode<T: Serialize>(self, item: &T) -> Result<Vec<u8>> {
        match self {
            Codec::Pickle => {
                caught(Mismatch, || pickle::to_item(item)).map_err(|source| Error::Item {
                    item_type: any::type_name::<T>(),
                    source,
                    pickle: Vec::new(),
                })
            }
            #[cfg(feature = "nats")]
            Codec::Json => {
                caught(Cause::from, || json::to_vec(item)).map_err(|source| Error::Json {
                    item_type: any::type_name::<T>(),
                    source,
                })
            }
        }
    }

    /// Reads a value that stands alone.
    pub(crate) fn decode<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T> {
        match self {
            Codec::Pickle => {
                caught(Mismatch, || pickle::from_slice(bytes)).map_err(|source| Error::Item {
                    item_type: any::type_name::<T>(),
                    source,
                    pickle: bytes.to_vec(),
                })
            }
            #[cfg(feature = "nats")]
            Codec::Json => Encoded::Json(bytes).decode(),
        }
    }
}

impl Encoded<'_> {
    pub(crate) fn decode<T: DeserializeOwned>(&self) -> Result<T> {
        match self {
            Encoded::Pickle(reply, value) => {
                let decoded = caught(Mismatch, || pickle::from_value(reply, value.value));
                decoded.map_err(|source| Error::Item {
                    item_type: any::type_name::<T>(),
                    source,
                    pickle: reply.part(*value).unwrap_or_default(),
                })
            }
            #[cfg(feature = "nats")]
            Encoded::Json(bytes) => {
                let decode = || Ok(serde_json::from_slice(bytes)?);
                caught(Cause::from, decode).map_err(|source| Error::Json {
                    item_type: any::type_name::<T>(),
                    source,
                })
            }
        }
    }
}

/// What an item's own code returns, or what it panics with: it runs under locks, and in a worker that
/// has other tasks.
fn caught<T, E>(error: fn(String) -> E, code: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    let panicked = |text| Err(error(format!("its own code panicked: {text}")));
    panics::caught(code).unwrap_or_else(panicked)
}
