use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sys::eventfd::{EfdFlags, EventFd};

/// What other threads have for the one that serves. It can be waited for together with sockets.
#[derive(Debug)]
pub(super) struct Mailbox<T> {
    /// `None` when nobody will read any more.
    letters: Mutex<Option<VecDeque<T>>>,
    bell: EventFd,
}

impl<T> Mailbox<T> {
    pub(super) fn new() -> io::Result<Self> {
        let bell = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Self { letters: Mutex::new(Some(VecDeque::new())), bell })
    }

    /// Leaves a letter. Letters are read in the order in which they were left; those to a closed mailbox are thrown away.
    pub(super) fn post(&self, letter: T) {
        let mut letters = self.letters();
        let Some(letters) = letters.as_mut() else { return };
        letters.push_back(letter);
        if letters.len() == 1 {
            // It can only fail when the bell rings already, at its highest count.
            let _ = self.bell.write(1);
        }
    }

    /// All that was left since the last time.
    pub(super) fn collect(&self) -> VecDeque<T> {
        let mut letters = self.letters();
        let Some(letters) = letters.as_mut() else { return VecDeque::new() };
        if !letters.is_empty() {
            let _ = self.bell.read();
        }
        std::mem::take(letters)
    }

    /// Throws away what was left and what will be, so that whoever waits for an answer learns that there will be none.
    pub(super) fn close(&self) {
        let letters = self.letters().take();
        // Outside of the lock: dropping a letter may do anything.
        drop(letters);
    }

    fn letters(&self) -> MutexGuard<'_, Option<VecDeque<T>>> {
        // The queue is whole after every statement.
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> AsFd for Mailbox<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    #[test]
    fn it_rings_from_the_first_letter_until_they_are_collected() {
        let mailbox = Mailbox::new().unwrap();
        let rings = || poll(&mut [PollFd::new(mailbox.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO).unwrap() == 1;
        assert!(!rings());
        mailbox.post(1);
        mailbox.post(2);
        assert!(rings());
        assert_eq!(mailbox.collect(), [1, 2]);
        assert!(!rings());
        assert!(mailbox.collect().is_empty());
        mailbox.post(3);
        assert!(rings());
    }

    #[test]
    fn a_closed_one_keeps_nothing() {
        let (mailbox, letter) = (Mailbox::new().unwrap(), Arc::new(()));
        mailbox.post(Arc::clone(&letter));
        mailbox.close();
        mailbox.post(Arc::clone(&letter));
        assert_eq!(Arc::strong_count(&letter), 1);
        assert!(mailbox.collect().is_empty());
    }
}
