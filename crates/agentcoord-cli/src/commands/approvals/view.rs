//! An approval as answers show it, and the exit code of its state.

use agentcoord::core::approval::{Approval, ApprovalDetail, ApprovalStatus, Verdict, Vote};
use agentcoord::{Connection, Doubt};
use serde::Serialize;
use serde_json::Value;

use crate::error::CliError;
use crate::exit::Exit;
use crate::input;
use crate::output::{Grid, Page, Render, Stamp, Tone, ago};

/// An approval.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ApprovalView {
    /// Short id.
    pub(super) id: String,
    action_type: String,
    description: String,
    digest: String,
    /// Its state.
    pub(super) status: ApprovalStatus,
    requested_by: String,
    requested_at: Stamp,
    expires_at: Stamp,
    quorum: u32,
    rejections: u32,
    eligible: Vec<String>,
    votes: Vec<VoteView>,
    decided_by: Option<String>,
    decided_at: Option<Stamp>,
    note: Option<String>,
    consumed: bool,
    #[serde(flatten)]
    long: Option<Long>,
}

/// A vote.
#[derive(Clone, Debug, Serialize)]
struct VoteView {
    by: String,
    verdict: Verdict,
    note: Option<String>,
    at: Stamp,
    signed: bool,
    refused: Option<String>,
}

/// What listings leave out.
#[derive(Clone, Debug, Serialize)]
struct Long {
    payload: Option<Value>,
    diff: Option<String>,
    /// What is stored is not what the digest is of.
    changed: bool,
}

impl VoteView {
    /// A vote, with why it does not count; `doubt` is none when nobody has looked at its signature.
    fn of(vote: Vote, doubt: Option<Option<Doubt>>) -> Self {
        let signed = vote.signature.is_some() && !matches!(doubt, Some(Some(_)));
        let refused = doubt.flatten().map(|doubt| doubt.to_string());
        Self { by: vote.by, verdict: vote.verdict, note: vote.note, at: Stamp(vote.at), signed, refused }
    }
}

impl ApprovalView {
    /// An approval, its votes checked as far as approvers are configured.
    ///
    /// # Errors
    /// `INVALID` for approvers that cannot be read.
    pub(super) fn of(connection: &Connection, approval: Approval) -> Result<Self, CliError> {
        let doubts = connection.doubts(&approval)?;
        let deciding = approval.deciding_vote().cloned();
        let mut doubts = doubts.map(Vec::into_iter);
        let doubt = |_: &Vote| doubts.as_mut().map(|doubts| doubts.next().flatten());
        let votes: Vec<_> = approval.votes.iter().map(doubt).zip(approval.votes.iter().cloned()).collect();
        Ok(Self {
            id: approval.key,
            action_type: approval.action_type,
            description: approval.description,
            digest: approval.digest,
            status: approval.status,
            requested_by: approval.requested_by,
            requested_at: Stamp(approval.requested_at),
            expires_at: Stamp(approval.expires_at),
            quorum: approval.quorum,
            rejections: approval.rejections,
            eligible: approval.eligible,
            votes: votes.into_iter().map(|(doubt, vote)| VoteView::of(vote, doubt)).collect(),
            decided_by: deciding.as_ref().map(|vote| vote.by.clone()),
            decided_at: approval.decided_at.map(Stamp),
            note: deciding.and_then(|vote| vote.note),
            consumed: approval.consumed,
            long: None,
        })
    }

    /// An approval with the exact action.
    ///
    /// # Errors
    /// As [`ApprovalView::of`].
    pub(super) fn whole(connection: &Connection, detail: ApprovalDetail) -> Result<Self, CliError> {
        let changed = detail.digest() != detail.approval.digest;
        let long = Long { payload: detail.payload.map(input::value), diff: detail.diff, changed };
        Ok(Self { long: Some(long), ..Self::of(connection, detail.approval)? })
    }

    /// `1 of 2`.
    fn tally(&self) -> String {
        let yes = self.votes.iter().filter(|vote| vote.verdict == Verdict::Approve && vote.refused.is_none()).count();
        format!("{yes} of {}", self.quorum)
    }

    /// The exact action: what people decide about.
    pub(super) fn action(&self, page: &mut Page) {
        page.fields([
            ("id", Some(self.id.clone())),
            ("action", Some(self.action_type.clone())),
            ("what", Some(self.description.clone())),
            ("asked by", Some(format!("{}, {}", self.requested_by, ago(self.requested_at)))),
            ("digest", Some(self.digest.clone())),
        ]);
        let Some(long) = &self.long else { return };
        if long.changed {
            page.toned(Tone::Bad, "changed: what is stored is not what the digest is of; do not approve it");
        }
        if let Some(payload) = &long.payload {
            show_payload(page, payload);
        }
        if let Some(diff) = &long.diff {
            page.gap();
            page.line("diff");
            page.diff(diff, 2);
        }
    }

