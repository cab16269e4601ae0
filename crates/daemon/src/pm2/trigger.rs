//! Actions that a worker offers (`axm:action`), and waiting for its answers (`axm:reply`).

use serde_json::{Value, json};
use skep_api::{ErrorBody, ErrorCode, Target as Named, Trigger, TriggerReply};
use skep_core::WorkerId;
use tokio::sync::mpsc;

use crate::driver::Driver;
use crate::worker::Worker;

/// Who waits for an answer of which worker.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    waiting: Vec<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    worker: WorkerId,
    action: String,
    // Unbounded: one answer a worker, then the sender is gone.
    answers: mpsc::UnboundedSender<TriggerReply>,
    reply: TriggerReply,
}

impl Driver {
    /// Asks every worker that knows the action; the answers come through the receiver, which ends with the last.
    ///
    /// # Errors
    /// When no running worker of the targets knows it.
    pub(crate) fn trigger(
        &mut self,
        targets: &[Named],
        asked: &Trigger,
    ) -> Result<mpsc::UnboundedReceiver<TriggerReply>, ErrorBody> {
        let slots = self.picked_slots(targets)?;
        let able = |worker: &&Worker| slots.contains(&worker.slot) && worker.told.knows_action(&asked.action);
        let able: Vec<WorkerId> =
            self.workers.values().filter(|worker| !worker.leaving).filter(able).map(Worker::id).collect();
        let message = match &asked.params {
            None => json!(asked.action),
            Some(params) => json!({ "msg": asked.action, "opts": params }),
        };
        let message = message.to_string();
        let (answers, receiver) = mpsc::unbounded_channel();
        let mut asked_any = false;
        for id in able {
            let Some(worker) = self.workers.get_mut(&id) else { continue };
            let reply = TriggerReply {
                app: worker.spec.name.clone(),
                namespace: worker.spec.namespace.clone(),
                slot: worker.slot.0,
                action: asked.action.clone(),
                result: Value::Null,
                error: None,
            };
            let sent = worker.channel.as_mut().is_some_and(|channel| channel.message(&message).is_ok());
            if !sent {
                continue;
            }
            asked_any = true;
            self.flush_channel(id);
            let (action, answers) = (asked.action.clone(), answers.clone());
            self.asked.waiting.push(Waiting { worker: id, action, answers, reply });
        }
        if asked_any {
            return Ok(receiver);
        }
        Err(ErrorBody::new(ErrorCode::Conflict, format!("no worker knows the action {}", asked.action))
            .with_hint("`skep describe` shows the actions that workers offer (by @pm2/io)"))
    }

    /// `axm:reply` of a worker.
    pub(crate) fn trigger_reply(&mut self, id: WorkerId, message: &Value) {
        let data = &message["data"];
        let name = data["action_name"].as_str().unwrap_or_default();
        let waiting = &mut self.asked.waiting;
        let found = waiting.iter().position(|waiting| waiting.worker == id && waiting.action == name);
        if let Some(at) = found {
            let Waiting { answers, reply, .. } = waiting.remove(at);
            // Whoever asked may have gone.
            let _ = answers.send(TriggerReply { result: data["return"].clone(), ..reply });
        }
        waiting.retain(|waiting| !waiting.answers.is_closed());
    }

    /// A worker that has gone answers nothing any more.
    pub(crate) fn trigger_gone(&mut self, id: WorkerId) {
        for waiting in self.asked.waiting.extract_if(.., |waiting| waiting.worker == id) {
            let error = Some("the worker ended before it answered".to_owned());
            let _ = waiting.answers.send(TriggerReply { error, ..waiting.reply });
        }
    }
}
