//! `demo`: the whole system at work for a few seconds. Agents are real processes on a scratch clone of a real
//! repository; what they did is proved at the end from the repository and the store.

pub(crate) mod agent;
mod chaos;
mod job;
mod proof;
mod scratch;
mod swarm;
mod view;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use agentcoord::core::approval::ApprovalStatus;
use agentcoord::core::engine::EngineKind;
use agentcoord::core::ids::Id;
use agentcoord::core::limits;
use agentcoord::core::record::Counts;
use agentcoord::core::store::Backend;
use agentcoord::core::task::{CreateTasks, NewTask, TaskFilter, TaskStatus};
use agentcoord::{BackendChoice, Config, Connection, CoordinationClient, DEFAULT_REDIS_URL, Store, Style};

use tokio::sync::watch;

use self::job::{Job, TAG};
use self::proof::Check;
use self::scratch::Scratch;
use self::swarm::{Place, Swarm};
use self::view::{Approval, View};
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{complain, text};
use crate::process::Signals;
use crate::progress::Progress;

/// How often the demo looks at its agents. They themselves never poll; this draws a bar.
const GLANCE: Duration = Duration::from_millis(50);
/// Without any news for so long, something is wrong.
const STALL: Duration = Duration::from_secs(90);
/// Sessions are short when one is to end by a kill, so that the others need not wait long for what it held.
const SHORT_SESSION: Duration = Duration::from_secs(4);
/// The person who approves when there is no terminal.
const PERSON: &str = "demo-human";

/// How large a demo.
#[derive(Debug, clap::Args)]
#[command(after_help = "Without --redis-url or --backend redis it runs on the embedded engine. It works in a scratch \
clone in the temporary directory and leaves it for you to look at; it never writes to DIR.")]
pub(crate) struct Args {
    /// Agents, each a process
    #[arg(long, value_name = "N", default_value = "8", value_parser = clap::value_parser!(u16).range(1..=64))]
    agents: u16,
    /// Tasks, each an edit and a commit
    #[arg(long, value_name = "N", default_value = "200", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    tasks: u16,
    /// A git repository to work on a clone of [default: one that the demo makes]
    #[arg(long, value_name = "DIR")]
    repo: Option<PathBuf>,
    /// Kill one agent with kill -9 in the middle of its work
    #[arg(long)]
    kill_one: bool,
    /// Start a redis-server, and kill and revive it again and again while the agents work
    #[arg(long)]
    chaos: bool,
}

/// What happened while the agents worked.
#[derive(Debug, Default)]
struct Course {
    killed: Option<String>,
    approval: Option<String>,
    wrong: Vec<String>,
}

/// Runs the demo.
///
/// # Errors
/// When it cannot be set up. What it proves or not is its answer.
pub(crate) async fn run(context: &Context, args: Args) -> Result<View, CliError> {
    let mut signals = Signals::of_ending()?;
    tokio::select! {
        answer = perform(context, &args) => answer,
        // Agents end with the demo: their stdin does.
        signal = signals.next() => Err(CliError::new(Exit::Signal(signal), "INTERRUPTED", "the demo was interrupted")),
    }
}

