//! Settings and where each comes from: flag, then environment, then the project's file, then a default.
//!
//! The project's file is the nearest `.agentcoord/config.toml` from the working directory up to the worktree root.

use std::path::{Path, PathBuf};

use agentcoord::core::history::PruneHistory;
use agentcoord::core::record::NEVER;
use agentcoord::{Approvers, BackendChoice, Config, Workspace};

use crate::cli::{Colour, Global};
use crate::duration;
use crate::error::CliError;
use crate::output::Format;
use crate::suggest;

/// Keys that the project's file may have.
const KEYS: &[&str] = &[
    "agent",
    "approvers",
    "backend",
    "color",
    "namespace",
    "output",
    "redis_url",
    RETAINED,
    RETENTION,
    "revoked_approvers",
    "signing_key",
    "state_dir",
];
/// How many final records of a noun are kept.
const RETAINED: &str = "retained";
/// How long final records are kept.
const RETENTION: &str = "retention";
/// The project's file.
const FILE: &str = ".agentcoord/config.toml";

/// A variable of the environment; empty counts as unset.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A flag.
    Flag(&'static str),
    /// A variable of the environment.
    Environment(&'static str),
    /// The project's file.
    Project(PathBuf),
    /// Nobody said anything.
    Default,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Flag(name) | Self::Environment(name) => f.write_str(name),
            Self::Project(file) => write!(f, "{}", file.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value and where it comes from.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// The key.
    pub(crate) key: &'static str,
    /// The value, as text; none: not set.
    pub(crate) value: Option<String>,
    /// Where it comes from.
    pub(crate) origin: Origin,
}

impl Setting {
    /// The value as a path: one in the file is relative to the project, others to the working directory.
    fn path(&self, cwd: &Path) -> Option<PathBuf> {
        let value = self.value.as_deref()?;
        if let Some((below, home)) = value.strip_prefix("~/").zip(variable("HOME")) {
            return Some(Path::new(&home).join(below));
        }
        Some(match &self.origin {
            Origin::Project(file) => file.ancestors().nth(2).unwrap_or(cwd).join(value),
            Origin::Flag(_) | Origin::Environment(_) | Origin::Default => cwd.join(value),
        })
    }
}

/// Everything that flags, environment and files say.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The worktree root.
    pub(crate) root: PathBuf,
    /// The working directory, canonical.
    pub(crate) cwd: PathBuf,
    /// The state directory.
    pub(crate) state_dir: PathBuf,
    /// Which engines may serve.
    pub(crate) backend: BackendChoice,
    /// How to answer.
    pub(crate) format: Format,
    /// When to colour.
    pub(crate) colour: Colour,
    /// Nothing but the answer and errors.
    pub(crate) quiet: bool,
    /// Never ask or wait for a person at this terminal.
    pub(crate) no_input: bool,
    /// How much to log.
    pub(crate) verbose: u8,
    /// The token of the lock under which this command writes, when a flag names it.
    pub(crate) fence: Option<u64>,
    /// How much of what has come to an end is kept.
    pub(crate) retention: PruneHistory,
    /// Every value with its origin, by key.
    pub(crate) all: Vec<Setting>,
}

impl Settings {
    /// Reads flags, environment and files.
    ///
    /// # Errors
    /// `INVALID` for a value or a key that is not known, naming where it stands.
    pub(crate) fn resolve(global: &Global) -> Result<Self, CliError> {
        let dir = global.directory.clone().unwrap_or_else(|| PathBuf::from("."));
        let cwd = dir
            .canonicalize()
            .map_err(|e| CliError::invalid(format!("the directory {} cannot be used: {e}", dir.display())))?;
        let project = Project::find(&cwd)?;
        let json = global.json.then(|| "json".to_owned());
        let output = global.output.map(|f| f.word().to_owned()).or(json);
        let colour = global.color.map(|c| colour_word(c).to_owned());
        let no_colour =
            if colour.is_none() && variable("NO_COLOR").is_some() { Some("never".to_owned()) } else { None };
        let pick = |key, flag: &'static str, given: &Option<String>, variables: &[&'static str]| {
            pick(key, given.clone().map(|v| (v, flag)), variables, project.as_ref())
        };
        let mut all = vec![
            pick("agent", "--as", &global.agent, &["AGENTCOORD_AGENT"]),
            pick("approvers", "", &None, &["AGENTCOORD_APPROVERS"]),
            pick("backend", "--backend", &global.backend, &["AGENTCOORD_BACKEND"]),
            match no_colour {
                Some(_) => Setting { key: "color", value: no_colour, origin: Origin::Environment("NO_COLOR") },
                None => pick("color", "--color", &colour, &[]),
            },
            pick("namespace", "--namespace", &global.namespace, &["AGENTCOORD_NAMESPACE"]),
            pick("output", "--output", &output, &["AGENTCOORD_OUTPUT"]),
            pick("redis_url", "--redis-url", &global.redis_url, &["AGENTCOORD_REDIS_URL", "REDIS_URL"]),
            pick(RETAINED, "", &None, &["AGENTCOORD_RETAINED"]),
            pick(RETENTION, "", &None, &["AGENTCOORD_RETENTION"]),
            pick("revoked_approvers", "", &None, &["AGENTCOORD_REVOKED_APPROVERS"]),
            pick("signing_key", "", &None, &["AGENTCOORD_SIGNING_KEY"]),
            pick("state_dir", "--state-dir", &global.state_dir, &["AGENTCOORD_STATE_DIR"]),
        ];
        let backend = choose(&all, "backend", &["auto", "redis", "files"])?;
        let format = choose(&all, "output", &["table", "json", "jsonl", "id"])?;
        let colour = choose(&all, "color", &["auto", "always", "never"])?;
        let retention = retention(&all)?;
        let state_dir = setting(&all, "state_dir").path(&cwd);
        let home = state_home();
        let workspace = match (&state_dir, Workspace::discover(&cwd, home.as_deref())) {
            (Some(_), Err(_)) => Workspace { root: cwd.clone(), state_dir: PathBuf::new() },
            (_, found) => found?,
        };
        let state_dir = state_dir.unwrap_or(workspace.state_dir);
        if let Some(entry) = all.iter_mut().find(|s| s.key == "state_dir") {
            entry.value = Some(state_dir.display().to_string());
        }
        Ok(Self {
            root: workspace.root,
            cwd,
            state_dir,
            backend: match backend.as_deref() {
                Some("redis") => BackendChoice::Redis,
                Some("files") => BackendChoice::Files,
                _ => BackendChoice::Auto,
            },
            format: format.as_deref().and_then(Format::parse).unwrap_or_default(),
            colour: match colour.as_deref() {
                Some("always") => Colour::Always,
                Some("never") => Colour::Never,
                _ => Colour::Auto,
            },
            quiet: global.quiet,
            no_input: global.no_input,
            verbose: global.verbose,
            fence: global.fence,
            retention,
            all,
        })
    }

    /// Settings for commands that need no workspace.
    pub(crate) fn bare(global: &Global) -> Self {
        Self {
            root: PathBuf::new(),
            cwd: PathBuf::new(),
            state_dir: PathBuf::new(),
            backend: BackendChoice::Auto,
            format: Format::of_flags(global),
            colour: global.color.unwrap_or_default(),
            quiet: global.quiet,
            no_input: global.no_input,
            verbose: global.verbose,
            fence: None,
            retention: PruneHistory::default(),
            all: Vec::new(),
        }
    }

    /// The value of a key.
    pub(crate) fn value(&self, key: &str) -> Option<&str> {
        self.all.iter().find(|s| s.key == key).and_then(|s| s.value.as_deref())
    }

    /// A key whose value is a path, made absolute.
    pub(crate) fn path(&self, key: &str) -> Option<PathBuf> {
        self.all.iter().find(|s| s.key == key).and_then(|s| s.path(&self.cwd))
    }

    /// What the library needs to know.
    pub(crate) fn connection(&self) -> Config {
        let mut config = Config::new(&self.root, &self.state_dir);
        config.namespace = self.value("namespace").map(ToOwned::to_owned);
        config.redis_url = self.value("redis_url").map(ToOwned::to_owned);
        config.backend = self.backend;
        config.retention = self.retention;
        config.approvers = self
            .path("approvers")
            .map(|allowed_signers| Approvers { allowed_signers, revoked_keys: self.path("revoked_approvers") });
        config
    }
}

