//! Frames between daemon and holder.

use std::fmt::Debug;

use lockkeeper_holder::frames::{FrameError, Reply, Request, frame_len};

/// The bytes are a stream. Whatever is a frame in it can be written again, takes as many bytes as its head said, and is none
/// before all of it is there.
pub fn frames(bytes: &[u8]) {
    walk(bytes, Request::decode, Request::encode, |buf, request| {
        assert_eq!(Request::decode(buf), Ok(Some((*request, buf.len()))), "it reads back");
    });
    walk(bytes, Reply::decode, Reply::encode, |buf, reply| {
        assert_eq!(Reply::decode(buf), Ok(Some((*reply, buf.len()))), "it reads back");
    });
}

fn walk<'a, T: Debug>(
    bytes: &'a [u8],
    decode: impl Fn(&'a [u8]) -> Result<Option<(T, usize)>, FrameError>,
    encode: impl Fn(&T, &mut Vec<u8>),
    reads_back: impl Fn(&[u8], &T),
) {
    let mut rest = bytes;
    loop {
        match decode(rest) {
            Ok(Some((message, len))) => {
                assert_eq!(frame_len(rest), Ok(Some(len)), "{message:?}");
                for cut in [0, 1, 3, 4, len / 2, len - 1] {
                    assert!(
                        matches!(decode(&rest[..cut]), Ok(None)),
                        "{message:?} before all of it is there"
                    );
                }
                let mut again = Vec::new();
                encode(&message, &mut again);
                assert_eq!(again.len(), len, "{message:?}");
                reads_back(&again, &message);
                rest = &rest[len..];
            }
            Ok(None) => {
                let needs = frame_len(rest);
                assert!(matches!(needs, Ok(needs) if needs.is_none_or(|len| len > rest.len())), "{needs:?}");
                return;
            }
            Err(_) => return,
        }
    }
}
