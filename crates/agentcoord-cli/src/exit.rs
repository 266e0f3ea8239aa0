//! The one table of exit codes. Scripts depend on it: rows are added, never changed.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | failed unexpectedly |
//! | 2 | bad input, wrong usage, ambiguous id |
//! | 3 | not found |
//! | 4 | held by somebody else, or not granted within `--wait` |
//! | 5 | refused by a rule, wrong state, rejected by a person |
//! | 6 | nothing in time: the queue is empty, the approval is still pending |
//! | 7 | the engine is unavailable; nothing happened |
//! | 8 | a check failed (`hung --check`, `audit verify`), or a stored record is unreadable |
//! | 9 | stale: the lock, claim or session is no longer the caller's |
//! | 10 | the outcome is unknown |
//! | 11 | the approval expired or was cancelled |
//! | 126, 127 | `run`, `tasks work`: the command cannot be executed, or was not found |
//! | 128 + n | ended by signal n (130 interrupt, 143 terminate); `run`: its command was; `tasks work`: it was told to end |
//!
//! `run` and `locks run` otherwise exit with their command's code.

use agentcoord::Error;

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 0
    Done,
    /// 1
    Failed,
    /// 2
    Invalid,
    /// 3
    NotFound,
    /// 4
    Held,
    /// 5
    Refused,
    /// 6
    Nothing,
    /// 7
    Unavailable,
    /// 8
    CheckFailed,
    /// 9
    Stale,
    /// 10
    OutcomeUnknown,
    /// 11
    Expired,
    /// The code of a command that was run, or one that the caller chose.
    Code(u8),
    /// Ended by a signal.
    Signal(u8),
}

impl Exit {
    /// The number.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Invalid => 2,
            Self::NotFound => 3,
            Self::Held => 4,
            Self::Refused => 5,
            Self::Nothing => 6,
            Self::Unavailable => 7,
            Self::CheckFailed => 8,
            Self::Stale => 9,
            Self::OutcomeUnknown => 10,
            Self::Expired => 11,
            Self::Code(code) => code,
            Self::Signal(signal) => 128_u8.wrapping_add(signal),
        }
    }

    /// The code of a failure, with the word that JSON errors carry.
    pub(crate) fn of(error: &Error) -> (Self, &'static str) {
        match error {
            Error::NotFound { .. } => (Self::NotFound, "NOT_FOUND"),
            Error::Invalid { .. } => (Self::Invalid, "INVALID"),
            Error::Ambiguous { .. } => (Self::Invalid, "AMBIGUOUS"),
            Error::Held { .. } => (Self::Held, "HELD"),
            Error::WrongState { .. } => (Self::Refused, "WRONG_STATE"),
            Error::Refused { .. } => (Self::Refused, "REFUSED"),
            Error::Stale { .. } => (Self::Stale, "STALE"),
            // The outcome of the old request can no longer be told.
            Error::TooOld { .. } => (Self::OutcomeUnknown, "TOO_OLD"),
            Error::Unavailable { .. } => (Self::Unavailable, "UNAVAILABLE"),
            Error::OutcomeUnknown { .. } => (Self::OutcomeUnknown, "OUTCOME_UNKNOWN"),
            Error::Corrupt { .. } => (Self::CheckFailed, "CORRUPT"),
            Error::Backend { .. } => (Self::Failed, "BACKEND"),
            // The type may grow; what has no row here yet is a plain failure.
            _ => (Self::Failed, "FAILED"),
        }
    }
}
