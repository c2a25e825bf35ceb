//! Tells: keeps what is to be told until it is due, puts it into requests, and posts each until it is answered 2xx.
//!
//! Why: this is how a vendor's webhook behaves: it knows nothing of order, and it does not give up.
//! Must not know: what happens to messages (`model`), how it is written (`sign`).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use super::model::{Event, Message, What};
use super::sign::{self, Signed, Signer};
use super::{FeedbackConfig, Said, Told, lock};
use crate::sim::arrivals::Vendor;

/// Requests at a time.
const AT_ONCE: usize = 64;
/// Before a request is posted again: at first, and at most.
const AGAIN: Duration = Duration::from_millis(50);
const AGAIN_MOST: Duration = Duration::from_secs(1);
/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// Whoever tells for all vendors.
pub(super) struct Teller {
    config: FeedbackConfig,
    rng: SmallRng,
    /// What is to be told, by when (and a number, for what is due at the same time).
    due: BTreeMap<(Instant, u64), Event>,
    number: u64,
    post: Arc<Post>,
}

/// What posting needs.
struct Post {
    client: reqwest::Client,
    signer: Arc<Signer>,
    listener: watch::Receiver<SocketAddr>,
    told: Arc<Mutex<Told>>,
    room: Arc<Semaphore>,
}

impl Teller {
    pub(super) fn new(
        config: FeedbackConfig,
        told: Arc<Mutex<Told>>,
        listener: watch::Receiver<SocketAddr>,
    ) -> Result<Self, String> {
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).tcp_nodelay(true).build();
        let client = client.map_err(|e| format!("feedback has no HTTP client: {e}"))?;
        let room = Arc::new(Semaphore::new(AT_ONCE));
        let post = Arc::new(Post { client, signer: Arc::clone(&config.signer), listener, told, room });
        let rng = SmallRng::seed_from_u64(config.seed);
        Ok(Self { config, rng, due: BTreeMap::new(), number: 0, post })
    }

    /// Runs until nobody has messages any more; whoever drops this ends it earlier.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Vec<Message>>) {
        let mut posts = JoinSet::new();
        let mut tick = tokio::time::interval(self.config.model.batch_every);
        loop {
            tokio::select! {
                messages = queue.recv() => match messages {
                    Some(messages) => self.plan(messages),
                    None => return,
                },
                _ = tick.tick() => self.tell(&mut posts).await,
            }
            while posts.try_join_next().is_some() {}
        }
    }

    /// Makes up what happens to messages that were sent now.
    fn plan(&mut self, messages: Vec<Message>) {
        let (now, now_s) = (Instant::now(), now_s());
        let mut told = lock(&self.post.told);
        for message in messages {
            if self.config.urls[message.vendor.index()].is_none() && message.callback.is_none() {
                continue;
            }
            let message = Arc::new(message);
            for fate in self.config.model.fates(&message, &mut self.rng) {
                let place = match fate.what {
                    What::Passing => None,
                    What::Heard(happened) => {
                        let echoed = |name| message.echoed(name).into();
                        told.events.push(Said {
                            vendor: message.vendor,
                            id: Arc::clone(&fate.id),
                            happened,
                            tenant: echoed("peakpost_tenant"),
                            campaign: echoed("peakpost_campaign"),
                            job: echoed("peakpost_id"),
                            lane: echoed("peakpost_lane"),
                            domain: message.domain().into(),
                            heard: false,
                        });
                        Some(told.events.len() - 1)
                    }
                };
                told.waiting += fate.told.len();
                let at_s = now_s + fate.happens.as_secs().cast_signed();
                for after in fate.told {
                    let (message, id) = (Arc::clone(&message), Arc::clone(&fate.id));
                    self.number += 1;
                    self.due.insert((now + after, self.number), Event { message, what: fate.what, id, at_s, place });
                }
            }
        }
    }

    /// Posts what is due.
    async fn tell(&mut self, posts: &mut JoinSet<()>) {
        let later = self.due.split_off(&(Instant::now(), u64::MAX));
        let mut due: Vec<Event> = std::mem::replace(&mut self.due, later).into_values().collect();
        due.shuffle(&mut self.rng);
        for vendor in Vendor::ALL {
            let most = if vendor == Vendor::Twilio { 1 } else { self.config.model.batch_max };
            let of_vendor: Vec<Event> = due.iter().filter(|event| event.message.vendor == vendor).cloned().collect();
            for events in of_vendor.chunks(most) {
                let own = events[0].message.callback.as_deref();
                let url = own.or(self.config.urls[vendor.index()].as_deref()).unwrap_or_default().to_owned();
                // Never closed.
                let Ok(room) = Arc::clone(&self.post.room).acquire_owned().await else { return };
                let (post, events) = (Arc::clone(&self.post), events.to_vec());
                posts.spawn(async move {
                    post.until_heard(vendor, &url, &events).await;
                    drop(room);
                });
            }
        }
    }
}

impl Post {
    async fn until_heard(&self, vendor: Vendor, url: &str, events: &[Event]) {
        let mut wait = AGAIN;
        loop {
            let signed = match vendor {
                Vendor::SendGrid => self.signer.sendgrid(now_s(), sign::sendgrid_body(events)),
                Vendor::Twilio => self.signer.twilio(url, sign::twilio_body(&events[0])),
                Vendor::Webhook => self.signer.webhook(now_s(), sign::webhook_body(events)),
            };
            let at = *self.listener.borrow();
            let began = Instant::now();
            let answer = post(&self.client, at, url, signed).await;
            {
                let mut told = lock(&self.told);
                *told.answers.entry(answer).or_default() += 1;
                if (200..300).contains(&answer) {
                    told.took.push(began.elapsed());
                    told.waiting -= events.len();
                    told.tellings += events.len() as u64;
                    for place in events.iter().filter_map(|event| event.place) {
                        told.events[place].heard = true;
                    }
                    return;
                }
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(AGAIN_MOST);
        }
    }
}

/// Posts a request to the path and query of `url` at `listener`. Its status; 0: no answer.
async fn post(client: &reqwest::Client, listener: SocketAddr, url: &str, signed: Signed) -> u16 {
    let path = url::Url::parse(url).map(|url| url[url::Position::BeforePath..url::Position::AfterQuery].to_owned());
    let mut request = client.post(format!("http://{listener}{}", path.unwrap_or_default())).body(signed.body);
    for (name, value) in signed.headers {
        request = request.header(name, value);
    }
    request.send().await.map_or(0, |answer| answer.status().as_u16())
}

fn now_s() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs().cast_signed()
}
