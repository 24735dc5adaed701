//! What was said in each thread, as long as this process lives: the conversation's memory until there is a service for it.
//!
//! It is bounded in threads, in turns and in characters. What does not fit is forgotten, the oldest first.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use crate::message::Message;

/// Threads that are remembered. With the limits below that is at most some forty million characters, and far less in practice.
const THREADS_MAX: usize = 1024;
/// Messages that are remembered of one thread: ten questions with their answers.
const MESSAGES_MAX: usize = 20;
/// Characters of one message that are remembered.
const MESSAGE_CHARS_MAX: usize = 2000;

/// Whose conversation it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ThreadKey {
    /// The host's session, which keeps apart what must not meet.
    pub session_id: String,
    /// Who asks.
    pub actor_id: String,
    /// The caller's name for the conversation.
    pub thread_id: String,
}

/// What was said in one thread: questions and final answers, oldest first.
pub type History = VecDeque<Message>;

/// The threads of this process.
#[derive(Debug, Default)]
pub struct Threads {
    shelf: Mutex<Shelf>,
}

#[derive(Debug, Default)]
struct Shelf {
    threads: HashMap<ThreadKey, Shelved>,
    /// Counts the uses, so that the least recently used thread can be told.
    uses: u64,
}

#[derive(Debug)]
struct Shelved {
    /// The lock makes questions of one thread wait for each other, in the order of their arrival.
    history: Arc<tokio::sync::Mutex<History>>,
    last_use: u64,
}

impl Threads {
    /// The history of `key`, empty for a new thread. Hold its lock while a question is answered, so that the next one knows of it.
    pub fn history(&self, key: &ThreadKey) -> Arc<tokio::sync::Mutex<History>> {
        let mut shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        shelf.uses += 1;
        let last_use = shelf.uses;
        if let Some(shelved) = shelf.threads.get_mut(key) {
            shelved.last_use = last_use;
            return shelved.history.clone();
        }
        if shelf.threads.len() >= THREADS_MAX {
            // A scan over a thousand numbers, and only for a new thread on a full shelf.
            let oldest = shelf.threads.iter().min_by_key(|(_, shelved)| shelved.last_use).map(|(key, _)| key.clone());
            oldest.and_then(|oldest| shelf.threads.remove(&oldest));
        }
        let history = Arc::<tokio::sync::Mutex<History>>::default();
        shelf.threads.insert(key.clone(), Shelved { history: history.clone(), last_use });
        history
    }
}

/// Adds a question and its answer to `history`, within the limits.
pub fn remember(history: &mut History, question: Message, answer: Message) {
    history.extend([question, answer].map(shortened));
    while history.len() > MESSAGES_MAX {
        history.pop_front();
    }
}

fn shortened(message: Message) -> Message {
    let cut = |text: String| match text.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((end, _)) => text[..end].to_owned(),
        None => text,
    };
    match message {
        Message::Human(text) => Message::Human(cut(text)),
        Message::Assistant(mut assistant) => {
            assistant.text = cut(assistant.text);
            Message::Assistant(assistant)
        }
        Message::Tool(tool) => Message::Tool(tool),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::AssistantMessage;

    fn key(thread: usize) -> ThreadKey {
        ThreadKey { session_id: "s".to_owned(), actor_id: "a".to_owned(), thread_id: thread.to_string() }
    }

    fn turn(text: &str) -> [Message; 2] {
        let answer = AssistantMessage { text: text.to_owned(), ..AssistantMessage::default() };
        [Message::Human(text.to_owned()), Message::Assistant(answer)]
    }

    #[test]
    fn the_last_turns_are_remembered_and_shortened() {
        let mut history = History::new();
        for number in 0..15 {
            let [question, answer] = turn(&number.to_string());
            remember(&mut history, question, answer);
        }
        assert_eq!(history.len(), MESSAGES_MAX);
        assert_eq!(history[0], Message::Human("5".to_owned()));
        let [question, answer] = turn(&"ä".repeat(MESSAGE_CHARS_MAX + 1));
        remember(&mut history, question, answer);
        assert_eq!(history[MESSAGES_MAX - 2], Message::Human("ä".repeat(MESSAGE_CHARS_MAX)));
    }

    #[tokio::test]
    async fn the_thread_that_was_longest_unused_is_forgotten() {
        let threads = Threads::default();
        for thread in 0..THREADS_MAX {
            let history = threads.history(&key(thread));
            let [question, answer] = turn("hi");
            remember(&mut *history.lock().await, question, answer);
        }
        threads.history(&key(0));
        threads.history(&key(THREADS_MAX));
        assert_eq!(threads.history(&key(0)).lock().await.len(), 2, "used again");
        assert_eq!(threads.history(&key(1)).lock().await.len(), 0, "forgotten");
    }
}
