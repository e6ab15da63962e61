//! Looking up hosts by name, one question at a time for each name.
//!
//! The system's lookup blocks a thread and can't be called off. A source that gives up after 80 ms
//! and asks again would, with a resolver that hangs, fill the threads that block (512 of tokio's)
//! within seconds, and whoever else needs one would wait behind it. So who asks for a name that is
//! being looked up waits for that answer: there are as many threads as names at most.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::watch::{self, Receiver};

/// What came of a lookup; `None`: nothing yet.
type Found = Option<Result<Arc<[SocketAddr]>, Arc<str>>>;

/// By name: where its answer will be.
type Asked = Arc<Mutex<HashMap<String, Receiver<Found>>>>;

/// Asks the system; blocks.
type Lookup = Arc<dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync>;

/// Names that are being looked up, shared by all who ask.
#[derive(Clone)]
pub(crate) struct Names {
    lookup: Lookup,
    asked: Asked,
}

impl Names {
    /// By the system's own way.
    pub fn new() -> Self {
        // The port is filled in by whoever connects.
        Self::by(Arc::new(|name| Ok((name, 0).to_socket_addrs()?.collect())))
    }

    fn by(lookup: Lookup) -> Self {
        Self { lookup, asked: Arc::default() }
    }

    /// The answer that is awaited, or a new question's.
    fn ask(&self, name: &str) -> Receiver<Found> {
        let mut asked = lock(&self.asked);
        if let Some(answer) = asked.get(name) {
            return answer.clone();
        }
        let (tell, answer) = watch::channel(None);
        asked.insert(name.to_owned(), answer.clone());
        let question = Question { asked: Arc::clone(&self.asked), name: name.to_owned() };
        let lookup = Arc::clone(&self.lookup);
        tokio::task::spawn_blocking(move || {
            let found = lookup(&question.name);
            drop(question);
            let found = found.map(Arc::from).map_err(|error| error.to_string().into());
            tell.send_replace(Some(found));
        });
        answer
    }
}

/// A name that is being looked up. Once it is dropped, who asks has a question of its own.
struct Question {
    asked: Asked,
    name: String,
}

impl Drop for Question {
    fn drop(&mut self) {
        lock(&self.asked).remove(&self.name);
    }
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let mut answer = self.ask(name.as_str());
        Box::pin(async move {
            let gone = || "the lookup ended without an answer".to_owned();
            let found = answer.wait_for(Option::is_some).await.map_err(|_| gone())?;
            let addresses = found.clone().ok_or_else(gone)?.map_err(|why| why.to_string())?;
            Ok(Box::new(addresses.iter().copied().collect::<Vec<_>>().into_iter()) as Addrs)
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    async fn resolved(names: &Names) -> Result<Vec<SocketAddr>, String> {
        let name: Name = "device.example".parse().unwrap();
        names.resolve(name).await.map(Iterator::collect).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn fault_26_a_resolver_that_hangs_has_one_question_of_a_name_however_often_it_is_asked() {
        let (asked, hangs) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(true)));
        let lookup = {
            let (asked, hangs) = (Arc::clone(&asked), Arc::clone(&hangs));
            move |_: &str| {
                asked.fetch_add(1, Ordering::Relaxed);
                while hangs.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Ok(vec![SocketAddr::from(([127, 0, 0, 1], 0))])
            }
        };
        let names = Names::by(Arc::new(lookup));
        for _ in 0..50 {
            let answer = tokio::time::timeout(Duration::from_millis(5), resolved(&names)).await;
            assert!(answer.is_err(), "whoever asks gives up at its own time");
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        hangs.store(false, Ordering::Relaxed);
        assert_eq!(resolved(&names).await.unwrap().len(), 1, "and gets what it waited for");
        let before = asked.load(Ordering::Relaxed);
        resolved(&names).await.unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), before + 1, "nothing is remembered");
    }

    #[tokio::test]
    async fn a_lookup_that_fails_or_panics_says_so_and_the_next_asks_again() {
        let failing = Names::by(Arc::new(|name: &str| Err(io::Error::other(format!("no {name}")))));
        assert_eq!(resolved(&failing).await.unwrap_err(), "no device.example");
        let times = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&times);
        let panicking = move |_: &str| {
            counted.fetch_add(1, Ordering::Relaxed);
            panic!("on purpose")
        };
        let panicking = Names::by(Arc::new(panicking));
        for n in 1..3 {
            assert!(resolved(&panicking).await.unwrap_err().contains("without an answer"));
            assert_eq!(times.load(Ordering::Relaxed), n);
        }
    }
}
