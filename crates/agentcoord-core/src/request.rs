//! Numbered requests themselves: what became of one whose caller cannot ask any more.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::ids::{Id, RequestNo};
use crate::op::Verb;

/// Settles a request that nobody asks for any more: either it has happened, or it never will. A copy of it that is still on
/// its way finds its replay slot taken and does nothing. Only AgentCoord itself does that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoidRequest {
    /// The client that has asked it.
    pub client: Id,
    /// Its request.
    pub request: RequestNo,
}

impl Verb for VoidRequest {
    const NAME: &'static str = "request/void";
    type Reply = Voided;

    fn validate(&self) -> Result<()> {
        Ok(())
    }
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Voided {
    /// Whether it had happened, or its slot shows that it cannot any more. Else it is void from now on.
    pub settled: bool,
}
