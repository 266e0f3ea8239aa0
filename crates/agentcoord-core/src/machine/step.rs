//! One step: the frame in which every verb runs, the same in `lua/prelude.lua` and `lua/frame.lua`.
//!
//! Begin: replay slot, clock, reaping of due items. Body: the verb reads and changes records in memory. Commit: all
//! writes at once, at the end. A refusal anywhere before commit writes nothing. Index entries and counters are
//! differences of what the touched records derive before and after.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::agent::SessionKind;
use crate::error::{Error, Noun, Policy, Refusal, Result};
use crate::ids::{Csn, Id, RequestNo, SHORT_ID, Token};
use crate::limits;
use crate::machine::lock::Freed;
use crate::machine::rows::Rows;
use crate::op::{Actor, Blob, Call, Handed, decode};
use crate::record::{ClientRecord, Event, Image, KeyRecord, NEVER, PulseRecord, RingRecord, SessionRecord, State};
use crate::table::{Entry, Range, Record, Table, pad};
use crate::time::{LeaseMs, Reading, WallMs};

/// Why a step stops: a rule refuses, or the storage fails.
#[derive(Debug)]
pub(crate) enum Stop {
    Refused(Refusal),
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(e: Error) -> Self {
        Self::Failed(e)
    }
}

impl From<Refusal> for Stop {
    fn from(r: Refusal) -> Self {
        Self::Refused(r)
    }
}

impl From<Policy> for Stop {
    fn from(policy: Policy) -> Self {
        Self::Refused(Refusal::Policy { policy, about: None })
    }
}

/// What a step leaves behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stepped {
    /// The encoded answer.
    pub answer: Vec<u8>,
    /// Tickets and approvals whose waiters must look again, now that the step is committed.
    pub wakes: Vec<String>,
}

/// The result of a rule.
pub(crate) type Ruled<T> = std::result::Result<T, Stop>;

/// The acting session, checked to be live.
#[derive(Clone, Debug)]
pub(crate) struct Acting {
    pub(crate) id: Id,
    pub(crate) session: SessionRecord,
}

impl Acting {
    /// What the agent can do, sorted.
    pub(crate) fn capabilities(&self) -> Vec<String> {
        self.session.capabilities.clone().unwrap_or_default()
    }
}

/// A record that the step has looked at: its encoded form before and, as it stands, after.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Touched {
    before: Option<Vec<u8>>,
    after: Option<Vec<u8>>,
    /// Put or deleted.
    dirty: bool,
}

impl Touched {
    fn is_changed(&self) -> bool {
        self.dirty && (self.before.is_some() || self.after.is_some())
    }
}

/// A step in progress.
pub(crate) struct Step<'a, R: Rows> {
    rows: &'a mut R,
    pub(crate) state: State,
    pub(crate) now: LeaseMs,
    pub(crate) wall: WallMs,
    pub(crate) call: &'a Call,
    touched: BTreeMap<(Table, String), Touched>,
    /// Index entries added (+1) and removed (-1).
    delta: BTreeMap<Entry, i8>,
    wakes: Vec<String>,
    /// Blobs of records that this step deletes.
    gone: Vec<String>,
    settled: u64,
    /// Records that were put or deleted.
    changed: usize,
    /// Lock paths that have become free and whose waiters are still to be looked at.
    pub(crate) freed: VecDeque<Freed>,
    /// Waiters that this step may still look at for them, and for tasks.
    pub(crate) turns: usize,
    /// Dependencies of tasks that this step may still link or change for work that may be put off.
    pub(crate) links: usize,
    /// Seeks that this step may still make for tasks that have become ready.
    pub(crate) seeks: usize,
    /// Tags in whose lines nobody waits for a task; nobody joins one before the step is about to end.
    pub(crate) deserted: BTreeSet<String>,
    /// The task that this step has given to its caller.
    pub(crate) handed: Option<String>,
    /// Lease time since the step before.
    pause: u64,
    /// Whether many sessions have fallen silent at once, when somebody had to know.
    crowd_is_silent: Option<bool>,
}

