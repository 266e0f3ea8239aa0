//! Which faults are set, which requests they mean, and how often they have happened.
//!
//! Only says what shall happen; the links make it happen.

use std::time::Duration;

use super::frames;

/// Which requests a fault means, and how many of them. A request is looked at as it is on the wire.
#[derive(Clone, Debug)]
pub struct Requests {
    text: Text,
    left: Option<usize>,
}

#[derive(Clone, Debug)]
enum Text {
    Any,
    Containing(Vec<u8>),
    Naming(Vec<u8>),
}

impl Requests {
    /// Every request, handshakes too.
    #[must_use]
    pub fn all() -> Self {
        Self { text: Text::Any, left: None }
    }

    /// Those that contain these bytes anywhere. A library that is loaded contains the names of all its functions;
    /// see [`Requests::naming`].
    ///
    /// # Panics
    /// When there are no bytes, which every request would contain.
    #[must_use]
    pub fn containing(bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref().to_vec();
        assert!(!bytes.is_empty(), "say which bytes, or Requests::all()");
        Self { text: Text::Containing(bytes), left: None }
    }

    /// Those that have this as one whole word: a command, a key, or the function of an FCALL. Letters may be large or
    /// small.
    #[must_use]
    pub fn naming(word: impl AsRef<[u8]>) -> Self {
        Self { text: Text::Naming(word.as_ref().to_vec()), left: None }
    }

    /// Only the next so many of them.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.left = Some(times);
        self
    }

    /// Whether this request is one of them; if so it counts.
    fn take(&mut self, request: &[u8]) -> bool {
        let meant = match &self.text {
            Text::Any => true,
            Text::Containing(bytes) => request.windows(bytes.len()).any(|part| part == bytes),
            Text::Naming(word) => frames::words(request).iter().any(|part| part.eq_ignore_ascii_case(word)),
        };
        match &mut self.left {
            _ if !meant => false,
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
            None => true,
        }
    }
}

/// The faults that are set.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    pub(super) cut_requests: Option<Requests>,
    pub(super) cut_replies: Option<Requests>,
    pub(super) hold: Option<Requests>,
    pub(super) delay: Duration,
    pub(super) slice: Option<usize>,
    pub(super) half_open: bool,
    pub(super) refuse: bool,
}

impl Plan {
    /// Whether the connection is to be cut in front of this request.
    pub(super) fn cuts_request(&mut self, request: &[u8]) -> bool {
        self.cut_requests.as_mut().is_some_and(|requests| requests.take(request))
    }

    /// Whether the connection is to be cut in front of the reply to this request.
    pub(super) fn cuts_reply(&mut self, request: &[u8]) -> bool {
        self.cut_replies.as_mut().is_some_and(|requests| requests.take(request))
    }

    /// Whether this request is to be held.
    pub(super) fn holds(&mut self, request: &[u8]) -> bool {
        self.hold.as_mut().is_some_and(|requests| requests.take(request))
    }
}

/// How often something has happened since the proxy was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) accepted: usize,
    pub(super) cuts: usize,
    pub(super) held: usize,
    pub(super) delivered: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &[u8] = b"*2\r\n$5\r\nFCALL\r\n$12\r\nlock_acquire\r\n";
    const LOAD: &[u8] = b"*2\r\n$8\r\nFUNCTION\r\n$14\r\n-- lock_acquire\r\n";

    #[test]
    fn a_name_is_a_whole_word_and_a_text_may_stand_anywhere() {
        assert!(Requests::all().take(LOAD));
        assert!(Requests::containing("lock_acquire").take(LOCK) && Requests::containing("lock_acquire").take(LOAD));
        assert!(Requests::naming("lock_acquire").take(LOCK) && !Requests::naming("lock_acquire").take(LOAD));
        assert!(Requests::naming("fcall").take(LOCK) && !Requests::containing("fcall").take(LOCK));
    }

    #[test]
    fn only_requests_that_are_meant_are_counted() {
        let mut once = Requests::naming("FCALL").times(1);
        assert!(!once.take(LOAD) && once.take(LOCK) && !once.take(LOCK));
        assert!(!Requests::all().times(0).take(LOCK));
    }
}
