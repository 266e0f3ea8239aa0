//! `config show`. Opens nothing, so it also works when the engine does not.

use agentcoord::core::limits;
use serde::Serialize;

use crate::context::Context;
use crate::duration;
use crate::error::CliError;
use crate::output::{Grid, Page, Render, Tone};

/// How much to show.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Name the source of each value
    #[arg(long)]
    origin: bool,
}

/// Every setting.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    items: Vec<Item>,
    #[serde(skip)]
    origin: bool,
}

#[derive(Debug, Serialize)]
struct Item {
    key: &'static str,
    value: Option<String>,
    origin: String,
}

impl Render for View {
    fn table(&self, page: &mut Page) {
        let mut grid = Grid::new(["KEY", "VALUE", "FROM"]).path("FROM");
        for item in &self.items {
            let value = item.value.clone().unwrap_or_else(|| "-".to_owned());
            let origin = if self.origin { item.origin.clone() } else { String::new() };
            grid.row(Tone::Plain, [item.key.to_owned(), value, origin]);
        }
        page.grid(grid, usize::MAX, "");
    }

    fn ids(&self) -> Vec<String> {
        self.items.iter().map(|item| item.key.to_owned()).collect()
    }

    fn lines(&self) -> serde_json::Result<Vec<String>> {
        crate::output::json::lines(&self.items)
    }
}

/// Shows the settings.
///
/// # Errors
/// None.
pub(crate) async fn run(context: &Context, args: Args) -> Result<View, CliError> {
    let defaults = |key: &str| match key {
        "backend" | "color" => Some("auto".to_owned()),
        "output" => Some("table".to_owned()),
        "retained" => Some(limits::RETAINED.to_string()),
        "retention" => Some(duration::short(limits::RETENTION)),
        "redis_url" => Some(agentcoord::DEFAULT_REDIS_URL.to_owned()),
        _ => None,
    };
    let items = context.settings().all.iter().map(|setting| Item {
        key: setting.key,
        value: setting.value.clone().or_else(|| defaults(setting.key)).map(|v| without_secret(&v)),
        origin: setting.origin.to_string(),
    });
    Ok(View { items: items.collect(), origin: args.origin })
}

/// A URL without its password.
fn without_secret(value: &str) -> String {
    let Some((scheme, rest)) = value.split_once("://") else { return value.to_owned() };
    let Some((user, place)) = rest.rsplit_once('@') else { return value.to_owned() };
    let user = user.split(':').next().unwrap_or_default();
    format!("{scheme}://{user}:***@{place}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_of_a_url_is_not_shown() {
        assert_eq!(without_secret("redis://u:s3cret@h:1/0"), "redis://u:***@h:1/0");
        assert_eq!(without_secret("redis://:s3:c@ret@h"), "redis://:***@h");
        assert_eq!(without_secret("redis://h:1"), "redis://h:1");
    }
}