async fn perform(context: &Context, args: &Args) -> Result<View, CliError> {
    let settings = context.settings();
    let repo = args.repo.as_ref().map(|dir| settings.cwd.join(dir));
    let scratch = Scratch::new(repo.as_deref())?;
    let total = usize::from(args.tasks);
    let jobs = jobs(&scratch.files(total.div_ceil(5))?, total);

    let server = if args.chaos { Some(chaos::Server::start(scratch.dir.join("redis")).await?) } else { None };
    let url = settings.value("redis_url").map(ToOwned::to_owned);
    let url = match (&server, settings.backend, url) {
        (Some(server), ..) => Some(server.url()),
        (None, BackendChoice::Files, _) | (None, BackendChoice::Auto, None) => None,
        (None, _, url) => Some(url.unwrap_or_else(|| DEFAULT_REDIS_URL.to_owned())),
    };
    let mut config = Config::new(scratch.git.dir(), scratch.state_dir());
    config.backend = match (&server, &url) {
        (Some(_), _) => BackendChoice::Auto,
        (None, Some(_)) => BackendChoice::Redis,
        (None, None) => BackendChoice::Files,
    };
    if server.is_some() {
        (config.detection, config.return_after) = (chaos::DETECTION, chaos::RETURN_AFTER);
    }
    config.redis_url.clone_from(&url);
    let connection = Connection::open(config, Style::LongRunning).await?;
    let opened = connection.opened().await?;
    let shown_url = opened.serving.redis.as_deref();
    let place = Place::new(&scratch, connection.namespace(), connection.config().backend, url, shown_url)?;
    let client = CoordinationClient::session("Demo", "demo").dir(scratch.git.dir()).on(connection.clone()).await?;
    let store = client.store().await?;
    let opening = format!("{total} edits, {} agents", args.agents);
    let thread = client.post_thread("Demo: who edits what", opening).await?.thread;
    for chunk in jobs.chunks(limits::CREATE_CHUNK) {
        let tasks: Result<Vec<NewTask>, CliError> = chunk.iter().map(task).collect();
        client.run(CreateTasks::new(tasks?)).await?;
    }

    let session_ttl = if args.kill_one { SHORT_SESSION } else { Duration::from_millis(limits::SESSION_TTL) };
    let began = Instant::now();
    let mut swarm = Swarm::start(&place, &scratch, args.agents.into(), &thread, session_ttl)?;
    let progress = Progress::new(context, "demo", total as u64);
    let (over, watched) = watch::channel(false);
    let torment = server.map(|server| server.torment(connection.clone(), watched));
    let course = accompany(context, args, &store, &place, &mut swarm, &progress).await?;
    let seconds = began.elapsed().as_secs_f64();
    drop(progress);
    over.send_replace(true);
    let mut wrong = course.wrong;
    wrong.extend(swarm.dismiss().await);
    let suffered = match torment {
        Some(torment) => Some(torment.end().await?),
        None => None,
    };
    let outages = suffered.as_ref().map(|(_, outages)| *outages);
    if outages.is_some_and(|outages| outages.total() == 0) {
        wrong.push("all was done before Redis was killed once; give it more --tasks".to_owned());
    }

    let mut evidence = proof::gather(&store, &scratch, total, &thread, course.killed.is_some()).await?;
    if args.kill_one && course.killed.is_none() {
        wrong.push("none had work in hand to be killed over".to_owned());
    }
    evidence.checks.push(Check::of("all agents worked to the end", &wrong));
    let approval = approval(&store, course.approval).await?;
    let mut look = look(&scratch, &place, &thread);
    if evidence.checks.iter().any(|check| !check.ok) {
        look.push(format!("cat {}/*.log", text::shell(&scratch.logs().display().to_string())));
    }
    let (longest_lock_wait_ms, longest_lock_wait_for) = evidence.longest_wait;
    let view = View {
        engine: opened.serving.engine.word(),
        repository: scratch.source.clone(),
        agents: args.agents.into(),
        tasks: total,
        completed: evidence.completed,
        refused: evidence.refused,
        commits: evidence.commits,
        seconds,
        tasks_per_second: evidence.completed as f64 / seconds,
        longest_lock_wait_ms,
        longest_lock_wait_for,
        messages: evidence.messages,
        audit_entries: evidence.audit_entries,
        approval,
        killed: course.killed,
        outages,
        checks: evidence.checks,
        directory: scratch.dir.display().to_string(),
        look,
        remove: scratch.removal(),
    };
    client.close().await?;
    if suffered.is_some() {
        // The server ends with the demo: what it leaves to look at is on files.
        connection.switch(EngineKind::Files, "human:demo").await?;
    }
    scratch.keep();
    Ok(view)
}

/// The edits: files in turn, so that agents meet at the same ones. One in the middle asks a person.
fn jobs(files: &[String], total: usize) -> Vec<Job> {
    let run = Id::random().as_str()[..8].to_owned();
    let job =
        |n: usize| Job { number: n + 1, run: run.clone(), path: files[n % files.len()].clone(), ask: n == total / 2 };
    (0..total).map(job).collect()
}

fn task(job: &Job) -> Result<NewTask, CliError> {
    let mut task = NewTask::titled(job.title());
    task.tags = vec![TAG.to_owned()];
    task.payload = Some(serde_json::to_string(job).map_err(|e| CliError::internal("a task's payload", e))?);
    Ok(task)
}

