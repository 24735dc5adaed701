//! Objects in S3, whole: what a deployment puts there is a package of a few megabytes, so no multipart upload.

use bytes::Bytes;

use super::{Aws, Call, CallError, operation};

impl Aws {
    /// Stores `bytes` as `key` in `bucket`, in place of what is there.
    ///
    /// # Errors
    /// As [`Aws::send`].
    pub async fn put_object(&self, bucket: &str, key: &str, content_type: &str, bytes: Bytes) -> Result<(), CallError> {
        let resource = format!("s3://{bucket}/{key}");
        let call = Call::new(&operation::PUT_OBJECT, &resource).bucket(bucket).path("key", key).header("content-type", content_type);
        self.send(call.bytes(bytes)).await.map(drop)
    }

    /// The object `key` in `bucket`, up to 64 MB; `None` when there is none. S3 says "denied" instead to a caller who may not list the bucket.
    ///
    /// # Errors
    /// As [`Aws::send`].
    pub async fn get_object(&self, bucket: &str, key: &str) -> Result<Option<Bytes>, CallError> {
        let resource = format!("s3://{bucket}/{key}");
        match self.send(Call::new(&operation::GET_OBJECT, &resource).bucket(bucket).path("key", key)).await {
            Ok(answer) => Ok(Some(answer.into_bytes())),
            Err(error) if error.has_code("NoSuchKey") => Ok(None),
            Err(error) => Err(error),
        }
    }
}
