//! The writer thread of a process: takes everything that waits and commits it together.

use std::sync::mpsc::{self, Receiver, Sender};

use agentcoord_core::ids::RequestNo;
use agentcoord_core::op::Call;
use agentcoord_core::{Error, Result};
use tokio::sync::oneshot;

use crate::commit::{Committer, Request};
use crate::error::Fault;

/// The way to the thread, which ends when this is dropped and what was asked is done.
#[derive(Debug)]
pub(crate) struct Writer {
    queue: Sender<Queued>,
}

#[derive(Debug)]
struct Queued {
    call: Call,
    answer: oneshot::Sender<Result<Vec<u8>>>,
}

impl Request for Queued {
    fn call(&self) -> &Call {
        &self.call
    }
}

impl Writer {
    pub(crate) fn start(committer: Committer, store: &std::path::Path) -> Result<Self> {
        let (queue, inbox) = mpsc::channel();
        let thread = std::thread::Builder::new().name("agentcoord-writer".into());
        let started = thread.spawn(move || work(committer, &inbox));
        drop(started.map_err(Fault::io("start a thread to write", store))?);
        Ok(Self { queue })
    }

    pub(crate) async fn step(&self, call: Call) -> Result<Vec<u8>> {
        let request: RequestNo = call.request;
        let (answer, answered) = oneshot::channel();
        if self.queue.send(Queued { call, answer }).is_err() {
            return Err(Error::unavailable("the thread that writes has ended; start again"));
        }
        answered.await.unwrap_or(Err(Error::OutcomeUnknown { request, source: None }))
    }
}

fn work(mut committer: Committer, inbox: &Receiver<Queued>) {
    while let Ok(first) = inbox.recv() {
        for (queued, answer) in committer.commit(first, || inbox.try_recv().ok()) {
            // Whoever asked may have gone; the request number keeps the answer.
            drop(queued.answer.send(answer));
        }
    }
}
