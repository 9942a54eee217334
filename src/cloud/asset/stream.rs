use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;

use crate::wire::{Digest, Hasher};

/// How much is read at once.
const PIECE: usize = 128 * 1024;

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// All of it was handed to the connection, and it was what its digest says.
    Whole,
    /// The file is not what its digest says: the end of it was held back and the connection broken off.
    Corrupt {
        /// What its digest is instead.
        found: Digest,
    },
    /// The file could not be read to its end, or the node went away.
    Broken,
}

/// The body of an answer that carries a blob.
pub struct Delivery {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    remaining: u64,
}

/// Streams an open blob of `size` octets. Its digest is computed on the way, and the last piece leaves only when it is right:
/// iPXE can't check a digest itself, but it does refuse a body that ends early.
///
/// `done` is told once what became of it.
pub fn stream(file: File, size: u64, expected: Digest, done: impl FnOnce(Progress) + Send + 'static) -> Delivery {
    let (sender, pieces) = mpsc::channel(4);
    tokio::spawn(async move {
        let progress = pump(file, size, expected, &sender).await;
        if progress != Progress::Whole {
            // The receiver may be gone: that is one of the ways to be broken.
            drop(sender.send(Err(io::Error::other("blob broken off"))).await);
        }
        done(progress);
    });
    Delivery { pieces, remaining: size }
}

async fn pump(mut file: File, size: u64, expected: Digest, sender: &mpsc::Sender<io::Result<Bytes>>) -> Progress {
    let mut hasher = Hasher::default();
    let mut remaining = size;
    let mut held = Bytes::new();
    while remaining > 0 {
        let want = usize::try_from(remaining).unwrap_or(PIECE).min(PIECE);
        let mut piece = BytesMut::with_capacity(want);
        while piece.len() < want {
            let mut limited = (&mut file).take(u64::try_from(want.saturating_sub(piece.len())).unwrap_or(0));
            match limited.read_buf(&mut piece).await {
                Ok(0) | Err(_) => return Progress::Broken,
                Ok(_) => {}
            }
        }
        remaining = remaining.saturating_sub(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        hasher.update(&piece);
        let ready = std::mem::replace(&mut held, piece.freeze());
        if !ready.is_empty() && sender.send(Ok(ready)).await.is_err() {
            return Progress::Broken;
        }
    }
    let found = hasher.finish();
    if found != expected {
        return Progress::Corrupt { found };
    }
    match sender.send(Ok(held)).await {
        Ok(()) => Progress::Whole,
        Err(_) => Progress::Broken,
    }
}

impl Body for Delivery {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.pieces.poll_recv(context).map(|piece| {
            piece.map(|piece| {
                piece.map(|bytes| {
                    self.remaining = self.remaining.saturating_sub(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
                    Frame::data(bytes)
                })
            })
        })
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use tokio::sync::oneshot;

    use super::*;

    async fn deliver(contents: &[u8], expected: Digest) -> (Result<Bytes, io::Error>, Progress) {
        let path = std::env::temp_dir().join(format!("fairlead-blob-{}-{}", std::process::id(), Digest::of(contents)));
        std::fs::write(&path, contents).unwrap();
        let file = File::open(&path).await.unwrap();
        let (sender, receiver) = oneshot::channel();
        let body = stream(file, contents.len() as u64, expected, |progress| sender.send(progress).unwrap());
        let collected = body.collect().await.map(http_body_util::Collected::to_bytes);
        std::fs::remove_file(&path).unwrap();
        (collected, receiver.await.unwrap())
    }

    #[tokio::test]
    async fn a_good_blob_arrives_whole() {
        let contents = vec![5; 3 * PIECE + 17];
        let (body, progress) = deliver(&contents, Digest::of(&contents)).await;
        assert_eq!(body.unwrap(), contents);
        assert_eq!(progress, Progress::Whole);
    }

    #[tokio::test]
    async fn the_end_of_a_changed_blob_never_leaves() {
        for length in [1, PIECE, 3 * PIECE + 17] {
            let mut contents = vec![5; length];
            let expected = Digest::of(&contents);
            contents[0] ^= 1;
            let (body, progress) = deliver(&contents, expected).await;
            assert!(body.is_err());
            assert_eq!(progress, Progress::Corrupt { found: Digest::of(&contents) });
        }
    }
}
