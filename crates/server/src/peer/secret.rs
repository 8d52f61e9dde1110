//! How replicas prove to each other that they belong together: the cluster's id, its secret and who speaks, as metadata of every call.

use hex::FromHex as _;
use subtle::ConstantTimeEq as _;
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::{Request, Status};

use crate::cluster_file::ClusterFile;

const CLUSTER: &str = "hesuan-cluster";
const SECRET: &str = "hesuan-secret";
const FROM: &str = "hesuan-from";
const ADDRESS: &str = "hesuan-address";

/// What one replica shows, and asks of others.
#[derive(Clone)]
pub(crate) struct Secret {
    cluster_id: [u8; 16],
    secret: [u8; 32],
    from: u64,
}

impl Secret {
    /// Of replica `from`.
    pub(crate) fn new(cluster: &ClusterFile, from: u64) -> Self {
        Secret {
            cluster_id: cluster.cluster_id,
            secret: cluster.secret,
            from,
        }
    }

    /// Adds the proof to a call.
    pub(crate) fn sign<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert(CLUSTER, ascii(hex::encode(self.cluster_id)));
        let mut secret = ascii(hex::encode(self.secret));
        secret.set_sensitive(true);
        metadata.insert(SECRET, secret);
        metadata.insert(FROM, MetadataValue::from(self.from));
        request
    }

    /// The same, and where the sender itself listens for peers.
    pub(crate) fn sign_from<T>(&self, address: &str, message: T) -> Request<T> {
        let mut request = self.sign(message);
        if let Ok(address) = address.parse() {
            request.metadata_mut().insert(ADDRESS, address);
        }
        request
    }

    /// Where the sender says it listens.
    pub(crate) fn address(metadata: &MetadataMap) -> Option<&str> {
        metadata.get(ADDRESS).and_then(|value| value.to_str().ok())
    }

    /// Who calls, if it belongs to this cluster.
    pub(crate) fn check(&self, metadata: &MetadataMap) -> Result<u64, Status> {
        let shown = <[u8; 32]>::from_hex(field(metadata, SECRET)?).map_err(|_| refused())?;
        if !bool::from(shown.ct_eq(&self.secret)) {
            return Err(refused());
        }
        let cluster = field(metadata, CLUSTER)?;
        if cluster != hex::encode(self.cluster_id) {
            return Err(Status::permission_denied(format!(
                "this is a replica of cluster {}",
                hex::encode(self.cluster_id)
            )));
        }
        let from = field(metadata, FROM)?.parse().unwrap_or(0);
        if from == 0 || from == self.from {
            return Err(Status::invalid_argument(
                "the sender's replica id is missing, or is this replica's own",
            ));
        }
        Ok(from)
    }
}

fn refused() -> Status {
    Status::unauthenticated("not the secret of this cluster")
}

fn field<'a>(metadata: &'a MetadataMap, name: &str) -> Result<&'a str, Status> {
    metadata
        .get(name)
        .and_then(|value| value.to_str().ok())
        .ok_or_else(refused)
}

fn ascii(text: String) -> MetadataValue<Ascii> {
    text.parse().expect("hex digits are ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster() -> ClusterFile {
        ClusterFile::generate(&[("a".into(), "127.0.0.1:1".into(), "127.0.0.1:2".into())], 0).0
    }

    #[test]
    fn only_the_same_cluster_with_its_secret_gets_in() {
        let (ours, other) = (cluster(), cluster());
        let door = Secret::new(&ours, 1);
        let code = |secret: &Secret| door.check(secret.sign(()).metadata()).map_err(|status| status.code());
        assert_eq!(code(&Secret::new(&ours, 2)), Ok(2));
        assert_eq!(code(&Secret::new(&other, 2)), Err(tonic::Code::Unauthenticated));
        let stolen = ClusterFile {
            cluster_id: other.cluster_id,
            ..ours.clone()
        };
        assert_eq!(code(&Secret::new(&stolen, 2)), Err(tonic::Code::PermissionDenied));
        assert_eq!(code(&Secret::new(&ours, 1)), Err(tonic::Code::InvalidArgument));
        assert_eq!(
            door.check(&MetadataMap::new()).map_err(|s| s.code()),
            Err(tonic::Code::Unauthenticated)
        );
    }
}
