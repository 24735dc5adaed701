//! A bucket in S3. Its name is the world's, so every call says whose it must be: a bucket that somebody else has made first is refused by S3 and never written to.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::{Aws, Call, CallError, operation};

/// S3 answers 403 when the bucket is another account's ("Verifying bucket ownership with bucket owner condition",
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-owner-condition.html>).
pub(super) const OWNER_HEADER: &str = "x-amz-expected-bucket-owner";
/// The one region that must not be named as a bucket's.
const UNNAMED_REGION: &str = "us-east-1";

/// A bucket, and the account that it must belong to.
#[derive(Clone, Copy, Debug)]
pub struct Bucket<'a> {
    /// Its name.
    pub name: &'a str,
    /// The account's id.
    pub owner: &'a str,
}

/// As errors name it.
impl fmt::Display for Bucket<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "bucket {} (which must be account {}'s)", self.name, self.owner)
    }
}

impl Aws {
    /// A bucket's tags; `None` where there is no such bucket.
    ///
    /// # Errors
    /// As [`Aws::send`]: denied also where the bucket is another account's.
    pub async fn bucket_tags(&self, bucket: &Bucket<'_>) -> Result<Option<Vec<(String, String)>>, CallError> {
        let resource = bucket.to_string();
        let call = Call::new(&operation::GET_BUCKET_TAGGING, &resource).bucket(bucket.name).header(OWNER_HEADER, bucket.owner);
        let answer = match self.send(call.parameter("tagging", "")).await {
            Err(error) if error.has_code("NoSuchBucket") => return Ok(None),
            Err(error) if error.has_code("NoSuchTagSet") => return Ok(Some(Vec::new())),
            answer => answer?,
        };
        let tags = answer.xml()?;
        let text = |tag: &super::Element, name| tag.text_of(name).unwrap_or_default().to_owned();
        Ok(Some(tags.members("TagSet").map(|tag| (text(tag, "Key"), text(tag, "Value"))).collect()))
    }

    /// Makes a bucket in this region. S3 itself keeps it private and encrypted, as it does all that are new.
    ///
    /// # Errors
    /// As [`Aws::send`]; the code `BucketAlreadyExists` when somebody else has it.
    pub async fn create_bucket(&self, bucket: &Bucket<'_>) -> Result<(), CallError> {
        let resource = bucket.to_string();
        let mut call = Call::new(&operation::CREATE_BUCKET, &resource).bucket(bucket.name);
        if self.region() != UNNAMED_REGION {
            let region = self.region();
            let body = format!(
                r#"<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>"#
            );
            call = call.header("content-type", "application/xml").bytes(body.into());
        }
        self.send(call).await.map(drop)
    }

    /// Gives a bucket these tags and no others. They are plain words: nothing in them is escaped.
    ///
    /// # Errors
    /// As [`Aws::send`].
    pub async fn tag_bucket(&self, bucket: &Bucket<'_>, tags: &[(&str, &str)]) -> Result<(), CallError> {
        let tags: String = tags.iter().map(|(key, value)| format!("<Tag><Key>{key}</Key><Value>{value}</Value></Tag>")).collect();
        let body = format!(r#"<Tagging xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><TagSet>{tags}</TagSet></Tagging>"#);
        let resource = bucket.to_string();
        let call = Call::new(&operation::PUT_BUCKET_TAGGING, &resource).bucket(bucket.name).header(OWNER_HEADER, bucket.owner);
        // S3 wants a checksum of its own here, whatever the signature says of the body.
        let checksum = STANDARD.encode(Sha256::digest(&body));
        let call = call.header("content-type", "application/xml").header("x-amz-checksum-sha256", checksum);
        self.send(call.parameter("tagging", "").bytes(body.into())).await.map(drop)
    }

    /// Removes an empty bucket.
    ///
    /// # Errors
    /// As [`Aws::send`].
    pub async fn delete_bucket(&self, bucket: &Bucket<'_>) -> Result<(), CallError> {
        let resource = bucket.to_string();
        let call = Call::new(&operation::DELETE_BUCKET, &resource).bucket(bucket.name).header(OWNER_HEADER, bucket.owner);
        self.send(call).await.map(drop)
    }
}
