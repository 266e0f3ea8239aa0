//! What must hold in every state, and what must be reached so that this says anything.

use agentcoord_core::mode::ModeEngine;
use stateright::Property;

use super::Scenario;
use super::state::{At, State};

/// Names of what must always hold.
pub(super) const NOTHING_LOST: &str =
    "what was acknowledged is in every state that a later acknowledged operation ran on";
pub(super) const ONE_HOLDER: &str = "at most one process that lives believes to hold the lock";
pub(super) const FENCES_RISE: &str = "a fence is above every fence that was acknowledged before";
pub(super) const ONCE: &str = "a request takes effect at most once in the state that counts";
pub(super) const VOID_STAYS_VOID: &str = "a request that was voided has no effect in the state that counts";
pub(super) const REFUSED_STAYS_REFUSED: &str = "a request that was refused has no effect in the state that counts";
pub(super) const NO_GAP: &str = "a take-over finds no gap in the events";
pub(super) const NOTHING_FOREIGN: &str = "what belongs to another host is not written over";
pub(super) const NOBODY_STUCK: &str = "somebody can go on, or everybody is done";

pub(super) fn of(scenario: &Scenario) -> Vec<Property<Scenario>> {
    let mut properties = vec![
        Property::always(NOTHING_LOST, |_, state: &State| !state.ghost.lost),
        Property::always(ONE_HOLDER, |_, state: &State| {
            state.processes.iter().filter(|p| p.holds.is_some()).count() <= 1
        }),
        Property::always(FENCES_RISE, |_, state: &State| !state.ghost.fence_went_back),
        Property::always(ONCE, |_, state: &State| state.live().is_none_or(|world| !world.twice)),
        Property::always(VOID_STAYS_VOID, |_, state: &State| {
            state.ghost.voided == 0 || state.live().is_none_or(|world| world.applied & state.ghost.voided == 0)
        }),
        Property::always(REFUSED_STAYS_REFUSED, |_, state: &State| {
            state.ghost.refused == 0 || state.live().is_none_or(|world| world.applied & state.ghost.refused == 0)
        }),
        Property::always(NO_GAP, |_, state: &State| !state.ghost.gap),
        Property::always(NOTHING_FOREIGN, |_, state: &State| !state.ghost.trespass),
        Property::always(NOBODY_STUCK, is_going_on),
        Property::sometimes("everybody is done", |_, state: &State| state.processes.iter().all(|p| p.at == At::Done)),
    ];
    let is_shaken = scenario.faults.crashes + scenario.faults.cuts > 0;
    if is_shaken && !scenario.is_cold {
        properties.push(Property::sometimes("files have taken over", |_, state: &State| {
            state.row.engine == ModeEngine::Files && state.word.serves(state.row.epoch, ModeEngine::Files)
        }));
    }
    if scenario.returns > 0 {
        properties.push(Property::sometimes("Redis acknowledges after a return", |_, state: &State| {
            state.ghost.acked_after_return
        }));
    }
    properties
}

/// Whether a process can take a step although nothing else happens, or all are done. A process that calls itself
/// unavailable is stuck, unless it has no right to take over or another host is in its place.
fn is_going_on(scenario: &Scenario, state: &State) -> bool {
    let may_give_up = scenario.is_cold || scenario.faults.foundings > 0;
    if !may_give_up && state.processes.iter().any(|process| process.at == At::Unavailable) && !state.ghost.gap {
        return false;
    }
    if Scenario::is_over(state) {
        return true;
    }
    let mut actions = Vec::new();
    for n in 0..state.processes.len() {
        scenario.steps_of(state, n, &mut actions);
    }
    !actions.is_empty()
}
