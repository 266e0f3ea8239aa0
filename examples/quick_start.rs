//! The quick start of the README, as it stands there.

use agentcoord::CoordinationClient;
use agentcoord::core::board::ThreadPriority;
use agentcoord::core::task::NewTask;

#[tokio::main]
async fn main() -> agentcoord::Result<()> {
    let coord = CoordinationClient::session("Engineer", "Agent-1")
        .redis_url("redis://localhost:6379") // optional: files serve where there is no Redis
        .working_on("Building features")
        .await?;

    // Lock files atomically; the token lets whatever they protect refuse a late writer.
    let lock = coord.lock_file("backend/main.py").intent("Add /health endpoint").await?;
    assert!(lock.token().0 > 0);
    // Safe to edit here.
    lock.release().await?;

    // Put a task into the queue, and claim the best one: highest priority, then oldest.
    let mut task = NewTask::titled("Write the changelog");
    task.tags = vec!["backend".into()];
    coord.create_task(task).await?;
    if let Some(task) = coord.claim_task(["backend"]).await? {
        task.progress("half way", Some(50)).await?;
        task.complete(None).await?;
    }

    // Tell the others, and leave a trace of what was decided.
    coord
        .post_thread("Deployment complete", "Backend v2.0 deployed successfully")
        .priority(ThreadPriority::High)
        .await?;
    coord.log_decision("deployment", "Backend v2.0", "New features tested and ready").await?;

    // Ask a person, who answers with `agentcoord approve <id>`; then `approval.decision().await` blocks until they do.
    let approval = coord.request_approval("deployment", "Deploy backend v2.0").await?;
    approval.cancel().await?;

    coord.close().await
}
