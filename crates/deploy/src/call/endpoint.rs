//! Where a service is: at AWS by the rules of its partition, or where the user says.

use super::service::{self, Service};

/// The places that a user may have named, and the region.
#[derive(Clone, Debug, Default)]
pub(super) struct Endpoints {
    /// One address for every service: `--endpoint`, or the variable `AWS_ENDPOINT_URL`.
    pub(super) everything: Option<String>,
    /// Addresses of single services, by the ending of their variable; they go before `everything`.
    pub(super) of_service: Vec<(&'static str, String)>,
}

/// Where one request goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// Scheme and authority, and for an S3 bucket addressed by path its name: no slash at the end.
    pub(super) url: String,
    /// The region that the signature is scoped to.
    pub(super) signing_region: String,
}

impl Endpoints {
    /// The endpoint of `service` in `region`; of `bucket`, for S3.
    pub(super) fn of(&self, service: &Service, region: &str, bucket: Option<&str>) -> Endpoint {
        let chosen = self.of_service.iter().find(|(variable, _)| *variable == service.variable).map(|(_, url)| url);
        if let Some(url) = chosen.or(self.everything.as_ref()) {
            let url = url.trim_end_matches('/');
            let url = bucket.map_or_else(|| url.to_owned(), |bucket| format!("{url}/{bucket}"));
            return Endpoint { url, signing_region: region.to_owned() };
        }
        let suffix = dns_suffix(region);
        let regional = format!("{}.{region}.{suffix}", service.host_prefix);
        let url = match bucket {
            _ if *service == service::IAM => return global_iam(region),
            None => format!("https://{regional}"),
            // A dot in the bucket's name would lie outside of the certificate's wildcard.
            Some(bucket) if bucket.contains('.') => format!("https://{regional}/{bucket}"),
            Some(bucket) => format!("https://{bucket}.{regional}"),
        };
        Endpoint { url, signing_region: region.to_owned() }
    }
}

/// The domain of a region's partition (<https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/partitions.html>).
fn dns_suffix(region: &str) -> &'static str {
    if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" }
}

/// IAM has one endpoint a partition ("AWS Identity and Access Management endpoints and quotas",
/// <https://docs.aws.amazon.com/general/latest/gr/iam-service.html>).
fn global_iam(region: &str) -> Endpoint {
    let (url, signing_region) = match region {
        region if region.starts_with("cn-") => ("https://iam.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        region if region.starts_with("us-gov-") => ("https://iam.us-gov.amazonaws.com", "us-gov-west-1"),
        _ => ("https://iam.amazonaws.com", "us-east-1"),
    };
    Endpoint { url: url.to_owned(), signing_region: signing_region.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_where_aws_says() {
        let check = |service: &Service, region: &str, bucket: Option<&str>, url: &str, signing_region: &str| {
            let expected = Endpoint { url: url.to_owned(), signing_region: signing_region.to_owned() };
            assert_eq!(Endpoints::default().of(service, region, bucket), expected);
        };
        check(&service::ECR, "eu-west-1", None, "https://api.ecr.eu-west-1.amazonaws.com", "eu-west-1");
        check(&service::STS, "cn-north-1", None, "https://sts.cn-north-1.amazonaws.com.cn", "cn-north-1");
        check(&service::IAM, "eu-west-1", None, "https://iam.amazonaws.com", "us-east-1");
        check(&service::S3, "eu-west-1", Some("code"), "https://code.s3.eu-west-1.amazonaws.com", "eu-west-1");
        check(&service::S3, "eu-west-1", Some("my.code"), "https://s3.eu-west-1.amazonaws.com/my.code", "eu-west-1");
    }

    #[test]
    fn the_user_s_word_goes_first_and_a_service_s_own_before_all() {
        let endpoints = Endpoints {
            everything: Some("http://127.0.0.1:4566/".to_owned()),
            of_service: vec![("ECR", "http://127.0.0.1:5000".to_owned())],
        };
        let check = |service: &Service, bucket: Option<&str>, url: &str| {
            assert_eq!(endpoints.of(service, "eu-west-1", bucket).url, url);
        };
        check(&service::ECR, None, "http://127.0.0.1:5000");
        check(&service::IAM, None, "http://127.0.0.1:4566");
        check(&service::S3, Some("code"), "http://127.0.0.1:4566/code");
    }
}
