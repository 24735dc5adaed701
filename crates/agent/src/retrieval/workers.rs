//! The threads that answer questions: each takes a few waiting questions, embeds them together, looks them up and hands
//! the answers back. Async tasks wait for a channel; none of the arithmetic happens on their threads.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use tokio::sync::oneshot;

use super::SearchError;

/// Questions that may wait. At 3 ms each this is under a second of work for one thread; a question beyond it is better
/// told at once than late.
pub(crate) const QUEUE_MAX: usize = 256;
/// Questions embedded together. The weights are read once for all of them, but the first waits for the last.
const BATCH_MAX: usize = 8;
/// Bytes of question text in a batch of more than one: a long question must not hold up seven short ones.
const BATCH_BYTES_MAX: usize = 2048;

/// What a worker does: one result for each question.
pub(crate) trait Answer: Send + Sync + 'static {
    type Output: Send + 'static;

    /// The answers to a batch, in its order, or the reason why there are none.
    fn answer(&self, batch: &[Question]) -> Result<Vec<Self::Output>, String>;
}

/// A question with the number of results wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) text: String,
    pub(crate) k: usize,
}

/// A fixed set of threads with one bounded queue. Dropping it lets each thread end its batch, and waits for them;
/// questions still in the queue are answered with [`SearchError::Stopped`].
pub(crate) struct Workers<A: Answer> {
    queue: Arc<Queue<A::Output>>,
    threads: Vec<JoinHandle<()>>,
}

struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    workers: usize,
}

struct State<T> {
    waiting: VecDeque<Job<T>>,
    stopped: bool,
}

struct Job<T> {
    question: Question,
    reply: oneshot::Sender<Result<T, SearchError>>,
}

impl<A: Answer> Workers<A> {
    /// Starts `threads` threads, at least one.
    pub(crate) fn start(threads: usize, answer: Arc<A>) -> std::io::Result<Workers<A>> {
        let workers = threads.max(1);
        let state = State { waiting: VecDeque::new(), stopped: false };
        let queue = Arc::new(Queue { state: Mutex::new(state), changed: Condvar::new(), workers });
        let mut started = Workers { queue: Arc::clone(&queue), threads: Vec::new() };
        for number in 0..workers {
            let (queue, answer) = (Arc::clone(&queue), Arc::clone(&answer));
            let run = move || {
                let _single = single_threaded();
                run(&queue, &*answer);
            };
            started.threads.push(thread::Builder::new().name(format!("embed-{number}")).spawn(run)?);
        }
        Ok(started)
    }

    /// Queues a question and waits for its result. If the caller stops waiting, the work is not begun.
    pub(crate) async fn ask(&self, question: Question) -> Result<A::Output, SearchError> {
        let (reply, result) = oneshot::channel();
        {
            let mut state = self.queue.lock();
            if state.waiting.len() >= QUEUE_MAX {
                // Callers that gave up still stand in the queue; they must not keep others out.
                state.waiting.retain(|job| !job.reply.is_closed());
            }
            if state.waiting.len() >= QUEUE_MAX {
                return Err(SearchError::Busy);
            }
            state.waiting.push_back(Job { question, reply });
        }
        self.queue.changed.notify_one();
        result.await.unwrap_or(Err(SearchError::Stopped))
    }
}

impl<A: Answer> Drop for Workers<A> {
    fn drop(&mut self) {
        {
            let mut state = self.queue.lock();
            state.stopped = true;
            state.waiting.clear();
        }
        self.queue.changed.notify_all();
        for thread in self.threads.drain(..) {
            // A worker's panics are caught and reported where they happen.
            let _ = thread.join();
        }
    }
}

/// Makes the calling thread a rayon pool of one, so that matrix products started on it stay on it. Keep the result for
/// as long as that matters.
pub(crate) fn single_threaded() -> Option<rayon::ThreadPool> {
    // Fails only if the thread is in a pool already: then that pool's owner has decided.
    rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build().ok()
}

fn run<A: Answer>(queue: &Queue<A::Output>, answer: &A) {
    while let Some(batch) = queue.next_batch() {
        let (questions, replies): (Vec<Question>, Vec<_>) = batch.into_iter().map(|job| (job.question, job.reply)).unzip();
        // The batch is over either way and `answer` keeps no state, so nothing half-done survives a panic.
        let result = catch_unwind(AssertUnwindSafe(|| answer.answer(&questions)))
            .unwrap_or_else(|_| Err("the embedding thread panicked; its message is on standard error".to_owned()));
        match result {
            Ok(answers) => {
                // A caller that stopped waiting needs no answer.
                replies.into_iter().zip(answers).for_each(|(reply, answer)| drop(reply.send(Ok(answer))));
            }
            Err(reason) => {
                tracing::error!(questions = questions.len(), %reason, "search failed");
                for reply in replies {
                    drop(reply.send(Err(SearchError::Failed { reason: reason.clone() })));
                }
            }
        }
    }
}

