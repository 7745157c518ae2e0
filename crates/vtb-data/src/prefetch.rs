//! Work done ahead by threads, handed over in order, never more than a few items ahead.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::error::{DataError, Result};

type Job<J, T> = (J, Sender<Result<T>>);

/// An iterator over `work(job)` for every job, in the order of the jobs, prepared by threads.
///
/// At most `ahead` items are begun and not taken yet: a slow consumer holds the workers back, and
/// memory stays bounded. What comes out, and in which order, does not depend on the number of
/// threads. Dropping it stops the workers and waits for the items they are at.
#[derive(Debug)]
pub struct Prefetch<T> {
    /// One receiver per item begun, in order. `None` once dropped.
    items: Option<Receiver<Receiver<Result<T>>>>,
    threads: Vec<JoinHandle<()>>,
    /// Tells workers to leave what is still waiting.
    stop: Arc<AtomicBool>,
    taken: u64,
}

impl<T: Send + 'static> Prefetch<T> {
    /// Starts `threads` workers (at least one) that keep up to `ahead` items (at least one) ready.
    ///
    /// # Errors
    /// [`DataError::Io`] if the system gives no thread.
    pub fn new<J, I, W>(jobs: I, threads: usize, ahead: usize, work: W) -> Result<Self>
    where
        J: Send + 'static,
        I: Iterator<Item = J> + Send + 'static,
        W: Fn(J) -> Result<T> + Send + Sync + 'static,
    {
        let (ordered, items) = sync_channel(ahead.max(1));
        let (hand_out, queue) = channel::<Job<J, T>>();
        let queue = Arc::new(Mutex::new(queue));
        let work = Arc::new(work);
        let stop = Arc::new(AtomicBool::new(false));
        let mut prefetch = Self {
            items: Some(items),
            threads: Vec::new(),
            stop: Arc::clone(&stop),
            taken: 0,
        };
        for _ in 0..threads.max(1) {
            let (queue, work, stop) = (Arc::clone(&queue), Arc::clone(&work), Arc::clone(&stop));
            prefetch.spawn(move || labour(&queue, &stop, &*work))?;
        }
        prefetch.spawn(move || distribute(jobs, &ordered, &hand_out))?;
        Ok(prefetch)
    }

    fn spawn(&mut self, body: impl FnOnce() + Send + 'static) -> Result<()> {
        let thread = std::thread::Builder::new()
            .name("vtb-data".to_owned())
            .spawn(body);
        let thread = thread.map_err(|e| DataError::io("threads".as_ref(), "start", e))?;
        self.threads.push(thread);
        Ok(())
    }
}

/// Gives each job a channel for its result; waits while enough are under way.
fn distribute<J, T>(
    jobs: impl Iterator<Item = J>,
    ordered: &SyncSender<Receiver<Result<T>>>,
    hand_out: &Sender<Job<J, T>>,
) {
    for job in jobs {
        let (deliver, receive) = channel();
        // Either end is closed when the consumer is gone.
        if ordered.send(receive).is_err() || hand_out.send((job, deliver)).is_err() {
            return;
        }
    }
}

fn labour<J, T>(
    queue: &Mutex<Receiver<Job<J, T>>>,
    stop: &AtomicBool,
    work: &impl Fn(J) -> Result<T>,
) {
    while !stop.load(Ordering::Relaxed) {
        // Held while it waits for a job: the others wait for the lock instead.
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((job, deliver)) = job else { return };
        // A panic costs this item, not the worker: the consumer is told by the closed channel.
        if let Ok(item) = catch_unwind(AssertUnwindSafe(|| work(job))) {
            // Nobody waits for it any more if the consumer is gone.
            let _ = deliver.send(item);
        }
    }
}

impl<T> Iterator for Prefetch<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        let item = self.items.as_ref()?.recv().ok()?;
        let number = self.taken;
        self.taken += 1;
        Some(
            item.recv()
                .unwrap_or(Err(DataError::Worker { item: number })),
        )
    }
}

impl<T> Drop for Prefetch<T> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Closing the channel ends the distributor, which ends the workers that wait for a job.
        self.items = None;
        for thread in self.threads.drain(..) {
            // Workers catch panics of the work; one of the job iterator was seen as an early end.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    #[test]
    fn order_is_that_of_the_jobs_for_any_number_of_threads() {
        for threads in [1, 2, 5] {
            let work = |n: u64| {
                std::thread::sleep(Duration::from_micros(n * 7919 % 400));
                Ok(n * n)
            };
            let items = Prefetch::new(0..200u64, threads, 8, work).unwrap();
            let found: Vec<u64> = items.map(Result::unwrap).collect();
            assert_eq!(found, (0..200u64).map(|n| n * n).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_consumer_that_waits_holds_the_workers_back() {
        let begun = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&begun);
        let work = move |n: usize| {
            counter.fetch_add(1, Ordering::SeqCst);
            Ok(n)
        };
        // Jobs without end: only back-pressure bounds the work.
        let mut items = Prefetch::new(0.., 3, 4, work).unwrap();
        for taken in 0..20 {
            std::thread::sleep(Duration::from_millis(5));
            assert!(begun.load(Ordering::SeqCst) <= taken + 4);
            assert_eq!(items.next().unwrap().unwrap(), taken);
        }
        drop(items);
        let after = begun.load(Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(
            begun.load(Ordering::SeqCst),
            after,
            "workers outlive the iterator"
        );
    }

    #[test]
    fn a_failed_item_and_a_panic_each_cost_one_item() {
        let work = |n: u64| match n {
            2 => Err(DataError::SamplerState("broken".to_owned())),
            4 => panic!("a test's own panic"),
            _ => Ok(n),
        };
        let found: Vec<_> = Prefetch::new(0..6u64, 2, 3, work).unwrap().collect();
        assert_eq!(found.len(), 6);
        assert!(matches!(found[2], Err(DataError::SamplerState(_))));
        assert!(matches!(found[4], Err(DataError::Worker { item: 4 })));
        assert!(matches!(found[5], Ok(5)));
    }
}
