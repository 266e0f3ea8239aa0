//! Two agents and a person in one program: locks, tasks, board, approval, audit.
//!
//! Runs on Redis when there is one at `redis://127.0.0.1:6379` (or at the URL given as the first argument), else on
//! files:
//!
//! ```console
//! $ cargo run -p agentcoord --example basic_usage
//! $ cargo run -p agentcoord --example basic_usage redis://127.0.0.1:6379
//! ```

use agentcoord::core::board::ThreadPriority;
use agentcoord::core::task::NewTask;
use agentcoord::{Ballot, CoordinationClient, Decision, Result, SessionBuilder};

/// A session in a scratch workspace, so that the example leaves nothing behind.
fn session(dir: &std::path::Path, role: &str, name: &str) -> SessionBuilder {
    let builder = CoordinationClient::session(role, name).dir(dir).state_dir(dir.join("state"));
    match std::env::args().nth(1) {
        Some(url) => builder.redis_url(url),
        None => builder,
    }
}

#[tokio::main]
#[allow(clippy::print_stdout, reason = "an example talks to whoever runs it")]
async fn main() -> Result<()> {
    let scratch = tempfile::tempdir().map_err(|e| agentcoord::Error::backend("no scratch directory", e))?;
    let coord = session(scratch.path(), "Engineer", "Agent-1").working_on("Building features").await?;
    let other = session(scratch.path(), "Reviewer", "Agent-2").await?;
    let serving = coord.connection().opened().await?.serving.clone();
    println!("engine: {}, epoch {}", serving.engine.word(), serving.epoch);

    // A lock on a file: exclusive, fenced, given back at the end.
    let lock = coord.lock_file("backend/main.py").intent("Add /health endpoint").await?;
    println!("Agent-1 holds {} with token {}", lock.paths()[0], lock.token());
    let refused = other.lock_file("backend/main.py").timeout(std::time::Duration::ZERO).await;
    println!("Agent-2 is told: {}", refused.err().map_or("nothing".into(), |e| e.to_string()));
    lock.release().await?;

    // A task from the queue.
    let mut task = NewTask::titled("Add /health endpoint");
    task.tags = vec!["backend".into()];
    task.priority = 5;
    other.create_task(task).await?;
    if let Some(task) = coord.claim_task(["backend"]).await? {
        println!("Working on: {}", task.title());
        task.complete(Some(r#"{"commit":"abc123"}"#.into())).await?;
    }

    // The board.
    let thread = coord
        .post_thread("Deployment complete", "Backend v2.0 deployed successfully")
        .priority(ThreadPriority::High)
        .await?;
    other.reply(thread.thread, "Looks good from here").await?;
    let mut mailbox = coord.mailbox();
    println!("{} says: {}", other.name(), mailbox.next().await?.message.content);

    // An approval: the agent blocks until a person says yes. Here the same program plays the person, who would type
    // `agentcoord approve <id>`.
    let approval = coord.request_approval("deployment", "Deploy backend v2.0 to production").await?;
    let asked = approval.look().await?;
    let vote = coord.connection().vote("ada", &asked, Ballot::approve());
    let (decision, voted) = tokio::join!(approval.decision(), vote);
    voted?;
    println!("approved: {}", decision? == Decision::Approved);

    // The audit log.
    coord.log_decision("deployment", "Backend v2.0", "New features tested and ready").await?;

    other.close().await?;
    coord.close().await
}
