//! Objects in S3, whole: what a deployment puts there is a package of a few megabytes, so no multipart upload.

use bytes::Bytes;

use super::bucket::{Bucket, OWNER_HEADER};
use super::{Aws, Call, CallError, operation};

/// One version of an object. A bucket that keeps no versions has one of each, whose id is `null`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectVersion {
    /// The object's key.
    pub key: String,
    /// S3's id of the version.
    pub id: String,
    /// Whether it is an object that can be fetched by its key alone: neither an older version nor the mark of a deletion.
    pub is_current: bool,
}

impl Aws {
    /// Stores `bytes` as `key` in `bucket`, in place of what is there.
    ///
    /// # Errors
    /// As [`Aws::send`].
    pub async fn put_object(&self, bucket: &Bucket<'_>, key: &str, content_type: &str, bytes: Bytes) -> Result<(), CallError> {
        let resource = format!("s3://{}/{key}", bucket.name);
        let call = Call::new(&operation::PUT_OBJECT, &resource).bucket(bucket.name).path("key", key);
        let call = call.header(OWNER_HEADER, bucket.owner).header("content-type", content_type);
        self.send(call.bytes(bytes)).await.map(drop)
    }

    /// All versions of the objects whose keys begin with `prefix`.
    ///
    /// # Errors
    /// As [`Aws::send`].
    pub async fn object_versions(&self, bucket: &Bucket<'_>, prefix: &str) -> Result<Vec<ObjectVersion>, CallError> {
        let resource = bucket.to_string();
        let mut versions = Vec::new();
        let mut marker: Option<(String, String)> = None;
        loop {
            let call = Call::new(&operation::LIST_OBJECT_VERSIONS, &resource).bucket(bucket.name).header(OWNER_HEADER, bucket.owner);
            let mut call = call.parameter("prefix", prefix).parameter("versions", "");
            if let Some((key, version)) = marker.take() {
                call = call.parameter("key-marker", key).parameter("version-id-marker", version);
            }
            let answer = self.send(call).await?;
            let page = answer.xml()?;
            for listed in page.children.iter().filter(|child| ["Version", "DeleteMarker"].contains(&child.name.as_str())) {
                let text = |name| listed.text_of(name).map(str::to_owned).ok_or_else(|| answer.lacks(name));
                let is_current = listed.name == "Version" && listed.text_of("IsLatest") == Some("true");
                versions.push(ObjectVersion { key: text("Key")?, id: text("VersionId")?, is_current });
            }
            if page.text_of("IsTruncated") != Some("true") {
                return Ok(versions);
            }
            let next = |name| page.text_of(name).map(str::to_owned).ok_or_else(|| answer.lacks(name));
            marker = Some((next("NextKeyMarker")?, next("NextVersionIdMarker")?));
        }
    }

    /// Removes one version of an object for good.
    ///
    /// # Errors
    /// As [`Aws::send`].
    pub async fn delete_object_version(&self, bucket: &Bucket<'_>, version: &ObjectVersion) -> Result<(), CallError> {
        let resource = format!("s3://{}/{}", bucket.name, version.key);
        let call = Call::new(&operation::DELETE_OBJECT, &resource).bucket(bucket.name).path("key", &version.key);
        let call = call.header(OWNER_HEADER, bucket.owner).parameter("versionId", version.id.as_str());
        self.send(call).await.map(drop)
    }
}
