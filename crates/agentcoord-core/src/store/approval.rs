//! Approval workflows on any engine.

use async_trait::async_trait;

use super::Store;
use crate::approval::{
    Approval, ApprovalDetail, ApprovalRef, ApprovalStatus, ApprovalWorkflow, CancelApproval, CastVote, ConsumeApproval,
    Consumed, RequestApproval,
};
use crate::error::{Noun, Result};
use crate::ids::IdPrefix;
use crate::op::Op;
use crate::record::ApprovalRecord;
use crate::table::Range;

fn approval(key: String, record: ApprovalRecord) -> Approval {
    Approval {
        id: record.id,
        key,
        action_type: record.action_type,
        description: record.description,
        digest: record.digest,
        status: record.status,
        requested_by: record.requested_by,
        requested_at: record.requested_at,
        expires_at: record.expires_at,
        quorum: record.quorum,
        rejections: record.rejections,
        eligible: record.eligible,
        signed: record.signed.unwrap_or_default(),
        votes: record.votes,
        decided_at: record.decided_at,
        consumed: record.consumed_at.is_some(),
    }
}

#[async_trait]
impl ApprovalWorkflow for Store {
    async fn request(&self, op: Op<RequestApproval>) -> Result<ApprovalRef> {
        self.run(&op).await
    }

    async fn vote(&self, op: Op<CastVote>) -> Result<ApprovalRef> {
        self.run(&op).await
    }

    async fn cancel(&self, op: Op<CancelApproval>) -> Result<ApprovalRef> {
        self.run(&op).await
    }

    async fn consume(&self, op: Op<ConsumeApproval>) -> Result<Consumed> {
        self.run(&op).await
    }

    async fn list(&self, status: Option<ApprovalStatus>) -> Result<Vec<Approval>> {
        let parts: Vec<&str> = ["approval"].into_iter().chain(status.map(ApprovalStatus::word)).collect();
        let entries = self.scan_all(Range::under(&parts)).await?;
        let keys: Vec<String> = entries.iter().map(|e| e.key().to_owned()).collect();
        let records = self.get_all::<ApprovalRecord>(&keys).await?;
        let mut list: Vec<Approval> =
            keys.into_iter().zip(records).filter_map(|(k, r)| Some(approval(k, r?))).collect();
        list.sort_by_key(|a| a.requested_at);
        Ok(list)
    }

    async fn find(&self, id: &IdPrefix) -> Result<Approval> {
        let (key, record) = self.resolve::<ApprovalRecord>(Noun::Approval, id, |a| &a.id).await?;
        Ok(approval(key, record))
    }

    async fn show(&self, id: &IdPrefix) -> Result<ApprovalDetail> {
        let approval = ApprovalWorkflow::find(self, id).await?;
        let [payload, diff] = self.texts("approval", &approval.id, ["payload", "diff"]).await?;
        Ok(ApprovalDetail { approval, payload, diff })
    }
}