fn colour_word(colour: Colour) -> &'static str {
    match colour {
        Colour::Auto => "auto",
        Colour::Always => "always",
        Colour::Never => "never",
    }
}

/// Where state directories lie for directories that are no git worktree.
fn state_home() -> Option<PathBuf> {
    let absolute = |p: PathBuf| p.is_absolute().then_some(p);
    let xdg = variable("XDG_STATE_HOME").map(PathBuf::from).and_then(absolute);
    xdg.or_else(|| variable("HOME").map(|home| Path::new(&home).join(".local/state")).and_then(absolute))
}

fn setting<'a>(all: &'a [Setting], key: &str) -> &'a Setting {
    all.iter().find(|s| s.key == key).unwrap_or(&all[0])
}

fn pick(
    key: &'static str,
    flag: Option<(String, &'static str)>,
    variables: &[&'static str],
    project: Option<&Project>,
) -> Setting {
    if let Some((value, name)) = flag {
        return Setting { key, value: Some(value), origin: Origin::Flag(name) };
    }
    for name in variables {
        if let Some(value) = variable(name) {
            return Setting { key, value: Some(value), origin: Origin::Environment(name) };
        }
    }
    match project.and_then(|p| p.value(key).map(|v| (v, p))) {
        Some((value, p)) => Setting { key, value: Some(value), origin: Origin::Project(p.file.clone()) },
        None => Setting { key, value: None, origin: Origin::Default },
    }
}

/// A value that must be one of some words.
fn choose(all: &[Setting], key: &str, words: &[&str]) -> Result<Option<String>, CliError> {
    let Setting { value, origin, .. } = setting(all, key);
    let Some(value) = value else { return Ok(None) };
    if words.contains(&value.as_str()) {
        return Ok(Some(value.clone()));
    }
    let allowed = words.join(", ");
    let shown = value.escape_debug();
    Err(CliError::invalid(format!("{key} is `{shown}`, which is none of {allowed} (it comes from {origin})")))
}

/// What is kept of what has come to an end.
fn retention(all: &[Setting]) -> Result<PruneHistory, CliError> {
    let PruneHistory { older_than, keep } = PruneHistory::default();
    let age = "a duration of at most ten years, such as 7d, 12h or a number of seconds";
    Ok(PruneHistory {
        older_than: read(all, RETENTION, age, |text| duration::parse(text).ok().map(duration::millis))?
            .unwrap_or(older_than),
        keep: read(all, RETAINED, "a whole number below 2^53", |text| text.parse().ok().filter(|n| *n <= NEVER))?
            .unwrap_or(keep),
    })
}

/// A value that is read from its text.
fn read<T>(all: &[Setting], key: &str, allowed: &str, read: impl Fn(&str) -> Option<T>) -> Result<Option<T>, CliError> {
    let Setting { value, origin, .. } = setting(all, key);
    let Some(value) = value else { return Ok(None) };
    if let Some(read) = read(value) {
        return Ok(Some(read));
    }
    let error = CliError::invalid(format!(
        "{key} is `{}`; allowed is {allowed} (it comes from {origin})",
        value.escape_debug()
    ));
    Err(error.details(serde_json::json!({"field": key, "given": value, "allowed": allowed})))
}

/// The project's file.
#[derive(Debug)]
struct Project {
    file: PathBuf,
    values: toml::Table,
}

impl Project {
    fn find(cwd: &Path) -> Result<Option<Self>, CliError> {
        for dir in cwd.ancestors() {
            let file = dir.join(FILE);
            if file.is_file() {
                return Self::read(file).map(Some);
            }
            // What lies above the worktree is not the project's, and may be anybody's.
            if dir.join(".git").exists() {
                break;
            }
        }
        Ok(None)
    }

    fn read(file: PathBuf) -> Result<Self, CliError> {
        let bad = |what: String| CliError::invalid(format!("{}: {what}", file.display()));
        let text = std::fs::read_to_string(&file).map_err(|e| bad(e.to_string()))?;
        let values: toml::Table = toml::from_str(&text).map_err(|e| bad(e.message().to_owned()))?;
        for (key, value) in &values {
            if !KEYS.contains(&key.as_str()) {
                let hint = match suggest::nearest(key, KEYS.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("known are {}", KEYS.join(", ")),
                };
                return Err(bad(format!("unknown key `{}`; {hint}", key.escape_debug())));
            }
            let (fits, kind) = match key.as_str() {
                RETAINED => (value.is_integer() || value.is_str(), "whole number"),
                _ => (value.is_str(), "string"),
            };
            if !fits {
                let given = match value {
                    toml::Value::Integer(number) => number.to_string(),
                    toml::Value::Float(number) => number.to_string(),
                    toml::Value::Boolean(word) => word.to_string(),
                    other => format!("a value of type {}", other.type_str()),
                };
                return Err(bad(format!("`{key}` is {given}; it must be a {kind}")));
            }
        }
        Ok(Self { file, values })
    }

    fn value(&self, key: &str) -> Option<String> {
        match self.values.get(key)? {
            toml::Value::String(text) => Some(text.clone()),
            other => other.as_integer().map(|number| number.to_string()),
        }
    }
}
