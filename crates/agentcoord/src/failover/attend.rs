//! The keeper's part in the way to Redis and back, beside its other work: files that lack something are filled, what dead
//! processes have asked is settled, and Redis gets everything back.

use std::time::Duration;

use agentcoord_core::Result;
use agentcoord_core::engine::EngineKind;

use crate::connection::Connection;
use crate::failover::come_back::{Watchman, look_every};
use crate::failover::orphans;

/// Pause while Redis serves, and after a failure.
const PAUSE: Duration = Duration::from_secs(2);

/// Sees to it for as long as it is polled.
pub(crate) async fn attend(link: &Connection) {
    let mut switches = link.host().switches();
    let mut watchman = Watchman::default();
    loop {
        let pause = match look(link, &mut watchman).await {
            Ok(pause) => pause,
            Err(error) => {
                tracing::debug!(%error, "the way to Redis and back could not be seen to");
                PAUSE
            }
        };
        tokio::select! {
            // Another engine serves, so there is another way to see to.
            _ = switches.changed() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Does what is to be done now. How long until the next time.
async fn look(link: &Connection, watchman: &mut Watchman) -> Result<Duration> {
    let host = link.host();
    // Where a process ended between row and word, all go on by the word, and only the row tells.
    host.decided().await?;
    if link.opened().await?.serving.engine == EngineKind::Redis {
        host.fill_files().await?;
        orphans::settle(link).await?;
        return Ok(PAUSE);
    }
    if watchman.look(host).await? {
        link.come_back("Redis was healthy again").await.inspect_err(|_| watchman.has_failed())?;
        watchman.has_returned(host);
    }
    Ok(look_every(host.config().return_after))
}