    /// How far it is.
    pub(super) fn state(&self, page: &mut Page) {
        let pending = self.status == ApprovalStatus::Pending;
        let eligible = (!self.eligible.is_empty()).then(|| self.eligible.join(", "));
        page.fields([
            ("status", Some(self.status.word().to_owned())),
            ("votes", Some(self.tally())),
            ("may vote", eligible),
            ("expires", pending.then(|| self.expires_at.ahead())),
            ("decided", self.decided_at.map(ago)),
        ]);
        for vote in &self.votes {
            let verdict = match vote.verdict {
                Verdict::Approve => "yes",
                Verdict::Reject => "no",
            };
            let note = vote.note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
            let signed = if vote.signed { ", signed" } else { "" };
            page.line(format!("  {verdict} from {}, {}{signed}{note}", vote.by, ago(vote.at)));
            if let Some(refused) = &vote.refused {
                page.toned(Tone::Bad, format!("    does not count: {refused}"));
            }
        }
    }

    /// The exit code of the state; an approval that was taken up before is no yes any more.
    fn exit(&self) -> Exit {
        match self.status {
            ApprovalStatus::Approved => Exit::Done,
            ApprovalStatus::Rejected => Exit::Refused,
            ApprovalStatus::Pending => Exit::Nothing,
            ApprovalStatus::Expired | ApprovalStatus::Cancelled => Exit::Expired,
        }
    }
}

/// A payload: a text as it is, and the texts of several lines in an object beside it, where their lines can be read.
fn show_payload(page: &mut Page, payload: &Value) {
    page.gap();
    page.line("payload");
    match payload {
        Value::String(text) => page.text(text, 2),
        other => page.block(&serde_json::to_string_pretty(other).unwrap_or_default(), 2),
    }
    let fields = payload.as_object().into_iter().flatten();
    for (name, text) in fields.filter_map(|(name, value)| Some((name, value.as_str()?))) {
        if text.trim_end().contains('\n') {
            page.gap();
            page.line(format!("payload, {name}"));
            page.text(text, 2);
        }
    }
}

/// Approvals as a table.
pub(super) fn grid(items: &[ApprovalView]) -> Grid {
    let mut grid = Grid::new(["ID", "STATUS", "ACTION", "WHAT", "ASKED BY", "AGE", "VOTES", "EXPIRES"]);
    for one in items {
        let pending = one.status == ApprovalStatus::Pending;
        let cells = [
            one.id.clone(),
            one.status.word().to_owned(),
            one.action_type.clone(),
            one.description.clone(),
            one.requested_by.clone(),
            ago(one.requested_at),
            one.tally(),
            if pending { one.expires_at.ahead() } else { String::new() },
        ];
        grid.row(if pending { Tone::Warn } else { Tone::Plain }, cells);
    }
    grid
}

/// What an answer with one approval is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// To look at it: the exit code says only that this worked.
    Look,
    /// To get the verdict: the exit code says it. True: this call took the yes up, or it is no yes.
    Verdict(bool),
}

/// One approval.
#[derive(Debug, Serialize)]
pub(crate) struct OneApproval {
    approval: ApprovalView,
    #[serde(skip)]
    purpose: Purpose,
}

impl OneApproval {
    /// An approval to be looked at.
    ///
    /// # Errors
    /// As [`ApprovalView::of`].
    pub(super) fn look(connection: &Connection, detail: ApprovalDetail) -> Result<Self, CliError> {
        Ok(Self { approval: ApprovalView::whole(connection, detail)?, purpose: Purpose::Look })
    }

    /// The outcome of waiting; `taken_up` says that this very call consumed the yes.
    ///
    /// # Errors
    /// As [`ApprovalView::of`].
    pub(super) fn verdict(connection: &Connection, detail: ApprovalDetail, taken_up: bool) -> Result<Self, CliError> {
        let first = taken_up || detail.approval.status != ApprovalStatus::Approved;
        let approval = ApprovalView::whole(connection, detail)?;
        Ok(Self { approval, purpose: Purpose::Verdict(first) })
    }
}

impl Render for OneApproval {
    fn table(&self, page: &mut Page) {
        let approval = &self.approval;
        if self.purpose == Purpose::Look {
            approval.action(page);
            page.gap();
            approval.state(page);
            return;
        }
        let by = approval.decided_by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
        let note = approval.note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
        page.line(format!("{}  {}{by}{note}", approval.id, approval.status.word()));
        if self.purpose == Purpose::Verdict(false) {
            page.line("it was taken up before: one yes is for one action");
        }
        if approval.status == ApprovalStatus::Pending {
            page.line(format!("a person decides with   agentcoord approve {}", approval.id));
            page.line(format!("wait for it with        agentcoord approvals wait {}", approval.id));
        }
    }

    fn ids(&self) -> Vec<String> {
        vec![self.approval.id.clone()]
    }

    fn exit(&self) -> Exit {
        match self.purpose {
            Purpose::Look => Exit::Done,
            Purpose::Verdict(true) => self.approval.exit(),
            Purpose::Verdict(false) => Exit::Refused,
        }
    }
}