impl<'a, R: Rows> Step<'a, R> {
    pub(crate) fn begin(rows: &'a mut R, call: &'a Call, reading: &'a Reading) -> Ruled<Self> {
        let mut state = rows.state()?;
        let before = state.clock.now;
        state.clock = state.clock.at(reading);
        let pause = state.clock.now - before;
        let (now, wall) = (state.clock.now, reading.wall);
        Ok(Self {
            rows,
            state,
            now,
            wall,
            call,
            touched: BTreeMap::new(),
            delta: BTreeMap::new(),
            wakes: Vec::new(),
            gone: Vec::new(),
            settled: 0,
            changed: 0,
            freed: VecDeque::new(),
            turns: limits::WORK_PER_STEP,
            links: limits::LINKS_PER_STEP,
            seeks: limits::SEEKS_PER_STEP,
            deserted: BTreeSet::new(),
            handed: None,
            pause,
            crowd_is_silent: None,
        })
    }

    /// The stored answer when this request was made before.
    pub(crate) fn replay(&mut self) -> Ruled<Option<Vec<u8>>> {
        let key = RingRecord::key(&self.call.client, self.call.request);
        let request = self.call.request;
        match self.get::<RingRecord>(&key)? {
            Some(slot) if slot.request == request && slot.answer.is_empty() => Err(Refusal::TooOld { request }.into()),
            Some(slot) if slot.request == request && slot.digest != self.call.digest => {
                Err(Refusal::Reused { request }.into())
            }
            Some(slot) if slot.request == request => Ok(Some(slot.answer)),
            Some(slot) if slot.request > request => Err(Refusal::TooOld { request }.into()),
            _ => Ok(None),
        }
    }

    /// The acting session. It must be live; being here is its sign of life and its progress.
    pub(crate) fn acting(&mut self) -> Ruled<Acting> {
        let Actor::Session(id) = &self.call.actor else {
            return Err(Policy::NoSession.into());
        };
        let id = id.clone();
        let stale = || Refusal::Stale { noun: Noun::Session, id: id.as_str().to_owned(), owner: None, current: None };
        let session = self.get::<SessionRecord>(id.as_str())?.ok_or_else(stale)?;
        if !self.is_live(&id, &session)? {
            return Err(stale().into());
        }
        self.pulse(&id, true)?;
        Ok(Acting { id, session })
    }

    /// Records a sign of life.
    pub(crate) fn pulse(&mut self, session: &Id, progress: bool) -> Ruled<()> {
        let mut pulse =
            self.get::<PulseRecord>(session.as_str())?.unwrap_or(PulseRecord { beat: self.now, progress: self.now });
        pulse.beat = self.now;
        if progress {
            pulse.progress = self.now;
        }
        self.put(session.as_str(), &pulse)
    }

    /// Whether a session has neither ended nor outlived its time.
    pub(crate) fn is_live(&mut self, id: &Id, session: &SessionRecord) -> Ruled<bool> {
        if session.ended_at.is_some() {
            return Ok(false);
        }
        Ok(self.lives_until(id.as_str(), session)? > self.now)
    }

    /// When a session that has not ended does so without another sign of life.
    ///
    /// When many fall silent at once, the store or the clock is at fault rather than all of them: then each gets one
    /// time to live more.
    pub(crate) fn lives_until(&mut self, key: &str, session: &SessionRecord) -> Ruled<LeaseMs> {
        let beat = self.get::<PulseRecord>(key)?.map_or(0, |p| p.beat);
        let until = session.lives_until(beat, self.state.spared);
        if until <= self.now && self.has_fallen_silent(beat, session) {
            // The store was away for so long that one who beats three times in its time to live could not.
            let away = self.pause * 3 >= session.ttl * 2;
            let crowd = u64::try_from(self.state.counts.sessions).unwrap_or(0) >= limits::CROWD;
            if crowd && (away || self.crowd_is_silent()?) {
                self.state.spared = self.now;
                return Ok(self.now + session.ttl);
            }
        }
        Ok(until)
    }

    /// Whether a process has missed its time since the last time that all were spared.
    fn has_fallen_silent(&self, beat: LeaseMs, session: &SessionRecord) -> bool {
        let fresh = beat >= self.state.spared;
        session.kind == SessionKind::Process && fresh && beat + session.ttl <= self.now
    }

