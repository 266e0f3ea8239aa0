//! The rule that settles a request that nobody asks for any more.

use crate::error::Policy;
use crate::limits;
use crate::machine::rows::Rows;
use crate::machine::step::{Ruled, Step};
use crate::op::Actor;
use crate::record::{ClientRecord, RingRecord};
use crate::request::{VoidRequest, Voided};

pub(super) fn void<R: Rows>(step: &mut Step<'_, R>, body: VoidRequest) -> Ruled<Voided> {
    if step.call.actor != Actor::System {
        return Err(Policy::SystemOnly.into());
    }
    let key = RingRecord::key(&body.client, body.request);
    if step.get::<RingRecord>(&key)?.is_some_and(|slot| slot.request >= body.request) {
        return Ok(Voided { settled: true });
    }
    step.put(&key, &RingRecord { request: body.request, digest: String::new(), answer: Vec::new() })?;
    // So that the slot goes, as all do, when its client has been silent for long enough.
    if step.get::<ClientRecord>(body.client.as_str())?.is_none() {
        let expires = step.now + 2 * limits::REPLAY_TTL;
        step.put(body.client.as_str(), &ClientRecord { expires })?;
    }
    Ok(Voided { settled: false })
}
