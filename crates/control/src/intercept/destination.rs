//! Where a host's name leads: to one of this program's faces, or out.

/// The end of the names that are answered here.
const AWS: &str = ".amazonaws.com";
/// The second label of a REST API's own name.
const EXECUTE_API: &str = "execute-api";

/// Who answers for a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Destination {
    /// The gateway: `{api-id}.execute-api.{region}.amazonaws.com`.
    Gateway,
    /// The control face: every other service of AWS's. It says itself which ones it has.
    Control,
    /// Somebody else.
    Foreign,
}

/// A host's name in its one form: without the root's dot, in small letters.
pub(super) fn normal(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

/// Decides for a name in its normal form.
pub(super) fn of(host: &str) -> Destination {
    let Some(labels) = host.strip_suffix(AWS).filter(|labels| !labels.is_empty()) else { return Destination::Foreign };
    // A VPC endpoint's names have a label more: `{api-id}-{vpce}.execute-api…`, and `{vpce}.execute-api…vpce.amazonaws.com`, which names no API.
    match labels.split('.').nth(1) {
        Some(EXECUTE_API) => Destination::Gateway,
        _ => Destination::Control,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(host: &str, expected: Destination) {
        assert_eq!(of(&normal(host)), expected, "{host}");
    }

    #[test]
    fn only_amazonaws_com_is_answered_here() {
        check("a1b2c3d4e5.execute-api.us-east-1.amazonaws.com", Destination::Gateway);
        check("A1B2C3D4E5.Execute-API.us-east-1.AmazonAWS.com.", Destination::Gateway);
        for service in ["sts", "iam", "sts.us-east-1", "bedrock-agentcore.eu-west-1", "bedrock-agentcore-control.us-east-1", "bucket.s3"] {
            check(&format!("{service}.amazonaws.com"), Destination::Control);
        }
        for foreign in [
            "example.com",
            "amazonaws.com",
            ".amazonaws.com",
            "evilamazonaws.com",
            "sts.amazonaws.com.evil.net",
            "sts.cn-north-1.amazonaws.com.cn",
            "127.0.0.1",
            "",
        ] {
            check(foreign, Destination::Foreign);
        }
    }
}
