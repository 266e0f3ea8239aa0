//! Locks on Redis: what a lock that nobody else wants costs.

use crate::Outcome;
use crate::arguments::Arguments;
use crate::bare::Bare;
use crate::{place, sample};

const FILE: &str = "src/main.rs";

/// Lock and release over two bare scripts that set one key each.
pub(crate) async fn uncontended(arguments: &Arguments) -> Outcome<()> {
    let client = place::on_redis(arguments).await?;
    let mut bare = Bare::connect(arguments).await?;
    let ours = async || Ok(client.lock_file(FILE).await?.release().await?);
    let limit = async || {
        bare.run("bare:lock").await?;
        bare.run("bare:lock").await
    };
    sample::in_turn(arguments.rounds()?, arguments.operations()?, ours, limit).await?;
    Ok(client.close().await?)
}

/// Commands that the script of an acquire runs.
pub(crate) async fn calls(arguments: &Arguments) -> Outcome<()> {
    let client = place::on_redis(arguments).await?;
    let mut bare = Bare::connect(arguments).await?;
    client.lock_file(FILE).await?.release().await?;
    for _ in 0..arguments.rounds()? {
        let before = bare.commands().await?;
        let held = client.lock_file(FILE).await?;
        let after = bare.commands().await?;
        held.release().await?;
        sample::say("commands", "calls", f64::from(u32::try_from(after - before)?), None);
    }
    Ok(client.close().await?)
}