impl<T> Queue<T> {
    /// Waits for questions and takes this worker's share of them; none when the queue has been stopped.
    fn next_batch(&self) -> Option<Vec<Job<T>>> {
        let mut state = self.lock();
        loop {
            if state.stopped {
                return None;
            }
            state.waiting.retain(|job| !job.reply.is_closed());
            if !state.waiting.is_empty() {
                let take = batch_size(&state.waiting, self.workers);
                return Some(state.waiting.drain(..take).collect());
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // No code that can panic runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many of the waiting questions to take: an even share, so that no worker idles while another has a full batch.
fn batch_size<T>(waiting: &VecDeque<Job<T>>, workers: usize) -> usize {
    let share = waiting.len().div_ceil(workers).min(BATCH_MAX);
    let mut bytes = 0;
    let fitting = waiting.iter().take(share).take_while(|job| {
        bytes += job.question.text.len();
        bytes <= BATCH_BYTES_MAX
    });
    fitting.count().max(1)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Answers with the batch's size; reports each batch, and holds it until told to go on.
    struct Gate {
        entered: mpsc::SyncSender<Vec<String>>,
        proceed: Mutex<mpsc::Receiver<()>>,
    }

    impl Answer for Gate {
        type Output = usize;

        fn answer(&self, batch: &[Question]) -> Result<Vec<usize>, String> {
            self.entered.send(batch.iter().map(|question| question.text.clone()).collect()).unwrap();
            self.proceed.lock().unwrap_or_else(PoisonError::into_inner).recv().unwrap();
            match batch[0].text.as_str() {
                "panic" => panic!("asked to"),
                "fail" => Err("asked to".to_owned()),
                _ => Ok(vec![batch.len(); batch.len()]),
            }
        }
    }

    struct Bench {
        workers: Arc<Workers<Gate>>,
        entered: mpsc::Receiver<Vec<String>>,
        proceed: mpsc::Sender<()>,
    }

    fn bench() -> Bench {
        let (entered_in, entered) = mpsc::sync_channel(1000);
        let (proceed, proceed_out) = mpsc::channel();
        let gate = Gate { entered: entered_in, proceed: Mutex::new(proceed_out) };
        Bench { workers: Arc::new(Workers::start(1, Arc::new(gate)).unwrap()), entered, proceed }
    }

    impl Bench {
        fn ask(&self, text: &str) -> tokio::task::JoinHandle<Result<usize, SearchError>> {
            let (workers, question) = (Arc::clone(&self.workers), Question { text: text.to_owned(), k: 1 });
            tokio::spawn(async move { workers.ask(question).await })
        }

        /// Asks, and returns once the question stands in the queue behind `before` others.
        async fn queue(&self, text: &str, before: usize) -> tokio::task::JoinHandle<Result<usize, SearchError>> {
            let asked = self.ask(text);
            while self.workers.queue.lock().waiting.len() <= before {
                tokio::task::yield_now().await;
            }
            asked
        }

        /// Asks, and returns once the worker is busy with the question and waits for [`Bench::proceed`].
        fn occupy(&self, text: &str) -> tokio::task::JoinHandle<Result<usize, SearchError>> {
            let asked = self.ask(text);
            assert_eq!(self.entered.recv().unwrap(), [text]);
            asked
        }
    }

    // The tests' own thread blocks on the worker's reports, so the asking tasks need another.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn questions_that_wait_are_answered_together_up_to_the_limit() {
        let bench = bench();
        let first = bench.occupy("first");
        let mut others = Vec::new();
        for number in 0..10 {
            others.push(bench.queue(&number.to_string(), number).await);
        }
        (0..3).for_each(|_| bench.proceed.send(()).unwrap());
        assert_eq!(first.await.unwrap(), Ok(1));
        for (number, other) in others.into_iter().enumerate() {
            assert_eq!(other.await.unwrap(), Ok(if number < 8 { 8 } else { 2 }));
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_long_question_goes_alone() {
        let bench = bench();
        let first = bench.occupy("first");
        let long = bench.queue(&"x".repeat(BATCH_BYTES_MAX), 0).await;
        let short = bench.queue("short", 1).await;
        (0..3).for_each(|_| bench.proceed.send(()).unwrap());
        for asked in [first, long, short] {
            assert_eq!(asked.await.unwrap(), Ok(1));
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_full_queue_refuses_unless_callers_have_gone() {
        let bench = bench();
        let first = bench.occupy("first");
        let mut waiting = Vec::new();
        for number in 0..QUEUE_MAX {
            waiting.push(bench.queue("waiting", number).await);
        }
        assert_eq!(bench.ask("one too many").await.unwrap(), Err(SearchError::Busy));
        let gone = waiting.pop().unwrap();
        gone.abort();
        assert!(gone.await.unwrap_err().is_cancelled());
        waiting.push(bench.queue("in its place", QUEUE_MAX - 1).await);
        (0..=QUEUE_MAX).for_each(|_| bench.proceed.send(()).unwrap());
        assert_eq!(first.await.unwrap(), Ok(1));
        for asked in waiting {
            assert!(asked.await.unwrap().is_ok());
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_question_nobody_waits_for_is_not_worked_on() {
        let bench = bench();
        let first = bench.occupy("first");
        let gone = bench.queue("gone", 0).await;
        let last = bench.queue("last", 1).await;
        gone.abort();
        assert!(gone.await.unwrap_err().is_cancelled());
        (0..2).for_each(|_| bench.proceed.send(()).unwrap());
        assert_eq!((first.await.unwrap(), last.await.unwrap()), (Ok(1), Ok(1)));
        assert_eq!(bench.entered.try_iter().collect::<Vec<_>>(), [["last"]]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_panic_and_a_failure_reach_the_caller_and_the_thread_lives_on() {
        let bench = bench();
        for text in ["panic", "fail"] {
            let asked = bench.occupy(text);
            bench.proceed.send(()).unwrap();
            assert!(matches!(asked.await.unwrap(), Err(SearchError::Failed { .. })), "{text}");
        }
        let asked = bench.occupy("fine");
        bench.proceed.send(()).unwrap();
        assert_eq!(asked.await.unwrap(), Ok(1));
    }
}
