//! Every key and channel name. No other file spells one.
//!
//! All keys of a namespace carry one hash tag, `{namespace}`, so that every script is legal on a cluster.

use agentcoord_core::engine::Channel;
use agentcoord_core::table::Table;
use agentcoord_core::{Error, Result};

/// The names of one namespace in one generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Keys {
    namespace: String,
    root: String,
}

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// A record.
    Record(Table, String),
    /// A blob, by name.
    Blob(String),
}

/// The meta record, which has no generation: it names the one that counts.
pub(crate) fn meta(namespace: &str) -> Result<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if namespace.is_empty() || namespace.len() > 128 || !namespace.chars().all(plain) {
        return Err(Error::invalid("namespace", namespace, "1 to 128 letters, digits, dots, hyphens and underscores"));
    }
    Ok(format!("ac:{{{namespace}}}:meta"))
}

/// The key that a look writes.
pub(crate) fn probe(namespace: &str) -> Result<String> {
    meta(namespace)?;
    Ok(format!("ac:{{{namespace}}}:probe"))
}

/// A pattern that all keys of a namespace fit, of every generation.
pub(crate) fn all(namespace: &str) -> Result<String> {
    meta(namespace)?;
    Ok(format!("ac:{{{namespace}}}:*"))
}

impl Keys {
    pub(crate) fn new(namespace: &str, generation: &str) -> Result<Self> {
        meta(namespace)?;
        Ok(Self { namespace: namespace.to_owned(), root: format!("ac:{{{namespace}}}:{generation}") })
    }

    pub(crate) fn meta(&self) -> String {
        format!("ac:{{{}}}:meta", self.namespace)
    }

    /// The hash with the shared state, replay slots and pulses.
    pub(crate) fn hot(&self) -> String {
        format!("{}:hot", self.root)
    }

    pub(crate) fn index(&self) -> String {
        format!("{}:index", self.root)
    }

    pub(crate) fn events(&self) -> String {
        format!("{}:events", self.root)
    }

    /// What every script gets, in the order in which the prelude names it.
    pub(crate) fn of_script(&self) -> [String; 5] {
        [self.meta(), self.hot(), self.index(), self.events(), self.root.clone()]
    }

    pub(crate) fn record(&self, table: Table, key: &str) -> String {
        format!("{}:{}:{key}", self.root, table.name())
    }

    /// The field of a record that lives in the hot hash.
    pub(crate) fn field(table: Table, key: &str) -> String {
        format!("{}/{key}", table.name())
    }

    pub(crate) fn blob(&self, name: &str) -> String {
        format!("{}:blob:{name}", self.root)
    }

    /// Whether a key of the namespace belongs to another generation, and to no other purpose.
    pub(crate) fn is_of_another_generation(&self, key: &str) -> bool {
        let rest = key.strip_prefix(&format!("ac:{{{}}}:", self.namespace));
        let generation = rest.and_then(|rest| rest.split_once(':')).map(|(generation, _)| generation);
        let is_generation = generation.is_some_and(|g| !g.is_empty() && g.bytes().all(|b| b.is_ascii_digit()));
        is_generation && !key.starts_with(&format!("{}:", self.root))
    }

    /// A pattern that all keys of this generation fit.
    pub(crate) fn pattern(&self) -> String {
        format!("{}:*", self.root)
    }

    /// What a key of this generation holds.
    pub(crate) fn parse(&self, key: &str) -> Option<Stored> {
        let (kind, name) = key.strip_prefix(&self.root)?.strip_prefix(':')?.split_once(':')?;
        match kind {
            "blob" => Some(Stored::Blob(name.to_owned())),
            table => Some(Stored::Record(Table::parse(table)?, name.to_owned())),
        }
    }

    /// The record of a field of the hot hash; none for the shared state.
    pub(crate) fn parse_field(field: &str) -> Option<(Table, String)> {
        let (table, key) = field.split_once('/')?;
        Some((Table::parse(table)?, key.to_owned()))
    }

    /// What precedes the client or approval in the names of wake-up channels.
    pub(crate) fn wake_prefix(&self) -> String {
        format!("ac:{{{}}}:wake:", self.namespace)
    }

    pub(crate) fn channel(&self, channel: &Channel) -> String {
        self.wake_prefix() + &channel.name()
    }
}

/// The field of the hot hash that holds the shared state.
pub(crate) const STATE: &str = "state";
/// The field of the hot hash that a generation has from its first write until it counts.
pub(crate) const BEGUN: &str = "begun";
/// The field of a stream entry that holds the event.
pub(crate) const EVENT: &str = "e";
/// The field of a stream entry that holds the state after the event.
pub(crate) const EVENT_STATE: &str = "s";
/// The fields of the meta record, in the order of [`crate::Meta`].
pub(crate) const META_FIELDS: [&str; 6] = ["epoch", "instance", "generation", "owner", "schema", "closed"];
/// Those of them that every call looks at.
pub(crate) const FENCE_FIELDS: [&str; 3] = ["epoch", "instance", "closed"];
/// The field of the meta record by which tests stop the wall clock.
pub(crate) const FREEZE_WALL: &str = "freeze_wall";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_carry_the_hash_tag() {
        let keys = Keys::new("shop", "1").expect("a namespace");
        for key in keys.of_script().into_iter().chain([keys.record(Table::Lock, "7"), keys.blob("task/x/payload")]) {
            assert!(key.starts_with("ac:{shop}:"), "{key}");
        }
    }

    #[test]
    fn keys_are_read_back_as_they_were_written() {
        let keys = Keys::new("shop", "1").expect("a namespace");
        let record = keys.record(Table::Key, "task/a:b");
        assert_eq!(keys.parse(&record), Some(Stored::Record(Table::Key, "task/a:b".to_owned())));
        assert_eq!(keys.parse(&keys.blob("task/x/payload")), Some(Stored::Blob("task/x/payload".to_owned())));
        assert_eq!(keys.parse(&keys.hot()), None);
        assert_eq!(Keys::parse_field(&Keys::field(Table::Ring, "c/7")), Some((Table::Ring, "c/7".to_owned())));
        assert_eq!(Keys::parse_field(STATE), None);
    }

    #[test]
    fn keys_of_other_generations_are_told_from_all_others() {
        let keys = Keys::new("shop", "12").expect("a namespace");
        let other = Keys::new("shop", "1").expect("a namespace");
        assert!(keys.is_of_another_generation(&other.hot()));
        assert!(other.is_of_another_generation(&keys.index()));
        for kept in [keys.hot(), keys.meta(), probe("shop").expect("a name"), "ac:{shop2}:1:hot".to_owned()] {
            assert!(!keys.is_of_another_generation(&kept), "{kept}");
        }
    }

    #[test]
    fn a_namespace_cannot_break_out_of_its_hash_tag() {
        for name in ["", "a}b", "a{b", "a:b", "a b", "a\0b"] {
            assert!(matches!(Keys::new(name, "1"), Err(Error::Invalid { field: "namespace", .. })), "{name:?}");
        }
    }
}
