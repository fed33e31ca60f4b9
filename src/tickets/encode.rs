//! The one encoding that is signed: a label, then fields with their lengths before them,
//! so that no two different lists of fields give the same bytes.

/// Builds what is signed.
pub(super) struct Encoder(Vec<u8>);

impl Encoder {
    /// Begins with a label that names what this is, and its version.
    pub(super) fn new(label: &str) -> Self {
        Self(Vec::with_capacity(192)).bytes(label.as_bytes())
    }

    /// A field of bytes.
    pub(super) fn bytes(mut self, field: &[u8]) -> Self {
        self.0.extend_from_slice(&(field.len() as u64).to_be_bytes());
        self.0.extend_from_slice(field);
        self
    }

    /// A number.
    pub(super) fn number(self, field: u64) -> Self {
        self.bytes(&field.to_be_bytes())
    }

    /// A field that may be missing, which is not the same as an empty one.
    pub(super) fn optional(self, field: Option<&[u8]>) -> Self {
        match field {
            Some(field) => self.number(1).bytes(field),
            None => self.number(0),
        }
    }

    /// What is signed.
    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Reads fields back in their order.
pub(super) struct Decoder<'a>(&'a [u8]);

impl<'a> Decoder<'a> {
    /// Begins, if the label is this one.
    pub(super) fn new(bytes: &'a [u8], label: &str) -> Option<Self> {
        let mut decoder = Self(bytes);
        (decoder.bytes()? == label.as_bytes()).then_some(decoder)
    }

    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk::<8>()?;
        let length = usize::try_from(u64::from_be_bytes(*length)).ok()?;
        let (field, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(field)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes()?.try_into().ok()
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn optional(&mut self) -> Option<Option<&'a [u8]>> {
        match self.number()? {
            0 => Some(None),
            1 => self.bytes().map(Some),
            _ => None,
        }
    }

    /// Nothing may be left.
    pub(super) fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_encoded_is_read_back(fields in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..8)) {
            let mut encoder = Encoder::new("x");
            for field in &fields { encoder = encoder.optional(Some(field)); }
            let bytes = encoder.optional(None).finish();
            let mut decoder = Decoder::new(&bytes, "x").unwrap();
            for field in &fields { prop_assert_eq!(decoder.optional().unwrap().unwrap(), &field[..]); }
            prop_assert_eq!(decoder.optional().unwrap(), None);
            prop_assert!(decoder.end().is_some());
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Some(mut decoder) = Decoder::new(&bytes, "") {
                while decoder.bytes().is_some() {}
            }
        }
    }
}