/// Looks on until all tasks have ended; asks for the approval, kills if that is wanted.
async fn accompany(
    context: &Context,
    args: &Args,
    store: &Store,
    place: &Place,
    swarm: &mut Swarm,
    progress: &Progress,
) -> Result<Course, CliError> {
    let mut course = Course::default();
    let total = i64::from(args.tasks);
    let mut last = (-1, Instant::now());
    loop {
        let (counts, _) = store.now().await?;
        let ended = ended(&counts);
        progress.at(u64::try_from(ended).unwrap_or(0));
        let deserters = swarm.deserters();
        course.wrong.extend(deserters);
        if ended >= total {
            return Ok(course);
        }
        if course.approval.is_none() {
            course.approval = ask(context, store, place, progress).await?;
        }
        if args.kill_one && course.killed.is_none() && ended >= total / 10 {
            course.killed = kill(store, swarm).await?;
        }
        let waiting = course.approval.is_some() && counts_pending(store).await?;
        if ended != last.0 || waiting {
            last = (ended, Instant::now());
        }
        if !swarm.works() {
            course.wrong.push("no agent is left".to_owned());
            return Ok(course);
        }
        if last.1.elapsed() > STALL {
            course.wrong.push(format!("nothing happened for {} s", STALL.as_secs()));
            return Ok(course);
        }
        tokio::time::sleep(GLANCE).await;
    }
}

fn ended(counts: &Counts) -> i64 {
    counts.completed + counts.failed + counts.dead + counts.cancelled
}

async fn counts_pending(store: &Store) -> Result<bool, CliError> {
    Ok(!store.approvals().list(Some(ApprovalStatus::Pending)).await?.is_empty())
}

/// Says how to approve what an agent asks for, and does it when nobody is there.
async fn ask(context: &Context, store: &Store, place: &Place, progress: &Progress) -> Result<Option<String>, CliError> {
    let Some(asked) = store.approvals().list(Some(ApprovalStatus::Pending)).await?.pop() else { return Ok(None) };
    let person = std::io::stdin().is_terminal() && !context.settings().no_input;
    let approve = place.shown(&format!("approve {}", asked.key));
    let what = format!("{} asks for an approval: {}", asked.requested_by, asked.description);
    progress.clear();
    if person {
        complain(&format!("{}\n  grant it from another terminal:  {}\n", text::line(&what), text::line(&approve)));
    } else {
        let said = format!("{}\n  no terminal here, so the demo runs: {}", text::line(&what), text::line(&approve));
        if !context.settings().quiet {
            complain(&format!("{said} --by {PERSON}\n"));
        }
        place.approve(&asked.key, PERSON).await?;
    }
    Ok(Some(asked.key))
}

/// Kills an agent that has a task in hand.
async fn kill(store: &Store, swarm: &mut Swarm) -> Result<Option<String>, CliError> {
    let statuses = vec![TaskStatus::Claimed, TaskStatus::InProgress];
    let filter = TaskFilter { statuses, limit: 100, ..TaskFilter::default() };
    let busy = store.tasks().list(&filter).await?.items;
    let at_work = |name: &str| busy.iter().any(|t| t.claimed_by.as_deref() == Some(name));
    let Some(number) = swarm.members.iter().position(|m| at_work(&m.name)) else { return Ok(None) };
    swarm.kill(number)?;
    Ok(Some(swarm.members[number].name.clone()))
}

async fn approval(store: &Store, id: Option<String>) -> Result<Approval, CliError> {
    let Some(id) = id else { return Ok(Approval::default()) };
    let found = store.approvals().find(&agentcoord::core::ids::IdPrefix::parse("id", &id)?).await?;
    let decided_by = found.deciding_vote().map(|vote| vote.by.clone());
    Ok(Approval { id: Some(id), status: Some(found.status.word()), decided_by })
}

fn look(scratch: &Scratch, place: &Place, thread: &str) -> Vec<String> {
    let clone = text::shell(&scratch.git.dir().display().to_string());
    vec![
        place.shown("tasks"),
        place.shown(&format!("board show {thread}")),
        place.shown("audit"),
        format!("git -C {clone} log --stat"),
    ]
}
