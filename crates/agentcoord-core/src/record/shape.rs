//! How a record is stored: its fields in order, without their names.

use serde::de::{Error as _, SeqAccess};
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// The fields of a record in the order in which they are stored.
pub trait Shape {
    /// Their names.
    const FIELDS: &'static [&'static str];
    /// How many of the first are usually stored: what comes after them is left out when all of it is absent.
    const USUAL: usize;

    /// This record as it is stored.
    ///
    /// # Errors
    /// `Backend` when it cannot be encoded.
    fn stored(&self) -> crate::Result<Vec<u8>>;
}

/// The beginning of a MessagePack array of so many values.
pub(crate) fn head(length: usize) -> Vec<u8> {
    match u8::try_from(length) {
        Ok(length @ 0..16) => vec![0x90 | length],
        _ => {
            let length = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
            vec![0xdc, length[0], length[1]]
        }
    }
}

/// A record that is being encoded.
pub(super) struct Fields(pub(super) Vec<u8>);

impl Fields {
    pub(super) fn new(length: usize) -> Self {
        Self(head(length))
    }

    pub(super) fn push<T: Serialize>(&mut self, field: &T) -> crate::Result<()> {
        rmp_serde::encode::write_named(&mut self.0, field).map_err(|e| Error::backend("a value cannot be encoded", e))
    }
}

/// The next field of a record that is being decoded; it must be there.
pub(super) fn required<'de, A: SeqAccess<'de>, T: Deserialize<'de>>(
    fields: &mut A,
    name: &'static str,
) -> Result<T, A::Error> {
    fields.next_element()?.ok_or_else(|| A::Error::missing_field(name))
}
