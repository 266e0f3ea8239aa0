//! What commands, which do not stay, have seen of a Redis that may come back: they leave it to the next one.

use agentcoord_core::time::Reading;

use crate::error::Fault;
use crate::namespace::Namespace;

/// How Redis was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// Milliseconds of the boot clock at which it was looked at last.
    pub looked: u64,
    /// Since when it is healthy; none: it was not.
    pub since: Option<u64>,
}

impl Namespace {
    /// What the last command has seen since this boot.
    #[must_use]
    pub fn health(&self, now: &Reading) -> Option<Health> {
        let text = std::fs::read_to_string(&self.files().health).ok()?;
        let mut words = text.split_whitespace();
        if words.next() != Some(now.boot_id.as_str()) {
            return None;
        }
        let looked = words.next()?.parse().ok()?;
        Some(Health { looked, since: words.next().and_then(|word| word.parse().ok()) })
    }

    /// Leaves it to the next one.
    ///
    /// # Errors
    /// `Unavailable`.
    pub fn leave_health(&self, now: &Reading, health: Health) -> agentcoord_core::Result<()> {
        let path = &self.files().health;
        let since = health.since.map(|since| since.to_string()).unwrap_or_default();
        let text = format!("{} {} {since}\n", now.boot_id, health.looked);
        Ok(std::fs::write(path, text).map_err(Fault::io("write", path))?)
    }

    /// Bytes of the database: what a return to Redis would have to carry, about.
    #[must_use]
    pub fn size(&self) -> u64 {
        std::fs::metadata(&self.files().database).map_or(0, |meta| meta.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state_dir::StateDir;

    #[test]
    fn health_is_left_to_others_of_the_same_boot() {
        let dir = tempfile::tempdir().expect("a directory");
        let namespace = Namespace::open(&StateDir::open(dir.path()).expect("a state directory"), "n").expect("a name");
        let now = Reading { wall: 1, boot_id: "boot".into(), boot: 7 };
        assert_eq!(namespace.health(&now), None);
        for since in [None, Some(5)] {
            let health = Health { looked: 7, since };
            namespace.leave_health(&now, health).expect("writable");
            assert_eq!(namespace.health(&now), Some(health));
        }
        assert_eq!(namespace.health(&Reading { boot_id: "another".into(), ..now }), None);
    }
}
