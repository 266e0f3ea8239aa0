//! The votes of people: what `approve` and `reject` share.

use std::path::PathBuf;

use agentcoord::core::approval::{ApprovalDetail, ApprovalStatus, Verdict};
use agentcoord::core::op::Actor;
use agentcoord::{Ballot, Error, Noun};
use serde::Serialize;

use super::show;
use super::view::ApprovalView;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Page, Render, json};
use crate::signing::Signer;
use crate::{fence, identity, input, principal};

/// On what, by whom, and signed with what.
#[derive(Debug, clap::Args)]
pub(crate) struct Voting {
    /// Approvals, by id or unique prefix
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    /// Who votes [default: the login name, else the name that the key is listed under]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Refuse when the action has another digest than the one that was seen; its first digits will do
    #[arg(long, value_name = "DIGEST")]
    digest: Option<String>,
    /// Sign with this SSH key [env: AGENTCOORD_SIGNING_KEY] [default: one that is an approver's]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// A signature made elsewhere: see `agentcoord approvals statement`; - reads stdin
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    signature: Option<String>,
}

/// What was voted on, as it is now.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    items: Vec<ApprovalView>,
}

impl Render for View {
    fn table(&self, page: &mut Page) {
        for approval in &self.items {
            page.gap();
            approval.action(page);
            page.gap();
            approval.state(page);
        }
    }

    fn ids(&self) -> Vec<String> {
        self.items.iter().map(|approval| approval.id.clone()).collect()
    }

    fn lines(&self) -> serde_json::Result<Vec<String>> {
        json::lines(&self.items)
    }
}

/// Casts a person's vote on each of the approvals.
///
/// All are looked up before the first vote, so that a slip in one id votes on nothing. Each vote carries the digest of
/// what was read: should another action wait under that id, it is refused.
///
/// # Errors
/// `HUMANS_ONLY` in an agent's shell; `WRONG_STATE` for what is decided; `NO_KEY` when no key is an approver's;
/// `REFUSED` for own requests and for votes that would not count.
pub(crate) async fn cast(
    context: &Context,
    verdict: Verdict,
    voting: Voting,
    note: Option<String>,
) -> Result<View, CliError> {
    let verb = match verdict {
        Verdict::Approve => "approve",
        Verdict::Reject => "reject",
    };
    let checked = context.settings().path("approvers").is_some();
    // A signature that was made elsewhere shows the person; one that nobody checks shows nothing.
    if voting.signature.is_none() || !checked {
        fence::people_only(verb)?;
    }
    let Actor::Human(name) = principal::person(voting.by.as_deref())? else {
        return Err(CliError::invalid("only people vote"));
    };
    let seen = look_up(context, &voting).await?;
    let pens = Pens::new(context, &voting, name, &seen).await?;
    let connection = context.connection().await?;
    let mut items: Vec<ApprovalView> = Vec::new();
    for detail in seen {
        let approval = &detail.approval;
        let statement = agentcoord::statement(connection.namespace(), approval, verdict);
        let vote = async {
            let ballot = Ballot { verdict, note: note.clone(), signature: pens.sign(&statement)? };
            Ok::<_, CliError>(connection.vote(&pens.name, approval, ballot).await?)
        };
        if let Err(error) = vote.await {
            let done: Vec<&str> = items.iter().map(|approval| approval.id.as_str()).collect();
            if done.is_empty() {
                return Err(error);
            }
            let message = format!("{} (voted on before that: {})", error.message, done.join(", "));
            return Err(CliError { message, ..error });
        }
        items.push(ApprovalView::whole(connection, show::of(context, &approval.key).await?)?);
    }
    Ok(View { items })
}

/// The approvals that are voted on, each once.
async fn look_up(context: &Context, voting: &Voting) -> Result<Vec<ApprovalDetail>, CliError> {
    let mut seen: Vec<ApprovalDetail> = Vec::new();
    for id in &voting.ids {
        let detail = show::of(context, id).await?;
        let approval = &detail.approval;
        if approval.status != ApprovalStatus::Pending {
            let (id, actual) = (approval.key.clone(), approval.status.word().to_owned());
            let expected = ApprovalStatus::Pending.word().to_owned();
            return Err(Error::WrongState { noun: Noun::Approval, id, actual, expected }.into());
        }
        let expected = voting.digest.as_deref().unwrap_or_default();
        if !approval.digest.starts_with(expected) || detail.digest() != approval.digest {
            let reason = format!("approval {} is about something else now; look at it again", approval.key);
            return Err(Error::Refused { policy: "digest_mismatch", reason }.into());
        }
        if seen.iter().all(|other| other.approval.key != approval.key) {
            seen.push(detail);
        }
    }
    if seen.len() > 1 && (voting.signature.is_some() || voting.digest.is_some()) {
        return Err(CliError::invalid("--signature and --digest are about one approval; vote on one at a time"));
    }
    Ok(seen)
}

/// Who votes, and what signs.
struct Pens {
    name: String,
    signer: Option<Signer>,
    signature: Option<String>,
}

impl Pens {
    async fn new(context: &Context, voting: &Voting, name: String, seen: &[ApprovalDetail]) -> Result<Self, CliError> {
        if let Some(file) = &voting.signature {
            let typed = if file == "-" { file.clone() } else { format!("@{file}") };
            let signature = input::text_or_file(context, "signature", typed)?;
            return Ok(Self { name, signer: None, signature: Some(signature) });
        }
        let settings = context.settings();
        let approvers = context.connection().await?.config().approvers.as_ref();
        let wanted = approvers.is_some() || voting.key.is_some() || seen.iter().any(|detail| detail.approval.signed);
        if !wanted {
            return Ok(Self { name, signer: None, signature: None });
        }
        let roll = approvers.map(agentcoord::Approvers::read).transpose()?;
        let (by, login) = (voting.by.as_ref().map(|_| name.as_str()), identity::human(None));
        let signer = Signer::find(settings, voting.key.as_deref(), roll.as_ref(), by, &login)?;
        Ok(Self { name: signer.name.clone(), signer: Some(signer), signature: None })
    }

    fn sign(&self, statement: &str) -> Result<Option<String>, CliError> {
        match (&self.signer, &self.signature) {
            (Some(signer), _) => signer.sign(statement).map(Some),
            (None, made) => Ok(made.clone()),
        }
    }
}
