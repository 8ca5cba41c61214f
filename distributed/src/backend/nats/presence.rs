//! Who is connected: each client answers when it is asked.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::{Instant, timeout_at};

use super::engine::Engine;

/// How long an answer may take that is to count.
const WAIT: Duration = Duration::from_millis(300);

/// Answers for this client for as long as it is connected.
pub(super) fn answer(engine: &Engine) {
    let (client, subject) = (engine.client.clone(), engine.address.clients_subject());
    engine.runtime().spawn(async move {
        // One that may not subscribe is not counted.
        let Ok(mut asked) = client.subscribe(subject).await else {
            return;
        };
        while let Some(message) = asked.next().await {
            if let Some(reply) = message.reply {
                let _ = client.publish(reply, "".into()).await;
            }
        }
    });
}

/// How many clients of this library answer in the namespace, this one included.
pub(super) async fn count(engine: &Engine) -> u64 {
    let inbox = engine.client.new_inbox();
    let Ok(mut answers) = engine.client.subscribe(inbox.clone()).await else {
        return 0;
    };
    let asked =
        engine
            .client
            .publish_with_reply(engine.address.clients_subject(), inbox, "".into());
    if asked.await.is_err() {
        return 0;
    }
    let deadline = Instant::now() + WAIT;
    let mut count = 0;
    while let Ok(Some(answer)) = timeout_at(deadline, answers.next()).await {
        // A server where nobody listens says so.
        count += u64::from(answer.status.is_none());
    }
    count
}
