//! Two ends of the peer transport on loopback.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hesuan_api::internal::v1::frame::Body;
use hesuan_api::internal::v1::peer_service_server::PeerServiceServer;
use hesuan_api::internal::v1::{Forwarded, SteerRequest};
use tokio::sync::{Notify, watch};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Status};

use super::{Inbox, PeerDoor, Peers, Secret, steer};
use crate::cluster_file::ClusterFile;
use crate::disk::{Disk, DiskHandle};

#[derive(Default)]
struct Heard {
    tickets: Mutex<Vec<(u64, u64)>>,
    met: Mutex<Vec<(u64, String)>>,
    news: Notify,
}

#[tonic::async_trait]
impl Inbox for Heard {
    fn meet(&self, from: u64, address: &str) {
        self.met
            .lock()
            .expect("no test panics under it")
            .push((from, address.to_owned()));
    }

    fn take(&self, from: u64, wall_clock_ms: u64, frames: Vec<Body>) {
        assert!(wall_clock_ms > 0);
        let tickets = frames.iter().filter_map(|frame| match frame {
            Body::Forwarded(forwarded) => Some((from, forwarded.ticket)),
            _ => None,
        });
        self.tickets.lock().expect("no test panics under it").extend(tickets);
        self.news.notify_one();
    }

    async fn steer(&self, _: SteerRequest) -> Result<(), Status> {
        Ok(())
    }
}

struct Door {
    heard: Arc<Heard>,
    address: String,
    cluster: ClusterFile,
    ending: watch::Sender<bool>,
    _dir: tempfile::TempDir,
}

impl Door {
    /// Replica 1, listening.
    async fn open() -> Door {
        let (cluster, _) = ClusterFile::generate(&[("one".into(), "127.0.0.1:1".into(), "127.0.0.1:2".into())], 1);
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let disk = Disk::open(dir.path(), cluster.cluster_id).expect("an empty directory opens");
        let (disk, _) = DiskHandle::start(disk);
        let heard = Arc::new(Heard::default());
        let (ending, seen) = watch::channel(false);
        let door = PeerDoor::new(Secret::new(&cluster, 1), Arc::clone(&heard), disk, seen);
        let incoming = TcpIncoming::bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
        let address = incoming.local_addr().expect("it is bound").to_string();
        tokio::spawn(
            Server::builder()
                .add_service(PeerServiceServer::new(door))
                .serve_with_incoming(incoming),
        );
        Door {
            heard,
            address,
            cluster,
            ending,
            _dir: dir,
        }
    }

    fn dial(&self, cluster: &ClusterFile, from: u64) -> Peers {
        let secret = Secret::new(cluster, from);
        let peers = Peers::new(
            secret,
            format!("127.0.0.{from}:7444"),
            64,
            tokio::runtime::Handle::current(),
            Arc::new(|_| {}),
        );
        peers.set(&BTreeMap::from([(1, self.address.clone())]));
        peers
    }
}

fn frame(ticket: u64) -> Body {
    Body::Forwarded(Forwarded {
        ticket,
        command: bytes::Bytes::from_static(b"command"),
    })
}

#[tokio::test]
async fn frames_arrive_in_order_and_the_sender_is_met() {
    let door = Door::open().await;
    let peers = door.dial(&door.cluster, 2);
    assert!(peers.send(1, (0..50).map(frame)));
    assert!(!peers.send(9, [frame(0)]), "nobody is there");
    let all = async {
        while door.heard.tickets.lock().expect("no panic under it").len() < 50 {
            door.heard.news.notified().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), all)
        .await
        .expect("everything arrives");
    let expected: Vec<_> = (0..50).map(|ticket| (2, ticket)).collect();
    assert_eq!(*door.heard.tickets.lock().expect("no panic under it"), expected);
    assert_eq!(
        *door.heard.met.lock().expect("no panic under it"),
        [(2, "127.0.0.2:7444".to_owned())]
    );
    door.ending.send_replace(true);
    peers.close().await;
}

#[tokio::test]
async fn who_does_not_know_the_secret_is_refused_and_not_heard() {
    let door = Door::open().await;
    let (other, _) = ClusterFile::generate(&[("one".into(), "127.0.0.1:1".into(), "127.0.0.1:2".into())], 1);
    let refused = steer(&Secret::new(&other, 2), &door.address, SteerRequest { body: None }).await;
    assert_eq!(refused.expect_err("another secret").code(), Code::Unauthenticated);
    let known = steer(
        &Secret::new(&door.cluster, 2),
        &door.address,
        SteerRequest { body: None },
    )
    .await;
    assert!(known.is_ok());
    assert!(door.heard.tickets.lock().expect("no panic under it").is_empty());
}

#[tokio::test]
async fn a_full_queue_drops_instead_of_waiting() {
    let door = Door::open().await;
    let peers = door.dial(&door.cluster, 2);
    peers.set(&BTreeMap::from([(1, "127.0.0.1:9".to_owned())]));
    assert!(
        !peers.send(1, (0..65).map(frame)),
        "64 frames may wait, and nobody takes them"
    );
    peers.close().await;
}