    /// Whether more than half of the live sessions have fallen silent, or as many as a step may look at.
    fn crowd_is_silent(&mut self) -> Ruled<bool> {
        if let Some(known) = self.crowd_is_silent {
            return Ok(known);
        }
        let range = Range { from: Entry::of(&["due", ""]).0, to: Entry::of(&["due", &pad(self.now + 1)]).0 };
        let mut silent = 0;
        for entry in self.scan(&range, limits::WORK_PER_STEP)? {
            let [_, _, "session", key] = entry.parts()[..] else { continue };
            let Some(session) = self.get::<SessionRecord>(key)? else { continue };
            let beat = self.get::<PulseRecord>(key)?.map_or(0, |p| p.beat);
            if session.ended_at.is_none() && self.has_fallen_silent(beat, &session) {
                silent += 1;
            }
        }
        let is_silent = silent * 2 > self.state.counts.sessions || silent >= limits::WORK_PER_STEP as i64;
        self.crowd_is_silent = Some(is_silent);
        Ok(is_silent)
    }

    /// How the actor is named in records: `agent:<name>`, `human:<name>` or `system`.
    pub(crate) fn principal(&mut self) -> Ruled<String> {
        match self.call.actor.clone() {
            Actor::Session(_) => Ok(format!("agent:{}", self.acting()?.session.name)),
            Actor::Human(name) => Ok(format!("human:{name}")),
            Actor::System => Ok("system".to_owned()),
        }
    }

    pub(crate) fn get<T: Record>(&mut self, key: &str) -> Ruled<Option<T>> {
        let bytes = match self.touched.get(&(T::TABLE, key.to_owned())) {
            Some(touched) => touched.after.clone(),
            None => {
                let bytes = self.rows.get(T::TABLE, key)?;
                self.touched.insert(
                    (T::TABLE, key.to_owned()),
                    Touched { before: bytes.clone(), after: bytes.clone(), dirty: false },
                );
                bytes
            }
        };
        Ok(bytes.map(|b| decode::<T>(&b, T::TABLE.name())).transpose()?)
    }

    pub(crate) fn put<T: Record>(&mut self, key: &str, record: &T) -> Ruled<()> {
        self.change(key, Some(record))
    }

    pub(crate) fn delete<T: Record>(&mut self, key: &str) -> Ruled<()> {
        self.change::<T>(key, None)
    }

    fn change<T: Record>(&mut self, key: &str, record: Option<&T>) -> Ruled<()> {
        let old = self.get::<T>(key)?;
        for (record, sign) in [(old.as_ref(), -1), (record, 1)] {
            let Some(record) = record else { continue };
            let mut entries = Vec::new();
            record.entries(key, &mut entries);
            for entry in entries {
                *self.delta.entry(entry).or_default() += sign;
            }
            record.count(&mut self.state.counts, sign.into());
        }
        let bytes = record.map(|record| record.stored()).transpose()?;
        if let Some(touched) = self.touched.get_mut(&(T::TABLE, key.to_owned())) {
            touched.after = bytes;
            self.changed += usize::from(!touched.dirty);
            touched.dirty = true;
        }
        Ok(())
    }

    /// Index entries in order, as they stand with the changes of this step.
    pub(crate) fn scan(&mut self, range: &Range, limit: usize) -> Ruled<Vec<Entry>> {
        let changed: Vec<(Entry, i8)> = self
            .delta
            .range(Entry(range.from.clone())..Entry(range.to.clone()))
            .filter(|(_, sign)| **sign != 0)
            .map(|(entry, sign)| (entry.clone(), *sign))
            .collect();
        let removed = changed.iter().filter(|(_, sign)| *sign < 0).count();
        let mut entries = self.rows.scan(range, limit + removed)?;
        entries.retain(|e| !changed.iter().any(|(c, sign)| *sign < 0 && c == e));
        entries.extend(changed.into_iter().filter(|(_, sign)| *sign > 0).map(|(entry, _)| entry));
        entries.sort();
        entries.truncate(limit);
        Ok(entries)
    }

