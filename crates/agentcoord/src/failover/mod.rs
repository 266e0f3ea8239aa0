//! Redis first, files when it is gone, nothing lost: one folder for the whole protocol of `docs/failover.md`.
//!
//! [`mirror`] keeps what Redis answers on this host before anybody acts on it; [`replicate`] brings it into the files;
//! [`suspicion`] tells an outage from a hiccup; [`take_over`] and [`come_back`] walk the two switches; [`fill`] gives the files
//! what they lack of Redis; [`orphans`] settles what dead processes have asked; [`attend`] is the keeper's part in all that;
//! [`condition`] says how things stand. The decisions themselves are functions of [`agentcoord_core::mode`].

pub(crate) mod attend;
pub(crate) mod come_back;
pub(crate) mod condition;
mod fill;
pub(crate) mod mirror;
pub(crate) mod orphans;
pub(crate) mod replicate;
pub(crate) mod suspicion;
pub(crate) mod take_over;
