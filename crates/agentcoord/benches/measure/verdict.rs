//! From a person's vote to the agent's own code, its signature checked, over the vote alone.

use std::path::Path;
use std::time::{Duration, Instant};

use agentcoord::core::approval::{Approval, CastVote, Verdict};
use agentcoord::core::op::Actor;
use agentcoord::{Approvers, CoordinationClient, Decision, SIGNATURE_NAMESPACE, statement};
use ring::signature::{Ed25519KeyPair, KeyPair};
use ssh_key::public::{Ed25519PublicKey, KeyData};
use ssh_key::{Algorithm, HashAlg, LineEnding, PublicKey, Signature, SshSig};

use crate::arguments::Arguments;
use crate::sample::{self, both_in_turn};
use crate::{Outcome, place};

/// For the waiter to come to rest once it listens.
const REST: Duration = Duration::from_millis(5);

/// An approver with a key.
struct Approver {
    pair: Ed25519KeyPair,
    public: KeyData,
}

impl Approver {
    fn new() -> Outcome<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).map_err(|_| "no key")?;
        let public = KeyData::Ed25519(Ed25519PublicKey(pair.public_key().as_ref().try_into()?));
        Ok(Self { pair, public })
    }

    /// The list of approvers, with this one in it.
    fn list(&self, dir: &Path) -> Outcome<Approvers> {
        std::fs::create_dir_all(dir)?;
        let allowed_signers = dir.join("approvers");
        let key = told(PublicKey::from(self.public.clone()).to_openssh())?;
        std::fs::write(&allowed_signers, format!("ada {key}\n"))?;
        Ok(Approvers { allowed_signers, revoked_keys: None })
    }

    /// A signed yes, as it is sent.
    fn yes(&self, namespace: &str, approval: &Approval) -> Outcome<CastVote> {
        let text = statement(namespace, approval, Verdict::Approve);
        let signed = told(SshSig::signed_data(SIGNATURE_NAMESPACE, HashAlg::Sha512, text.as_bytes()))?;
        let signature = told(Signature::new(Algorithm::Ed25519, self.pair.sign(&signed).as_ref()))?;
        let signature = told(SshSig::new(self.public.clone(), SIGNATURE_NAMESPACE, HashAlg::Sha512, signature))?;
        Ok(CastVote {
            approval: approval.key.clone(),
            verdict: Verdict::Approve,
            digest: Some(approval.digest.clone()),
            note: None,
            signature: Some(told(signature.to_pem(LineEnding::LF))?),
            audit: r#"{"decision_type":"approval"}"#.to_owned(),
        })
    }
}

/// An error of a crate that knows no standard errors here.
fn told<T>(result: ssh_key::Result<T>) -> Outcome<T> {
    result.map_err(|error| error.to_string().into())
}

/// Over the vote when nobody waits for it.
pub(crate) async fn waited_for(arguments: &Arguments) -> Outcome<()> {
    let ada = Approver::new()?;
    let approvers = ada.list(&arguments.path("dir")?)?;
    let agent = place::trusting(arguments, "agent", Some(approvers)).await?;
    let person = place::trusting(arguments, "person", None).await?;
    let ours = async || decide(&agent, &person, &ada, true).await;
    let limit = async || decide(&agent, &person, &ada, false).await;
    both_in_turn(arguments.rounds()?, arguments.operations()?, ours, limit, |ours, limit| {
        let p50 = ours.percentile(50);
        sample::say("p50", "us", p50, Some(limit.percentile(50)));
        sample::say("p50 alone", "us", p50, None);
        sample::say("p99", "us", ours.percentile(99), Some(limit.percentile(99)));
    })
    .await?;
    agent.close().await?;
    Ok(person.close().await?)
}

/// From before the vote is sent to when the agent knows, or to the vote's own answer.
async fn decide(
    agent: &CoordinationClient,
    person: &CoordinationClient,
    ada: &Approver,
    waited_for: bool,
) -> Outcome<Duration> {
    let approval = agent.request_approval("deployment", "Deploy backend v2.0").await?;
    let vote = ada.yes(agent.connection().namespace(), &approval.look().await?)?;
    let human = Actor::Human("ada".to_owned());
    if !waited_for {
        let begun = Instant::now();
        person.connection().run(&human, vote).await?;
        return Ok(begun.elapsed());
    }
    let cast = async {
        tokio::time::sleep(REST).await;
        let begun = Instant::now();
        person.connection().run(&human, vote).await?;
        Ok(begun)
    };
    let wait = async {
        let decision = approval.decision().await?;
        Ok((decision, Instant::now()))
    };
    let (begun, (decision, known)) = tokio::try_join!(cast, wait).map_err(|e: agentcoord::Error| e)?;
    if decision != Decision::Approved {
        return Err(format!("not approved but {decision:?}").into());
    }
    Ok(known.duration_since(begun))
}