    /// The key and record whose id begins with what was typed, when it is at least a short id long.
    ///
    /// A record's key is the shortest free prefix of its id, so the prefixes of the typed digits are tried from the
    /// shortest on. Prefixes shorter than a key are for reads (see [`crate::store`]), not for steps.
    pub(crate) fn find<T: Record>(&mut self, typed: &str, id_of: impl Fn(&T) -> &Id) -> Ruled<Option<(String, T)>> {
        let typed = digits(typed);
        for length in key_lengths(typed.len()) {
            if let Some(record) = self.get::<T>(&typed[..length])?
                && id_of(&record).as_str().starts_with(&typed)
            {
                return Ok(Some((typed[..length].to_owned(), record)));
            }
        }
        Ok(None)
    }

    /// As [`Step::find`]; it must be there.
    pub(crate) fn resolve<T: Record>(
        &mut self,
        noun: Noun,
        typed: &str,
        id_of: impl Fn(&T) -> &Id,
    ) -> Ruled<(String, T)> {
        Ok(self.find(typed, id_of)?.ok_or_else(|| Refusal::NotFound { noun, id: digits(typed) })?)
    }

    /// The shortest free key for a new record. An id names one record: its blobs are stored under it.
    pub(crate) fn free_key<T: Record>(&mut self, id: &Id, id_of: impl Fn(&T) -> &Id) -> Ruled<String> {
        for length in key_lengths(32) {
            let key = &id.as_str()[..length];
            match self.get::<T>(key)? {
                None => return Ok(key.to_owned()),
                Some(record) if id_of(&record) == id => break,
                Some(_) => {}
            }
        }
        Err(Policy::IdTaken.into())
    }

    /// What a repeated idempotency key named the first time; with other content it is refused.
    pub(crate) fn known(&mut self, idempotency: Option<&str>, digest: &str) -> Ruled<Option<KeyRecord>> {
        let Some(idempotency) = idempotency else { return Ok(None) };
        match self.get::<KeyRecord>(idempotency)? {
            Some(known) if known.digest != digest => Err(Policy::KeyReused.about(idempotency).into()),
            known => Ok(known),
        }
    }

    pub(crate) fn next_seq(&mut self) -> u64 {
        self.state.seq += 1;
        self.state.seq
    }

    pub(crate) fn next_token(&mut self) -> Ruled<Token> {
        self.state.token += 1;
        Ok(Token::compose(self.call.epoch, self.state.token).ok_or(Policy::Exhausted)?)
    }

    /// Deletes a blob with its record.
    pub(crate) fn delete_blob(&mut self, noun: &str, id: &Id, field: &str) {
        self.gone.push(Blob::name(noun, id, field));
    }

    /// Names a ticket or approval whose waiters must look again.
    pub(crate) fn wake(&mut self, topic: impl Into<String>) {
        let topic = topic.into();
        if self.wakes.last() != Some(&topic) {
            self.wakes.push(topic);
        }
    }

    /// Counts a settled due item.
    pub(crate) fn settle(&mut self) {
        self.settled += 1;
    }

    pub(crate) fn settled(&self) -> u64 {
        self.settled
    }

    /// Records that this step has put or deleted so far.
    pub(crate) fn changed(&self) -> usize {
        self.changed
    }

    /// Replaces the slot of another request of the same client.
    pub(crate) fn put_slot(&mut self, request: RequestNo, slot: &RingRecord) -> Ruled<()> {
        let key = RingRecord::key(&self.call.client, request);
        self.put(&key, slot)
    }

    /// What is to be settled, at most `limit`: due entries up to now, then work that is left over.
    pub(crate) fn due(&mut self, limit: usize) -> Ruled<Vec<Entry>> {
        let up_to =
            |index: &str, at: u64| Range { from: Entry::of(&[index, ""]).0, to: Entry::of(&[index, &pad(at)]).0 };
        let mut ranges = Vec::new();
        if self.state.next_due <= self.now {
            ranges.push(up_to("due", self.now + 1));
        }
        if self.state.next_calendar <= self.wall {
            ranges.push(up_to("cal", self.wall + 1));
        }
        if self.state.counts.work > 0 {
            ranges.push(Range::under(&["work"]));
        }
        let mut entries = Vec::new();
        for range in ranges {
            entries.extend(self.scan(&range, limit - entries.len())?);
        }
        Ok(entries)
    }

    /// Whether an entry that was found in the index is still there: settling one item may settle or move another, as the
    /// end of a session does with the deadlines of what it held.
    pub(crate) fn stands(&self, entry: &Entry) -> bool {
        self.delta.get(entry).is_none_or(|sign| *sign >= 0)
    }

