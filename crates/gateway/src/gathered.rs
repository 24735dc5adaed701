//! A body that is read whole.

use bytes::{Bytes, BytesMut};

/// What has been read so far. A body that came in one piece, as most do, is not copied.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    /// The first piece, until there is another.
    only: Bytes,
    pieces: BytesMut,
}

impl Gathered {
    pub(crate) fn push(&mut self, piece: Bytes) {
        if self.len() == 0 {
            self.only = piece;
            return;
        }
        self.pieces.extend_from_slice(&std::mem::take(&mut self.only));
        self.pieces.extend_from_slice(&piece);
    }

    pub(crate) fn len(&self) -> usize {
        self.only.len() + self.pieces.len()
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        if self.pieces.is_empty() { self.only } else { self.pieces.freeze() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_joined_and_one_stays_what_it_is() {
        let read = |pieces: &[&'static str]| {
            let mut gathered = Gathered::default();
            pieces.iter().for_each(|piece| gathered.push(Bytes::from_static(piece.as_bytes())));
            (gathered.len(), gathered.into_bytes())
        };
        let piece = "one";
        assert_eq!(read(&[piece]).1.as_ptr(), piece.as_ptr());
        assert_eq!(read(&[]), (0, Bytes::new()));
        assert_eq!(read(&["", "a", "", "bc", "d"]), (4, Bytes::from("abcd")));
    }
}