    /// Writes everything. Appends an event when a record other than a pulse was put or deleted, or the request was asked again.
    pub(crate) fn commit(mut self, answer: impl FnOnce(Csn) -> Result<Vec<u8>>) -> Ruled<Stepped> {
        let changed =
            self.call.again || self.touched.iter().any(|((table, _), t)| *table != Table::Pulse && t.is_changed());
        if changed {
            self.state.csn.0 += 1;
        }
        let mut answer = answer(self.state.csn)?;
        if changed {
            self.remember(&answer)?;
        }
        if let Some(task) = self.handed.take().and_then(|key| self.touched.get(&(Table::Task, key))?.after.as_ref()) {
            answer = Handed::along(&answer, self.now, task)?;
        }
        self.move_hints()?;
        let mut images = Vec::new();
        for ((table, key), touched) in self.touched.iter().filter(|(_, touched)| touched.is_changed()) {
            let after = &touched.after;
            match after {
                Some(record) => self.rows.put(*table, key, record)?,
                None => self.rows.delete(*table, key)?,
            }
            if *table != Table::Pulse {
                let record = after.clone().unwrap_or_default();
                images.push(Image { table: *table, key: key.clone(), record });
            }
        }
        for (entry, sign) in &self.delta {
            match sign {
                1 => self.rows.enter(entry)?,
                -1 => self.rows.remove(entry)?,
                _ => {}
            }
        }
        if changed {
            for blob in &self.call.blobs {
                self.rows.put_blob(blob)?;
            }
            for name in &self.gone {
                self.rows.delete_blob(name)?;
            }
            self.rows.append(&Event {
                csn: self.state.csn,
                at: self.wall,
                client: self.call.client.clone(),
                request: self.call.request,
                actor: self.call.actor.clone(),
                verb: self.call.verb.to_owned(),
                wakes: self.wakes.clone(),
                images,
                texts: self.call.blobs.iter().map(|blob| blob.name.clone()).collect(),
                gone: self.gone.clone(),
            })?;
        }
        self.rows.set_state(&self.state)?;
        Ok(Stepped { answer, wakes: self.wakes })
    }

    /// Keeps the answer in the request's slot, and the slots alive.
    fn remember(&mut self, answer: &[u8]) -> Ruled<()> {
        let slot = RingRecord { request: self.call.request, digest: self.call.digest.clone(), answer: answer.to_vec() };
        self.put_slot(self.call.request, &slot)?;
        let client = self.call.client.as_str().to_owned();
        let expires = self.get::<ClientRecord>(&client)?.map_or(0, |c| c.expires);
        if expires < self.now + limits::REPLAY_TTL {
            self.put(&client, &ClientRecord { expires: self.now + 2 * limits::REPLAY_TTL })?;
        }
        Ok(())
    }

    /// Keeps `next_due` and `next_calendar` at or below the first entry of their index.
    fn move_hints(&mut self) -> Ruled<()> {
        let at = |entry: &Entry| entry.parts().get(1).and_then(|t| t.parse().ok()).unwrap_or(0);
        for index in ["due", "cal"] {
            let range = Range::under(&[index]);
            let (hint, now) = match index {
                "due" => (self.state.next_due, self.now),
                _ => (self.state.next_calendar, self.wall),
            };
            let hint = if hint <= now {
                self.scan(&range, 1)?.first().map_or(NEVER, at)
            } else {
                let added = self.delta.range(Entry(range.from)..Entry(range.to)).find(|(_, sign)| **sign > 0);
                added.map_or(hint, |(entry, _)| hint.min(at(entry)))
            };
            match index {
                "due" => self.state.next_due = hint,
                _ => self.state.next_calendar = hint,
            }
        }
        Ok(())
    }
}

/// The digits of a typed id.
fn digits(typed: &str) -> String {
    typed.chars().filter(|c| *c != '-').map(|c| c.to_ascii_lowercase()).collect()
}

/// The lengths that a key may have, given so many digits of an id.
fn key_lengths(digits: usize) -> std::ops::RangeInclusive<usize> {
    SHORT_ID..=digits.min(2 * SHORT_ID)
}
